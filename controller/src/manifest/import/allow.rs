//! What the agent of a guest must be told to allow, for what the import made there.
//!
//! Invariant: only what is not allowed by default (docs/agent.md) is named.

use std::collections::{BTreeMap, BTreeSet};

use pinion_proto::{id::Guest, spec::Reload};
use schemars::JsonSchema;
use serde::Serialize;

use super::{certificates::Certificate, recipes::OWN_DIRECTORY};

/// Lines of `[allow]` in the agent.toml of a guest, by setting.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Allow(pub BTreeMap<&'static str, BTreeSet<String>>);

impl Allow {
    fn add(&mut self, setting: &'static str, value: &str) {
        self.0.entry(setting).or_default().insert(value.to_owned());
    }

    /// Each setting as a line of TOML.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(setting, values)| {
            let values: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
            format!("{setting} = [{}]", values.join(", "))
        })
    }
}

/// What each guest must allow.
pub(super) fn needed(certificates: &[Certificate]) -> BTreeMap<Guest, Allow> {
    let mut guests: BTreeMap<Guest, Allow> = BTreeMap::new();
    for placement in certificates.iter().flat_map(|certificate| &certificate.placements) {
        let draft = &placement.draft;
        let mut allow = Allow::default();
        let own = draft.recipe.filter(|recipe| recipe.name != "pveproxy");
        let recipe_directories: Vec<&str> = own
            .iter()
            .flat_map(|recipe| recipe.files.iter().filter_map(|file| file.1.rsplit_once('/')))
            .map(|(directory, _)| directory)
            .filter(|directory| *directory != "/root/.docker")
            .collect();
        let is_allowed = |path: &str| {
            let inside = |directory: &&str| path.strip_prefix(*directory).is_some_and(|rest| rest.starts_with('/'));
            let below_ssl = path.strip_prefix("/etc/ssl/").is_some_and(|rest| rest.contains('/'));
            below_ssl || inside(&OWN_DIRECTORY) || recipe_directories.iter().any(inside)
        };
        for path in draft.files.values().filter_map(|file| file.path.as_ref()) {
            if !is_allowed(path.as_str())
                && let Some((directory, _)) = path.as_str().rsplit_once('/')
            {
                allow.add("extra_directories", if directory.is_empty() { "/" } else { directory });
            }
        }
        if draft.recipe.is_some_and(|recipe| recipe.name == "pveproxy") {
            allow.add("extra_units", "pveproxy.service");
        }
        let known = own.and_then(|recipe| recipe.reload());
        let unit = own.and_then(|recipe| recipe.unit());
        for reload in draft.reloads.iter().filter(|reload| Some(*reload) != known.as_ref()) {
            match reload {
                Reload::Reload(name) | Reload::Restart(name) if unit == Some(name.as_str()) => {}
                Reload::Reload(name) | Reload::Restart(name) => allow.add("extra_units", name.as_str()),
                Reload::Container(name) => allow.add("extra_containers", name.as_str()),
                Reload::Signal(signal) => allow.add("extra_containers", signal.container.as_str()),
                Reload::Touch(path) => allow.add("extra_touch", path.as_str()),
                Reload::Swarm(swarm) => match &known {
                    Some(Reload::Swarm(own)) if own.service == swarm.service => {}
                    _ => allow.add("extra_swarm_services", swarm.service.as_str()),
                },
                Reload::Hook(_) | Reload::Nothing => {}
            }
        }
        let all = guests.entry(draft.guest).or_default();
        for (setting, values) in allow.0 {
            all.0.entry(setting).or_default().extend(values);
        }
    }
    guests.retain(|_, allow| !allow.0.is_empty());
    guests
}
