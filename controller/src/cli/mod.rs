//! The command line of `pinion`: a file a verb.

mod args;
mod ask;
mod backup;
mod channel;
mod check;
mod completions;
mod config;
mod discover;
mod doctor;
mod documents;
mod ensure;
mod events;
mod examination;
mod explain;
mod freeze;
mod guest;
mod identity;
mod import;
mod issuer;
mod manifest;
mod moment;
mod notify;
mod placements;
mod plan;
mod purge;
mod serve;
mod session;
mod setup;
mod show;
mod status;
mod support_bundle;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod uninstall;
mod watch;
mod wrap;
mod web;

use std::{env, process::ExitCode};

use clap::{CommandFactory as _, Parser as _};
use pinion_proto::{
    exit::Exit,
    failure::{Failure, is_json_asked},
    message::PurgeManner,
    output,
};

use crate::{
    admin::protocol::{Ensure, Selection},
    admin::purge::AskPurge,
    config::Config,
};
use args::{Args, ConfigVerb, GuestVerb, IssuerVerb, ManifestVerb, TokenVerb, Verb};
use ask::{Conversation, ask};
pub use documents::documents;
use ensure::EnsureArgs;
use import::ImportVerb;
use session::{Session, print_failed, print_json, unexpected};
use status::StatusArgs;

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
    let serving = matches!(args.verb, Verb::Serve | Verb::Channel);
    let mut builder = if serving {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    match builder.enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(dispatch(args));
            runtime.shutdown_background();
            outcome.unwrap_or_else(|failure| failure.report("pinion", json)).into()
        }
        Err(error) => Failure::new(Exit::Internal, "cannot start").cause(error).report("pinion", json).into(),
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
    let Args { root, json, verb } = args;
    match verb {
        // What needs no configuration works without one.
        Verb::Manifest(ManifestVerb::Schema) => manifest::schema(),
        Verb::Completions { shell } => Ok(completions::completions(shell, command())),
        Verb::Manifest(ManifestVerb::Check { file: Some(file) }) => {
            // Where there is no configuration, nothing is compared with it.
            Ok(manifest::check(&file, Config::load(&root).ok().as_ref(), json).await)
        }
        Verb::Manifest(ManifestVerb::Import(ImportVerb::Phoenix(import))) => import::import(&import, json),
        Verb::Config(ConfigVerb::Check { start }) => Ok(config::check(&root, start, json)),
        Verb::Setup(given) => Ok(setup::setup(&root, given, json).await),
        Verb::Doctor => Ok(doctor::doctor(&root, json).await),
        Verb::SupportBundle(args) => support_bundle::support_bundle(&root, args, json).await,
        Verb::Restore(args) => backup::restore(&root, args, json),
        verb => match Config::load(&root) {
            Ok(config) => configured(Session { config, json }, verb).await,
            Err(error) => Err(Failure::of(Exit::Usage, &error).or_root(&error)),
        },
    }
}

async fn configured(session: Session, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Serve => serve::serve(session.config).await,
        Verb::Channel => channel::channel(session.config).await,
        Verb::Plan { file } => plan::plan(&session, file.as_deref()).await,
        Verb::Status(args) => how_everything_is(&session, args).await,
        Verb::Discover(args) => discover::discover(&session, args).await,
        Verb::Explain(args) => explain::explain(&session, args).await,
        Verb::Ensure(EnsureArgs { names, guests, renew, now, until, timeout, wait }) => {
            let selection = Selection::new(names, guests);
            ensure::ensure(&session, Ensure { selection, renew, now, until, wait }, timeout).await
        }
        Verb::Freeze { names, guest, until, lift } => {
            freeze::freeze(&session, Selection::new(names, guest.into_iter().collect()), until, lift).await
        }
        Verb::Show { name, from, count } => show::show(&session, name, from, count).await,
        Verb::Purge { names, restore, force } => {
            purge::purge(&session, AskPurge { names, manner: PurgeManner { restore, force } }).await
        }
        Verb::Guest(verb) => about_guest(&session, verb).await,
        Verb::Web(verb) => web::run(&session, verb).await,
        Verb::Token(TokenVerb::Create { guest }) => token::create(&session, guest).await,
        Verb::Manifest(ManifestVerb::Check { .. }) => {
            Ok(manifest::check(&session.config.manifest, Some(&session.config), session.json).await)
        }
        Verb::Manifest(ManifestVerb::Schema) => manifest::schema(),
        Verb::Manifest(ManifestVerb::Import(ImportVerb::Phoenix(args))) => import::import(&args, session.json),
        Verb::Backup { file, keep } => backup::take(&session.config, &file, keep.map(usize::from), session.json),
        Verb::Restore(args) => backup::restore(&session.config.root, args, session.json),
        Verb::Config(ConfigVerb::Check { start }) => Ok(config::check(&session.config.root, start, session.json)),
        Verb::Issuer(IssuerVerb::Check) => issuer::check(&session).await,
        Verb::Issuer(IssuerVerb::Root { name }) => issuer::root(&session, name).await,
        Verb::Identity(verb) => identity::run(&session, verb).await,
        Verb::Notify(verb) => notify::run(&session, verb).await,
        // It was done above, because it needs no configuration.
        Verb::Completions { shell } => Ok(completions::completions(shell, command())),
        Verb::Events(args) => events::events(&session, args).await,
        Verb::Setup(args) => Ok(setup::setup(&session.config.root, args, session.json).await),
        Verb::Doctor => Ok(doctor::doctor(&session.config.root, session.json).await),
        Verb::SupportBundle(args) => support_bundle::support_bundle(&session.config.root, args, session.json).await,
        Verb::Uninstall { yes } => uninstall::uninstall(&session, yes).await,
    }
}

async fn about_guest(session: &Session, verb: GuestVerb) -> Result<Exit, Failure> {
    match verb {
        GuestVerb::List => guest::list(session).await,
        GuestVerb::Enroll { guest, timeout } => guest::enroll(session, guest, timeout).await,
        GuestVerb::Wake { guest } => guest::wake(session, guest).await,
        GuestVerb::AcceptName { name } => guest::accept_name(session, name).await,
        GuestVerb::Unlock { guest } => guest::unlock(session, guest).await,
        GuestVerb::Forget { guest, compromised: false } => guest::forget(session, guest).await,
        GuestVerb::Forget { guest, compromised: true } => guest::evict(session, guest, true).await,
        GuestVerb::Evict { guest, compromised } => guest::evict(session, guest, compromised).await,
    }
}

async fn how_everything_is(session: &Session, args: StatusArgs) -> Result<Exit, Failure> {
    let StatusArgs { names, guests, check, watch, wide } = args;
    let selection = Selection::new(names, guests);
    match (check, watch) {
        (true, _) => check::check(session, selection).await,
        (_, true) => watch::watch(session, selection, wide).await,
        _ => status::status(session, selection, wide).await,
    }
}
