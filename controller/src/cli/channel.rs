//! `pinion channel`.

use std::sync::Arc;

use pinion_proto::{clock::SystemClock, daemon, exit::Exit, failure::Failure};

use crate::{channel::server, config::Config};

/// Runs the root process.
pub(super) async fn channel(config: Config) -> Result<Exit, Failure> {
    daemon::log();
    server::run(config, Arc::new(SystemClock)).await.map_err(|error| Failure::of(Exit::Internal, error.as_ref()))?;
    Ok(Exit::Reached)
}
