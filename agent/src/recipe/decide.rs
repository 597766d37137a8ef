//! From a spec and its recipe to a job: whatever the placement leaves open, its recipe says.
//!
//! Invariant: a job names nothing that its scope refuses.

use std::time::Duration;

use pinion_proto::{
    content::LeafSpec,
    names::SubjectName,
    spec::{Layout, PlacementSpec, Probe, Validate},
};

use super::{
    JobError,
    file::{Recipe, Required},
    files::files,
    job::{Check, Job, ProbeTarget},
    reload::ReloadAction,
    scope::Scope,
};

/// How long a service that was just notified may take until it is judged, unless its recipe says otherwise.
const SETTLE: Duration = Duration::from_secs(5);

/// How long one that was restarted may not answer, unless its recipe says otherwise: programs that need a while to open their
/// port are common.
const RESTART: Duration = Duration::from_secs(120);

/// Decides everything about a placement that may name these things.
pub(super) fn decide(spec: &PlacementSpec, recipe: Option<&Recipe>, scope: &Scope) -> Result<Job, JobError> {
    scope.trust()?;
    let files = files(spec, recipe, &scope.ground)?;
    files.iter().try_for_each(|file| scope.part(file.part, &file.path))?;
    let validate = match &spec.validate {
        Some(Validate::Nothing) => Check::Nothing,
        Some(Validate::Hook(hook)) => {
            scope.hook(hook)?;
            Check::Hook(hook.clone())
        }
        None => recipe.and_then(|recipe| recipe.validate.clone()).map_or(Check::Nothing, Check::Program),
    };
    let reloads = reloads(spec, recipe)?;
    for action in &reloads {
        scope.reload(action)?;
        if let ReloadAction::Swarm(swarm) = action
            && let Some(part) = swarm.secrets.keys().find(|part| files.iter().all(|file| file.part != **part))
        {
            return Err(JobError::NoSecretFile(*part));
        }
    }
    let seen = recipe.and_then(|recipe| recipe.probe.as_ref());
    let settle = match &spec.probe {
        Some(Probe::Tls { settle: Some(settle), .. }) => Some(settle.duration()),
        _ => seen.and_then(|probe| probe.settle).map(|period| period.0),
    };
    let asked = match (&spec.probe, seen) {
        (Some(Probe::Nothing), _) | (None, None) => None,
        (Some(Probe::Tls { connect, server_name, starttls, .. }), _) => {
            Some((*connect, server_name.as_ref(), *starttls))
        }
        (None, Some(probe)) => Some((probe.connect, probe.server_name.as_ref(), probe.starttls)),
    };
    // No service shows roots.
    let probe = spec.content.leaf().zip(asked).map(|(leaf, (connect, name, starttls))| ProbeTarget {
        connect,
        server_name: server_name(name.unwrap_or_else(|| a_host_of(leaf))),
        starttls,
        settle: settle.unwrap_or(SETTLE),
        restart: settle.unwrap_or(RESTART),
        elsewhere: scope.look(connect),
    });
    let layout = spec.layout.or(recipe.and_then(|recipe| recipe.layout)).unwrap_or(Layout::Copy);
    Ok(Job {
        certificate: spec.certificate.clone(),
        files,
        layout,
        validate,
        reloads,
        probe,
        content: spec.content.clone(),
        roots: spec.roots.clone(),
        update: recipe.and_then(|recipe| recipe.update.clone()),
        store: recipe.and_then(|recipe| recipe.store.clone()),
        ground: scope.ground.clone(),
        touchable: scope.touchable().to_vec(),
        warning: None,
    })
}

/// The ways to notify the service, the mildest first.
fn reloads(spec: &PlacementSpec, recipe: Option<&Recipe>) -> Result<Vec<ReloadAction>, JobError> {
    let Some(recipe) = recipe else {
        return Ok(spec.reload.as_ref().and_then(ReloadAction::of).into_iter().collect());
    };
    if let Some(reload) = &spec.reload {
        return Ok(ReloadAction::of(reload).into_iter().collect());
    }
    if recipe.requires.contains(&Required::Reload) {
        return Err(JobError::NoReload);
    }
    let first = recipe.reload.as_ref().and_then(ReloadAction::of);
    let further: Vec<_> =
        first.iter().flat_map(|first| recipe.escalate.iter().filter_map(|action| action.above(first))).collect();
    Ok(first.into_iter().chain(further).collect())
}

/// The name that is asked for where the manifest has none: the common name, or one of the others where that is a wildcard, since a
/// service chooses by whole names.
fn a_host_of(leaf: &LeafSpec) -> &SubjectName {
    let is_wildcard = |name: &SubjectName| matches!(name, SubjectName::Dns(host) if host.contains('*'));
    let is_host = |name: &&SubjectName| matches!(name, SubjectName::Dns(_)) && !is_wildcard(name);
    let other = is_wildcard(&leaf.common_name).then(|| leaf.names.iter().find(is_host)).flatten();
    other.unwrap_or(&leaf.common_name)
}

/// A name as a handshake asks for it (RFC 6066 section 3): addresses are not asked for, and of a wildcard any host.
fn server_name(name: &SubjectName) -> Option<Box<str>> {
    match name {
        SubjectName::Dns(name) => Some(name.replace('*', "pinion-probe").into()),
        SubjectName::Ip(_) | SubjectName::Uri(_) | SubjectName::Email(_) => None,
    }
}
