//! What is reported of a placement besides its ledger: how far it can come, and what is in its way.
//!
//! Invariant: a report is made here alone, from all of it; the same trouble is logged once, however often a try fails.

use pinion_proto::{
    id::CertificateName,
    report::{Details, Notified, PlacementReport},
    spec::Usage,
    stage::{Stage, Trouble},
};

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
        }
    }

    /// Notes what a job says of the placement.
    pub(super) fn decided(&mut self, job: &Job) {
        self.warning.clone_from(&job.warning);
        self.disruptive = job.services.iter().any(|service| service.mildest().may_disturb());
        self.usage = job.usage;
        self.details = Some(Box::new(details::of(job)));
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

    /// Publishes the state as it is.
    pub(super) fn publish(&self, switch: &FileSwitch, request: &Request) {
        let held = switch.ledger.held.as_ref();
        let chain = held.map(|held| details::chain(&held.bundle)).unwrap_or_default();
        switch.shared.publish(self.report(switch.report(), request.refusal(), chain));
    }

    fn report(&self, ledger: PlacementReport, refusal: Option<&Trouble>, chain: Vec<String>) -> PlacementReport {
        let details = self.details.as_ref().map(|details| Box::new(Details { chain, ..details.as_ref().clone() }));
        PlacementReport {
            details,
            goal: self.goal,
            revision: self.revision,
            disruptive: self.disruptive,
            usage: self.usage,
            trouble: self.trouble.as_ref().or(refusal).cloned(),
            warning: self.warning.clone(),
            looked: self.looked,
            notified: self.notified,
            ..ledger
        }
    }
}

#[cfg(test)]
mod tests {
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
}
