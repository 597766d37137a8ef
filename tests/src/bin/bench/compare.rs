//! Whether Pinion has become worse since an earlier build.
//!
//! Answers: which figures are worse by more than the machine's noise? Invariant: two builds are measured in turns, before and
//! after, then after and before, so that a machine that becomes slower meanwhile is not taken for a program that has; each
//! build is measured by the measuring program of its own sources, since that contains parts of it (the planner, the agents of
//! the fleet).

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum as _;
use pinion_tests::regression::{self, Judged, LEAST, Risk, Verdict};

use crate::{
    parts::Part,
    table::{Figure, Saved},
};

/// Whether nothing is worse.
pub(crate) fn run(before: &Path, parts: &[Part], runs: u32) -> Result<bool> {
    ensure!(runs > 1, "one run says nothing of its noise: --runs 2 at least");
    let after = Build::present()?;
    let (paired, old, new) = if before.is_dir() {
        let (old, new) = in_turns(&Build::kept(before)?, &after, parts, runs)?;
        (true, old, new)
    } else {
        let old = Saved::read(before)?;
        let once = old.figures.iter().any(|figure| figure.values.len() < 2);
        ensure!(
            !once,
            "{} has one run, which says nothing of its noise: save it with --runs 2 at least",
            before.display()
        );
        let mut new = Saved::empty();
        for run in 1..=runs {
            eprintln!("=== run {run} of {runs}");
            new.append(after.measure(parts)?);
        }
        println!(
            "{} was measured at another time: a machine that is slower now looks like a program that is. Compare with a \
             commit to have both measured in turns.",
            before.display()
        );
        (false, old, new)
    };
    let shared: Vec<(&Figure, &Figure)> =
        new.figures.iter().filter_map(|new| Some((old.figures.iter().find(|old| old.key == new.key)?, new))).collect();
    ensure!(!shared.is_empty(), "{} has none of the figures that are compared", before.display());
    for (figures, others, when) in [(&old, &new, "before"), (&new, &old, "now")] {
        for figure in figures.figures.iter().filter(|figure| others.figures.iter().all(|other| other.key != figure.key))
        {
            println!("not compared, because it is measured {when} only: {}", figure.what);
        }
    }
    let risk = Risk::shared(shared.len());
    let judge = |old: &Figure, new: &Figure| -> Result<Judged> {
        if !paired {
            return regression::unpaired(&old.values, &new.values, new.better, risk);
        }
        let pairs: Vec<(f64, f64)> = old.values.iter().copied().zip(new.values.iter().copied()).collect();
        regression::paired(&pairs, new.better, risk)
    };
    let mut worse = 0;
    println!(
        "| {:<64} | {:>10} | {:>10} | {:>8} | {:>8} | {:<6} |",
        "what", "before", "after", "worse by", "noise", ""
    );
    println!("|{:-<66}|{:->12}|{:->12}|{:->10}|{:->10}|{:-<8}|", "", ":", ":", ":", ":", "");
    for (old, new) in shared {
        let judged = judge(old, new).with_context(|| format!("compare `{}`", new.what))?;
        worse += usize::from(judged.verdict == Verdict::Worse);
        let (before, after) = (new.unit.words(median(&old.values)), new.unit.words(median(&new.values)));
        let percent = |factor: f64| match factor {
            factor if factor > 10.0 => "> 900 %".to_owned(),
            factor => format!("{:.1} %", (factor - 1.0) * 100.0),
        };
        let (by, noise) = (percent(judged.times_as_bad), percent(judged.noise));
        let verdict = match judged.verdict {
            Verdict::Worse => "WORSE",
            Verdict::Better => "better",
            Verdict::Same => "",
        };
        println!("| {:<64} | {before:>10} | {after:>10} | {by:>8} | {noise:>8} | {verdict:<6} |", new.what);
    }
    println!(
        "{worse} worse. A figure is worse if it is so by more than its noise and {:.0} %; the noise comes from the repeats.",
        LEAST * 100.0
    );
    Ok(worse == 0)
}

/// Before and after, after and before, and so on.
fn in_turns(before: &Build, after: &Build, parts: &[Part], pairs: u32) -> Result<(Saved, Saved)> {
    let (mut old, mut new) = (Saved::empty(), Saved::empty());
    for pair in 0..pairs {
        let mut turns = [(before, &mut old, "before"), (after, &mut new, "after")];
        if pair % 2 == 1 {
            turns.reverse();
        }
        for (build, saved, name) in turns {
            eprintln!("=== pair {} of {pairs}: {name}", pair + 1);
            saved.append(build.measure(parts)?);
        }
    }
    Ok((old, new))
}

/// Programs that are measured.
struct Build {
    bench: PathBuf,
    controller: PathBuf,
    agent: PathBuf,
}

impl Build {
    /// Those that this program belongs to.
    fn present() -> Result<Self> {
        let named =
            |name: &str| env::var_os(name).map(PathBuf::from).with_context(|| format!("{name} names a program"));
        let bench = env::current_exe().context("find the running executable")?;
        Ok(Self { bench, controller: named("PINION_CONTROLLER")?, agent: named("PINION_AGENT")? })
    }

    /// Those in a directory.
    fn kept(directory: &Path) -> Result<Self> {
        let directory = directory.canonicalize().with_context(|| format!("find {}", directory.display()))?;
        let program = |name: &str| {
            let path = directory.join(name);
            ensure!(path.is_file(), "{} is not there: a build has bench, pinion and pinion-agent", path.display());
            Ok(path)
        };
        Ok(Self { bench: program("bench")?, controller: program("pinion")?, agent: program("pinion-agent")? })
    }

    /// Once.
    fn measure(&self, parts: &[Part]) -> Result<Saved> {
        let directory = tempfile::tempdir().context("make a directory for figures")?;
        let file = directory.path().join("figures.json");
        let words = parts.iter().filter_map(|part| Some(part.to_possible_value()?.get_name().to_owned()));
        let mut command = Command::new(&self.bench);
        command.args(words).arg("--save").arg(&file).env("PINION_CONTROLLER", &self.controller);
        // Its table is one run's; that of all runs is printed at the end.
        command.env("PINION_AGENT", &self.agent).stdin(Stdio::null()).stdout(Stdio::null());
        let status = command.status().with_context(|| format!("start {}", self.bench.display()))?;
        // A budget that does not hold is its own business: the figures are there.
        match fs::exists(&file) {
            Ok(true) => Saved::read(&file),
            _ => bail!("{} measured nothing, {status}: it is perhaps older than --save", self.bench.display()),
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
