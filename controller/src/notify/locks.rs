//! Which guests' identities are locked: an alarm each.
//!
//! The records are files, and a lock is rare, so they are looked at now and then, beside the loop.

use std::{sync::Arc, time::Duration};

use pinion_proto::{causes::chain, clock::Clock, id::Guest};
use tokio::sync::watch;

use super::alarm::{Alarm, Alarms, Kind};
use crate::{
    identity::{GuestRecord, Identities},
    inventory::Inventory,
};

/// How often the records are looked at.
const EVERY: Duration = Duration::from_secs(10);

/// Keeps `locks` up to date until it is dropped.
pub(super) async fn keep(
    clock: Arc<dyn Clock>,
    identities: Arc<Identities>,
    inventory: watch::Receiver<Arc<Inventory>>,
    locks: watch::Sender<Arc<Alarms>>,
) {
    loop {
        let reading = identities.clone();
        match tokio::task::spawn_blocking(move || reading.guests()).await {
            Ok(Ok(guests)) => {
                let found = alarms(&guests, &inventory.borrow());
                locks.send_if_modified(|known| {
                    let is_new = **known != found;
                    if is_new {
                        *known = Arc::new(found);
                    }
                    is_new
                });
            }
            Ok(Err(error)) => tracing::debug!(error = chain(&error), "Cannot look which identities are locked"),
            Err(error) => tracing::debug!(%error, "Looking which identities are locked was cut short"),
        }
        clock.sleep_until(clock.now() + EVERY).await;
    }
}

fn alarms(guests: &[(Guest, GuestRecord)], inventory: &Inventory) -> Alarms {
    let mut alarms = Alarms::default();
    for (guest, record) in guests {
        if let Some(why) = &record.locked {
            let text = format!(
                "its identity is locked, and its certificates are not renewed: {why}; make sure that one copy of the guest \
                 runs, then run `pinion guest unlock {guest}`"
            );
            let text = pinion_proto::printable::line(&text, MAX_TEXT);
            alarms.add(Alarm { kind: Kind::Locked, subject: subject(*guest, inventory), text });
        }
    }
    alarms
}

/// The longest text (characters).
const MAX_TEXT: usize = 600;

/// A guest, as alarms call it: `guest 101 (web)`.
#[must_use]
pub fn subject(guest: Guest, inventory: &Inventory) -> String {
    let Guest::Vmid(vmid) = guest else { return format!("guest {guest}") };
    match inventory.name(vmid) {
        Some(name) => format!("guest {guest} ({})", pinion_proto::printable::line(name, 100)),
        None => format!("guest {guest}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pinion_proto::{clock::Timestamp, report::GuestFacts};

    use super::*;
    use crate::{inventory::GuestInfo, notify::alarm::Severity};

    #[test]
    fn a_lock_is_an_alarm_with_its_reason_and_remedy() {
        let record = |locked: Option<&str>| GuestRecord {
            generation: 1,
            current: None,
            next: None,
            stale: Vec::new(),
            facts: GuestFacts::default(),
            vmgenid: None,
            joined_at: Timestamp::from_unix(0),
            issued_at: Timestamp::from_unix(0),
            locked: locked.map(ToOwned::to_owned),
            root: None,
        };
        let guest = |number: &str| number.parse::<Guest>().expect("a guest");
        let web = GuestInfo { name: Some("web\n".into()), ..GuestInfo::default() };
        let inventory = Inventory::complete([(101.try_into().expect("a VMID"), web)].into(), &BTreeMap::new());
        let all = [
            (guest("101"), record(Some("an identity that was renewed was used"))),
            (guest("102"), record(None)),
            (guest("host"), record(Some("why"))),
        ];
        let found = alarms(&all, &inventory);
        let told: Vec<_> = found.firing().map(|(id, alarm)| (id.subject.as_str(), alarm.kind.severity())).collect();
        assert_eq!(told, [("guest 101 (web\\n)", Severity::Critical), ("guest host", Severity::Critical)]);
        let text = &found.firing().next().expect("one").1.text;
        assert!(text.contains("was used") && text.contains("`pinion guest unlock 101`"), "{text}");
    }
}
