//! What a controller may name in this guest: the lists under `[allow]`.
//!
//! Answers: which directories, units, containers, services, paths and probe targets does the guest allow whatever a
//! placement's recipe says, and in which lists does a recipe's own allowance count as well?
//! Invariant: a list that agent.toml replaces is complete: nothing that Pinion ships adds to it.

use std::collections::BTreeSet;

use pinion_proto::{
    containers::{ContainerName, ServiceName},
    spec::{GuestPath, PlainName, Unit},
};

use super::network::Network;

/// What a controller may name; everything else is refused, whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    /// Files may be written in and below these, whatever the recipe.
    pub directories: Vec<GuestPath>,
    /// These services may be reloaded and restarted, whatever the recipe.
    pub units: Vec<Unit>,
    /// These hooks may be run.
    pub hooks: Hooks,
    /// These containers may be restarted and sent a signal, whatever the recipe.
    pub containers: Vec<ContainerName>,
    /// These Swarm services may be given new secrets, whatever the recipe.
    pub swarm_services: Vec<ServiceName>,
    /// These files and directories, and those below them, may be touched, whatever the recipe.
    pub touch: Vec<GuestPath>,
    /// These may be probed besides loopback and the guest's own addresses.
    pub probe: Vec<Network>,
    /// Whether placements of roots are accepted, which make this guest trust an issuer.
    pub trust: bool,
    /// Whether services may be asked for their certificates, and certificates in files be looked at, for a person who wants to
    /// know what is there.
    pub discover: bool,
    /// The lists that agent.toml replaces.
    pub replaced: BTreeSet<List>,
}

/// A list under `[allow]` to which a recipe adds what it needs itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    /// `directories`.
    Directories,
    /// `units`.
    Units,
    /// `containers`.
    Containers,
    /// `swarm_services`.
    SwarmServices,
    /// `touch`.
    Touch,
}

impl List {
    /// Its name in agent.toml.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Directories => "directories",
            Self::Units => "units",
            Self::Containers => "containers",
            Self::SwarmServices => "swarm_services",
            Self::Touch => "touch",
        }
    }
}

impl Allow {
    /// Without an agent.toml: what each recipe needs counts for its own placements, and all may use Pinion's directory.
    pub(super) fn shipped() -> Self {
        Self {
            directories: list(&["/etc/pinion/certs"]),
            units: Vec::new(),
            hooks: Hooks::Any,
            containers: Vec::new(),
            swarm_services: Vec::new(),
            touch: Vec::new(),
            probe: Vec::new(),
            trust: true,
            discover: false,
            replaced: BTreeSet::new(),
        }
    }

    /// Whether what a recipe needs itself is allowed to its placements, in this list.
    #[must_use]
    pub fn takes_recipes(&self, list: List) -> bool {
        !self.replaced.contains(&list)
    }

    /// What agents allowed every placement before each recipe had its own allowance, where agent.toml replaces nothing.
    /// It decides what goes on working after an upgrade, and where files are that were written then.
    #[must_use]
    pub fn of_earlier_agents(&self) -> Self {
        let mut earlier = self.clone();
        if self.takes_recipes(List::Directories) {
            earlier.directories.extend(list(&EARLIER_DIRECTORIES));
        }
        if self.takes_recipes(List::Units) {
            earlier.units.extend(list(&EARLIER_UNITS));
        }
        if self.takes_recipes(List::Containers) {
            earlier.containers.extend(list(&["portainer"]));
        }
        if self.takes_recipes(List::SwarmServices) {
            earlier.swarm_services.extend(list(&["portainer_portainer"]));
        }
        if self.takes_recipes(List::Touch) {
            earlier.touch.extend(list(&["/etc/traefik/dynamic"]));
        }
        earlier
    }

    /// These directories and no others, as `directories` in agent.toml says it.
    #[cfg(test)]
    pub(crate) fn only_directories(&mut self, directories: &[&str]) {
        self.directories = list(directories);
        self.replaced.insert(List::Directories);
    }

    /// These units and no others.
    #[cfg(test)]
    pub(crate) fn only_units(&mut self, units: Vec<Unit>) {
        self.units = units;
        self.replaced.insert(List::Units);
    }
}

/// Which files of the hook directory may be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hooks {
    /// None.
    Nothing,
    /// Any: putting one there is the permission.
    Any,
    /// These.
    Named(Vec<PlainName>),
}

impl Hooks {
    /// Whether the hook `name` may be run.
    #[must_use]
    pub fn allows(&self, name: &PlainName) -> bool {
        match self {
            Self::Nothing => false,
            Self::Any => true,
            Self::Named(names) => names.contains(name),
        }
    }
}

/// Where files could be written by default up to version 0.1.0. Proxmox's own directory was never among them: the files of
/// other guests are in it too.
const EARLIER_DIRECTORIES: [&str; 12] = [
    "/etc/ssl",
    "/etc/nginx/ssl",
    "/etc/haproxy/certs",
    "/etc/caddy/certs",
    "/etc/traefik/certs",
    "/etc/postgresql/tls",
    "/etc/docker/tls",
    "/etc/portainer/certs",
    "/root/.docker",
    "/etc/docker/certs.d",
    "/usr/local/share/ca-certificates",
    "/etc/pki/ca-trust/source/anchors",
];
const EARLIER_UNITS: [&str; 6] =
    ["nginx.service", "haproxy.service", "caddy.service", "traefik.service", "postgresql.service", "docker.service"];

fn list<T: std::str::FromStr<Err: std::fmt::Debug>>(texts: &[&str]) -> Vec<T> {
    texts.iter().map(|text| text.parse().expect("the constant lists are well-formed")).collect()
}
