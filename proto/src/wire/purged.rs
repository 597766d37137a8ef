//! Purges and what was there before Pinion, on the wire.

use super::{
    WireError, at_most,
    fingerprint::read_fingerprint,
    limits::{MAX_NAMED, MAX_ORIGINALS, MAX_PLACEMENTS},
    parse, pb,
    trouble::printable,
};
use crate::{
    clock::Timestamp,
    id::shown,
    message::{Purge, Purged},
    report::Original,
    spec::GuestPath,
};

pub(super) fn read_purge(purge: &pb::Purge) -> Result<Purge, WireError> {
    Ok(Purge {
        certificate: parse("purge.certificate", &purge.certificate)?,
        left_behind: purge.left_behind,
        restore: purge.restore,
        force: purge.force,
    })
}

pub(super) fn write_purge(purge: &Purge) -> pb::Purge {
    pb::Purge {
        certificate: purge.certificate.to_string(),
        left_behind: purge.left_behind,
        restore: purge.restore,
        force: purge.force,
    }
}

pub(super) fn read_purged(purged: &pb::Purged) -> Result<Purged, WireError> {
    at_most("purged.named", purged.named.len(), MAX_NAMED)?;
    Ok(Purged {
        certificate: parse("purged.certificate", &purged.certificate)?,
        remains: purged.remains,
        left: paths("purged.left", &purged.left, MAX_PLACEMENTS)?,
        restored: paths("purged.restored", &purged.restored, MAX_ORIGINALS)?,
        kept: paths("purged.kept", &purged.kept, MAX_ORIGINALS)?,
        // Of the guest's own making, for people to read.
        named: purged.named.iter().map(|line| printable(line)).collect(),
    })
}

pub(super) fn write_purged(purged: &Purged) -> pb::Purged {
    pb::Purged {
        certificate: purged.certificate.to_string(),
        left: texts(&purged.left, MAX_PLACEMENTS),
        remains: purged.remains,
        restored: texts(&purged.restored, MAX_ORIGINALS),
        kept: texts(&purged.kept, MAX_ORIGINALS),
        named: purged.named.iter().take(MAX_NAMED).cloned().collect(),
    }
}

pub(super) fn read_original(original: &pb::Original) -> Result<Original, WireError> {
    let kept = Some(&original.kept).filter(|kept| !kept.is_empty());
    Ok(Original {
        path: parse("original.path", &original.path)?,
        subject: shown(&original.subject),
        issuer: shown(&original.issuer),
        not_after: (original.not_after != 0).then(|| Timestamp::from_unix(original.not_after)),
        kept: kept.map(|kept| parse("original.kept", kept)).transpose()?,
        key: (!original.key.is_empty()).then(|| read_fingerprint("original.key", &original.key)).transpose()?,
    })
}

pub(super) fn write_original(original: Original) -> pb::Original {
    pb::Original {
        path: original.path.to_string(),
        subject: original.subject,
        issuer: original.issuer,
        not_after: original.not_after.map_or(0, Timestamp::unix),
        kept: original.kept.map(|kept| kept.to_string()).unwrap_or_default(),
        key: original.key.map(|key| key.as_bytes().to_vec()).unwrap_or_default(),
    }
}

fn paths(field: &'static str, paths: &[String], max: usize) -> Result<Vec<GuestPath>, WireError> {
    at_most(field, paths.len(), max)?;
    paths.iter().map(|path| parse(field, path)).collect()
}

fn texts(paths: &[GuestPath], max: usize) -> Vec<String> {
    paths.iter().take(max).map(ToString::to_string).collect()
}
