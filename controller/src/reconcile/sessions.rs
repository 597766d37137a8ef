//! Sessions: the linked guests, and what each was sent last.

mod stagger;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    time::Duration,
};

use pinion_proto::{
    bundle::{EndorsedRoot, Fingerprint},
    clock::Timestamp,
    examination::Subject,
    id::{CertificateName, Guest, PlacementId},
    message::{ControllerNode, Controllers, Delivery, MAX_MANIFEST_PROBLEM, Purge, ToAgent},
    printable::line,
    spec::{PlacementSpec, PlainName},
};
use tokio::{sync::mpsc::error::TrySendError, time::Instant};

use crate::{
    link::{Outbound, SessionId},
    planner::{Decision, Order, Plan, Planned, Step},
    world::{PlacementEntry, World},
};
use stagger::Stagger;

/// A queue to a slow agent that was full is tried again after this long.
const RESEND_DELAY: Duration = Duration::from_millis(200);

/// Every linked guest.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: HashMap<Guest, Session>,
    /// The latest of each guest that has said hello, whatever has become of it.
    latest: HashMap<Guest, SessionId>,
    /// Something found its queue full, and has to be sent later.
    queue_full: bool,
    stagger: Stagger,
}

#[derive(Debug)]
struct Session {
    id: SessionId,
    outbound: Outbound,
    /// What the last `Desired` said, as a hash; none before the first.
    sent_desired: Option<u64>,
    ordered: HashMap<CertificateName, u64>,
    /// What it was asked to remove and has not answered.
    purges: HashMap<CertificateName, Purge>,
    /// The newest look at each placement that was asked for.
    looks: HashMap<CertificateName, u64>,
    /// Whether it knows by which addresses the controller is reached now.
    knows_addresses: bool,
    /// Whether it is to be sent the controller's next root.
    lacks_root: bool,
    /// The last problem with the manifest on disk that this guest was sent.
    manifest_problem: Option<String>,
}

impl Sessions {
    /// A session says hello. False when a later one of the guest has said it before: what was said earlier and heard
    /// later is no sign of anything.
    pub(super) fn arrives(&mut self, guest: Guest, id: SessionId) -> bool {
        let latest = self.latest.get(&guest).is_none_or(|latest| *latest < id);
        if latest {
            self.latest.insert(guest, id);
        }
        latest
    }

    /// A guest has linked; its earlier session, if it is still there, ends.
    pub(super) fn open(&mut self, guest: Guest, id: SessionId, outbound: Outbound) {
        let session = Session {
            id,
            outbound,
            sent_desired: None,
            ordered: HashMap::new(),
            purges: HashMap::new(),
            looks: HashMap::new(),
            knows_addresses: false,
            lacks_root: false,
            manifest_problem: None,
        };
        self.sessions.insert(guest, session);
    }

    /// A session is over. False when a newer one has taken its place.
    pub(super) fn close(&mut self, guest: Guest, id: SessionId) -> bool {
        let current = self.is_current(guest, id);
        if current {
            self.sessions.remove(&guest);
        }
        current
    }

    /// Ends a guest's session from here.
    pub(super) fn end(&mut self, guest: Guest) {
        self.sessions.remove(&guest);
    }

    /// Every guest that is linked.
    pub(super) fn guests(&self) -> impl Iterator<Item = Guest> {
        self.sessions.keys().copied()
    }

    /// Whether this is the guest's session now.
    pub(super) fn is_current(&self, guest: Guest, id: SessionId) -> bool {
        self.sessions.get(&guest).is_some_and(|session| session.id == id)
    }

    /// The generation that the guest was asked to prepare.
    pub(super) fn ordered(&self, id: &PlacementId) -> Option<u64> {
        self.sessions.get(&id.guest)?.ordered.get(&id.certificate).copied()
    }

