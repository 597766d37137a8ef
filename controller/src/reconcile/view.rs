//! What the loop knows, as the command line shows it.

use std::collections::BTreeMap;

use pinion_proto::{
    bundle::RootCertificate,
    content::Content,
    id::{Guest, PlacementId},
    printable::line,
    report::{PlacementReport, Progress},
    stage::{Halt, Stage, Trouble},
};

use super::{Reconciler, destroyed, show};
use crate::{
    admin::{
        presence::Presence,
        protocol::{
            Answer, GuestStatus, ManifestStatus, PlacementStatus, PlanDocument, PlanStep, ProgressLine, Selection,
            Status,
        },
    },
    enroll::Enrolments,
    planner::{self, Decision, Plan, Planned, Step},
    reports::Link,
};

/// The longest path in a status (characters): one of a guest's is at most 1,024 bytes.
const MAX_PATH: usize = 1024;

/// Which of the manifest's placements a selection means.
pub(super) struct Chosen {
    names: Vec<String>,
    guest: Option<Guest>,
}

impl Chosen {
    /// Resolves the guest of a selection.
    pub(super) fn new(reconciler: &Reconciler, selection: &Selection) -> Result<Self, Answer> {
        let guest = match &selection.guest {
            None => None,
            Some(text) => Some(reconciler.inventory.guest_of(text)?),
        };
        Ok(Self { names: selection.names.clone(), guest })
    }

    /// The guest, if only what is in one is meant.
    pub(super) fn guest(&self) -> Option<Guest> {
        self.guest
    }

    /// Whether this guest's placements are meant, and no other's.
    pub(super) fn is_guest(&self, guest: Guest) -> bool {
        self.guest == Some(guest)
    }

    /// Whether a placement is meant.
    pub(super) fn means(&self, label: &str, certificate: &str, guest: Option<Guest>) -> bool {
        let named = self.names.is_empty() || self.names.iter().any(|name| name == label || name == certificate);
        named && (self.guest.is_none() || self.guest == guest)
    }

    /// The first name that means none of `placements`.
    pub(super) fn unknown<'a>(&self, placements: impl Iterator<Item = (String, &'a str)> + Clone) -> Option<&str> {
        self.names
            .iter()
            .map(String::as_str)
            .find(|name| !placements.clone().any(|(label, certificate)| label == *name || certificate == *name))
    }
}

/// Everything, for `pinion status`.
pub(super) fn status(reconciler: &Reconciler, selection: &Selection, plan: &Plan<'_>) -> Answer {
    let chosen = match Chosen::new(reconciler, selection) {
        Ok(chosen) => chosen,
        Err(answer) => return answer,
    };
    let labels = plan
        .placements
        .iter()
        .map(|planned| (planned.label(), planned.certificate.name.as_str()))
        .chain(plan.retired.iter().map(|id| (id.to_string(), id.certificate.as_str())));
    if let Some(unknown) = chosen.unknown(labels) {
        return Answer::NoSuchName(format!("no certificate or placement is called {unknown}"));
    }
    let mut placements: Vec<_> = plan
        .placements
        .iter()
        .filter(|planned| chosen.means(&planned.label(), planned.certificate.name.as_str(), planned.guest))
        .map(|planned| placement(reconciler, planned))
        .collect();
    let retired =
        plan.retired.iter().filter(|id| chosen.means(&id.to_string(), id.certificate.as_str(), Some(id.guest)));
    // Whoever is asked for by name is listed.
    let (listed, unlisted) =
        if chosen.names.is_empty() { show::listed(retired) } else { (retired.collect(), BTreeMap::new()) };
    placements.extend(listed.into_iter().filter_map(|id| retired_placement(reconciler, id)));
    let mut guests = guests(reconciler, &plan.placements);
    for guest in &mut guests {
        guest.unlisted = unlisted.get(&guest.guest).copied().unwrap_or(0);
    }
    let mut notes = Vec::new();
    // What is wanted at all comes first.
    notes.extend(reconciler.manifest.notes());
    notes.extend(reconciler.newer_note());
    notes.extend(reconciler.next_root_note());
    notes.extend(reconciler.freeze_notes(reconciler.parts.clock.now()));
    notes.extend(reconciler.reachable.problems.iter().cloned());
    notes.extend(reconciler.version_note());
    for (issuer, most) in &reconciler.shortened {
        notes.push(format!(
            "issuer {issuer} allows no more than {}, and certificates were shortened to that; `pinion issuer check` says how to lift it",
            humantime::format_duration(*most)
        ));
    }
    let manifest = ManifestStatus { since: reconciler.manifest.since, problem: reconciler.manifest.problem.clone() };
    Answer::Status(Box::new(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        manifest,
        notes,
        troubles: troubles(reconciler),
        freezes: reconciler.reports.freezes().iter().cloned().collect(),
        placements,
        guests,
    }))
}

