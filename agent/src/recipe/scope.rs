//! What one placement may name: the guest's lists, and what its own recipe needs where agent.toml does not replace a list.
//!
//! Answers: may this placement have a file there, notify that service, probe that address?
//! Invariants: what one recipe needs is allowed to placements of that recipe alone; a list that agent.toml replaces gets
//! nothing from recipes; stores of roots and configuration are no place for a certificate's files, whatever allows them.

use std::net::SocketAddr;

use pinion_proto::{
    containers::{ContainerName, ContainerSignal, ServiceName},
    spec::{GuestPath, Part, PlacementSpec, PlainName, Unit},
};

use super::{
    JobError,
    file::Recipe,
    ground::{Ground, is_below},
    kept::Kept,
    reload::{Levels, ReloadAction},
};
use crate::config::{Allow, Hooks, List, Network};

/// What one placement may name.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) ground: Ground,
    units: Vec<Unit>,
    hooks: Hooks,
    containers: Vec<ContainerName>,
    swarm_services: Vec<ServiceName>,
    touch: Vec<GuestPath>,
    probe: Vec<Network>,
    probed: Option<SocketAddr>,
    trust: bool,
}

impl Scope {
    /// What a placement may name.
    pub(super) fn of(spec: &PlacementSpec, recipe: Option<&Recipe>, allow: &Allow, kept: &Kept) -> Self {
        let mut scope = Self::listed(allow);
        scope.ground.roots = spec.content.is_roots();
        if scope.ground.roots && allow.takes_recipes(List::Directories) {
            scope.ground.directories.extend(TRUSTED.iter().map(|path| path.parse().expect("the constant is a path")));
        }
        if let Some(recipe) = recipe {
            let roots = spec.roots.iter().map(Some).chain([None]);
            let templates = recipe.files.values().map(|file| &file.path);
            let paths = templates.flat_map(|path| roots.clone().filter_map(|root| path.of(spec, root).ok()));
            scope.add(recipe, paths.collect(), allow);
        }
        scope.ground.kept.clone_from(&kept.files);
        (scope.ground.nobody, scope.ground.writable) = (kept.nobody, kept.writable);
        scope.units.extend_from_slice(&kept.units);
        scope.containers.extend_from_slice(&kept.containers);
        scope.swarm_services.extend_from_slice(&kept.swarm_services);
        scope.touch.extend_from_slice(&kept.touch);
        scope.probed = kept.probe;
        scope
    }

    /// What placements of a recipe may name, as far as that is the same for all of them.
    pub(super) fn of_recipe(recipe: &Recipe, allow: &Allow) -> Self {
        let mut scope = Self::listed(allow);
        // Whoever makes a store of its files places roots.
        scope.ground.roots = recipe.update.is_some() || recipe.store.is_some();
        let paths = recipe.files.values().filter_map(|file| file.path.sample().ok());
        scope.add(recipe, paths.collect(), allow);
        scope
    }

    /// What the guest allows whatever the recipe.
    fn listed(allow: &Allow) -> Self {
        Self {
            ground: Ground {
                directories: allow.directories.clone(),
                below_ssl: allow.takes_recipes(List::Directories),
                ..Ground::default()
            },
            units: allow.units.clone(),
            hooks: allow.hooks.clone(),
            containers: allow.containers.clone(),
            swarm_services: allow.swarm_services.clone(),
            touch: allow.touch.clone(),
            probe: allow.probe.clone(),
            probed: None,
            trust: allow.trust,
        }
    }

    /// What a recipe needs itself.
    fn add(&mut self, recipe: &Recipe, paths: Vec<GuestPath>, allow: &Allow) {
        if recipe.restricted {
            return;
        }
        if allow.takes_recipes(List::Directories) {
            let own = paths.iter().filter_map(own_directory);
            self.ground.directories.extend(own);
            self.ground.files.extend(paths);
        }
        let services = recipe.services();
        for action in services.iter().flat_map(Levels::iter) {
            match action.clone() {
                ReloadAction::Reload(unit) | ReloadAction::Restart(unit) if allow.takes_recipes(List::Units) => {
                    self.units.push(unit)
                }
                ReloadAction::RestartContainer(container) | ReloadAction::Signal(ContainerSignal { container, .. })
                    if allow.takes_recipes(List::Containers) =>
                {
                    self.containers.push(container);
                }
                ReloadAction::Swarm(swarm) if allow.takes_recipes(List::SwarmServices) => {
                    self.swarm_services.push(swarm.service);
                }
                ReloadAction::Touch(path) if allow.takes_recipes(List::Touch) => self.touch.push(path),
                _ => {}
            }
        }
    }

