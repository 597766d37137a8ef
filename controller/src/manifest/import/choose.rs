//! Which recipe a placement gets, and what it notifies.

use std::collections::BTreeMap;

use pinion_proto::{
    containers::SwarmSecrets,
    id::Guest,
    names::SubjectName,
    spec::{MAX_SERVICES, Part, Reload},
};

use super::{
    gather::Gathered,
    recipes::{self, Notifies, RECIPES, Recipe},
    step::{Left, Verb},
};

/// What was chosen, and why.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) recipe: Option<&'static Recipe>,
    /// Everything that is notified; if it is only what the recipe notifies by itself, nothing.
    pub(super) reloads: Vec<Reload>,
    pub(super) client: bool,
    pub(super) why: String,
}

/// Chooses, and says in `all` what remains and what to look at.
pub(super) fn choose(all: &mut Gathered, guest: Guest, common_name: &SubjectName, client: bool) -> Choice {
    let fits = |recipe: &&Recipe| {
        let known = all
            .files
            .iter()
            .all(|(part, file)| recipe.path(*part, common_name).is_some_and(|path| path == file.to.as_str()));
        known && !all.files.is_empty() && !recipe.is_general()
    };
    // A client's files have names of their own, whatever cert_type says.
    let client_files =
        RECIPES.iter().filter(fits).all(|recipe| recipe.client) && RECIPES.iter().any(|recipe| fits(&recipe));
    let by_path = RECIPES.iter().filter(fits).find(|recipe| recipe.client == (client || client_files));
    if client_files && !client {
        all.look.push(
            "its files are a client's, and cert_type is not \"client\": it becomes a client's certificate".into(),
        );
    }
    let client = client || client_files;
    let reloads = notified(all);
    let unit_recipe = all.units.iter().find_map(|(unit, ..)| {
        let known = |recipe: &&Recipe| recipe.unit() == Some(unit.as_str()) && recipe.client == client;
        RECIPES.iter().find(known).filter(|recipe| recipe.name != "pveproxy" || guest == Guest::Host)
    });
    let named = |name: &str| Some(recipes::named(name));
    let (recipe, why) = if let Some(recipe) = unit_recipe {
        (Some(recipe), format!("the command notifies {}", recipe.unit().unwrap_or_default()))
    } else if let Some(Reload::Swarm(swarm)) = reloads.iter().find(|reload| matches!(reload, Reload::Swarm(_))) {
        let own = recipes::named("portainer-swarm");
        let is_own = matches!(own.notifies, Notifies::Swarm(service, _) if service == swarm.service.as_str());
        let recipe = if is_own && !client { Some(own) } else { named("files") };
        (recipe, format!("the command replaces secrets of the Swarm service {}", swarm.service))
    } else if let Some(Reload::Container(name)) = reloads.iter().find(|reload| matches!(reload, Reload::Container(_))) {
        let recipe =
            by_path.filter(|recipe| matches!(recipe.notifies, Notifies::Container(known) if known == name.as_str()));
        (recipe.or_else(|| named("docker-container")), format!("the command restarts the container {name}"))
    } else if reloads.iter().any(|reload| matches!(reload, Reload::Signal(_))) {
        (named("docker-container"), "the command sends a signal to a container".into())
    } else if let Some((unit, ..)) = all.units.first() {
        (named("systemd-unit"), format!("the command notifies {}", unit.as_str()))
    } else if let Some(recipe) = by_path {
        let notified = recipe.unit().or(match recipe.notifies {
            Notifies::Container(name) => Some(name),
            _ => None,
        });
        if let Some(notified) = notified {
            all.look.push(format!("the old command notified nobody; Pinion notifies {notified} at each renewal"));
        }
        (Some(recipe), format!("its files are those of the recipe {}", recipe.name))
    } else if all.files.contains_key(&Part::Fullchain) && all.files.contains_key(&Part::Key) {
        (None, "the command only puts files into their places".into())
    } else {
        (named("files"), "no service is notified".into())
    };
    Choice { recipe, reloads: beyond(recipe, reloads), client, why }
}

