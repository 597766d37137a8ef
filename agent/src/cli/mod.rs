//! The command line of `pinion-agent`: a file a verb.

pub mod wait;
mod ask;
mod completions;
mod config;
mod documents;
mod join;
mod name;
mod print;
mod recipe;
mod seal;
mod status;
#[cfg(test)]
mod tests;

use std::{env, path::PathBuf, process::ExitCode, sync::Arc};

use crate::{config::Config, run};
use clap::{
    CommandFactory as _, Parser, Subcommand,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use completions::Shell;
#[cfg(feature = "schema")]
pub use documents::documents;
pub use name::Name;
use pinion_proto::{
    clock::SystemClock,
    daemon,
    exit::Exit,
    failure::{Failure, is_json_asked},
    output,
    stage::Stage,
};
use print::{print_failed, print_json};

/// Keeps the TLS certificates of this guest alive.
///
/// The agent creates the private keys here, installs the certificates that the controller sends, reloads the services,
/// and checks what they serve.
#[derive(Debug, Parser)]
#[command(name = "pinion-agent", version, after_help = Exit::summary())]
struct Args {
    /// Use DIR in place of `/` for configuration, state, sockets and every installed file.
    #[arg(long, global = true, default_value = "/", value_name = "DIR")]
    root: PathBuf,
    /// Print JSON on standard output; text for people goes to standard error.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the agent: stay linked to the controller, and keep every placement served.
    ///
    /// The unit pinion-agent.service runs this command as root.
    Run,
    /// Get this guest's identity with a join token from standard input.
    ///
    /// Create the token on the host with `pinion token create --guest VMID`. It works once, within ten minutes. This command
    /// never reads a token from the command line, where other users could see it. On a terminal it asks for the token and
    /// does not show it.
    Join {
        /// Read the token from FILE instead of standard input.
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
    /// Wait until certificates have reached a stage. For scripts that need them.
    ///
    /// Exits with 0 as soon as every certificate has reached the stage, with 3 when the time is up, and with 4 at once when
    /// one is blocked, and says why. Also waits for a certificate that is not in the manifest yet; exits with 6 if it is not
    /// there when the time is up.
    #[command(after_long_help = "Example:\n  pinion-agent await docker --until installed --timeout 5m")]
    Await {
        /// Certificates (`docker`) or placements (`docker@1001`) of this guest.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Wait for this stage. A placement without a probe ends at `reloaded`.
        #[arg(long, value_name = "STAGE", default_value = "installed", value_parser = stages())]
        until: Stage,
        /// How long to wait, for example 90s or 5m.
        #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
        timeout: std::time::Duration,
    },
    /// Show this guest's placements, the worst first: validity, stage, expiry, names, and what is wrong.
    Status,
    /// Check agent.toml.
    #[command(subcommand)]
    Config(config::Verb),
    /// List the recipes, show what one does, or check your own.
    #[command(subcommand)]
    Recipe(recipe::Verb),
    /// Prepare this guest for copying, or for turning it into a template.
    ///
    /// Removes the identity, every key and certificate that Pinion installed here and nobody has changed since, and the
    /// agent's records of them. The agent, its unit and agent.toml stay; a copy joins with its own token. Stop the daemon
    /// first. Exits with 4, removes nothing, and says why if something cannot be removed.
    Seal,
    /// Print a script with which your shell completes this program's commands and options.
    #[command(
        after_long_help = "Examples:\n  pinion-agent completions bash > /etc/bash_completion.d/pinion-agent\n  source <(pinion-agent completions zsh)\n  pinion-agent completions fish > ~/.config/fish/completions/pinion-agent.fish"
    )]
    Completions {
        /// Your shell.
        shell: Shell,
    },
}

/// The stages that can be waited for; `pending` is understood, and makes no sense to offer.
fn stages() -> impl TypedValueParser<Value = Stage> {
    let values = Stage::ALL.map(|stage| PossibleValue::new(stage.as_str()).hide(stage == Stage::Pending));
    PossibleValuesParser::new(values).try_map(|word| word.parse())
}

/// All commands and options, with their help.
#[must_use]
pub fn command() -> clap::Command {
    Args::command()
}

/// Runs the command line, and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    let json = args.json;
    // One thread: the agent's work is waiting. Slow steps go to threads that end when they are idle.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(16)
        .thread_keep_alive(std::time::Duration::from_secs(2))
        .thread_stack_size(512 * 1024)
        .build();
    match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(dispatch(args));
            // A hook that does not end must not keep the command from ending.
            runtime.shutdown_background();
            outcome.unwrap_or_else(|failure| failure.report("pinion-agent", json)).into()
        }
        Err(error) => Failure::new(Exit::Internal, "cannot start").cause(error).report("pinion-agent", json).into(),
    }
}

/// Says what is wrong with a command line, or prints the help that was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    // In the colours that the terminal has.
    output::check(error.print());
    if error.use_stderr() && is_json_asked(env::args_os()) {
        print_json(&Failure::of_usage(&error.render().to_string()).within(serde_json::json!({})));
    }
    u8::try_from(error.exit_code()).unwrap_or(Exit::Usage.code()).into()
}

async fn dispatch(args: Args) -> Result<Exit, Failure> {
    if let Verb::Config(verb) = &args.verb {
        return Ok(config::config(&args.root, verb, args.json));
    }
    if let Verb::Completions { shell } = args.verb {
        return Ok(completions::completions(shell, command()));
    }
    let config = Config::load(&args.root).map_err(|error| error.failure())?;
    match args.verb {
        Verb::Run => {
            daemon::log();
            let run = run::run(config, Arc::new(SystemClock)).await;
            run.map_err(|error| Failure::of(Exit::Internal, error.as_ref()))?;
            Ok(Exit::Reached)
        }
        Verb::Join { token_file } => join::join(&config, token_file.as_deref(), args.json).await,
        Verb::Await { names, until, timeout } => match wait::names(&names) {
            Ok(names) => wait::wait(&config, &names, until, timeout, args.json).await,
            Err(error) => Err(Failure::of(Exit::Usage, &error)),
        },
        Verb::Status => status::status(&config, args.json).await,
        // It was done above, because it reads the file itself.
        Verb::Config(verb) => Ok(config::config(&args.root, &verb, args.json)),
        Verb::Recipe(verb) => recipe::recipe(&config, verb, args.json),
        // As this.
        Verb::Completions { shell } => Ok(completions::completions(shell, command())),
        // Nothing else is to be done meanwhile, so it may block.
        Verb::Seal => Ok(seal::seal(&config, args.json)),
    }
}