    /// Whether the service may be notified so.
    pub(super) fn reload(&self, action: &ReloadAction) -> Result<(), JobError> {
        match action {
            ReloadAction::Reload(unit) | ReloadAction::Restart(unit) if !self.units.contains(unit) => {
                Err(JobError::Unit(unit.clone()))
            }
            ReloadAction::Hook(hook) => self.hook(hook),
            ReloadAction::RestartContainer(container) | ReloadAction::Signal(ContainerSignal { container, .. })
                if !self.containers.contains(container) =>
            {
                Err(JobError::Container(container.clone()))
            }
            ReloadAction::Touch(path) if !self.touch.contains(path) && !is_below(path.as_str(), &self.touch) => {
                Err(JobError::Touch(path.clone()))
            }
            ReloadAction::Swarm(swarm) if !self.swarm_services.contains(&swarm.service) => {
                Err(JobError::Service(swarm.service.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Whether the hook may be run.
    pub(super) fn hook(&self, hook: &PlainName) -> Result<(), JobError> {
        if self.hooks.allows(hook) { Ok(()) } else { Err(JobError::Hook(hook.clone())) }
    }

    /// Whether roots may be placed.
    pub(super) fn trust(&self) -> Result<(), JobError> {
        if self.trust || !self.ground.roots { Ok(()) } else { Err(JobError::Trust) }
    }

    /// Whether a part may be placed: a service that has a file `ca` trusts what is in it, its clients perhaps.
    pub(super) fn part(&self, part: Part, path: &GuestPath) -> Result<(), JobError> {
        if self.trust || part != Part::Ca { Ok(()) } else { Err(JobError::Roots(path.clone())) }
    }

    /// Whether an address may be looked at even if it is not this guest's own.
    pub(super) fn look(&self, connect: SocketAddr) -> bool {
        self.probed == Some(connect) || self.probe.iter().any(|network| network.contains(connect))
    }

    /// What may be touched, for whoever follows the links of a path.
    pub(super) fn touchable(&self) -> &[GuestPath] {
        &self.touch
    }
}

/// The directory of a recipe's file where it is the service's own: `/etc/nginx/ssl`, and neither `/etc` nor `/root/.docker`,
/// where a recipe's placements have the recipe's own files alone.
fn own_directory(path: &GuestPath) -> Option<GuestPath> {
    let (directory, _) = path.as_str().rsplit_once('/')?;
    (directory.matches('/').count() >= OWN_DEPTH).then(|| directory.parse().ok()).flatten()
}

/// So many names lead to a directory that is one service's alone.
const OWN_DEPTH: usize = 3;

/// Where roots may be placed by default; what may be there, [`super::protected`] says.
const TRUSTED: [&str; 3] =
    ["/usr/local/share/ca-certificates", "/etc/pki/ca-trust/source/anchors", "/etc/docker/certs.d"];

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use pinion_proto::spec::FileSpec;
    use serde_json::json;

    use super::*;
    use crate::{config::Config, recipe};

    fn spec(fullchain: &str, mode: &str) -> PlacementSpec {
        let file = |path: &str, mode: &str| FileSpec {
            path: Some(path.parse().expect("a path")),
            mode: Some(mode.parse().expect("a mode")),
            ..FileSpec::default()
        };
        let spec = json!({ "certificate": "web", "common_name": "dns:a.example", "names": ["dns:a.example"],
                           "key": { "algorithm": "ecdsa-p256", "rotation": "always" } });
        let mut spec: PlacementSpec = serde_json::from_value(spec).expect("a spec");
        spec.files =
            [(Part::Fullchain, file(fullchain, mode)), (Part::Key, file("/etc/ssl/private/web.key", "0600"))].into();
        spec
    }

    #[test]
    fn what_was_allowed_once_is_kept_and_never_a_store_or_somebody_elses_key() {
        let config = Config::shipped(PathBuf::from("/nowhere"));
        let kept = |spec: &PlacementSpec| recipe::kept_from_earlier(spec, &config);
        let resolved = |spec: &PlacementSpec, kept: &Kept| recipe::resolve(spec, None, &config.allow, kept);
        for (path, mode) in
            [("/etc/ssl/web.crt", "0644"), ("/etc/ssl/certs/web.crt", "0644"), ("/etc/ssl/web.crt", "0666")]
        {
            let spec = spec(path, mode);
            let kept = kept(&spec);
            assert_eq!((kept.files.len(), kept.writable), (1, mode == "0666"), "{path} {mode}: {kept:?}");
            assert!(resolved(&spec, &Kept::default()).is_err(), "{path} {mode}");
            let job = resolved(&spec, &kept).expect("it goes on");
            assert!(job.warning.is_some_and(|warning| warning.contains(path)), "{path} {mode}");
        }
        assert!(kept(&spec("/etc/ssl/web/web.crt", "0644")).is_empty(), "there is nothing to keep");
        for path in ["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/openssl.cnf", "/etc/shadow"] {
            assert!(kept(&spec(path, "0644")).is_empty(), "{path}");
        }
        let mut open = spec("/etc/ssl/web.crt", "0644");
        open.files.get_mut(&Part::Key).expect("there").mode = Some("0644".parse().expect("a mode"));
        assert!(kept(&open).is_empty() && resolved(&open, &kept(&open)).is_err());
    }

    #[test]
    fn a_guest_that_trusts_nobody_by_a_controllers_word_takes_no_file_of_roots() {
        let mut config = Config::shipped(PathBuf::from("/nowhere"));
        let mut own = spec("/etc/ssl/web/web.crt", "0644");
        let path = Some("/etc/ssl/web/clients.pem".parse().expect("a path"));
        own.files.insert(Part::Ca, FileSpec { path, ..FileSpec::default() });
        let of = |recipe: &str| PlacementSpec {
            recipe: Some(recipe.parse().expect("a name")),
            files: [].into(),
            ..spec("/etc/ssl/web/web.crt", "0644")
        };
        for trust in [true, false] {
            config.allow.trust = trust;
            let resolved = |spec: &PlacementSpec| {
                let recipe = spec.recipe.as_ref().map(|name| recipe::find(name, &config.recipes).expect("shipped"));
                recipe::resolve(spec, recipe.as_ref(), &config.allow, &Kept::default())
            };
            for spec in [&of("docker"), &own] {
                let job = resolved(spec);
                assert_eq!(job.is_ok(), trust);
                assert!(
                    trust || matches!(&job, Err(error @ JobError::Roots(_)) if error.remedy().contains("[files.ca]"))
                );
            }
            assert!(resolved(&of("nginx")).is_ok());
        }
    }
}
