//! `cargo xtask faults`: everything that attacks an installation, in one count.
//!
//! Invariant: the last line is `faults: N cuts, N kills, N faults, 0 torn, 0 lost`, and the exit code is 0 only when
//! nothing was torn or lost. What failed without a count of its own is counted as torn: it has not been shown to be whole.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};

use crate::{
    binaries,
    children::{Children, cargo},
};

/// The command.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<ExitCode> {
    let children = Children::watched()?;
    Ok(if attack(root, &children, arguments)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds, attacks and prints the sum; whether nothing was torn or lost.
pub(crate) fn attack(root: &Path, children: &Children, arguments: &[String]) -> Result<bool> {
    println!("building; the first time takes a few minutes");
    let mut build = cargo(root);
    build.args(["build", "--locked", "--quiet", "-p", "pinion-controller", "-p", "pinion-agent", "-p", "pinion-tests"]);
    children.run_well(build.args(["--bin", "pinion", "--bin", "pinion-agent", "--bin", "faults"]))?;

    let mut tally = Tally::default();
    println!("\n### Cuts, and faults at every operation\n");
    let mut tests = cargo(root);
    // Not quiet: a test that fails has its line.
    tests.args(["test", "--locked", "-p", "pinion-agent", "--lib", "--", "--nocapture"]);
    tally.add(children, tests.args(TESTS))?;
    tally.add(children, Command::new(binaries::target(root).join("debug/faults")).args(arguments))?;
    println!("\n{}", tally.line());
    Ok(tally.is_clean())
}

/// Where the agent's tests cut and fail.
const TESTS: &[&str] = &["apply::tests::power_cuts", "apply::tests::failed_operations"];

#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    cuts: usize,
    kills: usize,
    faults: usize,
    torn: usize,
    lost: usize,
}

impl Tally {
    /// Runs a program to its end, shows what it printed, and adds what it counted.
    fn add(&mut self, children: &Children, command: &mut Command) -> Result<()> {
        let kept = tempfile::NamedTempFile::new().context("make a file for a program's output")?;
        let output = File::create(kept.path()).context("open a file for a program's output")?;
        let succeeded = children.run(command.stdout(output))?.success();
        let text = fs::read_to_string(kept.path()).context("read a program's output")?;
        text.lines().filter(|line| is_shown(line)).for_each(|line| println!("{line}"));
        let before = self.torn + self.lost;
        let counted = self.add_lines(&text);
        if !succeeded && self.torn + self.lost == before {
            println!("it failed: counted as torn");
            self.torn += 1;
        }
        if succeeded && counted == 0 {
            bail!("it counted nothing");
        }
        Ok(())
    }

    /// Adds lines that end with `cuts: 12`, and what a failed test stands for; how many there were.
    fn add_lines(&mut self, text: &str) -> usize {
        let mut counted = 0;
        for line in text.lines() {
            if line.starts_with("test ") && line.ends_with("... FAILED") {
                self.torn += 1;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let [.., what, number] = words.as_slice() else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            let sum = match *what {
                "cuts:" => &mut self.cuts,
                "kills:" => &mut self.kills,
                "faults:" => &mut self.faults,
                "torn:" => &mut self.torn,
                "lost:" => &mut self.lost,
                _ => continue,
            };
            *sum += number;
            counted += 1;
        }
        counted
    }

    fn is_clean(&self) -> bool {
        self.torn == 0 && self.lost == 0
    }

    fn line(&self) -> String {
        let Self { cuts, kills, faults, torn, lost } = self;
        format!("faults: {cuts} cuts, {kills} kills, {faults} faults, {torn} torn, {lost} lost")
    }
}

/// What is no line of a count, which is summed up at the end.
fn is_shown(line: &str) -> bool {
    !["cuts:", "kills:", "faults:", "torn:", "lost:"].iter().any(|count| line.starts_with(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_summed_and_a_failed_test_is_torn() {
        let mut tally = Tally::default();
        let text =
            "test a ... cuts: 40\nok\ncuts: 2\n\nfaults: 7\n| kills | 3 |\ntest b ... FAILED\nkills: 500\ntorn: 0\n";
        assert_eq!(tally.add_lines(text), 5);
        assert_eq!(tally, Tally { cuts: 42, kills: 500, faults: 7, torn: 1, lost: 0 });
        assert_eq!(tally.line(), "faults: 42 cuts, 500 kills, 7 faults, 1 torn, 0 lost");
        assert!(!tally.is_clean());
    }
}
