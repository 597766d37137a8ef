//! What is reported of a placement besides its ledger: how far it can come, and what is in its way.
//!
//! Invariant: a report is made here alone, from all of it; the same trouble is logged once, however often a try fails.

use pinion_proto::{
    id::CertificateName,
    report::{Details, Notified, PlacementReport, WatchedCertificate},
    spec::{PlacementSpec, Usage},
    stage::{Stage, Trouble},
    timing::GuestTiming,
};

use tokio::time::Instant;

use super::{details, request::Request, switch::FileSwitch};
use crate::recipe::Job;

/// What a report says that is not in the ledger.
#[derive(Debug)]
pub(super) struct Status {
    /// How far it can come, as the job says.
    goal: Stage,
    /// Notifying its service may disturb it, as the job says.
    disruptive: bool,
    /// Which side shows its certificate, as the job says.
    usage: Option<Usage>,
    /// What a person should change although nothing holds it up, as the job says.
    warning: Option<String>,
    /// The spec that what is in place was last held against.
    revision: u64,
    trouble: Option<Trouble>,
    /// The newest look that the controller asked for and that is done.
    looked: u64,
    /// What it comes to here, as the job says.
    details: Option<Box<Details>>,
    /// How often its services were notified since this agent started.
    notified: Notified,
    /// What was shown last, where a certificate is only watched.
    watched: Option<WatchedCertificate>,
    /// All places showed one at the last look.
    is_shown: bool,
    /// How long the steps of the last renewal took.
    timing: GuestTiming,
    /// How far that renewal is.
    renewal: Renewal,
}

/// How far a renewal is whose steps are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Renewal {
    Ordered,
    Installing,
    Over,
}

fn milliseconds(since: Instant) -> u32 {
    since.elapsed().as_millis().try_into().unwrap_or(u32::MAX)
}

impl Status {
    pub(super) fn new() -> Self {
        Self {
            goal: Stage::Served,
            disruptive: false,
            usage: None,
            warning: None,
            revision: 0,
            trouble: None,
            looked: 0,
            details: None,
            notified: Notified::default(),
            watched: None,
            is_shown: false,
            timing: GuestTiming::default(),
            renewal: Renewal::Over,
        }
    }

    /// Notes what a job says of the placement.
    pub(super) fn decided(&mut self, job: &Job) {
        self.warning.clone_from(&job.warning);
        self.disruptive = job.services.iter().any(|service| service.mildest().may_disturb());
        self.usage = job.usage;
        self.details = Some(Box::new(details::of(job)));
        if !job.content.is_watched() {
            (self.watched, self.is_shown) = (None, false);
        }
        self.goal = if !job.probes.is_empty() || job.store.is_some() { Stage::Served } else { Stage::Reloaded };
    }

    /// Notes that what is in place is where the newest spec wants it.
    pub(super) fn accept(&mut self, switch: &FileSwitch, job: &Job) {
        if switch.ledger.next.is_none()
            && let Some(spec) = &switch.ledger.spec
            && switch.in_place(job).is_some()
        {
            self.revision = spec.revision();
        }
    }

    /// Notes what is shown where a certificate is only watched; `is_everywhere` when all places show one. What was shown before
    /// stays known where nothing is now.
    pub(super) fn shown(&mut self, switch: &FileSwitch, seen: Option<WatchedCertificate>, is_everywhere: bool) {
        self.watched = seen.or(self.watched.take());
        self.is_shown = is_everywhere;
        self.revision = switch.ledger.spec.as_ref().map_or(0, PlacementSpec::revision);
    }

    /// Which side shows its certificate, as the last job said; none before there was one.
    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Whether something is in the way.
    pub(super) fn is_in_trouble(&self) -> bool {
        self.trouble.is_some()
    }

    /// Nothing is in the way any more.
    pub(super) fn clear(&mut self) {
        self.trouble = None;
    }

    /// Something is in the way.
    pub(super) fn fail(&mut self, name: &CertificateName, trouble: Trouble) {
        let is_known = self.trouble.as_ref().is_some_and(|old| old.cause == trouble.cause);
        if is_known {
            tracing::debug!(certificate = %name, %trouble, "Still held up");
        } else {
            tracing::warn!(certificate = %name, %trouble, "Held up");
        }
        self.trouble = Some(trouble);
    }

    /// A service was reloaded or restarted for it.
    pub(super) fn notified(&mut self, is_restart: bool) {
        let count = if is_restart { &mut self.notified.restarts } else { &mut self.notified.reloads };
        *count = count.saturating_add(1);
    }

