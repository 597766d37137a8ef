//! The words of every event: its kind, what it concerns, and its sentence.
//!
//! Answers: in which words does a person read what happened?
//! Invariant: each sentence stands here once, and says what to do where there is something to be done.

use pinion_proto::{
    clock::Timestamp, id::Guest, length::Length, message::Purged, report::GuestFacts, report::Original, spec::GuestPath,
};

use super::{
    Event, Kind,
    what::{CertificateEvent, GuestEvent, HostEvent, IssuerEvent, NameEvent, PlacementEvent, What},
};

/// What goes on, and what waits, while the state that nodes share cannot be written.
pub(crate) const WHILE_UNWRITABLE: &str =
    "renewals continue; joins, identities, tokens and new shared keys wait until the shared state can be written again";

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
                        format!("{certificate} gets another shared key: the old one was in a compromised guest"),
                    ),
                };
                Event::new(now, kind, text).certificate(&certificate)
            }
            Self::Placement(id, what) => {
                let (kind, text) = what.words(&id.to_string());
                let event = Event::new(now, kind, text).guest(id.guest).certificate(&id.certificate);
                let (generation, serial) = what.content();
                let event = what.reached().map_or(event.clone(), |stage| event.stage(stage));
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
                    format!("The manifest on disk cannot be used; the previous one stays in force{since}: {problem}");
                (Kind::Failed, text)
            }
            Self::InventoryUnknown(trouble) => {
                (Kind::Failed, format!("The list of Proxmox's guests is out of date: {trouble}"))
            }
            Self::InventoryKnown => (Kind::Controller, "The list of Proxmox's guests is up to date again".into()),
            Self::RunningUnknown(trouble) => (Kind::Failed, trouble.to_string()),
            Self::RunningKnown => (Kind::Controller, "Pinion knows again which guests run".into()),
            Self::SameNetworkCard(trouble) => (Kind::Trouble, trouble.to_string()),
            Self::NetworkCardsDiffer => {
                (Kind::Controller, "Guests with the same network card are told apart again".into())
            }
            Self::ClockMovedBack { to, renewed } => {
                let mut text = format!("The clock was set back to {to}");
                if !renewed.is_empty() {
                    let names: Vec<_> = renewed.iter().map(ToString::to_string).collect();
                    text += "; certificates that begin too late or were under way are renewed: ";
                    text += &names.join(", ");
                }
                (Kind::Controller, text)
            }
            Self::SharedStateUnwritable(problem) => (Kind::Failed, format!("{problem}; {WHILE_UNWRITABLE}")),
            Self::SharedStateWritable => {
                (Kind::Controller, "The shared state can be written again, and everything continues".into())
            }
            Self::Unreadable(document, why) => (Kind::Failed, format!("{}: {why}", document.unreadable())),
            Self::EvictionsReadable => (Kind::Controller, "The list of evicted guests can be read again".into()),
            Self::NodeAuthorityRenewed => {
                (Kind::Controller, "This node's authority for identities was renewed again".into())
            }
            Self::NodeAuthorityFails(why) => (
                Kind::Failed,
                format!("Cannot renew this node's authority for identities, and identities expire with it: {why}"),
            ),
            Self::Refused(what) => (Kind::Refused, format!("Refused: {what}")),
            Self::EventsLeftOut => (Kind::Refused, left_out("Callers without an identity cause")),
            Self::EventsMissed(missed) => {
                (Kind::Controller, format!("{missed} events happened too fast for --follow; `pinion events` has them"))
            }
            Self::Frozen { what, end } => {
                (Kind::Asked, format!("{what} is frozen {end}: Pinion does nothing disruptive there"))
            }
            Self::FreezeLifted(what) => (Kind::Asked, format!("The freeze of {what} is lifted")),
            Self::FreezeEnded(what) => (Kind::Asked, format!("The freeze of {what} is over")),
            Self::RenewalAsked(count) => (Kind::Asked, format!("Renewal of {count} placements")),
            Self::SignedIn { user, may_renew, is_almighty } => {
                let may = if may_renew { "look and renew" } else { "look" };
                let mut text = format!("{user} signed in on the page with Proxmox's login, to {may}");
                if is_almighty {
                    text +=
                        "; this ticket or API token can do everything on Proxmox: use an API token that can only look";
                }
                (Kind::Asked, text)
            }
        }
    }
}

