//! Why a placement cannot be done as it is asked for, and what a person can do.

use pinion_proto::{
    containers::{ContainerName, ServiceName},
    spec::{GuestPath, Part, PlainName, SpecError, Unit},
};
use thiserror::Error;

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
        let allow = |list: &str, entry: &str| {
            format!(
                "add \"{entry}\" to `{list}` under [allow] in the guest's /etc/pinion/agent.toml and restart the agent"
            )
        };
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
            Self::Directory(path) => {
                let directory = path.as_str().rsplit_once('/').map_or("", |(directory, _)| directory);
                allow("directories", if directory.is_empty() { path.as_str() } else { directory })
            }
            Self::Unit(unit) => allow("units", unit.as_str()),
            Self::Hook(hook) => allow("hooks", hook.as_str()),
            Self::Container(container) => allow("containers", container.as_str()),
            Self::Service(service) => allow("swarm_services", service.as_str()),
            Self::Touch(path) => allow("touch", path.as_str()),
        }
    }
}
