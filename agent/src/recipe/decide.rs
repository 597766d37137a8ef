//! From a spec and its recipe to a job: whatever the placement leaves open, its recipe says.
//!
//! Invariant: a job names nothing that its scope refuses.

use std::time::Duration;

use pinion_proto::{
    content::{Content, LeafSpec},
    names::SubjectName,
    spec::{Layout, PlacementSpec, Probe, Settle, TlsProbe, Usage, Validate},
};

use super::{
    JobError,
    file::{ProbeTemplate, Recipe, Required},
    files::files,
    job::{Check, Job, ProbeTarget},
    reload::{Levels, ReloadAction},
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
    let services = services(spec, recipe)?;
    for action in services.iter().flat_map(Levels::iter) {
        scope.reload(action)?;
        if let ReloadAction::Swarm(swarm) = action
            && let Some(part) = swarm.secrets.keys().find(|part| files.iter().all(|file| file.part != **part))
        {
            return Err(JobError::NoSecretFile(*part));
        }
    }
    let probes = match &spec.content {
        Content::Leaf(leaf) => probes(spec, recipe, Some(a_host_of(leaf)), scope),
        Content::Watched => probes(spec, recipe, None, scope),
        // No service shows roots.
        Content::Roots => Vec::new(),
    };
    let layout = spec.layout.or(recipe.and_then(|recipe| recipe.layout)).unwrap_or(Layout::Copy);
    // What is looked at, or would be, is a server's.
    let is_seen = !probes.is_empty() || recipe.is_some_and(|recipe| !recipe.probe.is_empty());
    let usage = spec.usage.or(recipe.and_then(|recipe| recipe.usage)).or(is_seen.then_some(Usage::Server));
    Ok(Job {
        certificate: spec.certificate.clone(),
        files,
        layout,
        validate,
        services,
        probes,
        usage: usage.filter(|_| !spec.content.is_roots()),
        content: spec.content.clone(),
        roots: spec.roots.clone(),
        update: recipe.and_then(|recipe| recipe.update.clone()),
        store: recipe.and_then(|recipe| recipe.store.clone()),
        ground: scope.ground.clone(),
        touchable: scope.touchable().to_vec(),
        warning: None,
    })
}

/// Where the certificate is looked at: as the placement says, or else its recipe. Nobody looks at `nothing`.
/// `host` is the name that is asked for where a probe has none of its own.
fn probes(
    spec: &PlacementSpec,
    recipe: Option<&Recipe>,
    host: Option<&SubjectName>,
    scope: &Scope,
) -> Vec<ProbeTarget> {
    let templates = recipe.map(|recipe| recipe.probe.as_slice()).unwrap_or_default();
    let target = |tls: TlsProbe, settle: Option<Duration>| ProbeTarget {
        connect: tls.connect,
        unit: tls.unit,
        server_name: tls.server_name.as_ref().or(host).and_then(server_name),
        starttls: tls.starttls,
        proxy_protocol: tls.proxy_protocol,
        settle: settle.unwrap_or(SETTLE),
        restart: settle.unwrap_or(RESTART),
        elsewhere: scope.look(tls.connect),
    };
    let of_recipe = |template: &ProbeTemplate| template.settle.map(|period| period.0);
    if spec.probe.is_none() {
        return templates.iter().map(|template| target(template.handshake(), of_recipe(template))).collect();
    }
    let tls = spec.probes().filter_map(|probe| match probe {
        Probe::Tls(tls) => Some(tls),
        Probe::Nothing => None,
    });
    // How long a service takes, its recipe knows wherever it is looked at.
    let settle = templates.first().and_then(of_recipe);
    tls.map(|tls| target(tls.clone(), tls.settle.map(Settle::duration).or(settle))).collect()
}

/// The ways to notify each service, the mildest first.
fn services(spec: &PlacementSpec, recipe: Option<&Recipe>) -> Result<Vec<Levels>, JobError> {
    if spec.reload.is_some() {
        return Ok(spec.reloads().filter_map(ReloadAction::of).map(|only| Levels::new(only, Vec::new())).collect());
    }
    let Some(recipe) = recipe else { return Ok(Vec::new()) };
    if recipe.requires.contains(&Required::Reload) {
        return Err(JobError::NoReload);
    }
    Ok(recipe.services())
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
