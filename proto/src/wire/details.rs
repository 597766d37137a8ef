//! What a placement comes to in its guest, between wire and report.
//!
//! Invariant: a line is short and printable, whoever wrote it, and there are few of them.

use super::{
    error::{WireError, at_most},
    pb,
};
use crate::{bundle::MAX_CHAIN, printable::line, report::Details, spec::MAX_SERVICES};

/// The longest line (characters): a part and the longest path that is shown.
const MAX_LINE: usize = 1200;

pub(super) fn read_details(details: pb::Details) -> Result<Details, WireError> {
    let read = |field, lines: Vec<String>, max| {
        at_most(field, lines.len(), max)?;
        Ok::<Vec<String>, WireError>(lines.iter().map(|text| line(text, MAX_LINE)).collect())
    };
    Ok(Details {
        files: read("details.files", details.files, MAX_SERVICES)?,
        services: read("details.services", details.services, MAX_SERVICES)?,
        probes: read("details.probes", details.probes, MAX_SERVICES)?,
        chain: read("details.chain", details.chain, MAX_CHAIN)?,
    })
}

pub(super) fn write_details(mut details: Details) -> pb::Details {
    for lines in [&mut details.files, &mut details.services, &mut details.probes] {
        lines.truncate(MAX_SERVICES);
    }
    details.chain.truncate(MAX_CHAIN);
    let Details { files, services, probes, chain } = details;
    pb::Details { files, services, probes, chain }
}
