//! What `pinion events` tells: everything that happened, as the operator reads it.

use anyhow::{Context, Result, anyhow};
use pinion_controller::events::{Event, Kind};
use pinion_proto::id::PlacementId;

use crate::{
    host::Host,
    wait::{self, PATIENCE},
};

/// Every event since the host's first start, oldest first.
///
/// # Errors
/// The controller does not answer, or with something else.
pub fn events(host: &Host) -> Result<Vec<Event>> {
    let finished = host.pinion(&["events", "--json", "--last", "100000"])?.succeeded()?;
    let parse = |line| serde_json::from_str(line).with_context(|| format!("read the event {line}"));
    finished.stdout.lines().map(parse).collect()
}

/// The serial numbers that were signed for a placement such as `web@1001`, oldest first.
///
/// # Errors
/// As [`events`].
pub fn issued(host: &Host, placement: &str) -> Result<Vec<String>> {
    let placement: PlacementId = placement.parse().with_context(|| format!("read {placement}"))?;
    let ours = |event: &Event| {
        event.kind == Kind::Issued
            && event.guest == Some(placement.guest)
            && event.certificate.as_ref() == Some(&placement.certificate)
    };
    Ok(events(host)?.into_iter().filter(ours).filter_map(|event| event.serial).collect())
}

/// Waits for an event of this kind that has all of `words` in its text; the newest such one.
///
/// # Errors
/// None comes within [`PATIENCE`]; the message has the last events.
pub fn wait_event(host: &Host, kind: Kind, words: &[&str]) -> Result<Event> {
    let found = wait::until(&format!("an event {kind:?} with {words:?}"), PATIENCE, || match events(host) {
        Err(error) => Err(format!("{error:#}")),
        Ok(all) => {
            let fits = |event: &&Event| event.kind == kind && words.iter().all(|word| event.text.contains(word));
            all.iter().rev().find(fits).cloned().ok_or_else(|| {
                let last: Vec<_> = all.iter().rev().take(5).map(|event| event.text.as_str()).collect();
                format!("{last:?}")
            })
        }
    });
    found.map_err(|error| anyhow!("{error:#}\nthe controller's log ends:\n{}", host.log_tail()))
}