    /// Sends each linked guest what it should hold, if that is not what it was sent last. Guests that are to be left alone
    /// are sent it when that is over, and of very many that are to make keys some are sent it later: the most urgent first.
    pub(super) fn send_desired(&mut self, plan: &Plan<'_>, world: &World, now: Instant) {
        self.stagger.at(now);
        let guests = self.sessions.keys().filter(|guest| !world.inventory().hands_off(**guest));
        let mut wanted: HashMap<Guest, (DefaultHasher, Vec<&Planned<'_>>)> =
            guests.map(|guest| (*guest, Default::default())).collect();
        for planned in &plan.placements {
            if let Some(guest) = planned.guest
                && let Some((hasher, list)) = wanted.get_mut(&guest)
            {
                fingerprint(planned, hasher);
                list.push(planned);
            }
        }
        let mut ordering = Vec::new();
        for (guest, (hasher, list)) in wanted {
            let Some(session) = self.sessions.get_mut(&guest) else { continue };
            let fingerprint = hasher.finish();
            if session.sent_desired == Some(fingerprint) {
                continue;
            }
            let orders: Vec<_> = list.iter().filter_map(|planned| session.new_order(planned, world)).collect();
            match orders.iter().min() {
                Some(urgency) => ordering.push((*urgency, guest, orders.len(), fingerprint, list)),
                None => session.send_desired(fingerprint, &list, &mut self.queue_full),
            }
        }
        ordering.sort_unstable_by_key(|(urgency, guest, ..)| (*urgency, *guest));
        for (_, guest, orders, fingerprint, list) in ordering {
            if !self.stagger.takes(orders.try_into().unwrap_or(u32::MAX)) {
                break;
            }
            if let Some(session) = self.sessions.get_mut(&guest) {
                session.send_desired(fingerprint, &list, &mut self.queue_full);
            }
        }
    }

    /// When there is something to send although nothing has happened: some queue was full since this was asked last, or
    /// orders were held back.
    pub(super) fn resend_at(&mut self, now: Instant) -> Option<Instant> {
        let resend_at = std::mem::take(&mut self.queue_full).then(|| now + RESEND_DELAY);
        resend_at.into_iter().chain(self.stagger.next()).min()
    }

    /// The addresses are others: every guest is to be sent them.
    pub(super) fn addresses_changed(&mut self) {
        self.sessions.values_mut().for_each(|session| session.knows_addresses = false);
    }

    /// Sends where the controller is to those that do not know.
    pub(super) fn send_addresses(&mut self, home: &PlainName, addresses: &[SocketAddr]) {
        if addresses.is_empty() {
            return;
        }
        let nodes = vec![ControllerNode { name: home.clone(), addresses: addresses.to_vec() }];
        let controllers = Controllers { nodes, home: home.clone() };
        for session in self.sessions.values_mut().filter(|session| !session.knows_addresses) {
            session.knows_addresses = session.send(ToAgent::Controllers(controllers.clone()), &mut self.queue_full);
        }
    }

    /// A guest has said which roots it trusts, and there is this next one. An agent that says none knows only one.
    pub(super) fn trusts(&mut self, guest: Guest, roots: &[Fingerprint], next: Option<&EndorsedRoot>) {
        if let (Some(session), Some(next)) = (self.sessions.get_mut(&guest), next) {
            session.lacks_root = !roots.is_empty() && !roots.contains(&next.root.fingerprint());
        }
    }

    /// Sends the next root to those that lack it.
    pub(super) fn send_root(&mut self, next: Option<&EndorsedRoot>) {
        let Some(next) = next else { return };
        for session in self.sessions.values_mut().filter(|session| session.lacks_root) {
            session.lacks_root = !session.send(ToAgent::Root(Box::new(next.clone())), &mut self.queue_full);
        }
    }

    /// Tells the guests what is wrong with the manifest on disk, so that who waits there learns it: the first mistake alone,
    /// because what else is in the manifest is none of theirs.
    pub(super) fn send_manifest_problem(&mut self, problem: Option<&str>) {
        let first = problem.and_then(|problem| problem.lines().map(str::trim).find(|line| !line.is_empty()));
        let first = first.map(|first| line(first, MAX_MANIFEST_PROBLEM));
        for session in self.sessions.values_mut().filter(|session| session.manifest_problem != first) {
            if session.send(ToAgent::ManifestProblem(first.clone()), &mut self.queue_full) {
                session.manifest_problem.clone_from(&first);
            }
        }
    }

    /// There is another manifest: every guest is sent what it should hold once more, which is harmless.
    pub(super) fn send_desired_anew(&mut self) {
        for session in self.sessions.values_mut() {
            session.sent_desired = None;
        }
    }

    /// Sends a certificate to its guest, if it is linked. False when it was not.
    pub(super) fn deliver(&mut self, guest: Guest, delivery: Box<Delivery>) -> bool {
        let Some(session) = self.sessions.get_mut(&guest) else { return false };
        session.send(ToAgent::Delivery(delivery), &mut self.queue_full)
    }

    /// Asks a guest to try a placement again at once.
    pub(super) fn retry(&mut self, id: &PlacementId) {
        if let Some(session) = self.sessions.get_mut(&id.guest) {
            // It is a nudge: who asked sees in time whether it helped.
            session.send(ToAgent::Retry(id.certificate.clone()), &mut false);
        }
    }

    /// Asks a guest for a look at a placement, once a session.
    pub(super) fn look(&mut self, id: &PlacementId, number: u64) {
        if let Some(session) = self.sessions.get_mut(&id.guest)
            && session.looks.get(&id.certificate).is_none_or(|asked| *asked < number)
            && session.send(ToAgent::Look(id.certificate.clone(), number), &mut self.queue_full)
        {
            session.looks.insert(id.certificate.clone(), number);
        }
    }

    /// Asks a guest what it sees. A queue that is full loses the question: who asked is told that nothing came.
    pub(super) fn examine(&mut self, guest: Guest, number: u64, subject: Subject) {
        if let Some(session) = self.sessions.get_mut(&guest) {
            session.send(ToAgent::Examine(number, subject), &mut false);
        }
    }

    /// Asks a guest to remove files, once a session until it has answered.
    pub(super) fn purge(&mut self, guest: Guest, purge: Purge) {
        if let Some(session) = self.sessions.get_mut(&guest)
            && session.purges.get(&purge.certificate) != Some(&purge)
            && session.send(ToAgent::Purge(purge.clone()), &mut self.queue_full)
        {
            session.purges.insert(purge.certificate.clone(), purge);
        }
    }

    /// A guest has answered what it was asked to remove. Looks at what is there next are counted anew.
    pub(super) fn purged(&mut self, id: &PlacementId) {
        if let Some(session) = self.sessions.get_mut(&id.guest) {
            session.purges.remove(&id.certificate);
            session.looks.remove(&id.certificate);
        }
    }
}

/// First come renewals that a person wants now, then placements without a certificate, then what expires soonest.
type Urgency = (bool, Option<Timestamp>);

impl Session {
    /// How urgent an order for a key and a request is, if the guest was not sent it yet.
    fn new_order(&self, planned: &Planned<'_>, world: &World) -> Option<Urgency> {
        let Decision::Order(Order { generation, step: Step::Ask, expires, .. }) = &planned.decision else {
            return None;
        };
        let is_new = self.ordered.get(&planned.certificate.name) != Some(generation);
        let is_hurried = || world.placement(&planned.id()?).map(PlacementEntry::is_hurried);
        is_new.then(|| (!is_hurried().unwrap_or_default(), *expires))
    }

