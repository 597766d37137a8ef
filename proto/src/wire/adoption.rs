//! A pair that was there before Pinion, between the generated messages and the checked ones.

use super::{
    error::{WireError, parse, wrong},
    fingerprint::read_fingerprint,
    pb,
    trouble::printable,
};
use crate::{
    bundle::Leaf,
    clock::Timestamp,
    report::{Found, FoundPair},
    spec::{Adoption, AdoptionDecision},
};

/// Reads what was found in a guest.
pub(super) fn read_found(found: pb::Found) -> Result<Found, WireError> {
    if !found.unfit.is_empty() {
        return Ok(Found::Unfit(printable(&found.unfit)));
    }
    Ok(Found::Good(FoundPair {
        leaf: Leaf::parse(&found.leaf_der).map_err(|e| wrong("found.leaf_der", e))?,
        chain_ends: Timestamp::from_unix(found.chain_end),
        root: read_fingerprint("found.root", &found.root)?,
    }))
}

/// Writes what was found in a guest.
pub(super) fn write_found(found: Found) -> pb::Found {
    match found {
        Found::Unfit(unfit) => pb::Found { unfit, ..pb::Found::default() },
        Found::Good(FoundPair { leaf, chain_ends, root }) => pb::Found {
            unfit: String::new(),
            leaf_der: leaf.der().to_vec(),
            chain_end: chain_ends.unix(),
            root: root.as_bytes().to_vec(),
        },
    }
}

/// Reads what becomes of it.
pub(super) fn read_adoption(adoption: &pb::Adoption) -> Result<Adoption, WireError> {
    let decision = match (adoption.adopted.as_slice(), adoption.replaced) {
        ([], false) => AdoptionDecision::Undecided,
        (leaf, false) => AdoptionDecision::Adopt(read_fingerprint("adoption.adopted", leaf)?),
        (_, true) => AdoptionDecision::Replace,
    };
    Ok(Adoption { issuer: parse("adoption.issuer", &adoption.issuer)?, decision })
}

/// Writes what becomes of it.
pub(super) fn write_adoption(adoption: &Adoption) -> pb::Adoption {
    let (adopted, replaced) = match adoption.decision {
        AdoptionDecision::Undecided => (Vec::new(), false),
        AdoptionDecision::Adopt(leaf) => (leaf.as_bytes().to_vec(), false),
        AdoptionDecision::Replace => (Vec::new(), true),
    };
    pb::Adoption { issuer: adoption.issuer.to_string(), adopted, replaced }
}
