//! The project's own commands.
//!
//! Invariant: depends on none of the project's crates, so that code generation and the test command
//! work, and say what is wrong, while those do not compile.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program")]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

mod bench;
mod binaries;
mod children;
mod codegen;
mod demo;
mod dist;
mod drills;
mod faults;
mod lab;
mod mutants;
mod suites;
mod test;
mod tidy;
mod tools;

/// Pinion's own commands: how it is tested, shown, measured and built.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check everything: format, lints, docs, generated code, unit and end-to-end tests.
    ///
    /// Installs what the tests need and the machine lacks (nginx, haproxy, caddy, postgresql, postfix, dovecot, mariadb, slapd,
    /// vsftpd, dockerd, openssl, chromium, lxc, debootstrap and QEMU with apt-get, as root or with sudo; step-ca, step and
    /// Traefik with Go, axe-core with npm, into target/tools), says so as it goes, and ends with the line `N passed, N failed`. Nothing is skipped: an ignored test counts as failed.
    Test {
        /// Fail when something is missing instead of installing it.
        #[arg(long)]
        no_install: bool,
    },
    /// Show it: a controller, two guests, their services; issue, install, serve, renew, restart.
    ///
    /// Needs nothing but Rust and a C compiler. Everything runs as you, in a temporary directory, on
    /// loopback ports, and is gone afterwards. Uses nginx for one guest when the machine has it.
    Demo,
    /// A Proxmox-like host with guests, in namespaces of its own.
    ///
    /// Needs root, and installs what the tests need where it is missing, as `test` does. The first time it builds the
    /// guests' file systems in target/lab, which takes minutes; from then on it is up in half a minute.
    Lab {
        #[command(subcommand)]
        verb: LabVerb,
    },
    /// Attack it while it is in use: cut its power, kill it, fail its disks; ends with what was torn and lost.
    ///
    /// Needs root for the disks, nginx, and a quarter of an hour. `--seed N` repeats the random moments of another
    /// run, `--short` does a little of everything, and `kills`, `reader` or `disk` one part alone.
    Faults {
        /// Handed to the attacking program.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Do what takes long by nature: upgrades, all faults, half an hour without quorum, half an hour of renewals.
    ///
    /// Each is to be run before a change of its subject lands (CONTRIBUTING.md). Ends with the line `N passed, N failed`.
    Drills {
        /// These alone, instead of all.
        subjects: Vec<drills::Subject>,
    },
    /// Change the sources in a copy, one thing after the other, and see whether the unit tests notice.
    ///
    /// Needs cargo-mutants (`cargo install cargo-mutants --locked`) and minutes for each module. Prints how many changes
    /// were caught, and fails where that is less than 95 in a hundred.
    Mutants {
        /// Modules: verify, token, identity, planner, plan, ledger, admin, link; none means all.
        #[arg(value_name = "MODULE")]
        modules: Vec<String>,
        /// Handed to cargo-mutants.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Measure it against its budgets, or against an earlier build, with release builds.
    Bench(bench::Options),
    /// Generate proto/src/gen from the .proto files, without protoc, and docs/reference from the programs.
    Codegen {
        /// Only compare, and fail when they differ.
        #[arg(long)]
        check: bool,
    },
    /// Check what ARCHITECTURE.md promises about the source: its map, sizes of files, circles, names.
    ///
    /// What may break a rule is listed with a reason in xtask/src/tidy/exceptions.rs, a list that only gets shorter.
    Tidy {
        /// Print the source's figures instead.
        #[arg(long)]
        report: bool,
        /// Another checkout.
        #[arg(long, value_name = "DIRECTORY")]
        root: Option<PathBuf>,
    },
    /// Build a release into target/dist: Debian packages, the agent for other distributions, sums, and what it all is made from.
    ///
    /// Needs a machine with apt-get; installs debhelper, pip and, into target/tools, what links for the oldest system that
    /// the packages are for. Prints each file and its size.
    Dist {
        /// Sign SHA256SUMS with this key of GnuPG's.
        #[arg(long, value_name = "KEY")]
        sign: Option<String>,
        /// Only the Debian packages that the tests install, of debug builds that are there already.
        #[arg(long, conflicts_with = "sign")]
        for_tests: bool,
    },
}

#[derive(Debug, Subcommand)]
enum LabVerb {
    /// Start it in the background.
    Up {
        /// With 1001 in a real, emulated machine: a minute or two more.
        #[arg(long)]
        vm: bool,
        /// With every recipe at work: seven guests, Traefik among them, and Pinion installed. Builds Traefik once.
        #[arg(long, conflicts_with = "vm")]
        all: bool,
    },
    /// Have it until Ctrl-C.
    Run {
        /// With 1001 in a real, emulated machine: a minute or two more.
        #[arg(long)]
        vm: bool,
        /// With every recipe at work: seven guests, Traefik among them, and Pinion installed. Builds Traefik once.
        #[arg(long, conflicts_with = "vm")]
        all: bool,
    },
    /// A shell in a guest (101, 103, 1001, 1002) or on the lab's `host`.
    Shell {
        /// Its number, or `host`.
        guest: String,
    },
    /// End it, and remove what a killed one has left.
    Down,
}

impl LabVerb {
    fn words(&self) -> Vec<&str> {
        match self {
            Self::Up { vm, all } => Self::with("up", *vm, *all),
            Self::Run { vm, all } => Self::with("run", *vm, *all),
            Self::Shell { guest } => vec!["shell", guest],
            Self::Down => vec!["down"],
        }
    }

    fn with(word: &'static str, vm: bool, all: bool) -> Vec<&'static str> {
        let flags = [vm.then_some("--vm"), all.then_some("--all")];
        [Some(word)].into_iter().chain(flags).flatten().collect()
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask/ is in the project's root")?;
    match &arguments.verb {
        Verb::Test { no_install } => test::run(root, !no_install),
        Verb::Demo => demo::run(root),
        Verb::Lab { verb } => lab::run(root, &verb.words()),
        Verb::Faults { arguments } => faults::run(root, arguments),
        Verb::Drills { subjects } => drills::run(root, subjects),
        Verb::Mutants { modules, arguments } => mutants::run(root, modules, arguments),
        Verb::Bench(options) => bench::run(root, options),
        Verb::Codegen { check } => codegen::run(root, *check).map(|()| ExitCode::SUCCESS),
        Verb::Tidy { report, root: other } => tidy::run(other.as_deref().unwrap_or(root), *report),
        Verb::Dist { for_tests: true, .. } => dist::for_tests(root).map(|()| ExitCode::SUCCESS),
        Verb::Dist { sign, .. } => dist::run(root, sign.as_deref()).map(|()| ExitCode::SUCCESS),
    }
}

/// The command lines in the documents, as the suite `documents` finds those of the programs.
#[cfg(test)]
#[path = "../../tests/tests/documents/shown.rs"]
mod shown;

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, error::ErrorKind};

    use super::*;

    #[test]
    fn every_command_of_xtask_in_the_documents_is_one() {
        let refusal = |shown: &shown::Shown| {
            // `cargo xtask` is its name, in one word.
            let words = std::iter::once("cargo xtask").chain(shown.words.iter().skip(2).map(String::as_str));
            let error = Arguments::command().try_get_matches_from(words).err()?;
            let is_help = matches!(
                error.kind(),
                ErrorKind::DisplayHelp
                    | ErrorKind::MissingSubcommand
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            );
            (!is_help).then(|| error.to_string())
        };
        let (refused, count) = shown::refused(&["cargo xtask"], refusal);
        assert!(refused.is_empty(), "{}", refused.join("\n"));
        assert!(count > 30, "only {count} commands were found");
    }
}
