//! `pinion serve`.

use std::{error::Error, io, sync::Arc};

use pinion_proto::{clock::SystemClock, exit::Exit};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{
    authority::AuthorityError, config::Config, identity::IdentityError, manifest::file::FileError, serve,
    store::StoreError,
};

/// Runs the daemon.
pub(super) async fn serve(config: Config) -> Exit {
    trace();
    match serve::run(config, Arc::new(SystemClock)).await {
        Ok(()) => Exit::Reached,
        Err(error) => {
            eprintln!("pinion: {error:#}");
            // What a person has to mend in a file is theirs; the rest is ours.
            if error.chain().any(is_for_a_person) { Exit::Usage } else { Exit::Internal }
        }
    }
}

/// Whether a file that a person wrote, or has to restore, is what keeps the daemon from starting.
fn is_for_a_person(cause: &(dyn Error + 'static)) -> bool {
    cause.is::<FileError>()
        || cause.is::<StoreError>()
        || matches!(cause.downcast_ref(), Some(AuthorityError::Unusable { .. } | AuthorityError::RootExpired(_)))
        || matches!(cause.downcast_ref(), Some(IdentityError::Domain { .. }))
}

/// Logs to stderr, which journald reads; `RUST_LOG` says how much, as `LEVEL` or `TARGET=LEVEL,…`.
fn trace() {
    let asked = std::env::var("RUST_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = asked.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let log = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(log).with(filter).init();
}
