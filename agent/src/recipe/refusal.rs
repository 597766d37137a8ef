//! Why a placement cannot be done as it is asked for, and what a person can do.

use pinion_proto::{
    containers::{ContainerName, ServiceName},
    spec::{FileMode, GuestPath, Part, PlainName, SpecError, Unit},
};
use thiserror::Error;

use super::{SSL, protected::Protected};

/// Why a placement cannot be done as it is asked for.
#[derive(Debug, Error)]
pub enum JobError {
    /// No recipe, no files.
    #[error("neither the recipe nor the placement names a file")]
    NoFiles,
    /// A file without a place.
    #[error("the file part `{0}` has no path")]
    NoPath(Part),
    /// The recipe leaves it to the placement who is told.
    #[error("the recipe does not know whom to tell, and neither does the placement")]
    NoReload,
    /// A secret of which there is no file.
    #[error("the secret of the part `{0}` has no file to be made from")]
    NoSecretFile(Part),
    /// Roots alone are placed.
    #[error("only roots are placed here, and there is a file `{0}`, which has to do with a certificate")]
    NotOfRoots(Part),
    /// A file for each root, with a certificate.
    #[error("the file part `{0}` has a path for each root, which is for placements with \"trust\": true")]
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
    #[error("{path} is {what}, and no certificate's file may be there")]
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
    #[error("the guest does not allow roots to be placed in it")]
    Trust,
    /// Nor does a service in it.
    #[error("the guest does not allow the file part `ca` at {0}: whoever reads it trusts what the controller says")]
    Roots(GuestPath),
    /// Not an allowed unit.
    #[error("the guest does not allow telling {0}")]
    Unit(Unit),
    /// Not an allowed hook.
    #[error("the guest does not allow the hook `{0}`")]
    Hook(PlainName),
    /// Not an allowed container.
    #[error("the guest does not allow telling the container {0}")]
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
                "name a recipe for roots in the manifest: `ca-certificates`, `ca-trust` or none, with a file `ca`"
                    .into()
            }
            Self::OnlyRoots(_) => "place the issuer's roots by an entry of their own with \"trust\": true".into(),
            Self::NoReload => "add who is told to the placement in the manifest, for example \"reload\": \
                               {\"restart\": \"x.service\"} or \"reload\": {\"container\": \"x\"}"
                .into(),
            Self::NoSecretFile(part) => format!("give the placement or its recipe a file `{part}`"),
            Self::Path { .. } => "give the file a path in the manifest".into(),
            Self::Directory(path) => directory(path),
            Self::Protected { what: Protected::Store, .. } => {
                "name a directory of the service's own in the manifest; roots get into a store by an entry of their own \
                 with \"trust\": true and the recipe `ca-certificates` or `ca-trust`"
                    .into()
            }
            Self::Protected { what: Protected::Cluster, .. } => {
                "name the recipe `pveproxy` in the manifest; of /etc/pve only pveproxy-ssl.pem and pveproxy-ssl.key in \
                 the node's own directory may be written"
                    .into()
            }
            Self::Protected { what: Protected::Generations, .. } => {
                "name the file itself in the manifest, beside that directory".into()
            }
            Self::Protected { what: Protected::Configuration, .. } => {
                "name another file in the manifest, for example one that ends in .crt, .key or .pem".into()
            }
            Self::Mode { part, .. } if part.is_secret() => {
                "use 0600, or 0640 with the service's group, in the manifest or the recipe".into()
            }
            Self::Mode { .. } => "use 0644 in the manifest or the recipe".into(),
            Self::Trust => "leave `trust = false` out of the guest's /etc/pinion/agent.toml, or take the guest out of the \
                            entry in the manifest"
                .into(),
            Self::Roots(_) => "leave `ca` out of the placement, with a recipe of your own in the guest's \
                               /etc/pinion/recipes.d that has no [files.ca], or leave `trust = false` out of its \
                               /etc/pinion/agent.toml and restart the agent"
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
        return format!("name a directory of the service's own in the manifest, for example {SSL}/NAME/…; or {line}");
    }
    line
}
