//! Why a placement cannot be done as it is asked for, and what a person can do.

use pinion_proto::{
    containers::{ContainerName, ServiceName},
    spec::{FileMode, GuestPath, Part, PlainName, SpecError, Unit},
};
use thiserror::Error;

use super::protected::{Protected, SSL};

/// Why a placement cannot be done as it is asked for.
#[derive(Debug, Error)]
pub enum JobError {
    /// No recipe, no files.
    #[error("neither the recipe nor the placement has a file")]
    NoFiles,
    /// A file without a place.
    #[error("the file part `{0}` has no path")]
    NoPath(Part),
    /// The recipe leaves it to the placement which service is notified.
    #[error("neither the recipe nor the placement says how to reload the service")]
    NoReload,
    /// A secret of which there is no file.
    #[error("the secret of the part `{0}` has no file")]
    NoSecretFile(Part),
    /// Roots alone are placed.
    #[error("this placement installs roots only, but has a file `{0}`, which belongs to a certificate")]
    NotOfRoots(Part),
    /// A file for each root, with a certificate.
    #[error("the file part `{0}` has a path for each root, which works only in placements with \"trust\": true")]
    OnlyRoots(Part),
    /// Two parts in one place.
    #[error("the file parts `{first}` and `{second}` have the same path {path}")]
    SamePath {
        /// One part.
        first: Part,
        /// The other part.
        second: Part,
        /// Where both would be.
        path: GuestPath,
    },
    /// A recipe's path does not come out as one.
    #[error("the path of the file part `{part}` cannot be used")]
    Path {
        /// Which part.
        part: Part,
        /// Why not.
        source: SpecError,
    },
    /// Outside the allowed directories.
    #[error("the guest does not allow files at {0}")]
    Directory(GuestPath),
    /// Nobody's certificate may be there.
    #[error("{path} is {what}, and a certificate's file must not be there")]
    Protected {
        /// Which path.
        path: GuestPath,
        /// What it is.
        what: Protected,
    },
    /// Others could read a private key, or write a file.
    #[error("the mode {mode} lets every user {}", if part.is_secret() { "reach the private key" } else { "write the file" })]
    Mode {
        /// Of which part.
        part: Part,
        /// What was asked for.
        mode: FileMode,
    },
    /// This guest trusts nobody by a controller's word.
    #[error("the guest does not allow Pinion to install roots")]
    Trust,
    /// Nor does a service in it.
    #[error(
        "the guest does not allow the file part `ca` at {0}: programs that read it trust the roots that the \
        controller sends"
    )]
    Roots(GuestPath),
    /// Not an allowed unit.
    #[error("the guest does not allow reloading {0}")]
    Unit(Unit),
    /// Not an allowed hook.
    #[error("the guest does not allow the hook `{0}`")]
    Hook(PlainName),
    /// Not an allowed container.
    #[error("the guest does not allow reloading the container {0}")]
    Container(ContainerName),
    /// Not an allowed Swarm service.
    #[error("the guest does not allow changing the Swarm service {0}")]
    Service(ServiceName),
    /// Not an allowed path to touch.
    #[error("the guest does not allow touching {0}")]
    Touch(GuestPath),
}

impl JobError {
    /// What a person can do.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::NoFiles | Self::NoPath(_) | Self::SamePath { .. } => {
                "correct the placement's recipe or files in the manifest".into()
            }
            Self::NotOfRoots(_) => {
                "use the recipe `ca-certificates` or `ca-trust` in the manifest, or no recipe and a file `ca`".into()
            }
            Self::OnlyRoots(_) => "install the issuer's roots with a separate entry with \"trust\": true".into(),
            Self::NoReload => "add a reload to the placement in the manifest, for example \"reload\": {\"restart\": \
                \"x.service\"} or \"reload\": {\"container\": \"x\"}"
                .into(),
            Self::NoSecretFile(part) => format!("give the placement or its recipe a file `{part}`"),
            Self::Path { .. } => "give the file a path in the manifest".into(),
            Self::Directory(path) => directory(path),
            Self::Protected { what: Protected::Store, .. } => {
                "name a directory that only the service uses in the manifest; to add roots to a store, use a \
                 separate entry with \"trust\": true and the recipe `ca-certificates` or `ca-trust`"
                    .into()
            }
            Self::Protected { what: Protected::Cluster, .. } => {
                "use the recipe `pveproxy` in the manifest; below /etc/pve the agent writes only pveproxy-ssl.pem \
                 and pveproxy-ssl.key in the node's own directory"
                    .into()
            }
            Self::Protected { what: Protected::Generations, .. } => {
                "name the file itself in the manifest, next to that directory".into()
            }
            Self::Protected { what: Protected::Configuration, .. } => {
                "name another file in the manifest, for example one that ends in .crt, .key or .pem".into()
            }
            Self::Mode { part, .. } if part.is_secret() => {
                "use 0600, or 0640 with the service's group, in the manifest or the recipe".into()
            }
            Self::Mode { .. } => "use 0644 in the manifest or the recipe".into(),
            Self::Trust => "remove `trust = false` from the guest's /etc/pinion/agent.toml and restart the agent, or \
                remove the guest from the entry in the manifest"
                .into(),
            Self::Roots(_) => "use your own recipe without [files.ca] in the guest's /etc/pinion/recipes.d, or \
                remove `trust = false` from the guest's /etc/pinion/agent.toml and restart the agent"
                .into(),
            Self::Unit(unit) => allow("extra_units", unit.as_str()),
            Self::Hook(hook) => format!(
                "add \"{hook}\" to `hooks` under [allow] in the guest's /etc/pinion/agent.toml and restart the agent"
            ),
            Self::Container(container) => allow("extra_containers", container.as_str()),
            Self::Service(service) => allow("extra_swarm_services", service.as_str()),
            Self::Touch(path) => allow("extra_touch", path.as_str()),
        }
    }
}

/// The line that allows one thing more, to be pasted.
#[must_use]
pub fn allow(list: &str, entry: &str) -> String {
    format!("put `{list} = [\"{entry}\"]` under [allow] in the guest's /etc/pinion/agent.toml and restart the agent")
}

fn directory(path: &GuestPath) -> String {
    let directory = path.as_str().rsplit_once('/').map_or("", |(directory, _)| directory);
    let line = allow("extra_directories", if directory.is_empty() { path.as_str() } else { directory });
    if directory == SSL {
        return format!(
            "name a directory that only the service uses in the manifest, for example {SSL}/NAME/…; or \
            {line}"
        );
    }
    line
}
