//! Stand-ins for `pct`, `qm` and `pvesh`: the real tools' grammar, output, exit codes and failures, over
//! `lxc-*` and the guest agent's own protocol.
//!
//! Answers: does a program that drives the tools of Proxmox drive these? Invariant: they are never more
//! helpful than the real ones. What those would refuse is refused with the same words; what those let pass
//! in silence passes in silence. Facts are from pve-container's `PVE/CLI/pct.pm`, qemu-server's
//! `PVE/CLI/qm.pm` and `PVE/API2/Qemu/Agent.pm`, pve-common's `CLIHandler.pm`, `JSONSchema.pm` and
//! `RESTEnvironment.pm`, and pve-manager's `PVE/CLI/pvesh.pm`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what command line programs do")]

mod agent;
mod grammar;
mod mischief;
mod node;
pub mod pct;
pub mod pvesh;
pub mod qm;
mod start;
pub mod task;

use std::{env, process::ExitCode};

use rustix::process::geteuid;
use serde_json::Value;

pub use mischief::{DIRECTORY as MISCHIEF, Mischief};

/// How a tool ends when it does not succeed: words for standard error, and its exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// Lines, each with its end.
    pub text: String,
    /// Never 0, except for failures that the real tool hides.
    pub code: u8,
}

impl Failure {
    /// Perl's `die` where no system call has failed before.
    fn died(text: impl Into<String>) -> Self {
        Self { text: text.into() + "\n", code: 255 }
    }

    /// Perl's `die` after a look at a file that is not there: it ends with that `errno`.
    fn no_such_file(text: impl Into<String>) -> Self {
        Self { text: text.into() + "\n", code: 2 }
    }
}

/// Runs a tool: mischief first, then root, then its work.
fn run(tool: &str, work: impl FnOnce(&[String]) -> Result<u8, Failure>) -> ExitCode {
    let arguments: Vec<String> = env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(code) = mischief::done(tool, &arguments) {
        return ExitCode::from(code);
    }
    let done = if geteuid().is_root() { work(&arguments) } else { Err(Failure::died("please run as root")) };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprint!("{}", failure.text);
            ExitCode::from(failure.code)
        }
    }
}

/// With its keys in order, as Perl's `canonical` prints it, whatever order they came in.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            keys.into_iter().map(|key| (key.clone(), sorted(&map[key]))).collect()
        }
        Value::Array(values) => values.iter().map(sorted).collect(),
        other => other.clone(),
    }
}
