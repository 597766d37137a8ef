//! What hooks and programs learn of the placement that they are run for.
//!
//! Invariant: they get nothing of the agent's own environment.

use std::{ffi::OsString, path::PathBuf};

use pinion_proto::{
    bundle::RootCertificate,
    id::CertificateName,
    spec::{GuestPath, Part},
};

use crate::{bundle::Bundle, config::Config};

/// `PATH` for what is run.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a hook gets in its environment, as `PINION_…`.
#[derive(Debug, Clone)]
pub struct About {
    /// `PINION_CERTIFICATE`.
    pub certificate: CertificateName,
    /// `PINION_GENERATION`; a hook that makes an immutable object can number it so.
    pub generation: u64,
    /// What is in place; not in the environment.
    pub bundle: Option<Bundle>,
    /// What is trusted besides the root of its own chain; not in the environment.
    pub roots: Vec<RootCertificate>,
    /// Whether a unit that has failed may be restarted where it was to be reloaded.
    pub may_restart: bool,
    /// `PINION_FILE_KEY` and so on: where each part is, for this process.
    pub files: Vec<(Part, PathBuf)>,
    /// What may be touched, and what is below it; not in the environment.
    pub touchable: Vec<GuestPath>,
}

impl About {
    /// The environment of what is run.
    pub(super) fn environment(&self, config: &Config) -> Vec<(String, OsString)> {
        let mut environment: Vec<(String, OsString)> = vec![
            ("PATH".into(), PATH.into()),
            // Messages that end up in a report should be in the language of the rest of it.
            ("LC_ALL".into(), "C.UTF-8".into()),
            ("PINION_CERTIFICATE".into(), self.certificate.as_str().into()),
            ("PINION_GENERATION".into(), self.generation.to_string().into()),
            ("PINION_ROOT".into(), config.root.clone().into()),
        ];
        for (part, path) in &self.files {
            environment.push((format!("PINION_FILE_{}", part.as_str().to_ascii_uppercase()), path.clone().into()));
        }
        environment
    }

    /// The first generation of a certificate, of which nothing is in place.
    #[cfg(test)]
    pub(crate) fn for_test(certificate: &str) -> Self {
        Self {
            certificate: certificate.parse().expect("a name"),
            generation: 1,
            bundle: None,
            roots: Vec::new(),
            files: Vec::new(),
            touchable: Vec::new(),
            may_restart: true,
        }
    }
}
