//! `cargo xtask mutants`: are the unit tests of a module good enough to notice when its code is changed?
//!
//! cargo-mutants changes one thing after the other (a comparison, a constant, what a function returns) and runs the unit
//! tests of the module, which take a second. A change that no test notices is a missing test.
//! Invariant: the sources are changed in a copy alone, and one mutant is built at a time.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::children::{Children, cargo};

/// A module whose mutants are to be caught, and the tests that are to catch them.
struct Module {
    /// What it is called on the command line.
    name: &'static str,
    package: &'static str,
    /// Its sources, from the root.
    files: &'static [&'static str],
    /// In the names of its unit tests.
    tests: &'static str,
}

const MODULES: &[Module] = &[
    Module { name: "verify", package: "pinion-agent", files: &["agent/src/verify.rs"], tests: "verify::" },
    Module { name: "token", package: "pinion-proto", files: &["proto/src/token.rs"], tests: "token::" },
    Module {
        name: "identity",
        package: "pinion-controller",
        files: &["controller/src/identity/**/*.rs"],
        // With those of the root process that holds the root's key.
        tests: "identity",
    },
    Module {
        name: "planner",
        package: "pinion-controller",
        files: &["controller/src/planner/**/*.rs"],
        tests: "planner::",
    },
    Module {
        name: "loop",
        package: "pinion-controller",
        files: &["controller/src/reconcile/**/*.rs"],
        tests: "reconcile::",
    },
    Module { name: "plan", package: "pinion-agent", files: &["agent/src/install/plan.rs"], tests: "install::plan::" },
    Module { name: "ledger", package: "pinion-agent", files: &["agent/src/ledger/*.rs"], tests: "ledger::" },
    Module { name: "admin", package: "pinion-controller", files: &["controller/src/admin/*.rs"], tests: "admin::" },
    Module { name: "link", package: "pinion-controller", files: &["controller/src/link/*.rs"], tests: "link::" },
];

/// Of the mutants that compile, so many in a hundred are to be caught.
const WANTED: usize = 95;

/// Runs the mutants of these modules, of all when none is named. `arguments` go to cargo-mutants.
///
/// # Errors
/// cargo-mutants is not there, or the tests fail without a mutant.
pub(crate) fn run(root: &Path, names: &[String], arguments: &[String]) -> Result<ExitCode> {
    let modules = chosen(names)?;
    let children = Children::watched()?;
    let is_there = Command::new("cargo-mutants").args(["mutants", "--version"]).output().is_ok();
    if !is_there {
        bail!("cargo-mutants is not there: install it with `cargo install cargo-mutants --locked`");
    }
    let mut lines = Vec::new();
    let mut is_good = true;
    for module in modules {
        let output = root.join("target/mutants").join(module.name);
        fs::create_dir_all(&output).with_context(|| format!("make {}", output.display()))?;
        let mut command = cargo(root);
        command.args(["mutants", "--jobs", "1", "--no-shuffle", "--package", module.package]);
        command.args(module.files.iter().flat_map(|file| ["--file", file])).arg("--output").arg(&output);
        command.args(arguments).args(["--", "--lib", "--", module.tests]);
        // What does not change is built once for all copies.
        command.env("CARGO_TARGET_DIR", root.join("target/mutants/build"));
        let status = children.run(&mut command)?;
        let outcomes = output.join("mutants.out/outcomes.json");
        let text = fs::read_to_string(&outcomes).with_context(|| format!("read {}", outcomes.display()))?;
        let outcomes: Outcomes = serde_json::from_str(&text).context("read what became of the mutants")?;
        if outcomes.viable() == 0 && !status.success() {
            bail!("the unit tests of {} fail without a mutant", module.name);
        }
        is_good &= outcomes.is_good();
        lines.push(format!("{}: {}", module.name, outcomes.line()));
    }
    lines.iter().for_each(|line| println!("{line}"));
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(names: &[String]) -> Result<Vec<&'static Module>> {
    if names.is_empty() {
        return Ok(MODULES.iter().collect());
    }
    let find = |name: &String| {
        let all = || MODULES.iter().map(|module| module.name).collect::<Vec<_>>().join(", ");
        let found = MODULES.iter().find(|module| module.name == name);
        found.with_context(|| format!("there is no module `{name}`: choose from {}", all()))
    };
    names.iter().map(find).collect()
}

/// As far as it matters here: what cargo-mutants writes to `outcomes.json`.
#[derive(Debug, Deserialize)]
struct Outcomes {
    caught: usize,
    missed: usize,
    /// The tests did not end: noticed, too.
    timeout: usize,
}

impl Outcomes {
    fn noticed(&self) -> usize {
        self.caught + self.timeout
    }

    fn viable(&self) -> usize {
        self.noticed() + self.missed
    }

    fn is_good(&self) -> bool {
        self.noticed() * 100 >= self.viable() * WANTED
    }

    fn line(&self) -> String {
        let (noticed, viable) = (self.noticed(), self.viable());
        let share = noticed * 100 / viable.max(1);
        format!("{noticed} of {viable} viable mutants caught, {share} % ({WANTED} % are wanted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_caught_is_counted_of_what_compiles() {
        let outcomes: Outcomes =
            serde_json::from_str("{\"total_mutants\":30,\"caught\":18,\"missed\":1,\"timeout\":1,\"unviable\":10}")
                .expect("outcomes");
        assert_eq!(outcomes.line(), "19 of 20 viable mutants caught, 95 % (95 % are wanted)");
        assert!(outcomes.is_good());
        assert!(!Outcomes { missed: 2, ..outcomes }.is_good());
    }

    #[test]
    fn a_module_is_chosen_by_its_name_and_all_when_none_is() {
        assert_eq!(chosen(&[]).expect("all").len(), MODULES.len());
        assert_eq!(chosen(&["token".into()]).expect("one")[0].package, "pinion-proto");
        assert!(chosen(&["toke".into()]).map(|found| found.len()).expect_err("none").to_string().contains("verify"));
    }

    #[test]
    fn every_module_has_its_files() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for file in MODULES.iter().flat_map(|module| module.files) {
            let beginning = file.split('*').next().unwrap_or(file);
            assert!(root.join(beginning).exists(), "{file}");
        }
    }
}
