//! Which service is behind a place where the certificate is looked at.
//!
//! Answers: who is notified again when a place shows another certificate?
//! Invariant: a service is disturbed for a place only if no other service can be behind that place: the probe names its
//! unit, or every other service is named by another probe, or there is no other. What disturbs nobody goes to all that
//! may be behind it.

use crate::recipe::{Job, Levels, ProbeTarget, ReloadAction};

/// The services that may be behind a place.
pub(super) fn behind<'j>(job: &'j Job, target: &ProbeTarget) -> Vec<&'j Levels> {
    let is_named = |service: &Levels, by: &ProbeTarget| {
        let is_it = |action: &ReloadAction| match action {
            ReloadAction::Reload(unit) | ReloadAction::Restart(unit) => by.unit.as_ref() == Some(unit),
            _ => false,
        };
        service.iter().any(is_it)
    };
    let named: Vec<_> = job.services.iter().filter(|service| is_named(service, target)).collect();
    if !named.is_empty() {
        return named;
    }
    let is_free = |service: &&Levels| !job.probes.iter().any(|other| is_named(service, other));
    let free: Vec<_> = job.services.iter().filter(is_free).collect();
    if free.is_empty() { job.services.iter().collect() } else { free }
}

/// The places that this service alone can be behind.
pub(super) fn own<'j>(job: &'j Job, service: &Levels) -> Vec<&'j ProbeTarget> {
    job.probes.iter().filter(|target| matches!(behind(job, target).as_slice(), [one] if *one == service)).collect()
}

/// The places that tell whether a service has to be notified once more, if that disturbs nobody: those that it may be
/// behind; or the one at its own position, where no probe names a unit and there are as many of them as services.
pub(super) fn likely<'j>(job: &'j Job, service: &Levels) -> Vec<&'j ProbeTarget> {
    let (services, targets) = (&job.services, &job.probes);
    if services.len() == targets.len() && targets.iter().all(|target| target.unit.is_none()) {
        let index = services.iter().position(|other| other == service);
        return index.and_then(|index| targets.get(index)).into_iter().collect();
    }
    targets.iter().filter(|target| behind(job, target).contains(&service)).collect()
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use super::*;
    use crate::{config::Config, recipe};

    /// A job for `postfix.service` and `dovecot.service`, looked at in places that name these units.
    fn job(units: &[Option<&str>]) -> Job {
        let config = Config::shipped(PathBuf::from("/nowhere"));
        let nginx = recipe::find(&"nginx".parse().expect("a name"), &config.recipes).expect("it is shipped");
        let spec = crate::apply::tests::guest::spec("web", "web");
        let mut job = recipe::resolve(&spec, Some(&nginx), &config.allow, &recipe::Kept::default()).expect("a job");
        let unit = |name: &str| name.parse().expect("a unit");
        let restart = |name: &str| Levels::new(ReloadAction::Restart(unit(name)), Vec::new());
        job.services = vec![restart("postfix.service"), restart("dovecot.service")];
        let target = |(port, unit): (u16, &Option<&str>)| ProbeTarget {
            connect: ([127, 0, 0, 1], port).into(),
            unit: unit.map(|name| name.parse().expect("a unit")),
            server_name: None,
            starttls: None,
            proxy_protocol: None,
            settle: Duration::ZERO,
            restart: Duration::ZERO,
            elsewhere: false,
        };
        job.probes = (1..).zip(units).map(target).collect();
        job
    }

    fn ports(targets: &[&ProbeTarget]) -> Vec<u16> {
        targets.iter().map(|target| target.connect.port()).collect()
    }

    #[test]
    fn a_service_is_blamed_for_what_no_other_can_be_behind() {
        const POSTFIX: Option<&str> = Some("postfix.service");
        const DOVECOT: Option<&str> = Some("dovecot.service");
        type Ports<'a> = &'a [u16];
        // The probes' units; what is postfix's own and dovecot's own; what is likely theirs.
        let cases: [(&[Option<&str>], Ports<'_>, Ports<'_>, Ports<'_>, Ports<'_>); 6] = [
            (&[POSTFIX, DOVECOT, DOVECOT], &[1], &[2, 3], &[1], &[2, 3]),
            // What nobody names is behind the other one.
            (&[POSTFIX, None, None], &[1], &[2, 3], &[1], &[2, 3]),
            // All are named: either may be behind the last.
            (&[POSTFIX, DOVECOT, None], &[1], &[2], &[1, 3], &[2, 3]),
            // In their order, as far as nobody is disturbed.
            (&[None, None], &[], &[], &[1], &[2]),
            (&[None, None, None], &[], &[], &[1, 2, 3], &[1, 2, 3]),
            // A unit that is not notified says nothing.
            (&[Some("exim4.service"), None], &[], &[], &[1, 2], &[1, 2]),
        ];
        for (units, own_first, own_second, likely_first, likely_second) in cases {
            let job = job(units);
            let [first, second] = job.services.as_slice() else { panic!("two services") };
            assert_eq!(ports(&own(&job, first)), own_first, "{units:?}");
            assert_eq!(ports(&own(&job, second)), own_second, "{units:?}");
            assert_eq!(ports(&likely(&job, first)), likely_first, "{units:?}");
            assert_eq!(ports(&likely(&job, second)), likely_second, "{units:?}");
        }
        let mut alone = job(&[None, None]);
        alone.services.truncate(1);
        assert_eq!(ports(&own(&alone, &alone.services[0])), [1, 2], "there is no other");
    }
}
