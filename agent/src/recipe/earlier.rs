//! What earlier agents allowed by default: what does a placement have of that, and what must change before it is allowed
//! without?

use pinion_proto::{
    containers::ContainerSignal,
    spec::{GuestPath, PlacementSpec},
};

use super::{
    JobError,
    decide::decide,
    file::Recipe,
    ground::is_below,
    job::Job,
    kept::Kept,
    reload::{Levels, ReloadAction},
    scope::Scope,
    secrecy,
};
use crate::config::Allow;

/// Files and services of a placement that only an earlier agent allowed by default. The placement keeps these, and gets no
/// others of the kind.
pub(super) fn kept(spec: &PlacementSpec, recipe: Option<&Recipe>, allow: &Allow) -> Kept {
    let mut earlier = Scope::of(spec, recipe, &allow.of_earlier_agents(), &Kept::default());
    earlier.ground.kept.clone_from(&all_paths(spec, recipe));
    earlier.ground.kept.retain(|path| is_below(path.as_str(), &earlier.ground.directories));
    earlier.ground.writable = true;
    let Ok(job) = decide(spec, recipe, &earlier) else { return Kept::default() };
    let now = Scope::of(spec, recipe, allow, &Kept::default());
    let mut kept = Kept::default();
    for file in job.files {
        kept.writable |= secrecy::mode(file.part, file.mode, false).is_err();
        kept.nobody |= file.part.is_secret() && file.owner.as_str() == "nobody";
        if now.ground.file(&file.path).is_err() {
            kept.files.push(file.path);
        }
    }
    for action in job.services.iter().flat_map(Levels::iter).filter(|action| now.reload(action).is_err()) {
        match action.clone() {
            ReloadAction::Reload(unit) | ReloadAction::Restart(unit) => kept.units.push(unit),
            ReloadAction::RestartContainer(container) | ReloadAction::Signal(ContainerSignal { container, .. }) => {
                kept.containers.push(container);
            }
            ReloadAction::Touch(path) => kept.touch.push(path),
            ReloadAction::Swarm(swarm) => kept.swarm_services.push(swarm.service),
            ReloadAction::Hook(_) => {}
        }
    }
    let mut probed = job.probes.iter().map(|target| target.connect);
    kept.probe = probed.find(|connect| !connect.ip().to_canonical().is_loopback());
    kept
}

/// What of a job would not be allowed anew; none when all of it would.
pub(super) fn outdated(job: &Job, anew: &Scope) -> Option<String> {
    let files = job.files.iter().filter_map(|file| anew.ground.file(&file.path).err());
    let refused: Vec<JobError> = files
        .chain(job.services.iter().flat_map(Levels::iter).filter_map(|action| anew.reload(action).err()))
        .collect();
    let first = refused.first()?;
    let all: Vec<String> = refused.iter().map(ToString::to_string).collect();
    Some(format!(
        "{}: earlier agents allowed this by default, and this placement keeps it; {}",
        all.join(", "),
        first.remedy()
    ))
}

/// The paths that a placement or its recipe names.
fn all_paths(spec: &PlacementSpec, recipe: Option<&Recipe>) -> Vec<GuestPath> {
    let given = spec.files.values().filter_map(|file| file.path.clone());
    let templates = recipe.iter().flat_map(|recipe| recipe.files.values());
    given.chain(templates.filter_map(|file| file.path.of(spec, None).ok())).collect()
}
