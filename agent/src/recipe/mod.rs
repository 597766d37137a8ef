//! How one kind of service takes its certificate: recipe and overrides become a job without anything left open.
//!
//! Answers: which files, how checked, which service is notified, where is it probed?
//! Invariants: [`resolve`] is pure; a [`Job`] names nothing that the guest's allow-list refuses.

mod decide;
mod earlier;
mod file;
mod files;
mod ground;
mod job;
mod kept;
mod path;
mod reload;
mod scope;
pub mod protected;
pub mod secrecy;
mod shipped;
mod refusal;
mod check;
mod list;
mod show;
mod one_or_more;

use pinion_proto::spec::{GuestPath, PlacementSpec};

pub use check::{Complaint, check};
pub use file::{Recipe, RecipeError, find, read};
pub use ground::Ground;
pub use job::{Check, Job, JobFile, ProbeTarget};
pub use kept::Kept;
pub use list::{Listed, list};
pub use protected::SSL;
pub use refusal::{JobError, allow};
pub use reload::{Levels, ReloadAction};
pub use show::{ShownFile, ShownRecipe, show};

use crate::config::{Allow, Config};
use decide::decide;
use scope::Scope;

/// Decides everything about a placement. `kept`: what it has and would not get any more.
///
/// # Errors
/// Something is missing or the guest's allow-list refuses it; the error says which and what to do.
pub fn resolve(spec: &PlacementSpec, recipe: Option<&Recipe>, allow: &Allow, kept: &Kept) -> Result<Job, JobError> {
    let mut job = decide(spec, recipe, &Scope::of(spec, recipe, allow, kept))?;
    if !kept.is_empty() {
        job.warning = earlier::outdated(&job, &Scope::of(spec, recipe, allow, &Kept::default()));
    }
    Ok(job)
}

/// What a placement has that a newer agent would not allow it by default; nothing where it has no such thing.
#[must_use]
pub fn kept_from_earlier(spec: &PlacementSpec, config: &Config) -> Kept {
    let recipe = spec.recipe.as_ref().and_then(|name| find(name, &config.recipes).ok());
    earlier::kept(spec, recipe.as_ref(), &config.allow)
}

/// The paths of what a spec asks for, as far as this guest can tell: a recipe that is not to be had had no files written.
#[must_use]
pub fn paths(spec: &PlacementSpec, config: &Config, kept: &Kept) -> Vec<GuestPath> {
    job(spec, config, kept).map_or(Vec::new(), |job| job.files.into_iter().map(|file| file.path).collect())
}

