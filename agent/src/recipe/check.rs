//! Everything that is wrong with a recipe, for whoever writes one.
//!
//! Answers: which line is not understood, what does this guest not allow, what would surprise?
//! Invariant: the reader of recipes is the judge ([`settings::read_whole`]), and what a guest allows is asked of [`Scope`] as
//! for a placement.

use std::{collections::BTreeMap, ops::Range};

use pinion_proto::{
    names::SubjectName,
    settings,
    spec::{GuestPath, Part, Reload},
    text_position::line_and_column,
};
use serde::Serialize;
use toml::de::DeTable;

use super::{
    JobError, ReloadAction,
    file::{Recipe, Required},
    scope::Scope,
    secrecy,
};
use crate::config::Config;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Complaint {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub why: String,
    /// What a person can do.
    pub remedy: String,
}

/// Everything that is wrong with a recipe's text for this guest, in the order of its lines.
#[must_use]
pub fn check(text: &str, config: &Config) -> Vec<Complaint> {
    let read = settings::read_whole::<Recipe>(text);
    let remedy = match read.table {
        Some(_) => "correct it; docs/recipes.md describes every field",
        None => "write it as TOML: name = \"value\", or [table]",
    };
    let mut complaints = Complaints { text, found: Vec::new() };
    for mistake in read.mistakes {
        complaints.add(Some(mistake.at..mistake.at), &mistake.why, remedy);
    }
    if let Some(table) = &read.table {
        judge(&read.document, config, &Places(table.get_ref()), &mut complaints);
    }
    complaints.found.sort();
    complaints.found.dedup();
    complaints.found
}

/// What is understood and still would not do.
fn judge(recipe: &Recipe, config: &Config, places: &Places<'_>, complaints: &mut Complaints<'_>) {
    if recipe.files.is_empty() && places.of(&["files"]).is_none() {
        complaints.add(None, "no file is named", "add at least one, for example [files.fullchain] with a path");
    }
    let scope = Scope::of_recipe(recipe, &config.allow);
    let mut paths: BTreeMap<GuestPath, Part> = BTreeMap::new();
    for (part, file) in &recipe.files {
        let at = || places.of(&["files", part.as_str(), "path"]);
        let Ok(path) = file.path.sample() else { continue };
        if let Err(error) = scope.ground.file(&path) {
            complaints.refused(at(), &error);
        }
        if let Err(error) = scope.part(*part, &path) {
            complaints.refused(at(), &error);
        }
        if let Some(first) = paths.insert(path, *part) {
            complaints.add(at(), &format!("the part `{first}` has the same path"), "give each part its own path");
        }
        if let Some(Err(error)) = file.mode.map(|mode| secrecy::mode(*part, mode, false)) {
            complaints.refused(places.of(&["files", part.as_str(), "mode"]), &error);
        }
    }
    reloading(recipe, &scope, places, complaints);
    for probe in &recipe.probe {
        // A list has one place for all of it.
        let place = |field: &str| places.of(&["probe", field]).or_else(|| places.of(&["probe"]));
        if probe.connect.port() == 0 {
            complaints.add(place("connect"), "port 0 is not a port", "write the port of the service");
        }
        let host = |name: &SubjectName| matches!(name, SubjectName::Dns(host) if !host.starts_with("*."));
        if probe.server_name.as_ref().is_some_and(|name| !host(name)) {
            complaints.add(
                place("server_name"),
                "a server name must be one host name, not a wildcard, address, URI or e-mail",
                "write a host name, or remove the field to ask for the common name",
            );
        }
    }
}

fn reloading(recipe: &Recipe, scope: &Scope, places: &Places<'_>, complaints: &mut Complaints<'_>) {
    if recipe.requires.contains(&Required::Reload) && !recipe.reload.is_empty() {
        complaints.add(
            places.of(&["requires"]),
            "the recipe has a `reload`, and also requires one from the placement",
            "keep one of `reload` and `requires`",
        );
    }
    for reload in &recipe.reload {
        if let Some(Err(error)) = ReloadAction::of(reload).map(|action| scope.reload(&action)) {
            complaints.refused(places.of(&["reload"]), &error);
        }
        if let Reload::Swarm(swarm) = reload {
            if swarm.secrets.is_empty() {
                complaints.add(places.of(&["reload"]), "`secrets` is empty", "add at least one secret");
            }
            for part in swarm.secrets.keys().filter(|part| !recipe.files.contains_key(part)) {
                complaints.refused(places.of(&["reload"]), &JobError::NoSecretFile(*part));
            }
        }
    }
    let services: Vec<_> = recipe.reload.iter().filter_map(ReloadAction::of).collect();
    for level in &recipe.escalate {
        let at = || places.of(&["escalate"]);
        let above: Vec<_> = services.iter().filter_map(|first| level.above(first)).collect();
        match (services.is_empty(), above.is_empty()) {
            (true, _) => complaints.add(at(), "`escalate` needs a `reload` to escalate from", "add `reload`"),
            (false, true) => complaints.add(at(), "it does the same as `reload`", "leave it out"),
            (false, false) => {
                for error in above.iter().filter_map(|action| scope.reload(action).err()) {
                    complaints.refused(at(), &error);
                }
            }
        }
    }
}

