//! The command line of `pinion-agent`: a file a verb.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where the program speaks to people")]

pub mod wait;
mod ask;
mod config;
mod join;
mod recipe;
mod seal;
mod status;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use crate::{config::Config, run};
use clap::{Parser, Subcommand};
use pinion_proto::{causes::chain, clock::SystemClock, daemon, exit::Exit, id::PlacementId, stage::Stage};

/// Keeps the TLS certificates of this guest alive: makes the keys, installs what the controller
/// orders, reloads the services and looks at what they really serve.
///
/// Exit codes: 0 reached, 1 internal failure, 2 usage or bad config, 3 timed out (still trying),
/// 4 blocked (needs a person), 5 the agent's daemon can't be reached, 6 no such name.
#[derive(Debug, Parser)]
#[command(name = "pinion-agent", version)]
struct Args {
    /// Work below this directory instead of `/`: config, state, sockets and every installed file.
    #[arg(long, global = true, default_value = "/", value_name = "DIR")]
    root: PathBuf,
    /// Print JSON on stdout.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon: link to the controller and keep every placement served.
    Run,
    /// Get this guest's identity with a one-time token, read from stdin or a file, never from the command line.
    ///
    /// Make the token on the host: `pinion token create --guest VMID`. It is good once, for ten minutes.
    Join {
        /// Read the token from this file instead of stdin.
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
    /// Wait until certificates are here; for scripts that need them.
    ///
    /// Returns 0 as soon as every named certificate has come to the stage; waits also for one that the
    /// manifest does not have yet. Returns 4 at once when one is blocked and says why.
    Await {
        /// Certificates (`docker`) or placements (`docker@1001`) of this guest.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// How far: issued, installed, reloaded or served. One that cannot be looked at ends at `reloaded`.
        #[arg(long, value_name = "STAGE", default_value = "installed")]
        until: Stage,
        /// How long to wait, for example 90s or 5m.
        #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
        timeout: std::time::Duration,
    },
    /// Show what this guest holds, how far each placement is, and what is wrong.
    Status,
    /// Look at agent.toml: what is wrong with it.
    #[command(subcommand)]
    Config(config::Verb),
    /// Look at recipes: which there are, and what is wrong with one that you write.
    #[command(subcommand)]
    Recipe(recipe::Verb),
    /// Make this guest safe to be copied or turned into a template.
    ///
    /// Removes its identity, every key and certificate that Pinion placed here and nobody changed since, and what is
    /// remembered of them. The agent, its unit and agent.toml stay; a copy waits for its own join. The daemon has to
    /// be stopped before. Returns 4, and says why, when not all of it can be removed.
    Seal,
}

/// Parses the command line, does what it says, and tells how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    // One thread: the agent's work is waiting. Slow steps go to threads that end when they are idle.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(16)
        .thread_keep_alive(std::time::Duration::from_secs(2))
        .thread_stack_size(512 * 1024)
        .build();
    match runtime {
        Ok(runtime) => {
            let exit = runtime.block_on(dispatch(args));
            // A hook that does not end must not keep the command from ending.
            runtime.shutdown_background();
            exit.into()
        }
        Err(error) => {
            eprintln!("pinion-agent: cannot start: {error}");
            Exit::Internal.into()
        }
    }
}

async fn dispatch(args: Args) -> Exit {
    if let Verb::Config(verb) = &args.verb {
        return config::config(&args.root, verb, args.json);
    }
    let config = match Config::load(&args.root) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("pinion-agent: {}", chain(&error));
            return Exit::Usage;
        }
    };
    match args.verb {
        Verb::Run => {
            daemon::log();
            match run::run(config, Arc::new(SystemClock)).await {
                Ok(()) => Exit::Reached,
                Err(error) => {
                    eprintln!("pinion-agent: {error:#}");
                    Exit::Internal
                }
            }
        }
        Verb::Join { token_file } => join::join(&config, token_file.as_deref(), args.json).await,
        Verb::Await { names, until, timeout } => match wait::names(&names) {
            Ok(names) => wait::wait(&config, &names, until, timeout, args.json).await,
            Err(error) => {
                eprintln!("pinion-agent: {error}");
                Exit::Usage
            }
        },
        Verb::Status => status::status(&config, args.json).await,
        // It was done above, because it reads the file itself.
        Verb::Config(verb) => config::config(&args.root, &verb, args.json),
        Verb::Recipe(verb) => recipe::recipe(&config, verb, args.json),
        // Nothing else is to be done meanwhile, so it may block.
        Verb::Seal => seal::seal(&config, args.json),
    }
}

/// Prints a document on stdout as JSON.
fn print_json(document: &impl serde::Serialize) {
    match serde_json::to_string(document) {
        Ok(text) => println!("{}", pinion_proto::printable::json(&text)),
        Err(error) => eprintln!("pinion-agent: cannot print the answer: {error}"),
    }
}

/// A name on the command line: a certificate of this guest, or a placement that must be here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Which certificate.
    pub certificate: pinion_proto::id::CertificateName,
    /// The guest, where it was said.
    pub guest: Option<pinion_proto::id::Guest>,
}

impl std::str::FromStr for Name {
    type Err = pinion_proto::id::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('@') {
            let placement: PlacementId = text.parse()?;
            Ok(Self { certificate: placement.certificate, guest: Some(placement.guest) })
        } else {
            Ok(Self { certificate: text.parse()?, guest: None })
        }
    }
}
