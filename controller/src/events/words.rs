//! The words of every event: its kind, what it concerns, and its sentence.
//!
//! Answers: in which words does a person read what happened?
//! Invariant: each sentence stands here once, and says what to do where there is something to be done.

use std::time::Duration;

use pinion_proto::{clock::Timestamp, id::Guest, report::GuestFacts};

use super::{
    Event, Kind,
    what::{CertificateEvent, Document, GuestEvent, HostEvent, IssuerEvent, PlacementEvent, What},
};

/// What goes on, and what waits, while the state that nodes share cannot be written.
pub(crate) const WHILE_UNWRITABLE: &str =
    "renewals go on; joins, identities, tokens and new shared keys wait until the shared state can be written again";

impl What {
    /// This, at a moment.
    pub(crate) fn at(self, now: Timestamp) -> Event {
        match self {
            Self::Host(what) => {
                let (kind, text) = what.words();
                Event::new(now, kind, text)
            }
            Self::Issuer(issuer, what) => Event::new(now, Kind::Roots, format!("{issuer} {}", what.words())),
            Self::Guest(guest, what) => {
                let (kind, text) = what.words(guest);
                let event = Event::new(now, kind, text).guest(guest);
                match what {
                    GuestEvent::Joined(generation) | GuestEvent::IdentityRenewed(generation) => {
                        event.generation(generation)
                    }
                    _ => event,
                }
            }
            Self::Certificate(certificate, what) => {
                let (kind, text) = match what {
                    CertificateEvent::SharedKeyUnreadable(why) => (Kind::Failed, why),
                    CertificateEvent::SharedKeyGivenUp => (
                        Kind::Asked,
                        format!(
                            "{certificate} gets another shared key: the one before was in a guest that is compromised"
                        ),
                    ),
                };
                Event::new(now, kind, text).certificate(&certificate)
            }
            Self::Placement(id, what) => {
                let (kind, text) = what.words(&id.to_string());
                let event = Event::new(now, kind, text).guest(id.guest).certificate(&id.certificate);
                let (generation, serial) = what.content();
                let event = generation.map_or(event.clone(), |generation| event.generation(generation));
                serial.map_or(event.clone(), |serial| event.serial(serial))
            }
        }
    }
}

impl HostEvent {
    fn words(self) -> (Kind, String) {
        match self {
            Self::Started { address, trust_domain, root } => (
                Kind::Controller,
                format!(
                    "Controller {} listens on {address}; trust domain {trust_domain}, identity root {root}",
                    env!("CARGO_PKG_VERSION")
                ),
            ),
            Self::Stops => (Kind::Controller, "Controller stops".into()),
            Self::ManifestInForce { certificates, placements } => (
                Kind::Manifest,
                format!("A manifest with {certificates} certificates in {placements} places is in force"),
            ),
            Self::ManifestRejected { since, problem } => {
                let since = since.map(|since| format!(", since {since}")).unwrap_or_default();
                let text =
                    format!("The manifest on disk is not taken, the one before stays in force{since}: {problem}");
                (Kind::Failed, text)
            }
            Self::InventoryUnknown(trouble) => {
                (Kind::Failed, format!("Proxmox's guests are not known as they are now: {trouble}"))
            }
            Self::InventoryKnown => (Kind::Controller, "Proxmox's guests are known again".into()),
            Self::RunningUnknown(trouble) => (Kind::Failed, trouble.to_string()),
            Self::RunningKnown => (Kind::Controller, "Proxmox says again which guests run".into()),
            Self::SameNetworkCard(trouble) => (Kind::Trouble, trouble.to_string()),
            Self::NetworkCardsDiffer => {
                (Kind::Controller, "Guests with the same network card are told apart again".into())
            }
            Self::ClockMovedBack { to, renewed } => {
                let mut text = format!("The clock was set back to {to}");
                if !renewed.is_empty() {
                    let names: Vec<_> = renewed.iter().map(ToString::to_string).collect();
                    text += "; what begins too late by it, or was under way, is renewed: ";
                    text += &names.join(", ");
                }
                (Kind::Controller, text)
            }
            Self::SharedStateUnwritable(problem) => (Kind::Failed, format!("{problem}; {WHILE_UNWRITABLE}")),
            Self::SharedStateWritable => {
                (Kind::Controller, "The shared state can be written again, and everything goes on".into())
            }
            Self::Unreadable(document, why) => (Kind::Failed, format!("{}: {why}", document.unreadable())),
            Self::EvictionsReadable => (Kind::Controller, "Which guests were evicted is known again".into()),
            Self::NodeAuthorityRenewed => {
                (Kind::Controller, "This node's authority for identities is renewed again".into())
            }
            Self::NodeAuthorityFails(why) => (
                Kind::Failed,
                format!("This node's authority for identities cannot be renewed, and identities end with it: {why}"),
            ),
            Self::Refused(what) => (Kind::Refused, format!("Refused: {what}")),
            Self::EventsLeftOut => (Kind::Refused, left_out("Callers without an identity bring")),
            Self::EventsMissed(missed) => {
                (Kind::Controller, format!("{missed} events went by too fast to be followed; `pinion events` has them"))
            }
            Self::Frozen { what, end } => {
                (Kind::Asked, format!("{what} is frozen {end}: nothing disruptive is done there"))
            }
            Self::FreezeLifted(what) => (Kind::Asked, format!("The freeze of {what} is lifted")),
            Self::FreezeEnded(what) => (Kind::Asked, format!("The freeze of {what} is over")),
            Self::RenewalAsked(count) => (Kind::Asked, format!("A renewal of {count} placements is asked for")),
        }
    }
}