    fn send_desired(&mut self, fingerprint: u64, list: &[&Planned<'_>], full: &mut bool) {
        let specs: Vec<PlacementSpec> = list.iter().map(|planned| planned.spec()).collect();
        if self.send(ToAgent::Desired(specs), full) {
            self.sent_desired = Some(fingerprint);
            let ordered = |planned: &&Planned<'_>| Some((planned.certificate.name.clone(), planned.ordered?));
            self.ordered = list.iter().filter_map(ordered).collect();
        }
    }

    fn send(&mut self, message: ToAgent, full: &mut bool) -> bool {
        match self.outbound.try_send(Box::new(message)) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                *full = true;
                false
            }
            // The end of the session is on its way as an input.
            Err(TrySendError::Closed(_)) => false,
        }
    }
}

/// What makes a spec another one, within one manifest: there a placement's place in memory stands for it.
fn fingerprint(planned: &Planned<'_>, hasher: &mut DefaultHasher) {
    // All are named, so that nobody who adds one forgets to say whether it is sent.
    let Planned {
        placement,
        ordered,
        adoption,
        window,
        roots,
        certificate: _,
        guest: _,
        decision: _,
        renew_at: _,
        waits_for_root: _,
        disruptive: _,
        turn: _,
    } = planned;
    std::ptr::from_ref(*placement).addr().hash(hasher);
    (ordered, adoption, window).hash(hasher);
    roots.iter().for_each(|root| root.fingerprint().hash(hasher));
    if let Some(trouble) = planned.trouble() {
        (&trouble.attempt, &trouble.cause, &trouble.remedy, trouble.retry_at.map(|at| at.unix())).hash(hasher);
        (trouble.halt == pinion_proto::stage::Halt::Blocked).hash(hasher);
    }
}

#[cfg(test)]
mod tests;
