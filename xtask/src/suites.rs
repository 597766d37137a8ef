//! The workspace's tests: built together, and several programs of them run at once.
//!
//! Answers: which test programs are there, and what did each say? Invariant: every program that cargo built for a
//! test is run, a program that ends without saying how its tests went has failed, and what it printed is shown in one
//! piece when it has ended.

use std::{
    collections::VecDeque,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::children::{Children, cargo};

/// A test program.
#[derive(Debug)]
pub(crate) struct Suite {
    /// `pinion-agent`, or `lab` for a file or directory of `tests/tests`.
    name: String,
    program: PathBuf,
    arguments: Vec<&'static str>,
    /// Its package's directory, where cargo would start it.
    package: PathBuf,
}

/// How a suite went.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) name: String,
    /// What it printed, on either stream.
    pub(crate) text: String,
    pub(crate) succeeded: bool,
    pub(crate) took: Duration,
}

/// Builds all of them; those that `cargo xtask test` runs.
///
/// # Errors
/// They do not compile.
pub(crate) fn build(root: &Path, children: &Children, scratch: &Path) -> Result<Vec<Suite>> {
    let mut suites = build_all(root, children, scratch)?;
    suites.retain(|suite| suite.name != DRILLS);
    suites.push(examples(root));
    // The slowest begin first, so that none of them runs alone at the end.
    suites.sort_by_key(|suite| LONG.iter().position(|name| *name == suite.name).unwrap_or(LONG.len()));
    Ok(suites)
}

/// Builds all of them; the tests in a module of the suite of drills, such as `soak::`, which print what they find.
///
/// # Errors
/// They do not compile.
pub(crate) fn drill(root: &Path, children: &Children, scratch: &Path, module: &'static str) -> Result<Suite> {
    let suites = build_all(root, children, scratch)?;
    let mut suite = suites.into_iter().find(|suite| suite.name == DRILLS).context("there is no suite of drills")?;
    suite.arguments = vec![module, "--nocapture"];
    Ok(suite)
}

fn build_all(root: &Path, children: &Children, scratch: &Path) -> Result<Vec<Suite>> {
    let built = scratch.join("built.json");
    let mut command = cargo(root);
    command.args(["test", "--locked", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]);
    command.stdout(File::create(&built).with_context(|| format!("write {}", built.display()))?);
    children.run_well(&mut command)?;
    let text = fs::read_to_string(&built).with_context(|| format!("read {}", built.display()))?;
    Ok(text.lines().filter_map(suite).collect())
}

/// Runs them, so many at once; `told` hears of each as it ends.
///
/// # Errors
/// One cannot be started, or somebody wants this to end.
pub(crate) fn run(
    suites: Vec<Suite>,
    children: &Children,
    scratch: &Path,
    environment: impl Fn(&mut Command) + Sync,
    mut told: impl FnMut(Told) + Send,
) -> Result<()> {
    let waiting = Mutex::new(VecDeque::from(suites));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let told: Mutex<&mut (dyn FnMut(Told) + Send)> = Mutex::new(&mut told);
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                scope.spawn(|| {
                    while let Some(suite) = next() {
                        let one = suite.run(children, scratch, &environment)?;
                        told.lock().unwrap_or_else(PoisonError::into_inner)(one);
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        lanes.into_iter().try_for_each(|lane| lane.join().unwrap_or_else(|_| bail!("a test program's thread failed")))
    })
}

impl Suite {
    fn run(&self, children: &Children, scratch: &Path, environment: &impl Fn(&mut Command)) -> Result<Told> {
        let began = Instant::now();
        // Programs of two packages may have one name.
        let program = self.program.file_name().unwrap_or_default().display();
        let log = scratch.join(format!("{}-{program}.log", self.name));
        let file = File::create(&log).with_context(|| format!("write {}", log.display()))?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.package).env("CARGO_MANIFEST_DIR", &self.package);
        command.stdout(file.try_clone().context("share the log")?).stderr(file);
        environment(&mut command);
        let status = children.run(&mut command)?;
        let text = fs::read(&log).with_context(|| format!("read {}", log.display()))?;
        fs::remove_file(&log).with_context(|| format!("remove {}", log.display()))?;
        Ok(Told {
            name: self.name.clone(),
            text: String::from_utf8_lossy(&text).into_owned(),
            succeeded: status.success(),
            took: began.elapsed(),
        })
    }
}

/// Tests wait more than they work, and those of one program are several at once too: on two cores more programs would
/// take the time from each other that their tests count in.
const AT_ONCE: usize = 3;

/// What takes long by nature, and is for `cargo xtask drills`.
const DRILLS: &str = "drills";

/// Those that take longest, the longest first.
const LONG: &[&str] = &[
    "lab",
    "packages",
    "pinion_agent",
    "recipes",
    "steady",
    "web",
    "lab_itself",
    "ca_failures",
    "hostile",
    "booted",
    "commands",
    "services",
    "inventory",
];

/// A line of `--message-format=json`, as far as it matters here (The Cargo Book, External tools).
#[derive(Deserialize)]
struct Message {
    reason: String,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// The test program that a line tells of, if it does.
fn suite(line: &str) -> Option<Suite> {
    let message: Message = serde_json::from_str(line).ok()?;
    if message.reason != "compiler-artifact" || !message.profile?.test {
        return None;
    }
    let package = message.manifest_path?.parent()?.to_owned();
    Some(Suite { name: message.target?.name, program: message.executable?, arguments: vec![], package })
}

/// The examples in the docs, which cargo alone knows how to run.
fn examples(root: &Path) -> Suite {
    Suite {
        name: "examples".to_owned(),
        program: cargo(root).get_program().into(),
        arguments: vec!["test", "--locked", "--workspace", "--doc"],
        package: root.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_program_is_told_from_what_else_is_built() {
        let line = |test: bool, executable: &str| {
            format!(
                "{{\"reason\":\"compiler-artifact\",\"manifest_path\":\"/src/tests/Cargo.toml\",\"target\":{{\"kind\":\
                 [\"test\"],\"name\":\"lab\"}},\"profile\":{{\"opt_level\":\"0\",\"test\":{test}}},\
                 \"executable\":{executable}}}"
            )
        };
        let found = suite(&line(true, "\"/target/debug/deps/lab-1\"")).expect("a suite");
        assert_eq!((found.name.as_str(), found.package.as_path()), ("lab", Path::new("/src/tests")));
        assert!(suite(&line(false, "\"/target/debug/lab\"")).is_none());
        assert!(suite(&line(true, "null")).is_none());
        assert!(suite("{\"reason\":\"build-finished\",\"success\":true}").is_none());
        assert!(suite("warning: something").is_none());
    }
}
