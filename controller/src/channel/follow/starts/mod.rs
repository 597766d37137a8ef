//! Guests that have one network card: which of them is it that calls?
//!
//! A guest that was restored under another number keeps its network cards, unless the restore says otherwise (`--unique`), and
//! the identity of the one whose backup it is. So nothing that it shows tells it from that one; but the hypervisor's way
//! into a guest leads into that guest, and there it is seen which start of it runs, which a caller says too (`boot_id`).
//! Invariant: a caller that may be one of several is one of them only when each of those on this node was looked into
//! and exactly one of them runs that start; or when each of the others was found stopped, so that it is none of them.
//! Where the caller was not known at once, only looks that began after its first call count: the others may have been
//! started since. A guest of another node cannot be looked into from here; it is never taken for another one,
//! because its start is none that was seen.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use pinion_proto::{
    id::Vmid,
    lock::lock,
    stage::{Halt, Trouble},
};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::Instant,
};

use crate::{
    channel::{
        client::Client,
        protocol::{Cause, Failure, Target},
    },
    inventory::{Alike, Inventory},
};

/// A guest is not looked into again before this: a caller that is refused dials on, and each look starts Perl.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// A guest that could not be looked into is looked into again after this, without anybody calling.
const RETRY: Duration = Duration::from_secs(60);

/// A caller that is not let in dials each minute; one that has not for so long calls for the first time again.
const CALLER_KEPT: Duration = Duration::from_secs(10 * 60);

/// Starts that are remembered of callers with one guest's identity (count): what a caller says of its start is its own
/// word.
const MAX_CALLERS: usize = 8;

/// A start that is longer (bytes) is none: the kernel's `boot_id` has 36.
const MAX_START: usize = 64;

/// Looks at once, beside whatever else is done for guests.
const AT_ONCE: usize = 4;

/// What was seen of the starts of guests that are alike.
#[derive(Debug, Default)]
pub(super) struct Starts {
    seen: Mutex<Seen>,
    called: Notify,
}

#[derive(Debug, Default)]
struct Seen {
    guests: HashMap<Vmid, Sight>,
    /// Those that a caller may be whom nothing seen so far shows.
    called: BTreeSet<Vmid>,
    /// Of each guest whose identity such callers showed, their starts, and when each called first.
    callers: HashMap<Vmid, HashMap<String, Instant>>,
}

/// What a look into a guest has shown.
#[derive(Debug, Clone)]
struct Sight {
    what: Result<Start, Failure>,
    /// When the look began.
    at: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Start {
    /// It runs, since this start.
    Runs(String),
    /// It does not run.
    Stopped,
}

impl Starts {
    /// Which of these guests runs this start. When that is not known, it is found out for the next time: of those that
    /// share a card with the guest whose identity was shown, because the caller's cards are its own word.
    pub(super) fn which(&self, inventory: &Inventory, claimed: Vmid, guests: &[Vmid], start: &str) -> Option<Vmid> {
        let mut seen = self.seen();
        let found = seen.which(inventory, claimed, guests, start);
        if found.is_none() {
            let mut sharing = inventory.sharing(claimed);
            sharing.retain(|vmid| guests.contains(vmid));
            if sharing.len() > 1 {
                seen.called.extend(sharing);
                seen.note(claimed, start, Instant::now());
                self.called.notify_one();
            }
        }
        found
    }

