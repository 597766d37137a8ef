//! What the parts of the loop want done.
//!
//! Answers: what may a part bring about?
//! Invariant: a part that is given a world, a plan and the time says here all that is to be done, and does none of it.
//! The loop performs it, in the order in which it was said, in one place (`perform`).

use std::time::Duration;

use pinion_proto::{
    clock::Timestamp,
    examination::Subject,
    id::{CertificateName, Guest, PlacementId, Vmid},
    message::Delivery,
    message::Purge,
    names::SubjectName,
    spec::PlainName,
    stage::Trouble,
};
use zeroize::Zeroizing;

use super::departures::listed::ListedGuests;
use crate::{
    admin::caller::Caller,
    events::{Event, PlacementEvent, What},
    issuer::{Revocation, Serial, SigningRequest},
    notify::alarm::Alarms,
    world::Change,
};

/// What a guest reported is written this long after it was reported, so that a busy minute is one write a guest.
pub(super) const WRITE_DELAY: Duration = Duration::from_secs(3);

/// Everything that is to be done, in order.
#[derive(Debug)]
pub(super) struct Effects {
    now: Timestamp,
    effects: Vec<Effect>,
}

/// One thing that is to be done.
#[derive(Debug)]
pub(super) enum Effect {
    /// Record what happened.
    Event(Box<Event>),
    /// Record what a guest, or a stranger, brought about: that is limited.
    LimitedEvent(Option<Guest>, Box<Event>),
    /// Change what is known.
    Change(Box<Change>),
    /// Write what is known of a guest.
    Save(Guest, When),
    /// Write what has changed of the certificates that are to be revoked.
    SaveRevocations(When),
    /// Write which guests were listed.
    SaveDepartures(ListedGuests),
    /// Forget all that is known of a guest, and end its session.
    Forget(Guest),
    /// End a guest's session.
    EndSession(Guest),
    /// Stop what is done to bring a guest in, because of this.
    StopEnrolment(Vmid, String),
    /// Send something about a placement to its guest.
    Send(PlacementId, Outgoing),
    /// Ask a guest what it sees: this question, with this number.
    Examine(Guest, u64, Subject),
    /// Have a certificate signed.
    Sign(Box<SignCall>),
    /// Have a certificate revoked.
    Revoke(RevokeCall),
    /// Remove the document of a certificate that is on its way no longer.
    Discard(PlacementId, u64),
    /// Tell the service manager how all placements are.
    Summary(String),
    /// Say what is wrong to those who tell people.
    Alarms(Box<Alarms>),
}

/// When something is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Within [`WRITE_DELAY`].
    Soon,
    /// At once: a person has asked for it, and nobody would say it again.
    AtOnce,
}

/// What is sent to a guest about one placement.
#[derive(Debug, Clone)]
pub(super) enum Outgoing {
    /// A certificate.
    Delivery(Box<Delivery>),
    /// It is to try again at once.
    Retry,
    /// It is to look at what is there, and to report this number when it has.
    Look(u64),
    /// It is to remove files.
    Purge(Purge),
}

/// A certificate that an issuer is to sign.
#[derive(Debug)]
pub(super) struct SignCall {
    pub(super) id: PlacementId,
    pub(super) generation: u64,
    pub(super) issuer: PlainName,
    pub(super) request: SigningRequest,
    /// When what is held expires: the soonest goes first.
    pub(super) expires: Option<Timestamp>,
    /// The end of what is held, where another certificate is of use only if it ends later.
    pub(super) must_exceed: Option<Timestamp>,
    /// What was ordered.
    pub(super) common_name: SubjectName,
    /// PKCS #8, DER, where the key is shared.
    pub(super) shared_key: Option<Zeroizing<Vec<u8>>>,
    /// Whether it is written until it is delivered.
    pub(super) is_kept: bool,
}

/// A certificate that an issuer is to revoke.
#[derive(Debug)]
pub(super) struct RevokeCall {
    pub(super) id: PlacementId,
    pub(super) serial: Serial,
    pub(super) issuer: PlainName,
    pub(super) why: Revocation,
    pub(super) not_after: Timestamp,
}

impl Effects {
    /// Nothing yet, at this moment.
    pub(super) fn at(now: Timestamp) -> Self {
        Self { now, effects: Vec::new() }
    }

    /// The moment at which this is wanted.
    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// Something happened.
    pub(super) fn event(&mut self, what: What) {
        self.effects.push(Effect::Event(Box::new(what.at(self.now))));
    }

    /// A person asked for something.
    pub(super) fn asked(&mut self, what: What, by: &Caller) {
        self.effects.push(Effect::Event(Box::new(what.at(self.now).by(by))));
    }

    /// A guest, or a stranger, brought something about.
    pub(super) fn limited_event(&mut self, who: Option<Guest>, what: What) {
        self.effects.push(Effect::LimitedEvent(who, Box::new(what.at(self.now))));
    }

