//! What became of the calls to one issuer since the controller started, for whoever measures.

use std::{collections::BTreeMap, time::Duration};

use prometheus_client::metrics::histogram::Histogram;
use tokio::time::Instant;

use super::super::{IssuerCheck, IssuerError};

/// Upper bounds of the histogram of latencies (seconds): a CA inside the controller answers in milliseconds, step-ca in tens of
/// them, and a call is given up after half a minute.
const BUCKETS: [f64; 9] = [0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0];

/// What an issuer was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// To sign a request.
    Sign,
    /// To revoke a certificate.
    Revoke,
}

impl Operation {
    /// The word in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::Revoke => "revoke",
        }
    }
}

/// The calls to one issuer, and what it said last.
#[derive(Debug, Clone)]
pub struct IssuerCalls {
    /// How many calls came to what: `ok`, or the kind of the error.
    pub counts: BTreeMap<(Operation, &'static str), u64>,
    /// How long they took (seconds), without the time in the queue.
    pub seconds: Histogram,
    /// How many wait for their turn now.
    pub waiting: usize,
    /// Since when the issuer has not answered as it should; none if it does, or was not asked yet.
    pub down_since: Option<Instant>,
    /// What the last check that succeeded found.
    pub checked: Option<IssuerCheck>,
}

impl IssuerCalls {
    pub(super) fn new() -> Self {
        Self { counts: BTreeMap::new(), seconds: Histogram::new(BUCKETS), waiting: 0, down_since: None, checked: None }
    }

    /// Notes what a call came to.
    pub(super) fn note(&mut self, operation: Operation, error: Option<&IssuerError>, took: Duration) {
        let count = self.counts.entry((operation, error.map_or("ok", result))).or_default();
        *count = count.saturating_add(1);
        self.seconds.observe(took.as_secs_f64());
    }
}

/// The word for an error.
const fn result(error: &IssuerError) -> &'static str {
    match error {
        IssuerError::Unavailable { .. } => "unavailable",
        IssuerError::Busy { .. } => "busy",
        IssuerError::Refused { .. } => "refused",
        IssuerError::Misconfigured { .. } => "misconfigured",
        IssuerError::Unfit { .. } => "unfit",
    }
}