impl Document {
    fn unreadable(self) -> &'static str {
        match self {
            Self::Reports => "What a guest said before is not known until it links again",
            Self::Departures => "Which guests were there before is not known",
            Self::Evictions => "Which guests were evicted is not known, and none is brought in by itself",
            Self::Freezes => "What was frozen is not known, and nothing is now",
            Self::Revocations => "What was to be revoked is not known, and is left to expire",
            Self::SharedKeys => "The shared keys cannot be listed",
            Self::Undelivered => "A certificate that was on its way is signed once more if it is needed",
            Self::Journal => "What happened before cannot be read",
        }
    }
}

impl IssuerEvent {
    fn words(&self) -> String {
        match self {
            Self::NewRoot { root, not_after } => format!("has a new root {root}, valid until {not_after}"),
            Self::RootGone(root) => format!("has given up root {root}"),
            Self::SignsUnder(root) => format!("signs under root {root} from now on"),
        }
    }
}

impl GuestEvent {
    fn words(&self, guest: Guest) -> (Kind, String) {
        match self {
            Self::Linked => (Kind::Linked, format!("Guest {guest} is linked")),
            Self::Unlinked(why) => (Kind::Unlinked, format!("Guest {guest} is no longer linked: {why}")),
            Self::Joined(generation) => {
                (Kind::Joined, format!("Guest {guest} joined with identity number {generation}"))
            }
            Self::IdentityRenewed(generation) => {
                (Kind::Renewed, format!("Guest {guest} renewed its identity number {generation}"))
            }
            Self::Refused(what) => (Kind::Refused, format!("Refused: {what}")),
            Self::EventsLeftOut => (Kind::Refused, left_out(&format!("Guest {guest} brings"))),
            Self::RolledBack(setback) => (
                Kind::RolledBack,
                format!(
                    "Guest {guest} was rolled back to a snapshot: {setback}. Its identity is not trusted any more, and it \
                     joins anew through the hypervisor"
                ),
            ),
            Self::Locked(why) => (
                Kind::RolledBack,
                format!(
                    "Guest {guest} is locked, because {why}. See to it that one of it runs; `pinion guest enroll {guest}`, \
                     or `pinion guest unlock {guest}` and a fresh join token, let it in again"
                ),
            ),
            Self::OtherVmgenid => (
                Kind::RolledBack,
                format!("Guest {guest} has another vmgenid: it was rolled back, and its link is ended"),
            ),
            Self::MayBeCopy => (
                Kind::Refused,
                format!(
                    "What is linked as guest {guest} may be a copy of it, and has to show who it is: its link is ended"
                ),
            ),
            Self::RefusalUnwritten(why) => (
                Kind::Failed,
                format!(
                    "That guest {guest} is refused cannot be written down yet, and holds for as long as this controller \
                     runs: {why}"
                ),
            ),
            Self::Destroyed(placements) => (
                Kind::Destroyed,
                format!(
                    "Guest {guest} was destroyed: its identity is refused from now on, and its placements ({placements}) are \
                     retired; `pinion guest forget {guest}` takes note of it"
                ),
            ),
            Self::DestroyedNotRefused(why) => {
                (Kind::Failed, format!("Guest {guest} was destroyed, and its identity cannot be refused yet: {why}"))
            }
            Self::MadeAnew => (Kind::Destroyed, format!("Guest {guest} was made anew; it is another one than before")),
            Self::EndNoted => {
                (Kind::Asked, format!("The end of guest {guest} was noted; nothing is told of it any more"))
            }
            Self::Evicted(None) => {
                (Kind::Asked, format!("Guest {guest} was evicted: its identity is refused from now on"))
            }
            Self::Evicted(Some(why)) => (
                Kind::Asked,
                format!("Guest {guest} was evicted: its identity is refused, which cannot be written down yet: {why}"),
            ),
            Self::EvictionStep(line) => (Kind::Asked, format!("Guest {guest} evicted: {line}")),
            Self::EvictionUnwritten(why) => {
                (Kind::Failed, format!("That guest {guest} is refused cannot be written down yet: {why}"))
            }
            Self::LinkedWhileEvicted => (
                Kind::Refused,
                format!("Guest {guest} has linked and is evicted: its identity is refused, and the link ends"),
            ),
            Self::LetIn => (Kind::Asked, format!("Guest {guest} is not evicted any more")),
            Self::Unlocked => (Kind::Asked, format!("Guest {guest} was unlocked; a fresh join token lets it in")),
            Self::Forgotten => {
                (Kind::Asked, format!("Guest {guest} was forgotten: its identity is refused from now on"))
            }
            Self::TokenMade => {
                (Kind::Token, format!("A join token for guest {guest} was made; it is good once, for ten minutes"))
            }
            Self::EnrolAsked => {
                (Kind::Asked, format!("Guest {guest} is enrolled now: an agent and an identity are brought in"))
            }
            Self::WakeAsked => {
                (Kind::Asked, format!("Guest {guest} is looked at now: somebody says that it has started"))
            }
            Self::Enrolled(step) => (Kind::Enrolled, format!("Guest {guest}: {step}")),
            Self::AgentPutBack(why) => (
                Kind::Failed,
                format!(
                    "In guest {guest} {why}: the one before is put back, and no other agent is replaced until somebody has \
                     seen to it"
                ),
            ),
            Self::NotEnrolled(trouble) => (Kind::Trouble, trouble.to_string()),
        }
    }
}

