//! `agent.toml` as it is written: its tables, and what holds where it says nothing.
//!
//! Invariant: a word that is not known is refused, so that a limit with a slip in its name is not passed over.

use std::{path::PathBuf, time::Duration};

use pinion_proto::{
    containers::{ContainerName, ServiceName},
    id::shown,
    spec::{GuestPath, PlainName, Unit},
};
use serde::{Deserialize, Deserializer, de};

use super::{Allow, Config, Hooks, Retry, SOCKET};

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Document {
    state: Option<GuestPath>,
    socket: Option<GuestPath>,
    hooks: Option<GuestPath>,
    recipes: Option<GuestPath>,
    docker: Option<GuestPath>,
    check_every: Option<Period>,
    hook_timeout: Option<Period>,
    gather: Option<Period>,
    allow: AllowTable,
    retry: RetryTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AllowTable {
    directories: Option<Vec<GuestPath>>,
    units: Option<Vec<Unit>>,
    hooks: Option<HooksValue>,
    containers: Option<Vec<ContainerName>>,
    swarm_services: Option<Vec<ServiceName>>,
    touch: Option<Vec<GuestPath>>,
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
    initial: Option<Period>,
    max: Option<Period>,
    blocked: Option<Period>,
}

impl Document {
    /// The configuration below `root`, which must be canonical; what is not written is as shipped.
    pub(super) fn into_config(self, root: PathBuf) -> Config {
        let place = |given: Option<GuestPath>, shipped: &str| match given {
            Some(path) => root.join(path.as_str().trim_start_matches('/')),
            None => root.join(shipped),
        };
        let period = |given: Option<Period>, shipped: Duration| given.map_or(shipped, |period| period.0);
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
            // A file that was changed by hand, or a service that went back, is noticed within a minute.
            check_every: period(self.check_every, Duration::from_secs(60)),
            // systemd's own patience with a stopping service is 90 s; most reloads take less than one.
            hook_timeout: period(self.hook_timeout, Duration::from_secs(60)),
            // Most CAs answer within a moment; whose certificate comes later has the service told once more.
            gather: period(self.gather, Duration::from_secs(2)),
            root,
        }
    }
}

impl AllowTable {
    /// What is written takes the place of what is shipped, list by list.
    fn over(self, shipped: Allow) -> Allow {
        Allow {
            directories: self.directories.unwrap_or(shipped.directories),
            units: self.units.unwrap_or(shipped.units),
            hooks: match self.hooks {
                None => shipped.hooks,
                Some(HooksValue::Switch(false)) => Hooks::Nothing,
                Some(HooksValue::Switch(true)) => Hooks::Any,
                Some(HooksValue::Named(names)) => Hooks::Named(names),
            },
            containers: self.containers.unwrap_or(shipped.containers),
            swarm_services: self.swarm_services.unwrap_or(shipped.swarm_services),
            touch: self.touch.unwrap_or(shipped.touch),
        }
    }
}

/// A duration as people write it: `90s`, `5m`, `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period(pub(crate) Duration);

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let period = humantime::parse_duration(&text)
            .map_err(|e| de::Error::custom(format!("`{}` is not a period such as `90s` or `5m`: {e}", shown(&text))))?;
        // A timer further away than a century is a mistake, and overflows clocks.
        if period > Duration::from_secs(100 * 365 * 86_400) {
            return Err(de::Error::custom(format!("`{}` is longer than a century", shown(&text))));
        }
        Ok(Self(period))
    }
}
