//! Which roots are to be trusted, where they are still missing, and what waits for them.
//!
//! Invariants: a new root is in every place of the issuer's roots before the first certificate that ends at it is ordered,
//! as long as nothing expires by the waiting; an old one stays as long as a certificate that is held ends at it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use pinion_proto::{
    bundle::{Fingerprint, RootCertificate},
    clock::Timestamp,
    report::{Held, PlacementReport},
    spec::PlainName,
    stage::{Halt, Trouble},
};
use serde::Serialize;

use crate::{
    inventory::Inventory,
    issuer::IssuerRoots,
    manifest::{Certificate, Manifest},
    world::{Link, PlacementEntry, Reports},
};

/// So many of the places that a message names; the rest are counted.
const MAX_NAMED: usize = 5;

/// What is to be trusted of one issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trust {
    /// What is to be in every file of its roots, sorted; shared by its placements.
    #[serde(skip)]
    pub roots: Arc<[RootCertificate]>,
    /// The root that its next certificate ends at.
    pub signing: Fingerprint,
    /// Roots that it has not any more, and how many certificates that are held end at each.
    pub kept: BTreeMap<Fingerprint, usize>,
    /// Where the root that it signs under is still missing, while there is another.
    pub missing: Vec<Missing>,
}

/// A place of an issuer's roots that has not got the newest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The placement.
    pub placement: String,
    /// Nothing can come to it now: its guest is not there, or it needs a person.
    pub stuck: bool,
}

/// The issuers' trust, by name; none of an issuer whose roots are not known.
pub(super) fn trust(
    manifest: &Manifest,
    inventory: &Inventory,
    reports: &Reports,
    now: Timestamp,
) -> BTreeMap<PlainName, Trust> {
    let mut all = BTreeMap::new();
    for certificate in &manifest.certificates {
        if let Some(issuer) = &certificate.issuer
            && let Some(roots) = reports.roots(issuer)
            && !all.contains_key(issuer)
        {
            let trust = of_issuer(issuer, roots, manifest, inventory, reports, now);
            all.insert(issuer.clone(), trust);
        }
    }
    all
}

fn of_issuer(
    issuer: &PlainName,
    known: &IssuerRoots,
    manifest: &Manifest,
    inventory: &Inventory,
    reports: &Reports,
    now: Timestamp,
) -> Trust {
    let kept = if known.former.is_empty() { BTreeMap::new() } else { kept(issuer, known, reports, now) };
    let wanted =
        |root: &&RootCertificate| known.is_current(root.fingerprint()) || kept.contains_key(&root.fingerprint());
    let mut roots: Vec<_> = known.all().filter(wanted).cloned().collect();
    roots.sort_unstable_by_key(RootCertificate::fingerprint);
    roots.dedup();
    let missing =
        if roots.len() > 1 { missing(issuer, known.signing, manifest, inventory, reports) } else { Vec::new() };
    Trust { roots: roots.into(), signing: known.signing, kept, missing }
}

/// How many certificates end at each root that the issuer has given up.
fn kept(issuer: &PlainName, known: &IssuerRoots, reports: &Reports, now: Timestamp) -> BTreeMap<Fingerprint, usize> {
    let mut kept: HashMap<Fingerprint, usize> = HashMap::new();
    for held in reports.guests().flat_map(|(_, guest)| guest.placements()).filter_map(|(_, entry)| held(entry)) {
        if held.issuer != *issuer || held.expires() < now {
            continue;
        }
        // An agent that does not say which may hold one under any.
        let ends_at = |root: &&RootCertificate| held.root.is_none_or(|held| held == root.fingerprint());
        for root in known.former.iter().filter(ends_at) {
            *kept.entry(root.fingerprint()).or_default() += 1;
        }
    }
    kept.into_iter().collect()
}

fn held(entry: &PlacementEntry) -> Option<&Held> {
    entry.report()?.held.as_ref()
}

/// Where a root is not in use yet: placements of roots, and files of roots beside certificates.
fn missing(
    issuer: &PlainName,
    root: Fingerprint,
    manifest: &Manifest,
    inventory: &Inventory,
    reports: &Reports,
) -> Vec<Missing> {
    let mut missing = Vec::new();
    for certificate in manifest.certificates.iter().filter(|certificate| certificate.issuer.as_ref() == Some(issuer)) {
        for placement in certificate.placements.iter().filter(|placement| !placement.purge) {
            let Ok(guest) = inventory.resolve(&placement.guest) else { continue };
            let known = reports.guest(guest);
            let report = known.and_then(|known| known.placement(&certificate.name)).and_then(PlacementEntry::report);
            if has(certificate, report, root) {
                continue;
            }
            let linked = known.is_some_and(|known| matches!(known.link(), Link::Linked { .. }));
            let blocked = report.and_then(|report| report.trouble.as_ref()).is_some_and(|t| t.halt == Halt::Blocked);
            let stuck = !linked || blocked;
            missing.push(Missing { placement: format!("{}@{guest}", certificate.name), stuck });
        }
    }
    missing
}

