//! `cargo xtask test`: every check there is, in one count.
//!
//! Invariant: the last line is `N passed, N failed`, the exit code is 0 only when none failed, and
//! nothing is skipped in silence: a check that could not run, and a test that is ignored, has failed.

use std::{
    ffi::OsString,
    path::Path,
    process::{Command, ExitCode},
    sync::LazyLock,
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};

use crate::{
    binaries,
    children::{Children, cargo, shown},
    codegen, dist, suites, tidy, tools,
};

/// Runs the checks; an error ends the count early and counts as one failure.
pub(crate) fn run(root: &Path, may_install: bool) -> Result<ExitCode> {
    let mut tally = Tally::default();
    if let Err(error) = checks(root, may_install, &mut tally) {
        eprintln!("error: {error:#}");
        tally.failed += 1;
    }
    Ok(tally.end())
}

fn checks(root: &Path, may_install: bool, tally: &mut Tally) -> Result<()> {
    let children = Children::watched()?;
    say("the source: cargo xtask tidy");
    tally.count("tidy", tidy::check(root)?);
    say("what the tests need");
    let wanted = [&tools::STEP_CA, &tools::STEP, &tools::TRAEFIK];
    let tools = tools::ensure(root, &children, may_install, &wanted)?;
    tools::ensure_machine(&children, may_install)?;
    tools::ensure_packaging(&children, may_install)?;
    tools::ensure_browser(root, &children, may_install)?;
    thread::scope(|scope| {
        // Minutes of Go's, in the shadow of everything that cargo builds.
        let tools = scope.spawn(|| tools.build(&children));
        let tools = || tools.join().unwrap_or_else(|_| bail!("the thread that builds with Go failed"));
        builds(root, &children, tools, tally)
    })
}

/// What needs no Go; then the tests, for which it is waited.
fn builds(root: &Path, children: &Children, tools: impl FnOnce() -> Result<OsString>, tally: &mut Tally) -> Result<()> {
    let mut check = |name: &str, command: &mut Command| -> Result<bool> {
        say(&format!("{name}: {}", shown(command)));
        let passed = children.run(command)?.success();
        tally.count(name, passed);
        Ok(passed)
    };
    check("format", cargo(root).args(["fmt", "--all", "--check"]))?;
    check("lints", cargo(root).args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    let mut docs = cargo(root);
    docs.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--locked", "--no-deps", "--workspace"]);
    check("docs", &mut docs)?;
    // The harness starts the programs, and cargo builds no other package's for a test.
    let built = check("build", cargo(root).args(["build", "--locked", "--workspace", "--bins"]))?;

    say("generated code: cargo xtask codegen --check");
    tally.attempt("generated code", &codegen::protocol(root, true));

    if built {
        tally.attempt("the reference", &codegen::reference(root, children, true));
        tests(root, children, tools, tally)
    } else {
        // Tests against yesterday's programs would prove nothing.
        tally.count("tests", false);
        Ok(())
    }
}

/// All unit, integration and end-to-end tests.
fn tests(root: &Path, children: &Children, tools: impl FnOnce() -> Result<OsString>, tally: &mut Tally) -> Result<()> {
    // Whatever a killed test leaves is in here and goes with it. The name is short because paths of
    // Unix sockets are at most 107 bytes (unix(7)).
    let scratch = tempfile::Builder::new().prefix("pinion-").tempdir().context("make a directory for the tests")?;
    say("the agent for guests that have nothing");
    let agent = binaries::test_agent(root, children).context("build the static agent")?;
    say("packages of both programs, in two versions");
    dist::packages_for_tests(root, children, agent.clone()).context("make packages")?;
    say("the file systems of the lab's guests");
    let trees = children.run(Command::new(binaries::target(root).join("debug/lab")).arg("trees"))?;
    tally.count("the lab's file systems", trees.success());
    say("the tests' programs");
    let suites = suites::build(root, children, scratch.path()).context("build the tests")?;
    say("what Go builds");
    let tools = tools()?;
    say("tests");
    let environment = |command: &mut Command| {
        command.env("PINION_STATIC_AGENT", &agent).env("PINION_TOOLS", &tools).env("TMPDIR", scratch.path());
        command.env("RUST_TEST_THREADS", TESTS_AT_ONCE);
    };
    suites::run(suites, children, scratch.path(), environment, |told| {
        say(&format!("{}: {:.1} s", told.name, told.took.as_secs_f64()));
        print!("{}", told.text);
        tally.add_suite(&told.text, told.succeeded);
    })?;
    scratch.close().context("remove the tests' directory: did a test leave a mount behind?")
}

/// What passed and what failed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: usize,
    failed: usize,
}

impl Tally {
    /// Prints the closing line; the exit code.
    pub(crate) fn end(&self) -> ExitCode {
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Adds one check.
    pub(crate) fn count(&mut self, name: &str, passed: bool) {
        println!("{name}: {}", if passed { "passed" } else { "FAILED" });
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }

    /// Adds one check that says why it failed.
    fn attempt(&mut self, name: &str, result: &Result<()>) {
        if let Err(error) = result {
            eprintln!("{error:#}");
        }
        self.count(name, result.is_ok());
    }

    /// Adds what a test program said; one that ended without saying how it went has failed.
    pub(crate) fn add_suite(&mut self, text: &str, succeeded: bool) {
        let mut sum = Self::default();
        text.lines().for_each(|line| sum.add_result_line(line));
        if !succeeded && sum.failed == 0 {
            println!("it ended without a result");
            sum.failed = 1;
        }
        self.passed += sum.passed;
        self.failed += sum.failed;
    }

    /// Adds `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s`.
    fn add_result_line(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        for part in counts.split(';') {
            let Some((number, word)) = part.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            match word {
                "passed" => self.passed += number,
                // A test that is not run proves nothing.
                "failed" | "ignored" => self.failed += number,
                _ => {}
            }
        }
    }
}

/// In one test program. Tests wait for programs and services more than they work.
const TESTS_AT_ONCE: &str = "3";

fn say(what: &str) {
    let seconds = START.elapsed().as_secs();
    println!("\n=== {:02}:{:02} {what}", seconds / 60, seconds % 60);
}

/// When the command started, for people who wonder what takes so long.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_summed_and_ignored_tests_count_as_failed() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
            "test test result: 9 passed ... ok",
        ] {
            tally.add_result_line(line);
        }
        assert_eq!(tally, Tally { passed: 13, failed: 3 });
    }

    #[test]
    fn a_program_that_ended_without_a_result_has_failed() {
        let mut tally = Tally::default();
        tally.add_suite("running 3 tests\n", false);
        tally.add_suite("test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n", false);
        tally.add_suite("test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n", true);
        assert_eq!(tally, Tally { passed: 3, failed: 2 });
    }
}
