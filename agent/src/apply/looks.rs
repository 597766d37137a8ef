//! What is shown in each place where a placement's certificate is looked at, and which of it counts.
//!
//! Invariant: a certificate is served when it is shown in all of them; where it is not, what can be helped comes first: a
//! service that is gone and gets its old files back, then one that shows what was there before.

use std::time::Duration;

use pinion_proto::bundle::Leaf;

use super::{
    exchange::Before,
    failure::{Failure, Interrupt},
    predecessor::is_predecessor,
    switch::FileSwitch,
};
use crate::{
    probe::{self, Seen},
    recipe::ProbeTarget,
};

/// How long it is looked whether a service is there at all, before it is given new files.
pub(super) const GLANCE: Duration = Duration::from_secs(1);

/// What is seen in each place.
#[derive(Debug)]
pub(super) struct Looks<'a>(Vec<(&'a ProbeTarget, Seen)>);

/// What counts most of what is not as it should be.
#[derive(Debug)]
pub(super) struct Worst<'a> {
    /// Where.
    pub(super) target: &'a ProbeTarget,
    /// What.
    pub(super) seen: &'a Seen,
    /// It is a certificate that was in the placement's place before.
    pub(super) is_predecessor: bool,
    /// It was there before the new files came, so that the old ones may bring it back.
    pub(super) was_there: bool,
}

impl<'a> Looks<'a> {
    /// What was seen, place by place.
    pub(super) fn of(seen: Vec<(&'a ProbeTarget, Seen)>) -> Self {
        Self(seen)
    }

    /// Looks once in each place, at most for `patience`.
    pub(super) async fn once(
        switch: &FileSwitch,
        targets: impl IntoIterator<Item = &'a ProbeTarget>,
        leaf: &Leaf,
        patience: Duration,
    ) -> Result<Self, Interrupt> {
        let mut seen = Vec::new();
        for target in targets {
            seen.push((target, look(switch, target, leaf, patience).await?));
        }
        Ok(Self(seen))
    }

    /// Whether the certificate is shown in all places.
    pub(super) fn all_served(&self) -> bool {
        self.0.iter().all(|(_, seen)| *seen == Seen::Served)
    }

    /// Whether this place shows the certificate.
    pub(super) fn is_served_at(&self, target: &ProbeTarget) -> bool {
        self.0.iter().any(|(at, seen)| *at == target && *seen == Seen::Served)
    }

    /// Whether no place shows another certificate or something else than TLS: all that answers has this one.
    pub(super) fn has_no_other(&self) -> bool {
        self.0.iter().all(|(_, seen)| seen.is_served_or_starting())
    }

    /// What was there before the files were exchanged.
    pub(super) fn before(&self) -> Before {
        let was_serving = self.0.iter().any(|(_, seen)| seen.is_serving());
        let silent = self.0.iter().filter(|(_, seen)| was_serving && !seen.is_serving());
        Before { was_serving, silent: silent.map(|(target, _)| target.connect).collect() }
    }

    /// What counts most; none where all places show the certificate.
    pub(super) fn worst(&self, switch: &FileSwitch) -> Option<Worst<'_>> {
        let seen = self.0.iter().filter(|(_, seen)| *seen != Seen::Served).map(|(target, seen)| Worst {
            target,
            seen,
            is_predecessor: matches!(seen, Seen::Other(other) if is_predecessor(switch, other)),
            was_there: was_there(switch, target),
        });
        seen.min_by_key(Worst::rank)
    }

    /// Adds to a failure at one place what the others show instead.
    pub(super) fn and_elsewhere(&self, failure: Failure, at: &ProbeTarget) -> Failure {
        let others = self.0.iter().filter(|(target, seen)| *target != at && *seen != Seen::Served);
        others.fold(failure, |failure, (target, seen)| failure.meanwhile(&target.name(), seen))
    }

    /// Adds what each place shows.
    pub(super) fn add_to(&self, failure: Failure) -> Failure {
        self.0.iter().fold(failure, |failure, (target, seen)| failure.meanwhile(&target.name(), seen))
    }
}

/// Looks once in one place, at most for `patience`, when few others do so.
pub(super) async fn look(
    switch: &FileSwitch,
    target: &ProbeTarget,
    leaf: &Leaf,
    patience: Duration,
) -> Result<Seen, Interrupt> {
    // Made when it is needed: a placement's task has no room for it while it waits.
    let look = Box::pin(async {
        let _place = switch.shared.handshakes.enter().await;
        probe::look(target, leaf, patience).await
    });
    Ok(switch.unless_stopped(look).await?)
}

impl Worst<'_> {
    /// The lower, the more it counts.
    fn rank(&self) -> u8 {
        match self.seen {
            Seen::NotListening(_) | Seen::NoTls(_) if self.was_there => 0,
            Seen::Other(_) if self.is_predecessor => 1,
            Seen::NotAllowed => 2,
            Seen::NotListening(_) | Seen::NoTls(_) => 3,
            Seen::Other(_) | Seen::Served => 4,
        }
    }
}

/// Whether something answered with TLS there before the files were exchanged.
pub(super) fn was_there(switch: &FileSwitch, target: &ProbeTarget) -> bool {
    let journal = switch.ledger.journal.as_ref();
    journal.is_some_and(|journal| journal.was_serving && !journal.silent.contains(&target.connect))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Other;

    fn target(port: u16) -> ProbeTarget {
        ProbeTarget {
            connect: ([127, 0, 0, 1], port).into(),
            unit: None,
            server_name: None,
            starttls: None,
            proxy_protocol: None,
            settle: GLANCE,
            restart: GLANCE,
            elsewhere: false,
        }
    }

    #[test]
    fn of_several_places_those_that_did_not_answer_before_are_remembered_while_one_did() {
        let (gone, other) =
            (Seen::NotListening("refused".into()), Other { serial: "1".into(), der: Box::default(), asked: None });
        let targets = [target(25), target(143)];
        for (seen, was_serving, silent) in [
            ([gone.clone(), gone.clone()], false, 0),
            ([Seen::Other(other), gone.clone()], true, 1),
            ([Seen::Served, Seen::Served], true, 0),
        ] {
            let looks = Looks::of(targets.iter().zip(seen).collect());
            let before = looks.before();
            assert_eq!((before.was_serving, before.silent.len()), (was_serving, silent), "{looks:?}");
        }
    }

    #[test]
    fn what_can_be_helped_counts_most() {
        let target = target(25);
        let other = || Seen::Other(Other { serial: "1".into(), der: Box::default(), asked: None });
        let gone = || Seen::NotListening("refused".into());
        let ordered = [
            (gone(), false, true),
            (other(), true, false),
            (Seen::NotAllowed, false, false),
            (gone(), false, false),
            (other(), false, false),
        ];
        let rank = |(seen, is_predecessor, was_there): &(Seen, bool, bool)| {
            Worst { target: &target, seen, is_predecessor: *is_predecessor, was_there: *was_there }.rank()
        };
        assert!(ordered.is_sorted_by_key(rank), "{ordered:?}");
    }
}