fn has(certificate: &Certificate, report: Option<&PlacementReport>, root: Fingerprint) -> bool {
    match report {
        Some(report) if !report.roots.is_empty() => report.roots.contains(&root),
        // Only a guest knows whether a recipe has a file of roots: one that has says which are in it.
        _ => !certificate.content.is_roots(),
    }
}

impl Trust {
    /// Whether a certificate of this issuer waits for a root, and until when at the latest.
    pub(super) fn waits(&self, held: Option<&Held>, renew_at: Option<Timestamp>, now: Timestamp) -> Option<Until> {
        if self.missing.is_empty() {
            return None;
        }
        // What is held serves until its end, and half of the time until then is there for waiting. Where nothing is
        // held, only those are waited for that are about to have the root.
        let until = match (held, renew_at) {
            (Some(held), Some(renew_at)) => {
                let end = held.expires();
                Some(end - Duration::from_secs(end.since(renew_at).as_secs() / 2))
            }
            _ => None,
        };
        let waits = match until {
            Some(until) => now < until,
            None => self.missing.iter().any(|missing| !missing.stuck),
        };
        waits.then_some(Until(until))
    }

    /// Why it waits.
    pub(super) fn trouble(&self, issuer: &PlainName, placement: &str, Until(until): Until) -> Trouble {
        let remedy = match self.missing.iter().find(|missing| missing.stuck) {
            Some(stuck) => format!(
                "check what blocks {}: start its guest, or remove it from the manifest; Pinion lets no certificate \
                 expire meanwhile",
                stuck.placement
            ),
            None => "nothing: Pinion continues as soon as the root is there".to_owned(),
        };
        Trouble {
            halt: Halt::Waiting,
            attempt: format!("have {placement} signed by {issuer}"),
            cause: format!(
                "{issuer} signs under the new root {}, which is still missing at {}",
                self.signing,
                self.places()
            ),
            remedy,
            retry_at: until,
        }
    }

    /// What a person should know while one root takes another's place; nothing while there is one.
    #[must_use]
    pub fn notes(&self, issuer: &PlainName) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.missing.is_empty() {
            notes.push(format!(
                "{issuer} signs under root {}: Pinion orders nothing before that root is at {}",
                self.signing,
                self.places()
            ));
        }
        for (root, certificates) in &self.kept {
            notes.push(format!(
                "{issuer} no longer uses root {root}: guests trust it until the last of {certificates} certificates \
                 under it is renewed"
            ));
        }
        notes
    }

    /// Where the newest root is missing, in words.
    #[must_use]
    pub fn places(&self) -> String {
        let named: Vec<&str> = self.missing.iter().take(MAX_NAMED).map(|missing| missing.placement.as_str()).collect();
        let more = self.missing.len().saturating_sub(MAX_NAMED);
        let named = named.join(", ");
        if more > 0 { format!("{named} and {more} more") } else { named }
    }
}

/// Until when at the latest something waits for a root; none where nothing expires by it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until(pub(super) Option<Timestamp>);

/// What is to change in one placement of roots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RootChange {
    /// Roots that it has not.
    pub add: Vec<Fingerprint>,
    /// Roots that it has and that nobody needs any more.
    pub remove: Vec<Fingerprint>,
}

impl RootChange {
    /// From what a placement has to what it is to have; none when that is the same.
    pub(super) fn between(report: Option<&PlacementReport>, trust: &Trust) -> Option<Self> {
        let has: &[Fingerprint] = report.map_or(&[], |report| &report.roots);
        let wanted: Vec<_> = trust.roots.iter().map(RootCertificate::fingerprint).collect();
        let add: Vec<_> = wanted.iter().filter(|root| !has.contains(root)).copied().collect();
        let remove: Vec<_> = has.iter().filter(|root| !wanted.contains(root)).copied().collect();
        (!add.is_empty() || !remove.is_empty()).then_some(Self { add, remove })
    }
}

impl std::fmt::Display for RootChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = |verb: &str, roots: &[Fingerprint]| {
            let roots = roots.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            if roots.is_empty() { String::new() } else { format!("{verb} {roots}") }
        };
        let both = [words("trust", &self.add), words("trust no longer", &self.remove)];
        f.write_str(&both.iter().filter(|words| !words.is_empty()).cloned().collect::<Vec<_>>().join("; "))
    }
}