    /// The same, and nothing is found out.
    pub(super) fn which_by_now(
        &self,
        inventory: &Inventory,
        claimed: Vmid,
        guests: &[Vmid],
        start: &str,
    ) -> Option<Vmid> {
        self.seen().which(inventory, claimed, guests, start)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

impl Seen {
    fn which(&self, inventory: &Inventory, claimed: Vmid, guests: &[Vmid], start: &str) -> Option<Vmid> {
        if start.is_empty() {
            return None;
        }
        let here = |vmid: &&Vmid| inventory.guest(**vmid).is_some_and(|info| info.is_here());
        let called = self.callers.get(&claimed).and_then(|starts| starts.get(start)).copied();
        let since = |sight: &Sight| called.is_none_or(|called| sight.at >= called);
        let looked_into = |vmid: &Vmid| self.guests.get(vmid).is_some_and(|sight| sight.what.is_ok() && since(sight));
        if !guests.iter().filter(here).all(looked_into) {
            return self.remaining(guests, called?);
        }
        let runs = |vmid: &&Vmid| match self.guests.get(*vmid).map(|sight| &sight.what) {
            Some(Ok(Start::Runs(own))) => own == start,
            _ => false,
        };
        let mut running = guests.iter().filter(runs);
        match (running.next(), running.next()) {
            (Some(one), None) => Some(*one),
            _ => None,
        }
    }

    /// The one that is left when each of the others was found stopped since this start called first.
    fn remaining(&self, guests: &[Vmid], called: Instant) -> Option<Vmid> {
        let stopped = |vmid: &&Vmid| match self.guests.get(*vmid) {
            Some(Sight { what: Ok(Start::Stopped), at }) => *at >= called,
            _ => false,
        };
        let mut others = guests.iter().filter(|vmid| !stopped(vmid));
        match (others.next(), others.next()) {
            (Some(one), None) => Some(*one),
            _ => None,
        }
    }

    /// Notes when a start has called first with this guest's identity.
    fn note(&mut self, claimed: Vmid, start: &str, now: Instant) {
        self.callers.retain(|_, starts| {
            starts.retain(|_, at| now.saturating_duration_since(*at) < CALLER_KEPT);
            !starts.is_empty()
        });
        if start.len() > MAX_START {
            return;
        }
        let starts = self.callers.entry(claimed).or_default();
        if starts.len() < MAX_CALLERS {
            starts.entry(start.to_owned()).or_insert(now);
        }
    }

    /// Whom to look into now, and when to see again whether there is anybody.
    fn due(&mut self, inventory: &Inventory, groups: &[Vec<Vmid>], now: Instant) -> (Vec<Target>, Option<Instant>) {
        let grouped: BTreeSet<Vmid> = groups.iter().flatten().copied().collect();
        let (mut due, mut next) = (Vec::new(), None);
        let mut waiting = BTreeSet::new();
        for vmid in grouped.iter().chain(&self.called).copied().collect::<BTreeSet<_>>() {
            let Some((info, kind)) = inventory.guest(vmid).and_then(|info| Some((info, info.kind?))) else { continue };
            if !info.is_here() || info.template {
                continue;
            }
            let called = self.called.contains(&vmid);
            let at = match self.guests.get(&vmid) {
                None => now,
                // It was started since.
                Some(Sight { what: Ok(Start::Stopped), .. }) if info.running == Some(true) => now,
                Some(sight) if called => sight.at + LOOK_AGAIN,
                Some(sight) if sight.what.is_err() => sight.at + RETRY,
                Some(_) => continue,
            };
            if at <= now {
                due.push(Target { vmid, kind });
            } else {
                next = Some(next.map_or(at, |next: Instant| next.min(at)));
                waiting.extend(called.then_some(vmid));
            }
        }
        self.called = waiting;
        self.guests.retain(|vmid, _| inventory.guest(*vmid).is_some());
        (due, next)
    }

    /// The groups of which nobody can say who calls.
    fn alike(&self, inventory: &Inventory, groups: &[Vec<Vmid>]) -> Vec<Alike> {
        let alike = |group: &Vec<Vmid>| Some(Alike { guests: group.clone(), trouble: self.trouble(inventory, group)? });
        groups.iter().filter_map(alike).collect()
    }

    fn trouble(&self, inventory: &Inventory, group: &[Vmid]) -> Option<Trouble> {
        let sights = || group.iter().filter_map(|vmid| self.guests.get(vmid));
        let failed = sights().find_map(|sight| sight.what.as_ref().err());
        let starts: Vec<_> = sights().filter_map(|sight| sight.what.as_ref().ok()).collect();
        let runs: BTreeSet<_> = starts.iter().filter_map(|start| start.id()).collect();
        let several = runs.len() < starts.iter().filter(|start| start.id().is_some()).count();
        let cause = match failed {
            Some(failure) => format!("cannot look into each of them: {failure}"),
            None if several => "they report the same start time".to_owned(),
            None => return None,
        };
        let last = *group.last()?;
        let tool = inventory.guest(last).and_then(|info| info.kind).map_or("qm", |kind| kind.tool());
        Some(Trouble {
            halt: Halt::Blocked,
            attempt: format!("tell guests {} apart, which have the same network card", list(group)),
            cause,
            remedy: format!(
                "stop one of them, or give one another card (`{tool} set {last} --net0 …` without an address creates \
                 a new one); until then Pinion lets none of them in. Restoring with `--unique` creates new cards"
            ),
            retry_at: None,
        })
    }
}

impl Start {
    fn id(&self) -> Option<&str> {
        match self {
            Self::Runs(start) => Some(start),
            Self::Stopped => None,
        }
    }
}

/// Looks into guests that are alike, until the future is dropped, and writes into the inventory which of them cannot be
/// told apart.
pub(super) async fn tell_apart(client: Client, starts: Arc<Starts>, inventory: watch::Sender<Arc<Inventory>>) {
    let mut changes = inventory.subscribe();
    loop {
        let current = changes.borrow_and_update().clone();
        let groups = current.alike_groups();
        let (due, next) = starts.seen().due(&current, &groups, Instant::now());
        look_into(&client, &starts, due).await;
        let alike = starts.seen().alike(&current, &groups);
        inventory.send_if_modified(|before| {
            let other = before.alike() != alike;
            if other {
                *before = Arc::new(Inventory::clone(before).with_alike(alike));
            }
            other
        });
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = starts.called.notified() => {}
            () = until(next) => {}
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn look_into(client: &Client, starts: &Starts, mut due: Vec<Target>) {
    let mut looks = JoinSet::new();
    loop {
        while looks.len() < AT_ONCE
            && let Some(target) = due.pop()
        {
            let client = client.clone();
            let at = Instant::now();
            looks.spawn(async move { (target.vmid, at, client.boot(target).await) });
        }
        let Some(looked) = looks.join_next().await else { return };
        // Only a panic has no result, and then nothing was seen.
        let Ok((vmid, at, boot)) = looked else { continue };
        let what = match boot {
            Ok(start) => Ok(Start::Runs(start)),
            Err(Failure { cause: Cause::NotRunning, .. }) => Ok(Start::Stopped),
            Err(failure) => Err(failure),
        };
        starts.seen().guests.insert(vmid, Sight { what, at });
    }
}

fn list(guests: &[Vmid]) -> String {
    let numbers: Vec<_> = guests.iter().map(ToString::to_string).collect();
    match numbers.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => numbers.join(", "),
    }
}

#[cfg(test)]
mod tests;