/// What is wrong with the host as a whole.
fn troubles(reconciler: &Reconciler) -> Vec<Trouble> {
    let own = [reconciler.unwritable_trouble(), reconciler.parts.events.trouble(), reconciler.evictions.trouble()];
    let rollout = reconciler.enrolments.as_ref().and_then(Enrolments::trouble);
    own.into_iter().flatten().chain(reconciler.inventory.troubles().cloned()).chain(rollout).collect()
}

pub(super) fn placement(reconciler: &Reconciler, planned: &Planned<'_>) -> PlacementStatus {
    let id = planned.id();
    let report = id.as_ref().and_then(|id| report(reconciler, id));
    let mut status = described(reconciler, planned.label(), id.as_ref(), planned.certificate.name.clone(), report);
    match planned.content() {
        Content::Leaf(leaf) => status.names = status.names.or_else(|| Some(leaf.names.clone())),
        Content::Roots => status.not_after = planned.roots.iter().map(RootCertificate::not_after).min(),
    }
    status.renew_at = planned.renew_at;
    if status.issuer.is_empty() {
        status.issuer = planned.certificate.issuer.to_string();
    }
    status.trouble = reconciler.newer_trouble(planned).or_else(|| trouble(planned, report).cloned());
    status.trouble = status.trouble.map(|trouble| reconciler.frozen_trouble(planned, trouble));
    status.frozen = reconciler.freeze_of(planned).cloned();
    status.trouble = reconciler.evicted_trouble(planned).or(status.trouble);
    told_destroyed(reconciler, id.as_ref(), &mut status);
    status
}

/// What a destroyed guest held is told as retired, whatever the manifest says.
fn told_destroyed(reconciler: &Reconciler, id: Option<&PlacementId>, status: &mut PlacementStatus) {
    if let Some(id) = id.filter(|id| reconciler.departures.has(id.guest)) {
        status.retired = true;
        status.renew_at = None;
        status.trouble = Some(destroyed::trouble(&status.placement, id.guest));
    }
}

pub(super) fn retired_placement(reconciler: &Reconciler, id: &PlacementId) -> Option<PlacementStatus> {
    let report = report(reconciler, id)?;
    let mut status = described(reconciler, id.to_string(), Some(id), id.certificate.clone(), Some(report));
    status.retired = true;
    told_destroyed(reconciler, Some(id), &mut status);
    Some(status)
}

fn described(
    reconciler: &Reconciler,
    label: String,
    id: Option<&PlacementId>,
    certificate: pinion_proto::id::CertificateName,
    report: Option<&PlacementReport>,
) -> PlacementStatus {
    let held = report.and_then(|report| report.held.as_ref());
    let guest = id.map(|id| id.guest);
    PlacementStatus {
        placement: label,
        certificate,
        guest,
        guest_name: guest.and_then(|guest| name(reconciler, guest)),
        stage: report.map_or(Stage::Pending, |report| report.stage),
        goal: report.map_or(Stage::Served, |report| report.goal),
        generation: held.map(|held| held.generation),
        incoming: report.and_then(|report| report.incoming.as_ref()).map(|incoming| incoming.generation),
        serial: held.map(|held| held.leaf.serial().to_owned()),
        names: held.map(|held| held.leaf.names().clone()),
        not_before: held.map(|held| held.leaf.not_before()),
        not_after: held.map(|held| held.leaf.not_after()),
        renew_at: None,
        issuer: held.map(|held| held.issuer.to_string()).unwrap_or_default(),
        roots: report.iter().flat_map(|report| report.roots.iter().copied()).collect(),
        retired: false,
        left_behind: report
            .iter()
            .flat_map(|report| &report.left_behind)
            .map(|path| line(path.as_str(), MAX_PATH))
            .collect(),
        frozen: None,
        trouble: report.and_then(|report| report.trouble.clone()),
        warning: report.and_then(|report| report.warning.clone()),
    }
}