/// Why a guest is locked that may have been rolled back, or cloned: what shows it, and who was seen before and now.
pub(crate) fn taken_back_or_cloned(setback: &str, before: Option<&GuestFacts>, now: &GuestFacts) -> String {
    let who = match before {
        Some(before) => format!("last seen as {}, and now as {}", machine(before), machine(now)),
        None => format!("seen as {}", machine(now)),
    };
    format!("it was rolled back to a snapshot, or cloned: {setback}; {who}")
}

fn machine(facts: &GuestFacts) -> String {
    let card = facts.hwaddrs.first().map(|card| format!(" with network card {card}")).unwrap_or_default();
    format!("{}{card}", if facts.hostname.is_empty() { "an unnamed machine" } else { &facts.hostname })
}

impl PlacementEvent {
    fn words(&self, id: &str) -> (Kind, String) {
        match self {
            Self::Issued { issuer, not_after, shortened_to, .. } => {
                let mut text = format!("{issuer} signed {id}, valid until {not_after}");
                if let Some(allowed) = shortened_to {
                    let allowed = humantime::format_duration(Duration::from_secs(allowed.as_secs()));
                    text += &format!(", shortened to the {allowed} that it allows");
                }
                (Kind::Issued, text)
            }
            Self::NotIssued { trouble, .. } => (Kind::Failed, format!("{id}: {trouble}")),
            Self::SharedKeyWaits(cause) => (
                Kind::Failed,
                format!("{id} is renewed with the key that it shares already, because a new one waits: {cause}"),
            ),
            Self::RequestRefused { why, .. } => {
                (Kind::Refused, format!("Refused: the certificate request of {id}: {why}"))
            }
            Self::Stage { stage, back: true, .. } => {
                (Kind::Stage, format!("{id} went back to the certificate before, which is {stage}"))
            }
            Self::Stage { stage, .. } => (Kind::Stage, format!("{id} is {stage}")),
            Self::HeldUp(trouble) => (Kind::Trouble, format!("{id}: {trouble}")),
            Self::Retired => {
                (Kind::Retired, format!("{id} is not in the manifest; its files stay until `pinion purge {id}`"))
            }
            Self::PurgeAsked => (Kind::Asked, format!("The files of {id} are to be removed")),
            Self::Purged { left } if left.is_empty() => (Kind::Purged, format!("The files of {id} are removed")),
            Self::Purged { left } => (
                Kind::Purged,
                format!(
                    "The files of {id} are removed, except those that are not as Pinion wrote them: {}",
                    left.join(", ")
                ),
            ),
            Self::Revoked { issuer, serial, compromised: true, .. } => {
                (Kind::Revoked, format!("{issuer} revoked {serial} of {id}, whose key may be in other hands"))
            }
            Self::Revoked { issuer, serial, .. } => {
                (Kind::Revoked, format!("{issuer} revoked {serial}, which {id} does not use any more"))
            }
            Self::NotRevoked { issuer, serial, cause, .. } => (
                Kind::Failed,
                format!(
                    "{issuer} has not revoked {serial}, which {id} is not to use any more; it is tried again until the \
                     certificate expires: {cause}"
                ),
            ),
        }
    }

    /// Which generation and serial number it is about.
    fn content(&self) -> (Option<u64>, Option<&str>) {
        match self {
            Self::Issued { generation, serial, .. }
            | Self::Stage { generation, serial, .. }
            | Self::Revoked { generation, serial, .. }
            | Self::NotRevoked { generation, serial, .. } => (Some(*generation), Some(serial)),
            Self::RequestRefused { generation, .. } => (Some(*generation), None),
            Self::NotIssued { generation, .. } => (*generation, None),
            Self::SharedKeyWaits(_) | Self::HeldUp(_) | Self::Retired | Self::PurgeAsked | Self::Purged { .. } => {
                (None, None)
            }
        }
    }
}

fn left_out(who: &str) -> String {
    format!("{who} about more events than are written down; for now most of them are left out")
}

#[cfg(test)]
mod tests;