/// What is complained about so far.
struct Complaints<'t> {
    text: &'t str,
    found: Vec<Complaint>,
}

impl Complaints<'_> {
    fn add(&mut self, at: Option<Range<usize>>, why: &str, remedy: &str) {
        let (line, column) = line_and_column(self.text, at.map_or(0, |span| span.start));
        let why = why.trim().replace('\n', ", ");
        self.found.push(Complaint { line, column, why, remedy: remedy.to_owned() });
    }

    fn refused(&mut self, at: Option<Range<usize>>, error: &JobError) {
        self.add(at, &error.to_string(), &error.remedy());
    }
}

/// Where each value stands.
struct Places<'t>(&'t DeTable<'t>);

impl Places<'_> {
    /// The span of the value under these names.
    fn of(&self, names: &[&str]) -> Option<Range<usize>> {
        let (last, tables) = names.split_last()?;
        let mut table = self.0;
        for name in tables {
            table = table.get(*name)?.get_ref().as_table()?;
        }
        table.get(*last).map(toml::Spanned::span)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{config::List, recipe::shipped::SHIPPED};

    fn complaints(text: &str) -> Vec<(usize, usize, String, String)> {
        let found = check(text, &Config::shipped(PathBuf::from("/nowhere")));
        found.into_iter().map(|c| (c.line, c.column, c.why, c.remedy)).collect()
    }

    #[test]
    fn shipped_recipes_have_nothing_wrong_with_them_but_what_only_a_host_allows() {
        for &(name, text) in SHIPPED {
            let found = complaints(text);
            if name == "pveproxy" {
                assert!(
                    !found.is_empty() && found.iter().all(|(.., remedy)| remedy.contains("agent.toml")),
                    "{found:?}"
                );
            } else {
                assert!(found.is_empty(), "{name}: {found:?}");
            }
        }
    }

    #[test]
    fn every_mistake_is_told_with_its_place_in_one_go() {
        let text = "\
reload = { restart = \"squid\" }
escalte = [\"restart\"]
validate = []

[files.fullchain]
path = 3

[files.kye]
path = \"/etc/ssl/a\"

[files.key]
path = \"/etc/ssl/{cn}.key\"
mode = \"0648\"

[probe]
connect = \"localhost:1\"
starttls = \"gopher\"
";
        let found = complaints(text);
        let lines: Vec<usize> = found.iter().map(|(line, ..)| *line).collect();
        assert_eq!(lines, [1, 2, 3, 6, 8, 12, 13, 16, 17], "{found:#?}");
        for (line, word) in
            [(1, "nginx.service"), (12, "{common_name}"), (13, "0640"), (16, "address"), (17, "postgres")]
        {
            assert!(found.iter().any(|(at, _, why, _)| *at == line && why.contains(word)), "{line} {word}: {found:#?}");
        }
    }

    #[test]
    fn what_the_guest_does_not_allow_is_told_with_what_to_add() {
        let text = "\
reload = { container = \"web\" }
escalate = [{ restart = \"squid.service\" }]
[files.key]
path = \"/srv/tls/{common_name}.key\"
mode = \"0644\"
";
        // What a recipe needs itself is allowed to it, but where agent.toml says all.
        let alone = complaints(text);
        assert!(alone.len() == 1 && alone[0].0 == 5, "{alone:#?}");
        let mut config = Config::shipped(PathBuf::from("/nowhere"));
        config.allow.replaced = [List::Directories, List::Units, List::Containers].into();
        let found: Vec<_> = check(text, &config).into_iter().map(|c| (c.line, c.column, c.why, c.remedy)).collect();
        let expected = [(1, "extra_containers"), (2, "extra_units"), (4, "extra_directories"), (5, "0640")];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for ((line, _, _, remedy), (at, word)) in found.iter().zip(expected) {
            assert!(*line == at && remedy.contains(word), "{line} {remedy}");
        }
    }

    #[test]
    fn what_would_surprise_is_told() {
        let files = "[files.key]\npath = \"/etc/ssl/k\"\n";
        let alone = |text: &str| {
            let found = complaints(&format!("{text}\n{files}"));
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            found.into_iter().next().map(|(.., why, _)| why).unwrap_or_default()
        };
        assert!(alone("escalate = [\"restart\"]").contains("needs a `reload`"));
        assert!(alone("reload = { restart = \"nginx.service\" }\nescalate = [\"restart\"]").contains("does the same"));
        assert!(
            alone("requires = [\"reload\"]\nreload = { restart = \"nginx.service\" }").contains("also requires one")
        );
        let swarm = "reload = { swarm = { service = \"portainer_portainer\", secrets = { ca = \"ca.pem\" } } }";
        assert!(alone(swarm).contains("`ca`"));
        assert!(complaints("x = ").iter().all(|(.., remedy)| remedy.contains("TOML")));
        assert!(complaints("").iter().any(|(.., remedy)| remedy.contains("files.fullchain")));
        let same = complaints(&format!("{files}[files.cert]\npath = \"/etc/ssl/k\"\n"));
        assert!(same.iter().any(|(_, _, why, _)| why.contains("same path")), "{same:?}");
    }
}