/// Every guest that the manifest names or that was ever linked.
pub(super) fn guests(reconciler: &Reconciler, placements: &[Planned<'_>]) -> Vec<GuestStatus> {
    let mut links: BTreeMap<Guest, Link> =
        placements.iter().filter_map(|planned| Some((planned.guest?, Link::NeverSeen))).collect();
    links.extend(reconciler.reports.guests().map(|(guest, entry)| (guest, entry.link())));
    links
        .into_iter()
        .map(|(guest, link)| GuestStatus {
            guest,
            name: name(reconciler, guest),
            linked: matches!(link, Link::Linked { .. }),
            since: match link {
                Link::NeverSeen => None,
                Link::Linked { since } | Link::Away { since } => Some(since),
            },
            presence: Presence::of(&reconciler.inventory, guest),
            unlisted: 0,
            agent_version: reconciler.facts.get(&guest).map(|facts| facts.agent_version.clone()),
        })
        .collect()
}

/// Everything that would be done now, for `pinion plan`.
pub(super) fn plan(plan: &Plan<'_>) -> Answer {
    let mut steps: Vec<_> = plan
        .placements
        .iter()
        .map(|planned| {
            let (action, why) = match &planned.decision {
                Decision::Keep if planned.ordered.is_some() => {
                    ("keep", "a new generation is being installed".to_owned())
                }
                Decision::Keep if planned.content().is_roots() => {
                    let roots: Vec<_> = planned.roots.iter().map(|root| root.fingerprint().to_string()).collect();
                    ("keep", format!("it has {}'s roots: {}", planned.certificate.issuer, roots.join(", ")))
                }
                Decision::Trust(change) => ("trust", change.to_string()),
                Decision::Keep => (
                    "keep",
                    match planned.renew_at {
                        Some(at) => format!("it is as the manifest says; the next renewal is due at {at}"),
                        None => "there is nothing to do".to_owned(),
                    },
                ),
                Decision::Order(order) => ("order", order.to_string()),
                Decision::Wait(trouble) => ("wait", trouble.to_string()),
                Decision::Block(trouble) => ("block", trouble.to_string()),
                Decision::Purge => ("purge", "the manifest says so".to_owned()),
            };
            PlanStep { placement: planned.label(), action: action.into(), why }
        })
        .collect();
    steps.extend(plan.retired.iter().map(|id| PlanStep {
        placement: id.to_string(),
        action: "retired".into(),
        why: format!("it is not in the manifest; its files stay until `pinion purge {id}`"),
    }));
    let notes = plan.trust.iter().flat_map(|(issuer, trust)| trust.notes(issuer)).collect();
    Answer::Plan(PlanDocument { steps, notes, wake_at: plan.wake_at })
}

/// How far a placement is, for `pinion ensure`.
pub(super) fn progress(
    reconciler: &Reconciler,
    planned: &Planned<'_>,
    until: Stage,
    above: Option<u64>,
) -> ProgressLine {
    let id = planned.id();
    let report = id.as_ref().and_then(|id| report(reconciler, id));
    let held = report.and_then(|report| report.held.as_ref());
    let settled = planned.decision == Decision::Keep && planned.ordered.is_none();
    let gone = id.as_ref().filter(|id| reconciler.departures.has(id.guest));
    // What was said last is not what is served now, when nobody is there to say it.
    let linked = id.as_ref().is_some_and(|id| matches!(reconciler.reports.link(id.guest), Link::Linked { .. }));
    let reached = if gone.is_some() {
        false
    } else if planned.placement.purge {
        settled
    } else {
        let far = report.is_some_and(|report| report.stage >= until.min(report.goal) && accepted(planned, report));
        // Roots are nobody's to renew.
        let renewed =
            planned.content().is_roots() || held.is_some_and(|held| above.is_none_or(|above| held.generation > above));
        linked && ((settled && far && renewed) || (until <= Stage::Issued && is_issued(planned, report, above)))
    };
    let trouble = || match gone {
        Some(id) => Some(destroyed::trouble(&planned.label(), id.guest)),
        None => reconciler
            .evicted_trouble(planned)
            .or_else(|| reconciler.newer_trouble(planned))
            .or_else(|| trouble(planned, report).cloned())
            .or_else(|| absent(reconciler, planned)),
    };
    let trouble = if reached { None } else { trouble().map(|trouble| reconciler.frozen_for(planned, trouble)) };
    let now = match (&planned.decision, report.and_then(|report| report.incoming.as_ref())) {
        _ if reached => "reached",
        (Decision::Order(order), _) if order.step == Step::Ask => "waiting for the guest's request",
        (Decision::Order(_), _) if id.as_ref().is_some_and(|id| reconciler.signing.is_under_way(id)) => "being signed",
        (Decision::Order(_), _) if id.as_ref().is_some_and(|id| reconciler.signing.is_ready(id)) => "being delivered",
        (Decision::Order(_), _) => "to be signed",
        (Decision::Keep, Some(incoming)) if incoming.progress == Progress::Delivered => "being installed",
        (Decision::Keep, Some(_)) => "being delivered",
        (Decision::Keep, None) => "being looked at",
        (Decision::Trust(_), _) => "being told its roots",
        (Decision::Purge, _) => "being removed",
        (Decision::Wait(_) | Decision::Block(_), _) => "held up",
    };
    ProgressLine {
        placement: planned.label(),
        stage: report.map_or(Stage::Pending, |report| report.stage),
        serial: held.map(|held| held.leaf.serial().to_owned()),
        reached,
        trouble,
        now: now.to_owned(),
    }
}

/// Whether the guest has the certificate that it is asked to hold, and is still to install it.
fn is_issued(planned: &Planned<'_>, report: Option<&PlacementReport>, above: Option<u64>) -> bool {
    report.and_then(|report| report.incoming.as_ref()).is_some_and(|incoming| {
        incoming.progress == Progress::Delivered
            && planned.decision == Decision::Keep
            && planned.ordered == Some(incoming.generation)
            && above.is_none_or(|above| incoming.generation > above)
    })
}

/// Whether the guest's report is about what the manifest asks for now, not about what it asked for before.
fn accepted(planned: &Planned<'_>, report: &PlacementReport) -> bool {
    // Only a guest knows whether it has a file of roots: one that has says which of them are in use.
    let trusts = |root: &RootCertificate| report.roots.is_empty() || report.roots.contains(&root.fingerprint());
    report.revision == planned.revision() && planned.roots.iter().all(trusts)
}

/// Why nobody can say that a placement is served.
fn absent(reconciler: &Reconciler, planned: &Planned<'_>) -> Option<Trouble> {
    let attempt = format!("see {} served", planned.label());
    planner::absent(planned, &reconciler.inventory, &reconciler.reports, attempt)
}

/// What holds a placement up: the controller's side first, unless only the guest's needs a person.
fn trouble<'a>(planned: &'a Planned<'_>, report: Option<&'a PlacementReport>) -> Option<&'a Trouble> {
    let guests = report.and_then(|report| report.trouble.as_ref());
    match (planned.trouble(), guests) {
        (Some(here), Some(there)) if here.halt == Halt::Waiting && there.halt == Halt::Blocked => Some(there),
        (Some(here), _) => Some(here),
        (None, there) => there,
    }
}

fn report<'a>(reconciler: &'a Reconciler, id: &PlacementId) -> Option<&'a PlacementReport> {
    reconciler.reports.placement(id).and_then(|entry| entry.report())
}

fn name(reconciler: &Reconciler, guest: Guest) -> Option<String> {
    match guest {
        Guest::Host => None,
        Guest::Vmid(vmid) => reconciler.inventory.name(vmid).map(ToOwned::to_owned),
    }
}
