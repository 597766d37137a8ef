//! `agent.toml` as it is written: its tables, and what holds where it says nothing.
//!
//! Invariant: a word that is not known is refused, so that a limit with a slip in its name is not passed over.

use std::{fmt::Display, path::PathBuf, str::FromStr, time::Duration};

use pinion_proto::{
    containers::{ContainerName, ServiceName},
    id::shown,
    settings::Mistake,
    spec::{GuestPath, PlainName, Unit},
};
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::{
    allow::{Allow, Hooks, List},
    network::Network,
    values::{Config, Doctor, Retry, SOCKET},
};

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Document {
    state: Option<GuestPath>,
    socket: Option<GuestPath>,
    hooks: Option<GuestPath>,
    recipes: Option<GuestPath>,
    docker: Option<GuestPath>,
    check_every: Option<Spanned<Period>>,
    hook_timeout: Option<Spanned<Period>>,
    gather: Option<Spanned<Period>>,
    restarts_per_hour: Option<Spanned<usize>>,
    allow: AllowTable,
    retry: RetryTable,
    doctor: DoctorTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AllowTable {
    directories: Option<Entries<GuestPath>>,
    extra_directories: Entries<GuestPath>,
    units: Option<Entries<Unit>>,
    extra_units: Entries<Unit>,
    hooks: Option<HooksValue>,
    containers: Option<Entries<ContainerName>>,
    extra_containers: Entries<ContainerName>,
    swarm_services: Option<Entries<ServiceName>>,
    extra_swarm_services: Entries<ServiceName>,
    touch: Option<Entries<GuestPath>>,
    extra_touch: Entries<GuestPath>,
    probe: Entries<Network>,
    extra_probe: Entries<Network>,
    trust: Option<bool>,
    discover: Option<bool>,
}

/// A list whose entries are looked at one by one, so that each wrong one is reported with its own position.
#[derive(Debug)]
struct Entries<T> {
    good: Vec<T>,
    wrong: Vec<Mistake>,
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self { good: Vec::new(), wrong: Vec::new() }
    }
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut entries = Self::default();
        for entry in Vec::<Spanned<String>>::deserialize(deserializer)? {
            match entry.get_ref().parse() {
                Ok(good) => entries.good.push(good),
                Err(error) => entries.wrong.push(Mistake::new(entry.span().start, error)),
            }
        }
        Ok(entries)
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "`hooks` is true, false or a list of hook names")]
enum HooksValue {
    Switch(bool),
    Named(Vec<PlainName>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RetryTable {
    initial: Option<Spanned<Period>>,
    max: Option<Spanned<Period>>,
    blocked: Option<Spanned<Period>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DoctorTable {
    controllers: Option<bool>,
    disk: Option<bool>,
    files: Option<bool>,
}

impl Document {
    /// What is understood and still cannot be.
    pub(super) fn mistakes(&self) -> Vec<Mistake> {
        let mut mistakes: Vec<Mistake> = self.allow.wrong().cloned().collect();
        let periods =
            [&self.check_every, &self.hook_timeout, &self.retry.initial, &self.retry.max, &self.retry.blocked];
        for period in periods.into_iter().flatten().filter(|period| period.get_ref().0.is_zero()) {
            mistakes.push(Mistake::new(period.span().start, "a duration must be longer than zero, for example `1s`"));
        }
        if let Some(none) = self.restarts_per_hour.as_ref().filter(|restarts| *restarts.get_ref() == 0) {
            let why = "`restarts_per_hour` must be at least 1; to restart a service only at certain times, set \
                `window` in the manifest";
            mistakes.push(Mistake::new(none.span().start, why));
        }
        mistakes
    }

    /// The configuration below `root`, which must be canonical; what is not written is as shipped.
    pub(super) fn into_config(self, root: PathBuf) -> Config {
        let place = |given: Option<GuestPath>, shipped: &str| match given {
            Some(path) => root.join(path.as_str().trim_start_matches('/')),
            None => root.join(shipped),
        };
        let period =
            |given: Option<Spanned<Period>>, shipped: Duration| given.map_or(shipped, |period| period.get_ref().0);
        let retry = Retry::default();
        Config {
            state: place(self.state, "var/lib/pinion-agent"),
            socket: place(self.socket, SOCKET),
            hooks: place(self.hooks, "etc/pinion/hooks.d"),
            recipes: place(self.recipes, "etc/pinion/recipes.d"),
            docker: place(self.docker, "run/docker.sock"),
            allow: self.allow.over(Allow::shipped()),
            retry: Retry {
                initial: period(self.retry.initial, retry.initial),
                max: period(self.retry.max, retry.max),
                blocked: period(self.retry.blocked, retry.blocked),
            },
            doctor: Doctor {
                controllers: self.doctor.controllers.unwrap_or(true),
                disk: self.doctor.disk.unwrap_or(true),
                files: self.doctor.files.unwrap_or(true),
            },
            // A file that was changed by hand, or a service that went back, is noticed within a minute.
            check_every: period(self.check_every, Duration::from_secs(60)),
            // systemd's own patience with a stopping service is 90 s; most reloads take less than one.
            hook_timeout: period(self.hook_timeout, Duration::from_secs(60)),
            // Most CAs answer within a moment; a certificate that comes later has the service notified once more.
            gather: period(self.gather, Duration::from_secs(2)),
            // A renewal restarts once; more than a few in an hour are a mistake, or somebody's who should not.
            restarts_per_hour: self.restarts_per_hour.map_or(3, |restarts| *restarts.get_ref()),
            root,
        }
    }
}

impl AllowTable {
    /// A list takes the place of what is shipped, and an `extra_` list adds to it.
    fn over(self, shipped: Allow) -> Allow {
        let mut allow = shipped;
        let mut replaced = std::mem::take(&mut allow.replaced);
        for (list, is_said) in [
            (List::Directories, self.directories.is_some()),
            (List::Units, self.units.is_some()),
            (List::Containers, self.containers.is_some()),
            (List::SwarmServices, self.swarm_services.is_some()),
            (List::Touch, self.touch.is_some()),
        ] {
            if is_said {
                replaced.insert(list);
            }
        }
        Allow {
            directories: added(self.directories, allow.directories, self.extra_directories),
            units: added(self.units, allow.units, self.extra_units),
            hooks: match self.hooks {
                None => allow.hooks,
                Some(HooksValue::Switch(false)) => Hooks::Nothing,
                Some(HooksValue::Switch(true)) => Hooks::Any,
                Some(HooksValue::Named(names)) => Hooks::Named(names),
            },
            containers: added(self.containers, allow.containers, self.extra_containers),
            swarm_services: added(self.swarm_services, allow.swarm_services, self.extra_swarm_services),
            touch: added(self.touch, allow.touch, self.extra_touch),
            probe: added(Some(self.probe), allow.probe, self.extra_probe),
            trust: self.trust.unwrap_or(allow.trust),
            discover: self.discover.unwrap_or(allow.discover),
            replaced,
        }
    }

    /// The entries that are not what they should be.
    fn wrong(&self) -> impl Iterator<Item = &Mistake> {
        let paths = [&self.directories, &self.touch].into_iter().flatten();
        let paths = paths.chain([&self.extra_directories, &self.extra_touch]).flat_map(|list| &list.wrong);
        let units = self.units.iter().chain([&self.extra_units]).flat_map(|list| &list.wrong);
        let containers = self.containers.iter().chain([&self.extra_containers]).flat_map(|list| &list.wrong);
        let services = self.swarm_services.iter().chain([&self.extra_swarm_services]).flat_map(|list| &list.wrong);
        let networks = [&self.probe, &self.extra_probe].into_iter().flat_map(|list| &list.wrong);
        paths.chain(units).chain(containers).chain(services).chain(networks)
    }
}

fn added<T>(said: Option<Entries<T>>, shipped: Vec<T>, extra: Entries<T>) -> Vec<T> {
    let mut all = said.map_or(shipped, |list| list.good);
    all.extend(extra.good);
    all
}

/// A duration as people write it: `90s`, `5m`, `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period(pub(crate) Duration);

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let period = humantime::parse_duration(&text).map_err(|e| {
            de::Error::custom(format!("`{}` is not a duration such as `90s` or `5m`: {e}", shown(&text)))
        })?;
        // A timer further away than a century is a mistake, and overflows clocks.
        if period > Duration::from_secs(100 * 365 * 86_400) {
            return Err(de::Error::custom(format!("`{}` is longer than a century", shown(&text))));
        }
        Ok(Self(period))
    }
}
