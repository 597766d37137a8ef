//! What is known of the guests, over a restart: a convenience, since the agents say it all again.

use pinion_proto::{causes::chain, clock::Timestamp, id::Guest};

use super::{Reconciler, revoking};
use crate::{
    events::{Document, Events, HostEvent, What},
    reports::{GuestRecord, Reports},
    store::{Area, Store},
};

const DIRECTORY: &str = "reports";

/// What was known when the controller stopped. A document that cannot be read is told and left as it is.
pub(super) fn restore(store: &Store, events: &Events, now: Timestamp) -> Reports {
    let mut reports = Reports::default();
    let fail = |error: &dyn std::error::Error| {
        events.record(What::Host(HostEvent::Unreadable(Document::Reports, chain(error))).at(now));
    };
    match store.list(Area::Local, DIRECTORY) {
        Ok(names) => {
            for name in names {
                match store.read::<GuestRecord>(Area::Local, &format!("{DIRECTORY}/{name}")) {
                    Ok(Some(record)) => reports.restore(record),
                    Ok(None) => {}
                    Err(error) => fail(&error),
                }
            }
        }
        Err(error) => fail(&error),
    }
    reports
}

/// Removes what is kept of a guest.
pub(super) fn forget(store: &Store, guest: Guest) {
    if let Err(error) = store.remove(Area::Local, &format!("{DIRECTORY}/{guest}")) {
        tracing::warn!(%guest, error = chain(&error), "Cannot remove what is kept of the guest");
    }
}

impl Reconciler {
    /// Writes down what has changed; at the end, in the foreground.
    pub(super) async fn write(&mut self, last: bool) {
        self.write_at = None;
        let now = self.parts.clock.now();
        let guests = std::mem::take(&mut self.unwritten);
        let records: Vec<_> = guests.into_iter().filter_map(|guest| self.reports.record(guest, now)).collect();
        let replaced = self.revoking.take_unwritten();
        if !records.is_empty() || !replaced.is_empty() {
            self.write_records(records, replaced);
        }
        if last
            && let Some(writing) = self.writing.take()
            && let Err(error) = writing.await
        {
            tracing::warn!(%error, "Writing down what is known was cut short");
        }
    }

    fn write_records(&mut self, records: Vec<GuestRecord>, replaced: Vec<(String, Option<revoking::Record>)>) {
        let store = self.parts.store.clone();
        let write = move || {
            for record in records {
                let name = format!("{DIRECTORY}/{}", record.guest);
                if let Err(error) = store.write(Area::Local, &name, &record) {
                    tracing::warn!(guest = %record.guest, error = chain(&error), "Cannot keep what the guest said");
                }
            }
            revoking::write(&store, replaced);
        };
        let before = self.writing.take();
        self.writing = Some(tokio::spawn(async move {
            // One after the other: on a slow disk an older word must not come to lie over a newer one.
            if let Some(before) = before
                && let Err(error) = before.await
            {
                tracing::warn!(%error, "Writing down what is known was cut short");
            }
            if let Err(error) = tokio::task::spawn_blocking(write).await {
                tracing::warn!(%error, "Writing down what is known was cut short");
            }
        }));
    }
}