impl IssuerEvent {
    fn words(&self) -> String {
        match self {
            Self::NewRoot { root, not_after } => format!("has a new root {root}, valid until {not_after}"),
            Self::RootGone(root) => format!("no longer uses root {root}"),
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
            Self::EventsLeftOut => (Kind::Refused, left_out(&format!("Guest {guest} causes"))),
            Self::RolledBack(setback) => (
                Kind::RolledBack,
                format!(
                    "Guest {guest} was rolled back to a snapshot: {setback}. Pinion no longer trusts its identity, \
                     and it joins again through the hypervisor"
                ),
            ),
            Self::Locked(why) => (
                Kind::RolledBack,
                format!(
                    "Guest {guest} is locked, because {why}. Make sure that only one copy of it runs; then run \
                     `pinion guest enroll {guest}`, or `pinion guest unlock {guest}` and let it join with a new token"
                ),
            ),
            Self::OtherVmgenid => (
                Kind::RolledBack,
                format!("Guest {guest} has another vmgenid: it was rolled back, and Pinion ends its link"),
            ),
            Self::MayBeCopy => (
                Kind::Refused,
                format!(
                    "The machine that is linked as guest {guest} may be a copy of it: Pinion ends its link, and it \
                     must prove which guest it is"
                ),
            ),
            Self::RefusalUnwritten(why) => (
                Kind::Failed,
                format!(
                    "Cannot record yet that guest {guest} is refused; the refusal holds while this controller runs: \
                     {why}"
                ),
            ),
            Self::Destroyed(placements) => (
                Kind::Destroyed,
                format!(
                    "Guest {guest} was destroyed: its identity is refused from now on, and its placements \
                     ({placements}) are retired; `pinion guest forget {guest}` removes this notice from the status"
                ),
            ),
            Self::DestroyedNotRefused(why) => {
                (Kind::Failed, format!("Guest {guest} was destroyed, but Pinion cannot refuse its identity yet: {why}"))
            }
            Self::MadeAnew => (Kind::Destroyed, format!("Guest {guest} was created again; it is a new guest")),
            Self::EndNoted => {
                (Kind::Asked, format!("The notice that guest {guest} was destroyed is removed from the status"))
            }
            Self::Evicted(None) => {
                (Kind::Asked, format!("Guest {guest} was evicted: its identity is refused from now on"))
            }
            Self::Evicted(Some(why)) => (
                Kind::Asked,
                format!("Guest {guest} was evicted: its identity is refused, but this cannot be recorded yet: {why}"),
            ),
            Self::EvictionStep(line) => (Kind::Asked, format!("Guest {guest} evicted: {line}")),
            Self::AgentRemoved => (Kind::Asked, format!("The agent was removed from guest {guest}")),
            Self::AgentStays(why) => (Kind::Failed, format!("Guest {guest} evicted, but its agent stays: {why}")),
            Self::EvictionUnwritten(why) => {
                (Kind::Failed, format!("Cannot record yet that guest {guest} is refused: {why}"))
            }
            Self::LinkedWhileEvicted => (
                Kind::Refused,
                format!("Guest {guest} linked although it is evicted: its identity is refused, and its link ends"),
            ),
            Self::LetIn => (Kind::Asked, format!("Guest {guest} is no longer evicted")),
            Self::Unlocked => (Kind::Asked, format!("Guest {guest} was unlocked; it can join with a new token")),
            Self::Forgotten => {
                (Kind::Asked, format!("Guest {guest} was forgotten: its identity is refused from now on"))
            }
            Self::TokenMade => {
                (Kind::Token, format!("A join token for guest {guest} was created; it works once, within ten minutes"))
            }
            Self::Name(event) => event.words(guest),
            Self::EnrolAsked => {
                (Kind::Asked, format!("Guest {guest} is being enrolled: Pinion brings in an agent and an identity"))
            }
            Self::WakeAsked => {
                (Kind::Asked, format!("Guest {guest} is checked now: somebody reported that it has started"))
            }
            Self::Enrolled(step) => (Kind::Enrolled, format!("Guest {guest}: {step}")),
            Self::AgentPutBack(why) => (
                Kind::Failed,
                format!(
                    "In guest {guest} {why}: the previous agent is restored, and no other agent is replaced until \
                     you run `pinion guest enroll {guest}`"
                ),
            ),
            Self::NotEnrolled(trouble) => (Kind::Trouble, trouble.to_string()),
        }
    }
}