/// What a spec asks for, as far as this guest can tell; none when it cannot be done, for whatever reason.
#[must_use]
pub fn job(spec: &PlacementSpec, config: &Config, kept: &Kept) -> Option<Job> {
    let recipe = spec.recipe.as_ref().and_then(|name| find(name, &config.recipes).ok());
    resolve(spec, recipe.as_ref(), &config.allow, kept).ok()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::PathBuf, time::Duration};

    use pinion_proto::{
        content::{Content, LeafSpec},
        key::KeyPolicy,
        names::{SubjectName, SubjectNames},
        spec::{FileSpec, Part, Probe, Reload, TlsProbe, Unit, Usage, Validate},
    };

    use super::*;
    use crate::config::Hooks;

    fn spec(recipe: Option<&str>) -> PlacementSpec {
        let name: SubjectName = "*.internal.example".parse().expect("a name");
        PlacementSpec {
            certificate: "gateway".parse().expect("a name"),
            content: Content::Leaf(LeafSpec {
                common_name: name.clone(),
                names: SubjectNames::try_from(vec![name]).expect("names"),
                key: KeyPolicy::default(),
                shared: false,
            }),
            roots: Vec::new(),
            recipe: recipe.map(|recipe| recipe.parse().expect("a name")),
            files: BTreeMap::new(),
            layout: None,
            validate: None,
            reload: None,
            probe: None,
            more_reloads: Vec::new(),
            more_probes: Vec::new(),
            window: None,
            requires_mount: None,
            usage: None,
            purge: false,
            ordered: None,
            trouble: None,
            adoption: None,
        }
    }

    fn job(spec: &PlacementSpec) -> Result<Job, JobError> {
        let config = Config::shipped(PathBuf::from("/nowhere"));
        let recipe = spec.recipe.as_ref().map(|name| find(name, &config.recipes).expect("a shipped recipe"));
        resolve(spec, recipe.as_ref(), &config.allow, &Kept::default())
    }

    #[test]
    fn the_shipped_recipes_are_within_the_shipped_allow_list() {
        let nginx = job(&spec(Some("nginx"))).expect("nginx");
        let paths: Vec<_> = nginx.files.iter().map(|file| (file.path.as_str(), file.mode.bits())).collect();
        let (crt, key) =
            ("/etc/nginx/ssl/_wildcard.internal.example.crt", "/etc/nginx/ssl/_wildcard.internal.example.key");
        assert_eq!(paths, [(crt, 0o644), (key, 0o640)]);
        assert_eq!(nginx.files.first().expect("a file").group.as_str(), "www-data");
        assert_eq!(nginx.validate, Check::Program(vec!["nginx".into(), "-t".into()]));
        let unit: Unit = "nginx.service".parse().expect("a unit");
        let levels = Levels::new(ReloadAction::Reload(unit.clone()), vec![ReloadAction::Restart(unit)]);
        assert_eq!(nginx.services, [levels]);
        let target = nginx.probes.into_iter().next().expect("a place to look");
        assert_eq!(target.server_name.as_deref(), Some("pinion-probe.internal.example"));

        let docker = job(&spec(Some("docker"))).expect("docker");
        let restart = ReloadAction::Restart("docker.service".parse().expect("a unit"));
        assert_eq!(docker.services, [Levels::new(restart, Vec::new())]);
        assert_eq!(docker.files.len(), 3);
        assert!(docker.probes.first().expect("a place to look").settle > Duration::from_secs(20));

        let [traefik, client] = ["traefik", "traefik-client"].map(|name| job(&spec(Some(name))).expect(name));
        assert_eq!((traefik.turns(), client.turns()), (["traefik.service"].into(), ["traefik.service"].into()));
        let disrupts = |job: &Job| job.services.iter().flat_map(Levels::iter).all(ReloadAction::is_disruptive);
        assert!(!disrupts(&traefik) && disrupts(&client));

        let unit = job(&spec(Some("systemd-unit"))).expect_err("nobody knows which unit");
        assert!(matches!(unit, JobError::NoReload) && unit.remedy().contains("\"restart\""));
        let mut own = spec(Some("docker-container"));
        own.reload = Some(Reload::Container("registry".parse().expect("a name")));
        assert!(matches!(job(&own), Err(JobError::Container(_))));

        let files = job(&spec(Some("files"))).expect("files");
        assert!(files.services.is_empty() && files.probes.is_empty());
    }

    #[test]
    fn a_placement_is_for_what_it_says_then_its_recipe_then_a_server_where_one_is_looked_at() {
        let usage = |spec: &PlacementSpec| job(spec).expect("a job").usage;
        let (server, client) = (Some(Usage::Server), Some(Usage::Client));
        for (recipe, expected) in [
            ("nginx", server),
            ("docker", server),
            ("portainer", server),
            ("docker-client", client),
            ("docker-context", client),
            ("nginx-client", client),
            ("traefik-client", client),
            ("files", None),
        ] {
            let mut spec = spec(Some(recipe));
            assert_eq!(usage(&spec), expected, "{recipe}");
            spec.probe = Some(Probe::Nothing);
            assert_eq!(usage(&spec), expected, "{recipe}, where nobody looks");
            spec.usage = Some(Usage::Both);
            assert_eq!(usage(&spec), Some(Usage::Both), "{recipe}");
        }
    }

    #[test]
    fn the_placement_overrides_its_recipe_field_by_field() {
        let mut spec = spec(Some("nginx"));
        let path = Some("/etc/ssl/own/own.key".parse().expect("a path"));
        spec.files.insert(Part::Key, FileSpec { path, ..FileSpec::default() });
        spec.reload = Some(Reload::Nothing);
        spec.validate = Some(Validate::Nothing);
        spec.probe = Some(Probe::Tls(TlsProbe {
            settle: Some(90.try_into().expect("within an hour")),
            ..TlsProbe::at("127.0.0.1:8443".parse().expect("an address"))
        }));
        let job = job(&spec).expect("a job");
        let key = job.files.iter().find(|file| file.part == Part::Key).expect("a key");
        assert_eq!(
            (key.path.as_str(), key.mode.bits(), key.group.as_str()),
            ("/etc/ssl/own/own.key", 0o640, "www-data")
        );
        assert_eq!((job.validate, job.services.len()), (Check::Nothing, 0));
        let probe = job.probes.first().expect("a place to look");
        let ninety = Duration::from_secs(90);
        assert_eq!((probe.connect.port(), probe.settle, probe.restart), (8443, ninety, ninety));
    }

    #[test]
    fn what_the_guest_does_not_allow_is_refused_with_a_remedy() {
        let at = |path: &str| {
            let mut spec = spec(None);
            let path = Some(path.parse().expect(path));
            spec.files.insert(Part::Cert, FileSpec { path, ..FileSpec::default() });
            spec
        };
        assert!(job(&at("/etc/ssl/deep/er/x")).is_ok());
        for bad in
            ["/etc/sslx/a", "/etc/ssl", "/etc/ssl/a", "/etc/passwd", "/etc/nginx/ssl/a", "/root/.docker/cert.pem"]
        {
            let error = job(&at(bad)).expect_err(bad);
            assert!(matches!(error, JobError::Directory(_)) && error.remedy().contains("agent.toml"), "{bad}");
        }
        let mut other_unit = at("/etc/ssl/x/a");
        other_unit.reload = Some(Reload::Restart("ssh.service".parse().expect("a unit")));
        assert!(matches!(job(&other_unit), Err(JobError::Unit(_))));
        assert!(matches!(job(&spec(None)), Err(JobError::NoFiles)));
        let mut no_path = spec(None);
        no_path.files.insert(Part::Key, FileSpec::default());
        assert!(matches!(job(&no_path), Err(JobError::NoPath(Part::Key))));
        let mut same = at("/etc/ssl/x/a");
        same.files.insert(Part::Key, same.files.get(&Part::Cert).expect("there").clone());
        assert!(matches!(job(&same), Err(JobError::SamePath { .. })));
        let mut hook = at("/etc/ssl/x/a");
        hook.reload = Some(Reload::Hook("swarm".parse().expect("a name")));
        let mut allow = Config::shipped(PathBuf::from("/nowhere")).allow;
        assert!(resolve(&hook, None, &allow, &Kept::default()).is_ok());
        allow.hooks = Hooks::Named(vec!["other".parse().expect("a name")]);
        assert!(matches!(resolve(&hook, None, &allow, &Kept::default()), Err(JobError::Hook(_))));
    }

    proptest::proptest! {
        #[test]
        fn only_paths_below_an_allowed_directory_are_allowed(text in "(/(etc|ssl|ssl2|nginx|\\.\\.|\\.|a|)){1,6}") {
            if let Ok(path) = text.parse::<GuestPath>() {
                let allowed: Vec<GuestPath> = vec!["/etc/ssl".parse().expect("a path")];
                let model = std::path::Path::new(&text).starts_with("/etc/ssl") && text != "/etc/ssl";
                proptest::prop_assert_eq!(ground::is_below(path.as_str(), &allowed), model);
                proptest::prop_assert!(!text.split('/').any(|part| part == ".." || part == "."));
            }
        }
    }
}
