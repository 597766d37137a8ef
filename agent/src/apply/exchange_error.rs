//! Why the files of a placement and its ledger were not changed together.

use thiserror::Error;

use crate::{install::InstallError, ledger::LedgerError};

/// Why files or ledger were not changed.
#[derive(Debug, Error)]
pub(super) enum ExchangeError {
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}