    /// A look that the controller asked for is done.
    pub(super) fn looked(&mut self, number: u64) {
        self.looked = number;
    }

    /// A request for this generation was made, since then.
    pub(super) fn renewal_began(&mut self, generation: u64, since: Instant) {
        self.timing = GuestTiming { generation, key: milliseconds(since), ..GuestTiming::default() };
        self.renewal = Renewal::Ordered;
    }

    /// The content of this generation is being installed. Until then, what is done is for the one in place.
    pub(super) fn renewal_installs(&mut self, generation: u64) {
        if self.renewal == Renewal::Ordered && generation == self.timing.generation {
            self.renewal = Renewal::Installing;
        }
    }

    /// A step of the renewal that is under way took the time since then.
    pub(super) fn spent(&mut self, on: fn(&mut GuestTiming) -> &mut u32, since: Instant) {
        if self.renewal == Renewal::Installing {
            let step = on(&mut self.timing);
            *step = step.saturating_add(milliseconds(since));
        }
    }

    /// The content of this generation has come to its goal.
    pub(super) fn renewal_ended(&mut self, generation: u64) {
        if generation == self.timing.generation {
            self.renewal = Renewal::Over;
        }
    }

    /// Publishes the state as it is.
    pub(super) fn publish(&self, switch: &FileSwitch, request: &Request) {
        let held = switch.ledger.held.as_ref();
        let chain = held.map(|held| details::chain(&held.bundle)).unwrap_or_default();
        switch.shared.publish(self.report(switch.report(), request.refusal(), chain));
    }

    fn report(&self, ledger: PlacementReport, refusal: Option<&Trouble>, chain: Vec<String>) -> PlacementReport {
        let details = self.details.as_ref().map(|details| Box::new(Details { chain, ..details.as_ref().clone() }));
        PlacementReport {
            stage: if self.is_shown { Stage::Served } else { ledger.stage },
            watched: self.watched.clone().map(Box::new),
            details,
            goal: self.goal,
            revision: self.revision,
            disruptive: self.disruptive,
            usage: self.usage,
            trouble: self.trouble.as_ref().or(refusal).cloned(),
            warning: self.warning.clone(),
            looked: self.looked,
            notified: self.notified,
            timing: (self.timing.generation > 0).then(|| Box::new(self.timing)),
            ..ledger
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::failure::Failure, *};

    #[test]
    fn what_is_in_the_way_now_is_reported_before_a_refused_delivery() {
        let name: CertificateName = "web".parse().expect("a name");
        let ledger = || PlacementReport::nothing(name.clone());
        let (trouble, refusal) = (
            Failure::no_roots().trouble(None),
            Trouble { cause: "it is expired".into(), ..Failure::no_roots().trouble(None) },
        );
        let mut status = Status::new();
        assert_eq!(status.report(ledger(), None, Vec::new()).trouble, None);
        assert_eq!(status.report(ledger(), Some(&refusal), Vec::new()).trouble, Some(refusal.clone()));
        status.fail(&name, trouble.clone());
        assert!(status.is_in_trouble());
        assert_eq!(status.report(ledger(), Some(&refusal), Vec::new()).trouble, Some(trouble));
        status.clear();
        assert_eq!(status.report(ledger(), Some(&refusal), Vec::new()).trouble, Some(refusal));
    }

    #[test]
    fn steps_count_from_the_installation_of_their_generation_to_its_goal() {
        let ago =
            |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).expect("the machine runs for longer");
        let checked = |status: &mut Status| status.spent(|timing| &mut timing.check, ago(7));
        let mut status = Status::new();
        checked(&mut status);
        let report = status.report(PlacementReport::nothing("web".parse().expect("a name")), None, Vec::new());
        assert_eq!(report.timing, None);
        status.renewal_began(5, ago(3));
        // What is in place is looked after until the certificate comes.
        checked(&mut status);
        status.renewal_ended(4);
        status.renewal_installs(4);
        checked(&mut status);
        status.renewal_installs(5);
        checked(&mut status);
        checked(&mut status);
        status.renewal_ended(5);
        // Its files are put elsewhere, later.
        status.renewal_installs(5);
        checked(&mut status);
        let GuestTiming { generation, key, check, .. } = status.timing;
        assert_eq!((generation, key / 1000, check / 1000), (5, 3, 14));
    }
}