    /// No certificate was signed for a placement, because of this. It is tried again later.
    pub(super) fn trouble(&mut self, id: &PlacementId, generation: Option<u64>, trouble: Trouble) {
        self.change(Change::AttemptFailed(id.clone(), trouble.clone()));
        self.event(What::Placement(id.clone(), PlacementEvent::NotIssued { generation, trouble }));
    }

    /// What is known changes.
    pub(super) fn change(&mut self, change: Change) {
        self.effects.push(Effect::Change(Box::new(change)));
    }

    /// What is known of a guest is written soon.
    pub(super) fn save(&mut self, guest: Guest) {
        self.effects.push(Effect::Save(guest, When::Soon));
    }

    /// What is known of a guest is written at once.
    pub(super) fn save_at_once(&mut self, guest: Guest) {
        self.effects.push(Effect::Save(guest, When::AtOnce));
    }

    /// What is to be revoked is written.
    pub(super) fn save_revocations(&mut self, when: When) {
        self.effects.push(Effect::SaveRevocations(when));
    }

    /// Which guests were listed is written.
    pub(super) fn save_departures(&mut self, listed: ListedGuests) {
        self.effects.push(Effect::SaveDepartures(listed));
    }

    /// Nothing is known of a guest any more, and its session ends.
    pub(super) fn forget(&mut self, guest: Guest) {
        self.effects.push(Effect::Forget(guest));
    }

    /// A guest's link ends from here; what it was let in by is not good any more.
    pub(super) fn end_session(&mut self, guest: Guest) {
        self.effects.push(Effect::EndSession(guest));
        self.change(Change::LinkDown(guest));
    }

    /// Nothing brings a guest in any more.
    pub(super) fn stop_enrolment(&mut self, guest: Vmid, why: String) {
        self.effects.push(Effect::StopEnrolment(guest, why));
    }

    /// Something goes to a placement's guest.
    pub(super) fn send(&mut self, id: &PlacementId, outgoing: Outgoing) {
        self.effects.push(Effect::Send(id.clone(), outgoing));
    }

    /// A guest is asked what it sees.
    pub(super) fn examine(&mut self, guest: Guest, number: u64, subject: Subject) {
        self.effects.push(Effect::Examine(guest, number, subject));
    }

    /// A certificate is to be signed.
    pub(super) fn sign(&mut self, call: SignCall) {
        self.effects.push(Effect::Sign(Box::new(call)));
    }

    /// A certificate is to be revoked.
    pub(super) fn revoke(&mut self, call: RevokeCall) {
        self.effects.push(Effect::Revoke(call));
    }

    /// The document of a certificate is not needed any more.
    pub(super) fn discard(&mut self, id: PlacementId, generation: u64) {
        self.effects.push(Effect::Discard(id, generation));
    }

    /// How all placements are, in one line.
    pub(super) fn summary(&mut self, line: String) {
        self.effects.push(Effect::Summary(line));
    }

    /// This is wrong now.
    pub(super) fn alarms(&mut self, alarms: Alarms) {
        self.effects.push(Effect::Alarms(Box::new(alarms)));
    }

    /// The key of a shared certificate is another one, or given up.
    pub(super) fn shared_key(&mut self, certificate: &CertificateName, key: Option<crate::world::SharedKey>) {
        self.change(Change::SharedKey(certificate.clone(), key));
    }
}

impl IntoIterator for Effects {
    type Item = Effect;
    type IntoIter = std::vec::IntoIter<Effect>;

    fn into_iter(self) -> Self::IntoIter {
        self.effects.into_iter()
    }
}

/// What the parts' tests look at.
#[cfg(test)]
impl Effects {
    /// What happened, in words.
    pub(super) fn texts(&self) -> Vec<&str> {
        let events = self.effects.iter().filter_map(|effect| match effect {
            Effect::Event(event) | Effect::LimitedEvent(_, event) => Some(event),
            _ => None,
        });
        events.map(|event| event.text.as_str()).collect()
    }

    /// What changes of what is known.
    pub(super) fn changes(&self) -> Vec<&Change> {
        let changes = self.effects.iter().filter_map(|effect| match effect {
            Effect::Change(change) => Some(&**change),
            _ => None,
        });
        changes.collect()
    }

    /// How many of the effects are like this.
    pub(super) fn count(&self, is: impl Fn(&Effect) -> bool) -> usize {
        self.effects.iter().filter(|effect| is(effect)).count()
    }

    /// Whether nothing is to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    /// Applies what changes of what is known, as the loop does.
    pub(super) fn apply(self, world: &mut crate::world::World) {
        for effect in self.effects {
            match effect {
                Effect::Change(change) => world.apply(*change, self.now),
                Effect::Forget(guest) => world.apply(Change::Forgotten(guest), self.now),
                _ => {}
            }
        }
    }
}
