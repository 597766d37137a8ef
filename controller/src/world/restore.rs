//! What was known when the controller stopped, read from the store.
//!
//! Invariant: a convenience, since the agents report it all again: a document that cannot be read is told as an event
//! and left as it is.

use std::error::Error;

use pinion_proto::{
    causes::chain,
    clock::Timestamp,
    id::{CertificateName, Guest},
};

use super::{ReportRecord, World, shared_keys};
use crate::{
    events::{CertificateEvent, Document, Events, HostEvent, What},
    freeze::{self, Freezes},
    inventory::KnownNames,
    manifest::file::InForce,
    planner::backoff::Backoff,
    store::{Area, Store},
};

const REPORTS: &str = "reports";

/// The document with what the manifest's names have meant.
pub(crate) const KNOWN_NAMES: &str = "guest-names";

/// What was known when the controller stopped, and the manifest that is in force now.
pub(crate) fn restore(store: &Store, events: &Events, manifest: InForce, backoff: Backoff, now: Timestamp) -> World {
    let mut world = World::new(manifest, backoff);
    let unreadable = |document, error: &dyn Error| {
        events.record(What::Host(HostEvent::Unreadable(document, chain(error))).at(now));
    };
    match store.list(Area::Local, REPORTS) {
        Ok(names) => {
            for name in names {
                match store.read::<ReportRecord>(Area::Local, &format!("{REPORTS}/{name}")) {
                    Ok(Some(record)) => world.reports.restore(record),
                    Ok(None) => {}
                    Err(error) => unreadable(Document::Reports, &error),
                }
            }
        }
        Err(error) => unreadable(Document::Reports, &error),
    }
    for name in shared_keys::list(store).unwrap_or_else(|error| {
        unreadable(Document::SharedKeys, &error);
        Vec::new()
    }) {
        let Ok(certificate) = name.parse::<CertificateName>() else { continue };
        match shared_keys::read(store, &certificate) {
            Ok(Some((_, known))) => world.reports.set_shared_key(certificate, known),
            Ok(None) => {}
            Err(why) => {
                let unreadable = CertificateEvent::SharedKeyUnreadable(why);
                events.record(What::Certificate(certificate, unreadable).at(now));
            }
        }
    }
    match store.read::<Freezes>(Area::Local, freeze::DOCUMENT) {
        Ok(kept) => world.reports.set_freezes(kept.unwrap_or_default()),
        Err(error) => unreadable(Document::Freezes, &error),
    }
    match store.read::<KnownNames>(Area::Local, KNOWN_NAMES) {
        Ok(kept) => world.set_known_names(kept.unwrap_or_default()),
        Err(error) => unreadable(Document::GuestNames, &error),
    }
    world
}

/// Writes what is known of a guest.
pub(crate) fn write_record(store: &Store, record: &ReportRecord) {
    if let Err(error) = store.write(Area::Local, &document(record.guest), record) {
        tracing::warn!(guest = %record.guest, error = chain(&error), "Cannot write what the guest reported");
    }
}

/// Removes what is written of a guest.
pub(crate) fn remove_record(store: &Store, guest: Guest) {
    if let Err(error) = store.remove(Area::Local, &document(guest)) {
        tracing::warn!(%guest, error = chain(&error), "Cannot remove what the guest reported");
    }
}

fn document(guest: Guest) -> String {
    format!("{REPORTS}/{guest}")
}
