//! A certificate that somebody else renews: each look sees what is shown, and changes nothing.

use pinion_proto::report::WatchedCertificate;

use super::{
    failure::{Failure, Interrupt},
    gone::Gone,
    status::Status,
    switch::FileSwitch,
};
use crate::{
    certificate,
    probe::{self, Seen},
    recipe::{Job, ProbeTarget},
};

/// Looks once in each place. What ends first is what is reported.
pub(super) async fn look(switch: &FileSwitch, status: &mut Status, job: &Job) -> Result<(), Interrupt> {
    let mut first: Option<WatchedCertificate> = None;
    let mut failure: Option<Failure> = None;
    for target in &job.probes {
        let shown = switch.unless_stopped(probe::shown(target, probe::PATIENCE)).await?;
        match shown.map(|chain| certificate::watched(&chain)) {
            Ok(Some(seen)) if first.as_ref().is_none_or(|first| seen.expires < first.expires) => first = Some(seen),
            Ok(Some(_)) => {}
            Ok(None) => failure = failure.or_else(|| Some(Failure::unreadable(&target.name()))),
            Err(seen) => failure = failure.or_else(|| Some(not_shown(target, &seen))),
        }
    }
    status.shown(switch, first, failure.is_none());
    failure.map_or(Ok(()), |failure| Err(failure.into()))
}

fn not_shown(target: &ProbeTarget, seen: &Seen) -> Failure {
    let connect = target.name();
    match Gone::of(seen) {
        Some(gone) => Failure::absent(&connect, gone),
        None => Failure::not_looked_at(&connect),
    }
}
