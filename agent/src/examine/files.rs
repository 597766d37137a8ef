//! Certificates in files below the directories that agent.toml allows; authorities' own are left out.
//!
//! Invariant: what a link leads to is read only if it is below such a directory, too; the walk is bounded in depth, number
//! and size, and reads no private key.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use pinion_proto::{
    bundle::certificates_from_pem,
    examination::{FileCertificate, MAX_CERTIFICATES},
};

use crate::{
    certificate::{self, Managed},
    config::Config,
};

/// How deep below an allowed directory is looked.
const MAX_DEPTH: usize = 4;

/// So many names are looked at in all.
const MAX_NAMES: usize = 4096;

/// A chain with its roots is smaller (bytes).
const MAX_FILE: u64 = 64 * 1024;

/// How files with certificates are called.
const ENDINGS: [&str; 5] = ["pem", "crt", "cer", "cert", "der"];

/// Opens a pipe without waiting for a process that writes to it.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// The certificates in files, by path.
pub(super) fn certificates(config: &Config, managed: &Managed, left_out: &mut Vec<String>) -> Vec<FileCertificate> {
    let allowed = config.allow.of_earlier_agents().directories;
    let roots: Vec<PathBuf> =
        allowed.iter().filter_map(|directory| fs::canonicalize(config.under_root(directory)).ok()).collect();
    let mut walk = Walk { roots: &roots, names: 0, files: Vec::new() };
    for root in &roots {
        walk.directory(root, 0);
    }
    if walk.names > MAX_NAMES {
        left_out.push(format!("files beyond the first {MAX_NAMES} below the allowed directories"));
    }
    walk.files.sort();
    walk.files.dedup();
    let mut found: Vec<FileCertificate> = Vec::new();
    for file in walk.files {
        let der = first(&file).filter(|der| !certificate::is_authority(der));
        let Some(holds) = der.and_then(|der| certificate::seen(&der, managed)) else { continue };
        let inside = file.strip_prefix(&config.root).unwrap_or(&file);
        let Some(path) = inside.to_str().and_then(|path| format!("/{path}").parse().ok()) else { continue };
        if found.len() == MAX_CERTIFICATES {
            left_out.push(format!("certificates beyond the first {MAX_CERTIFICATES}"));
            break;
        }
        found.push(FileCertificate { path, holds });
    }
    found
}

struct Walk<'r> {
    roots: &'r [PathBuf],
    names: usize,
    files: Vec<PathBuf>,
}

impl Walk<'_> {
    fn directory(&mut self, directory: &Path, depth: usize) {
        for entry in fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok) {
            self.names += 1;
            if self.names > MAX_NAMES {
                return;
            }
            let Ok(kind) = entry.file_type() else { continue };
            let path = entry.path();
            let is_named =
                path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| ENDINGS.contains(&ending));
            if kind.is_dir() && depth < MAX_DEPTH {
                self.directory(&path, depth + 1);
            } else if kind.is_file() && is_named {
                self.files.push(path);
            } else if kind.is_symlink() && is_named {
                // The target of a link is reported once, under its own name.
                let real = fs::canonicalize(&path).ok();
                self.files.extend(real.filter(|real| self.roots.iter().any(|root| real.starts_with(root))));
            }
        }
    }
}

/// The first certificate in a file.
fn first(path: &Path) -> Option<Vec<u8>> {
    let file = File::options().read(true).custom_flags(NONBLOCK).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > MAX_FILE {
        return None;
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.contains("-----BEGIN") => certificates_from_pem(text).ok()?.into_iter().next(),
        _ => Some(bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::fs::symlink};

    use pinion_proto::bundle::certificates_to_pem;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn certificates_are_found_and_nothing_outside_is_read() {
        let (root, config) = Config::for_test();
        let place = |path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            path
        };
        let certificate = |name: &str| {
            let key = KeyPair::generate().expect("a key");
            let certificate = CertificateParams::new(vec![name.into()]).expect("names").self_signed(&key);
            certificate.expect("a certificate").der().to_vec()
        };
        let pem = |name: &str| certificates_to_pem([certificate(name).as_slice()]);
        fs::write(place("etc/ssl/web/web.crt"), pem("web.example")).expect("written");
        fs::write(place("etc/ssl/mail.der"), certificate("mail.example")).expect("written");
        let mut authority = CertificateParams::new(vec!["ca.example".into()]).expect("names");
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = authority.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate");
        fs::write(place("etc/ssl/root.crt"), authority.pem()).expect("written");
        fs::write(place("etc/ssl/web.key"), "not looked at").expect("written");
        fs::write(place("etc/ssl/broken.pem"), "-----BEGIN CERTIFICATE-----\nx").expect("written");
        fs::write(place("srv/elsewhere.pem"), pem("elsewhere.example")).expect("written");
        symlink(root.path().join("srv/elsewhere.pem"), place("etc/ssl/link.pem")).expect("a link");
        symlink(root.path().join("etc/ssl/web/web.crt"), place("etc/ssl/again.pem")).expect("a link");
        symlink(root.path().join("srv"), place("etc/ssl/directory")).expect("a link");
        let mut left_out = Vec::new();
        let config = Config { root: fs::canonicalize(root.path()).expect("there"), ..config };
        let managed = Managed::of(&BTreeMap::new());
        let found = certificates(&config, &managed, &mut left_out);
        let told: Vec<_> = found.iter().map(|file| format!("{} {}", file.path, file.holds.names.join(","))).collect();
        assert_eq!(told, ["/etc/ssl/mail.der mail.example", "/etc/ssl/web/web.crt web.example"]);
        assert!(left_out.is_empty(), "{left_out:?}");
    }
}
