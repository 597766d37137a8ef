//! Why a service was not notified, and what a person can do.

use std::{io, path::PathBuf, time::Duration};

use pinion_proto::{
    spec::{GuestPath, Unit},
    trusted::Distrust,
};
use thiserror::Error;

use crate::recipe;

/// Why a service was not notified.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// The service is not there yet.
    #[error("{what} {why}")]
    NotThere {
        /// Who or what is not there.
        what: String,
        /// How it is not there.
        why: String,
    },
    /// The unit is starting.
    #[error("{0} is still starting")]
    Starting(Unit),
    /// Not to be run.
    #[error("the agent does not run the hook {path}, because {why}", path = path.display())]
    Untrusted {
        /// The hook.
        path: PathBuf,
        /// What makes it untrustworthy.
        why: Distrust,
    },
    /// No program.
    #[error("the hook {path} is not executable", path = path.display())]
    NotExecutable {
        /// The hook.
        path: PathBuf,
    },
    /// A link leads out of what may be touched.
    #[error("{path} leads to {real}, which the guest does not allow touching", real = real.display())]
    Elsewhere {
        /// As it was named.
        path: GuestPath,
        /// Where it really is.
        real: PathBuf,
    },
    /// A file's time could not be set.
    #[error("cannot touch {path}")]
    Touch {
        /// The file or directory.
        path: GuestPath,
        /// Why not.
        source: io::Error,
    },
    /// A secret of this name is another certificate's.
    #[error("the secret {secret} exists already, and does not belong to this certificate")]
    Taken {
        /// Its name, with the generation.
        secret: String,
    },
    /// Docker said something else than was asked.
    #[error("cannot read the output of `{what}`: {output}")]
    Answer {
        /// What was run.
        what: String,
        /// What it wrote, shortened.
        output: String,
    },
    /// It said no.
    #[error("`{what}` failed with {status}{output}")]
    Failed {
        /// What was run.
        what: String,
        /// Its exit status.
        status: String,
        /// What it wrote, shortened; begins with `: ` unless it is empty.
        output: String,
    },
    /// It said nothing.
    #[error("`{what}` did not finish within {seconds} s and was killed{output}", seconds = after.as_secs_f32())]
    TimedOut {
        /// What was run.
        what: String,
        /// How long it was given.
        after: Duration,
        /// What it wrote, shortened; begins with `: ` unless it is empty.
        output: String,
    },
    /// It could not be run.
    #[error("cannot run `{what}`")]
    Spawn {
        /// What was to be run.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

impl ReloadError {
    /// Whether the service is just not there yet.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::NotThere { .. } | Self::Starting(_))
    }

    /// What a person can do.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::NotThere { what, .. } if what.starts_with('/') => {
                format!("set up the service that {what} belongs to; Pinion then continues by itself")
            }
            Self::NotThere { what, .. } => format!("install or start {what}; Pinion then continues by itself"),
            Self::Starting(unit) => format!(
                "nothing: Pinion continues once it has started. `systemctl status {unit}` in the guest says what it waits for"
            ),
            Self::Untrusted { why, .. } => why.remedy(),
            Self::NotExecutable { path } => format!("read it, then run `chmod 0755 {}`", path.display()),
            Self::Elsewhere { real, .. } => {
                format!("remove the link, or {}", recipe::allow("extra_touch", &real.display().to_string()))
            }
            Self::Touch { path, .. } => format!("let the agent's user write to {path}"),
            Self::Taken { secret } => format!("find out who created it, then run `docker secret rm {secret}`"),
            Self::Answer { what, .. } => {
                format!(
                    "run `{what}` by hand, and compare the version of docker with the tested version \
                    (docs/recipes.md)"
                )
            }
            Self::Failed { what, .. } => {
                format!("run `{what}` by hand in the guest and correct the errors that it reports")
            }
            Self::TimedOut { what, .. } => {
                format!("find out why `{what}` takes so long, or raise `hook_timeout` in /etc/pinion/agent.toml")
            }
            Self::Spawn { what, .. } => format!("check that `{what}` is a program that this machine can run"),
        }
    }
}
