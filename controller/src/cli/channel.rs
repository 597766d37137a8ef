//! `pinion channel`.

use pinion_proto::{daemon, exit::Exit};

use crate::{channel::server, config::Config};

/// Runs the root process.
pub(super) async fn channel(config: Config) -> Exit {
    daemon::log();
    match server::run(config).await {
        Ok(()) => Exit::Reached,
        Err(error) => {
            daemon::failed("pinion", &format_args!("{error:#}"));
            Exit::Internal
        }
    }
}
