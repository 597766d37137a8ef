//! Which part of a certificate a file is that an old line names.

use pinion_proto::{
    id::Guest,
    spec::{GuestPath, Part},
};

use super::step::{Step, What};

/// Where the old script put its parts before the line moved them.
const TEMPORARY: [&str; 4] = ["/tmp", "/var/tmp", "/root", "/dev/shm"];

/// Whether a file is put aside there alone.
pub(super) fn is_temporary(path: &str) -> bool {
    path.rsplit_once('/').is_some_and(|(directory, _)| TEMPORARY.contains(&directory))
}

/// What the line's files are: where the old script put its parts, and where the line itself put them.
#[derive(Debug, Default)]
pub(super) struct Sources<'e> {
    /// The pair on the host.
    certificate: Option<&'e str>,
    key: Option<&'e str>,
    placed: Vec<(Guest, GuestPath, Part)>,
}

impl<'e> Sources<'e> {
    /// Before a line has put anything anywhere.
    pub(super) fn new(certificate: Option<&'e str>, key: Option<&'e str>) -> Self {
        Self { certificate, key, placed: Vec::new() }
    }

    /// Which part a file is.
    pub(super) fn part(&self, guest: Guest, path: &str) -> Option<Part> {
        if self.certificate == Some(path) {
            return Some(Part::Fullchain);
        }
        if self.key == Some(path) {
            return Some(Part::Key);
        }
        let placed = self.placed.iter().rev().find(|(at, to, _)| *at == guest && to.as_str() == path);
        placed.map(|(_, _, part)| *part).or_else(|| temporary(path))
    }

    /// Remembers what a step puts where.
    pub(super) fn note(&mut self, step: &Step) {
        if let What::Put { part, to, .. } = &step.what {
            self.placed.push((step.guest, to.clone(), *part));
        }
    }
}

/// Which part a file in a directory for temporary files is, by its name.
fn temporary(path: &str) -> Option<Part> {
    let (directory, name) = path.rsplit_once('/')?;
    if !TEMPORARY.contains(&directory) {
        return None;
    }
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if ends(&["key.pem", ".key"]) {
        Some(Part::Key)
    } else if ends(&["ca.pem", "ca.crt", "ca_cert.pem", "ca-cert.pem", "root.pem", "root.crt", "rootCA.crt"]) {
        Some(Part::Ca)
    } else if ends(&["cert.pem", "chain.pem", ".crt", ".cer"]) {
        Some(Part::Fullchain)
    } else {
        None
    }
}