impl NameEvent {
    fn words(&self, guest: Guest) -> (Kind, String) {
        match self {
            Self::Lost(trouble) => (Kind::Trouble, trouble.to_string()),
            Self::Again(name) => (Kind::Controller, format!("Guest {guest} is named {name} again")),
            Self::TakenOver { name, from } => (
                Kind::Controller,
                format!("The manifest means guest {guest} by {name} from now on: guest {from} is gone"),
            ),
            Self::Accepted(name) => (Kind::Asked, format!("The manifest means guest {guest} by {name} from now on")),
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
                    let allowed = Length(*allowed);
                    text += &format!(", shortened to the {allowed} that it allows");
                }
                (Kind::Issued, text)
            }
            Self::NotIssued { trouble, .. } => (Kind::Failed, format!("{id}: {trouble}")),
            Self::SharedKeyWaits(cause) => (
                Kind::Failed,
                format!("{id} is renewed with its existing shared key, because a new key must wait: {cause}"),
            ),
            Self::RequestRefused { why, .. } => {
                (Kind::Refused, format!("Refused: the certificate request of {id}: {why}"))
            }
            Self::Stage { stage, back: true, .. } => {
                (Kind::Stage, format!("{id} went back to its previous certificate, which is {stage}"))
            }
            Self::Stage { stage, .. } => (Kind::Stage, format!("{id} is {stage}")),
            Self::HeldUp(trouble) => (Kind::Trouble, format!("{id}: {trouble}")),
            Self::Expiry { expired, not_after, trouble, .. } => {
                let (kind, mut text) = if *expired {
                    (Kind::Expired, format!("The certificate of {id} expired at {not_after}"))
                } else {
                    (Kind::Expiring, format!("The certificate of {id} expires at {not_after}, and is not renewed yet"))
                };
                if let Some(trouble) = trouble {
                    text += &format!(": {trouble}");
                }
                (kind, text)
            }
            Self::Retired => {
                (Kind::Retired, format!("{id} is not in the manifest; its files stay until `pinion purge {id}`"))
            }
            Self::PurgeAsked => (Kind::Asked, format!("The files of {id} will be removed")),
            Self::Purged(purged) if purged.named.is_empty() => (Kind::Purged, self::purged(id, purged)),
            Self::Purged(purged) => (Kind::Refused, not_purged(id, &purged.named)),
            Self::Adopted { not_after, .. } => (
                Kind::Adopted,
                format!("{id} took over the certificate that was there, valid until {not_after}; nothing was changed"),
            ),
            Self::Watched { not_after, .. } => {
                (Kind::Watched, format!("{id}, which Pinion only watches, shows a certificate valid until {not_after}"))
            }
            Self::NotAdopted(because) => (Kind::Replaced, format!("{id} does not take over what is there: {because}")),
            Self::Replaces(original) => (Kind::Replaced, replaces(id, original)),
            Self::Revoked { issuer, serial, compromised: true, .. } => {
                (Kind::Revoked, format!("{issuer} revoked {serial} of {id}, because someone else may have its key"))
            }
            Self::Revoked { issuer, serial, .. } => {
                (Kind::Revoked, format!("{issuer} revoked {serial}, which {id} no longer uses"))
            }
            Self::NotRevoked { issuer, serial, cause, .. } => (
                Kind::Failed,
                format!(
                    "{issuer} has not revoked {serial}, which {id} must no longer use; Pinion tries again until the \
                     certificate expires: {cause}"
                ),
            ),
        }
    }
}

/// What came of a purge.
fn purged(id: &str, purged: &Purged) -> String {
    let list = |paths: &[GuestPath]| paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut text = if purged.remains {
        format!("The files that {id} left behind are removed")
    } else {
        format!("The files of {id} are removed")
    };
    if !purged.left.is_empty() {
        text += &format!(", except those that somebody changed after Pinion wrote them: {}", list(&purged.left));
    }
    if !purged.restored.is_empty() {
        text += &format!("; what was there before Pinion is back: {}", list(&purged.restored));
    }
    if !purged.kept.is_empty() {
        text += &format!("; what was there before Pinion is kept in the guest: {}", list(&purged.kept));
    }
    text
}

/// Why nothing was purged.
fn not_purged(id: &str, named: &[String]) -> String {
    format!(
        "The files of {id} stay, because a service may need them: {}. Take that out and run `pinion purge {id}` again, \
         or run `pinion purge --force {id}`",
        named.join(", ")
    )
}

/// What a placement takes the place of.
fn replaces(id: &str, original: &Original) -> String {
    let path = &original.path;
    match &original.kept {
        Some(kept) => format!("{id} has replaced {path}, {original}; the original is kept in its guest: {kept}"),
        None => format!("{id} will replace {path}, {original}; the original will be kept in its guest"),
    }
}

fn left_out(who: &str) -> String {
    format!("{who} too many events; most of them are not recorded for now")
}

#[cfg(test)]
mod tests;
