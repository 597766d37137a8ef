//! What the work with placements depends on: configuration, clock and file system of the machine, or of a test.

use std::sync::Arc;

use pinion_proto::clock::{Clock, SystemClock};

use crate::{
    config::Config,
    install::files::{Files, RealFiles},
};

/// What the work depends on.
#[derive(Debug, Clone)]
pub struct Context {
    /// The guest's word.
    pub config: Config,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The file system.
    pub files: Arc<dyn Files>,
}

impl Context {
    /// The machine's clock and file system.
    #[must_use]
    pub fn real(config: Config) -> Self {
        Self { config, clock: Arc::new(SystemClock), files: Arc::new(RealFiles) }
    }
}
