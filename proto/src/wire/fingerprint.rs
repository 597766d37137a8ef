//! Fingerprints on the wire.

use super::error::{WireError, wrong};
use crate::bundle::Fingerprint;

/// Reads a SHA-256.
pub(super) fn read_fingerprint(field: &'static str, bytes: &[u8]) -> Result<Fingerprint, WireError> {
    let bytes =
        <[u8; 32]>::try_from(bytes).map_err(|_| wrong(field, format!("{} bytes instead of 32", bytes.len())))?;
    Ok(Fingerprint::from(bytes))
}