/// What a line notified, in the manifest's words.
fn notified(all: &mut Gathered) -> Vec<Reload> {
    let mut reloads: Vec<_> = all
        .units
        .iter()
        .map(|(unit, verb, _)| match verb {
            Verb::Reload => Reload::Reload(unit.clone()),
            _ => Reload::Restart(unit.clone()),
        })
        .collect();
    for (unit, verb, _) in &all.units {
        if *verb == Verb::Start {
            let unit = unit.as_str();
            all.look.push(format!(
                "the old command started {unit}; Pinion restarts it, and starts no unit that is stopped"
            ));
        }
    }
    reloads.extend(swarm(all));
    reloads.extend(all.containers.iter().cloned().map(Reload::Container));
    reloads.extend(all.signals.iter().cloned().map(Reload::Signal));
    let mut each: Vec<Reload> = Vec::new();
    for reload in reloads {
        if !each.contains(&reload) {
            each.push(reload);
        }
    }
    // The recipe's own and a hook may come besides.
    for more in each.split_off(each.len().min(MAX_SERVICES - 2)) {
        let shown = serde_json::to_string(&more).unwrap_or_default();
        let why = format!("a placement notifies at most {MAX_SERVICES} services");
        all.left.push((Left { why, command: None }, shown));
    }
    each
}

/// Swarm services with the secrets that were made for them.
fn swarm(all: &mut Gathered) -> Vec<Reload> {
    let (services, secrets) = (std::mem::take(&mut all.swarm), std::mem::take(&mut all.secrets));
    let mut reloads = Vec::new();
    for (service, seen) in &services {
        let mut parts = BTreeMap::new();
        for (name, part) in &secrets {
            // What the service sees is the secret's own name, unless the update says otherwise.
            let target = seen.iter().find(|(_, source)| source == name).and_then(|(target, _)| target.parse().ok());
            let Some(target) = target.or_else(|| seen.is_empty().then(|| name.clone())) else { continue };
            if parts.values().any(|other| *other == target) || parts.contains_key(part) {
                left(all, "the service sees this secret or this part already", "docker secret create", name.as_str());
            } else {
                parts.insert(*part, target);
            }
        }
        if parts.is_empty() {
            left(
                all,
                "it updates a Swarm service for which the line makes no secret",
                "docker service update --force",
                service.as_str(),
            );
        } else {
            reloads.push(Reload::Swarm(SwarmSecrets { service: service.clone(), secrets: parts }));
        }
    }
    if services.is_empty() {
        for (name, _) in &secrets {
            left(all, "it makes a secret and updates no service with it", "docker secret create", name.as_str());
        }
    }
    if services.len() > 1 {
        all.look.push("the line updates several Swarm services: check which secrets each of them uses".into());
    }
    reloads
}

fn left(all: &mut Gathered, why: &str, command: &str, name: &str) {
    all.left.push((Left { why: why.into(), command: None }, format!("{command} {name}")));
}

/// What is notified, unless the recipe notifies just that by itself.
fn beyond(recipe: Option<&'static Recipe>, mut reloads: Vec<Reload>) -> Vec<Reload> {
    let Some(recipe) = recipe else { return reloads };
    let Some(own) = recipe.reload() else { return reloads };
    // The recipe knows best how its unit is notified.
    reloads.retain(|reload| !matches!((reload, recipe.unit()), (Reload::Reload(unit) | Reload::Restart(unit), Some(known)) if unit.as_str() == known));
    if let Reload::Swarm(_) = own {
        return if reloads == [own] { Vec::new() } else { reloads };
    }
    reloads.retain(|reload| *reload != own);
    if reloads.is_empty() {
        return reloads;
    }
    reloads.insert(0, own);
    reloads
}
