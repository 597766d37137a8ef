//! The command line of `pinion`: a file a verb.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where the program speaks to people")]

mod ask;
mod backup;
mod channel;
mod config;
mod ensure;
mod events;
mod freeze;
mod guest;
mod identity;
mod issuer;
mod manifest;
mod plan;
mod purge;
mod serve;
mod show;
mod status;
mod table;
mod token;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use pinion_proto::{causes::chain, clock::Timestamp, exit::Exit, stage::Stage};

use crate::{
    admin::protocol::{Answer, Ensure, Selection},
    config::Config,
};
use ask::{Conversation, ask};

/// Keeps the TLS certificates of every container and virtual machine on this host alive.
///
/// The manifest says which certificate goes where; `pinion serve` gets them from the issuer and pushes
/// them to the agent in each guest, which installs them, reloads the service and looks at what it serves.
///
/// Exit codes: 0 reached, 1 internal failure, 2 usage or bad manifest or config, 3 timed out (still
/// trying), 4 blocked (needs a person), 5 the daemon can't be reached, 6 no such name.
#[derive(Debug, Parser)]
#[command(name = "pinion", version)]
struct Args {
    /// Work below this directory instead of `/`: config, state and socket.
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
    /// Run the daemon: plan, issue, push, look, for ever.
    Serve,
    /// Run the root process: what `pinion serve`, which is not root, may have done through pct and qm, for ever.
    ///
    /// It tells which guests there are, looks into them, brings the packaged agent and a join token in, and holds the key of
    /// the identity root. It can be asked for nothing else.
    Channel,
    /// Show what would be done now, and why; touches nothing.
    Plan,
    /// Show every placement: stage, names, expiry, serial, next renewal, and what is wrong.
    Status {
        /// Certificates (`docker`) or placements (`docker@1001`); none means all.
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Only those in this guest: a VMID, a name, or `host`.
        #[arg(long, value_name = "G")]
        guest: Option<String>,
    },
    /// Make it so, wait, and show progress: the one call for scripts.
    ///
    /// Tries at once what had been put off, and returns when every placement meant has come to the stage.
    Ensure {
        /// Certificates (`docker`) or placements (`docker@1001`); none means all.
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Only those in this guest: a VMID, a name, or `host`.
        #[arg(long, value_name = "G")]
        guest: Option<String>,
        /// Get new certificates, also where the old ones are good.
        #[arg(long, alias = "force")]
        renew: bool,
        /// Renew at once, also outside the placements' windows.
        #[arg(long, requires = "renew")]
        now: bool,
        /// How far: issued, installed, reloaded or served. One that cannot be looked at ends at `reloaded`.
        #[arg(long, value_name = "STAGE", default_value = "served")]
        until: Stage,
        /// How long to wait, for example 90s or 10m.
        #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
        timeout: Duration,
    },
    /// Show a guest with all of its placements, a certificate's placements, or one placement, whole.
    Show {
        /// A VMID, a guest's name or `host`; a certificate (`docker`) or a placement (`docker@1001`).
        #[arg(value_name = "NAME")]
        name: String,
        /// Begin after so many placements.
        #[arg(long, value_name = "N", default_value_t = 0)]
        from: usize,
        /// Show so many placements at most, up to 100.
        #[arg(long, value_name = "N", default_value_t = 20)]
        count: usize,
    },
    /// Remove the files of placements that are no longer in the manifest.
    Purge {
        /// Retired certificates (`docker`) or placements (`docker@1001`), as `pinion status` shows them.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Do nothing disruptive until a moment, or until the freeze is lifted.
    ///
    /// Units and containers are not restarted, secrets of Swarm services not rotated, and no hook is run. Certificates
    /// are still renewed, files replaced and services reloaded where that does not disturb them. In the last day of what
    /// a service serves it is disturbed all the same if it has to be.
    Freeze {
        /// Certificates (`docker`) or placements (`docker@1001`); none means all.
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Only those in this guest: a VMID, a name, or `host`.
        #[arg(long, value_name = "G")]
        guest: Option<String>,
        /// Until then: 2026-12-24T18:00Z, "2026-12-24 18:00" by this host's clock, or 8h from now; until it is lifted
        /// when not given.
        #[arg(long, value_name = "T", value_parser = freeze::moment)]
        until: Option<Timestamp>,
        /// Lift these freezes; without NAME and `--guest` all of them.
        #[arg(long, conflicts_with = "until")]
        lift: bool,
    },
    /// Guests and their identities.
    #[command(subcommand)]
    Guest(GuestVerb),
    /// Join tokens, for joining a guest by hand.
    #[command(subcommand)]
    Token(TokenVerb),
    /// The manifest's file.
    #[command(subcommand)]
    Manifest(ManifestVerb),
    /// Write all that this installation cannot be without into a file, mode 0600: identities, keys of Pinion's CAs and of
    /// shared certificates, the manifest, controller.toml and its password files. The controller may run.
    Backup {
        /// A file that is not there yet.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Put a backup back, all of it or nothing. The controller must not run.
    Restore {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Replace what is there; it is kept beside it.
        #[arg(long)]
        yes: bool,
    },
    /// The settings, `controller.toml`.
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Who signs.
    #[command(subcommand)]
    Issuer(IssuerVerb),
    /// The root of the agents' identities.
    #[command(subcommand)]
    Identity(IdentityVerb),
    /// Show what happened.
    Events(EventsArgs),
}

#[derive(Debug, Subcommand)]
enum IdentityVerb {
    /// Have the next start of the controller make a new identity root, once.
    ///
    /// Where the root of before is there, agents are told to trust both, and the new one takes over at the first start
    /// after all of them do. Where it is lost, every guest has to join anew: restore /var/lib/pinion/shared from a backup
    /// instead, if there is one.
    NewRoot {
        /// A new root for the embedded CA instead, where that one is lost.
        #[arg(long)]
        embedded: bool,
        /// Give up the root of before at once, because its key is in the wrong hands: every guest has to join anew.
        #[arg(long)]
        at_once: bool,
        /// Yes, replace what everyone trusts.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
enum GuestVerb {
    /// Show every guest that has an identity, since when, and whether it is locked.
    List,
    /// Bring an agent and an identity into a guest through the hypervisor, step by step, until it is linked.
    ///
    /// Every step is safe to repeat. Guests that the manifest names are enrolled by themselves, unless
    /// `[proxmox] enroll` in controller.toml says otherwise.
    Enroll {
        /// The guest: a VMID or a name.
        #[arg(value_name = "G")]
        guest: String,
        /// How long to wait; the controller goes on afterwards.
        #[arg(long, default_value = "5m", value_parser = humantime::parse_duration, value_name = "TIME")]
        timeout: Duration,
    },
    /// Look at a guest now, because it was started or changed; for hookscripts. Returns at once.
    Wake {
        /// The guest: a VMID or a name.
        #[arg(value_name = "G")]
        guest: String,
    },
    /// Let a locked guest join again: it showed an identity that had been renewed, as a clone or a
    /// restored snapshot does. See to it first that only one of it runs.
    Unlock {
        /// The guest: a VMID, a name, or `host`.
        #[arg(value_name = "G")]
        guest: String,
    },
    /// Forget a guest: its identity is refused from now on, and its link ends.
    Forget {
        /// The guest: a VMID, a name, or `host`.
        #[arg(value_name = "G")]
        guest: String,
        /// Its keys may be in other hands: as `evict --compromised`.
        #[arg(long)]
        compromised: bool,
    },
    /// Put a guest out: its identity is refused, and it is brought in again only by a person.
    Evict {
        /// The guest: a VMID, a name, or `host`.
        #[arg(value_name = "G")]
        guest: String,
        /// Its keys may be in other hands: what it held is revoked where the issuer can, and shared certificates that it
        /// was part of get another key in all other places.
        #[arg(long)]
        compromised: bool,
    },
}

#[derive(Debug, Subcommand)]
enum TokenVerb {
    /// Print a token on stdout: one line, good once, for ten minutes, for this guest.
    ///
    /// Bring it into the guest through a channel that only you can use, and pipe it there into
    /// `pinion-agent join`; never write it on a command line.
    Create {
        /// The guest: a VMID, a name, or `host`.
        #[arg(long, value_name = "G")]
        guest: String,
    },
}

#[derive(Debug, Subcommand)]
enum ManifestVerb {
    /// Say everything that is wrong with a manifest, each problem with its line and column.
    Check {
        /// The file; the manifest in its usual place when none is given.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the manifest's JSON Schema, for editors.
    Schema,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Say everything that is wrong with controller.toml, each mistake with its line and column, and what does not fit
    /// this host: password files, addresses, issuers that the manifest names. Asks nobody and changes nothing.
    Check {
        /// End with 0 unless the daemons could not start: the rest is printed as warnings. For their units.
        #[arg(long)]
        start: bool,
    },
}

#[derive(Debug, Subcommand)]
enum IssuerVerb {
    /// Look whether each issuer could sign: reachability, root, provisioner, durations, clock.
    Check,
}

#[derive(Debug, clap::Args)]
struct EventsArgs {
    /// Go on showing events as they happen.
    #[arg(long, short)]
    follow: bool,
    /// How many of the last ones.
    #[arg(long, value_name = "N", default_value_t = 100)]
    last: usize,
}

/// What every verb needs.
struct Session {
    config: Config,
    json: bool,
}

/// Parses the command line, does what it says, and tells how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let serving = matches!(args.verb, Verb::Serve | Verb::Channel);
    let mut builder = if serving {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    match builder.enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(dispatch(args));
            runtime.shutdown_background();
            exit.into()
        }
        Err(error) => {
            eprintln!("pinion: cannot start: {error}");
            Exit::Internal.into()
        }
    }
}

async fn dispatch(args: Args) -> Exit {
    // What needs no configuration works without one.
    if let Verb::Manifest(ManifestVerb::Schema) = args.verb {
        return manifest::schema();
    }
    if let Verb::Manifest(ManifestVerb::Check { file: Some(file) }) = &args.verb {
        return manifest::check(file, args.json);
    }
    if let Verb::Config(ConfigVerb::Check { start }) = args.verb {
        return config::check(&args.root, start, args.json);
    }
    if let Verb::Restore { file, yes } = &args.verb {
        return backup::restore(&args.root, file, *yes, args.json);
    }
    let config = match Config::load(&args.root) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("pinion: {}", chain(&error));
            return Exit::Usage;
        }
    };
    let session = Session { config, json: args.json };
    match args.verb {
        Verb::Serve => serve::serve(session.config).await,
        Verb::Channel => channel::channel(session.config).await,
        Verb::Plan => plan::plan(&session).await,
        Verb::Status { names, guest } => status::status(&session, Selection { names, guest }).await,
        Verb::Ensure { names, guest, renew, now, until, timeout } => {
            let selection = Selection { names, guest };
            ensure::ensure(&session, Ensure { selection, renew, now, until }, timeout).await
        }
        Verb::Freeze { names, guest, until, lift } => {
            freeze::freeze(&session, Selection { names, guest }, until, lift).await
        }
        Verb::Show { name, from, count } => show::show(&session, name, from, count).await,
        Verb::Purge { names } => purge::purge(&session, names).await,
        Verb::Guest(GuestVerb::List) => guest::list(&session).await,
        Verb::Guest(GuestVerb::Enroll { guest, timeout }) => guest::enroll(&session, guest, timeout).await,
        Verb::Guest(GuestVerb::Wake { guest }) => guest::wake(&session, guest).await,
        Verb::Guest(GuestVerb::Unlock { guest }) => guest::unlock(&session, guest).await,
        Verb::Guest(GuestVerb::Forget { guest, compromised: false }) => guest::forget(&session, guest).await,
        Verb::Guest(GuestVerb::Forget { guest, compromised: true }) => guest::evict(&session, guest, true).await,
        Verb::Guest(GuestVerb::Evict { guest, compromised }) => guest::evict(&session, guest, compromised).await,
        Verb::Token(TokenVerb::Create { guest }) => token::create(&session, guest).await,
        Verb::Manifest(ManifestVerb::Check { .. }) => manifest::check(&session.config.manifest, session.json),
        Verb::Manifest(ManifestVerb::Schema) => manifest::schema(),
        Verb::Backup { file } => backup::take(&session.config, &file, session.json),
        Verb::Restore { file, yes } => backup::restore(&session.config.root, &file, yes, session.json),
        Verb::Config(ConfigVerb::Check { start }) => config::check(&session.config.root, start, session.json),
        Verb::Issuer(IssuerVerb::Check) => issuer::check(&session).await,
        Verb::Identity(IdentityVerb::NewRoot { embedded, at_once, yes }) => {
            identity::new_root(&session, embedded, at_once, yes).await
        }
        Verb::Events(EventsArgs { follow, last }) => events::events(&session, follow, last).await,
    }
}

/// Says that the daemon answered something else than was asked.
fn unexpected(answer: &Answer) -> Exit {
    eprintln!("pinion: the controller answered something else than was asked: {answer:?}; this is a bug");
    Exit::Internal
}

/// Prints a document on stdout as JSON.
fn print_json(document: &impl serde::Serialize) {
    match serde_json::to_string(document) {
        Ok(text) => println!("{}", pinion_proto::printable::json(&text)),
        Err(error) => eprintln!("pinion: cannot print the answer: {error}"),
    }
}
