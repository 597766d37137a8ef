//! Files that were there before Pinion and are in the place of one of its own.
//!
//! Answers: is it what will take its place, and where is it kept?
//! Invariants: what is not the same part (a certificate for a certificate, a key for a key) is never replaced; what is
//! replaced is kept first, with its owner and mode, in the agent's own directory, where nobody but root comes to it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use pinion_proto::spec::{GuestPath, Part};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{InstallError, execute::write, files::Files, observed, steps::Plan};
use crate::ledger::SavedFile;

/// Where what was replaced is kept, in the agent's directory: `replaced/1/etc/nginx/ssl/web.crt`, and in `replaced/2` what
/// was found at that path another time.
pub const REPLACED: &str = "replaced";

/// So often a file that somebody put in the place of a retired one is kept; then a person should clear up.
const MAX_KEPT: usize = 99;

/// A certificate's chain, or an issuer's roots, are a handful; a file with more is a store of roots.
const MAX_CERTIFICATES: usize = 16;

/// Whether a file is the part that is to take its place, and nothing else besides.
///
/// # Errors
/// It is something else.
pub fn check(part: Part, path: &GuestPath, content: &[u8]) -> Result<(), InstallError> {
    let refused = |what: &'static str| Err(InstallError::Foreign { path: path.clone(), part, what });
    // An empty file holds a place for somebody's configuration, and loses nothing.
    if content.trim_ascii().is_empty() {
        return Ok(());
    }
    // Other formats are known by how they begin: a SEQUENCE of ASN.1, or Java's own number.
    let begins: Option<&[u8]> = match part {
        Part::Der | Part::Pkcs12 => Some(&[0x30]),
        Part::Jks => Some(&[0xfe, 0xed, 0xfe, 0xed]),
        _ => None,
    };
    if let Some(begins) = begins {
        return if content.starts_with(begins) { Ok(()) } else { refused("begins as something else") };
    }
    let Some(found) = Blocks::of(content) else { return refused("is not PEM") };
    let Blocks { certificates, keys } = found;
    // A chain ends at one root at most.
    if certificates > MAX_CERTIFICATES || (part != Part::Ca && roots(content) > 1) {
        return refused("is a store of roots");
    }
    let (wants_certificates, wants_keys) = match part {
        Part::Key | Part::EncryptedKey => (false, true),
        Part::Combined => (true, true),
        _ => (true, false),
    };
    match (certificates > 0, keys > 0) {
        (true, true) if !(wants_certificates && wants_keys) => refused("has certificates and a private key"),
        (true, false) if !wants_certificates => refused("has certificates and no private key"),
        (false, true) if !wants_keys => refused("is a private key"),
        (false, false) => refused("has neither a certificate nor a private key"),
        _ => Ok(()),
    }
}

/// How many certificates in a PEM text are their own issuers.
fn roots(content: &[u8]) -> usize {
    let text = String::from_utf8_lossy(content);
    let blocks = pem::parse_many(text.as_bytes()).unwrap_or_default();
    let is_root = |block: &&pem::Pem| {
        X509Certificate::from_der(block.contents())
            .is_ok_and(|(_, certificate)| certificate.subject().as_raw() == certificate.issuer().as_raw())
    };
    blocks.iter().filter(is_root).count()
}

/// Keeps a copy of a file; where it is. A copy that is kept already is not made twice.
///
/// # Errors
/// It cannot be written.
pub fn keep(
    files: &dyn Files,
    state: &Path,
    root: &Path,
    target: &Path,
    file: &SavedFile,
) -> Result<PathBuf, InstallError> {
    let failed = |operation| {
        let path = target.to_owned();
        move |source: io::Error| InstallError::Operation { operation, path, source }
    };
    let state = state.canonicalize().map_err(failed("keep a copy of"))?;
    let inside = inside(root, target);
    for number in 1..=MAX_KEPT {
        let kept = state.join(REPLACED).join(number.to_string()).join(inside);
        match observed::read(files, &kept)? {
            Some(there) if there.content == file.content => return Ok(kept),
            Some(_) => continue,
            None => {}
        }
        let above = kept.ancestors().skip(1).take_while(|above| **above != state);
        let mut missing: Vec<PathBuf> = above.map(Path::to_owned).collect();
        missing.reverse();
        write_in(files, &missing, &kept, file)?;
        return Ok(kept);
    }
    Err(failed("keep one more copy of")(io::Error::other(format!(
        "there are {MAX_KEPT} in {}",
        state.join(REPLACED).display()
    ))))
}

/// What is kept of the files that were in this place (PEM, as it was found).
pub fn kept(state: &Path, root: &Path, target: &Path) -> impl Iterator<Item = Vec<u8>> + use<> {
    let inside = inside(root, target).to_owned();
    let directory = state.join(REPLACED);
    (1..=MAX_KEPT).map_while(move |number| fs::read(directory.join(number.to_string()).join(&inside)).ok())
}

/// The path of a target below the root, as the guest sees it, without its `/`.
pub(super) fn inside<'t>(root: &Path, target: &'t Path) -> &'t Path {
    let inside = target.strip_prefix(root).unwrap_or(target);
    inside.strip_prefix("/").unwrap_or(inside)
}

/// Writes a file where none is, with its owner and mode.
///
/// # Errors
/// It cannot be written.
pub(super) fn write_copy(files: &dyn Files, target: &Path, file: &SavedFile) -> Result<(), InstallError> {
    write_in(files, &[], target, file)
}

fn write_in(files: &dyn Files, missing: &[PathBuf], target: &Path, file: &SavedFile) -> Result<(), InstallError> {
    let mut plan = Plan::default();
    plan.make(missing);
    plan.exchange(target, file.clone());
    match copy(files, &plan) {
        // Who is not root gives files to nobody, and keeps the copy himself.
        Err(InstallError::Owner { .. }) => {
            let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            let mut own = Plan { make: plan.make.clone(), ..Plan::default() };
            own.exchange(target, SavedFile { uid, gid, ..file.clone() });
            copy(files, &own)
        }
        copied => copied,
    }
}

fn copy(files: &dyn Files, plan: &Plan) -> Result<(), InstallError> {
    write(files, plan)?.sync(None)?.exchange()?.sync(files)
}

/// What is in a PEM text.
#[derive(Debug, Default, PartialEq, Eq)]
struct Blocks {
    certificates: usize,
    keys: usize,
}

impl Blocks {
    /// None when there is anything but certificates, keys, their parameters, and what openssl(1) writes around them.
    fn of(content: &[u8]) -> Option<Self> {
        let text = str::from_utf8(content).ok()?;
        let mut blocks = Self::default();
        let mut inside: Option<&str> = None;
        for line in text.lines() {
            let line = line.trim_end();
            match inside {
                Some(label) => {
                    if line.strip_prefix("-----END ").and_then(|rest| rest.strip_suffix("-----")) == Some(label) {
                        inside = None;
                    } else if !is_content(line) {
                        return None;
                    }
                }
                None => match line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) {
                    Some(label) => {
                        match label {
                            "CERTIFICATE" => blocks.certificates += 1,
                            "PRIVATE KEY"
                            | "ENCRYPTED PRIVATE KEY"
                            | "EC PRIVATE KEY"
                            | "RSA PRIVATE KEY"
                            | "DSA PRIVATE KEY" => blocks.keys += 1,
                            "EC PARAMETERS" | "DH PARAMETERS" => {}
                            _ => return None,
                        }
                        inside = Some(label);
                    }
                    None if is_remark(line) => {}
                    None => return None,
                },
            }
        }
        inside.is_none().then_some(blocks)
    }
}

/// A line of base64, or a header of an encrypted key (RFC 1421, section 4.6).
fn is_content(line: &str) -> bool {
    let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    line.bytes().all(base64) || line.starts_with("Proc-Type:") || line.starts_with("DEK-Info:")
}

/// What openssl(1) and people write between blocks.
fn is_remark(line: &str) -> bool {
    let begins = ["#", " ", "\t", "subject", "issuer", "Bag Attributes", "Key Attributes", "Certificate:"];
    line.is_empty() || begins.iter().any(|begin| line.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::install::files::RealFiles;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\nAA==\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----\n";
    const OLD_KEY: &str = "-----BEGIN EC PARAMETERS-----\nBgg=\n-----END EC PARAMETERS-----\n-----BEGIN EC PRIVATE KEY-----\n\
                           Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMHc=\n-----END EC PRIVATE KEY-----\n";

    #[test]
    fn a_file_is_replaced_by_its_like_alone() {
        let is = |part: Part, text: &str| check(part, &"/etc/x/y".parse().expect("a path"), text.as_bytes()).is_ok();
        let both = format!("{CERTIFICATE}{KEY}");
        let remarked = format!("# mine\nCertificate:\n    Data:\nsubject=CN = a\n\n{CERTIFICATE}");
        let (store, windows) = (CERTIFICATE.repeat(17), CERTIFICATE.replace('\n', "\r\n"));
        for part in [Part::Cert, Part::Chain, Part::Fullchain, Part::Ca] {
            for good in [CERTIFICATE, &CERTIFICATE.repeat(16), &remarked, &windows, "", "\n"] {
                assert!(is(part, good), "{part}: {good}");
            }
            for bad in [KEY, &both, &store] {
                assert!(!is(part, bad), "{part}: {bad}");
            }
        }
        assert!(is(Part::Key, KEY) && is(Part::Key, OLD_KEY) && !is(Part::Key, CERTIFICATE) && !is(Part::Key, &both));
        assert!(is(Part::Combined, &both) && is(Part::Combined, KEY) && is(Part::Combined, CERTIFICATE));
        let ssh = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n";
        let trusted = CERTIFICATE.replace("CERTIFICATE", "TRUSTED CERTIFICATE");
        let configuration = format!("ca: |\n{CERTIFICATE}");
        let unfinished = CERTIFICATE.replace("-----END CERTIFICATE-----\n", "");
        let others =
            ["root:*::\n", "#!/bin/sh\nrm x\n", "[req]\n", "{}", "\u{0}", ssh, &trusted, &configuration, &unfinished];
        for part in Part::ALL {
            for bad in others {
                assert!(!is(part, bad), "{part}: {bad}");
            }
        }
    }

    #[test]
    fn several_roots_are_a_store_and_one_is_a_self_signed_certificate() {
        let root = || rcgen::generate_simple_self_signed(["a.example".to_owned()]).expect("a certificate").cert.pem();
        let is = |part: Part, text: &str| check(part, &"/etc/x/y".parse().expect("a path"), text.as_bytes()).is_ok();
        let (one, two) = (root(), format!("{}{}", root(), root()));
        assert!(is(Part::Fullchain, &one) && !is(Part::Fullchain, &two) && is(Part::Ca, &two));
    }

    #[test]
    fn what_is_replaced_is_kept_once_with_its_mode() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let root = kept.path().canonicalize().expect("a real path");
        let state = root.join("state");
        fs::create_dir(&state).expect("directory");
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let file = |content: &str, mode: &str| SavedFile {
            acl: None,
            uid,
            gid,
            mode: mode.parse().expect("a mode"),
            content: Zeroizing::new(content.into()),
        };
        let target = root.join("etc/nginx/ssl/web.key");
        let keep = |file: &SavedFile| keep(&RealFiles, &state, &root, &target, file).expect("kept");
        let first = keep(&file("one", "0640"));
        assert_eq!(first, state.join("replaced/1/etc/nginx/ssl/web.key"));
        assert_eq!(keep(&file("one", "0640")), first);
        assert_eq!(keep(&file("two", "0600")), state.join("replaced/2/etc/nginx/ssl/web.key"));
        let there = observed::read(&RealFiles, &first).expect("read").expect("there");
        assert_eq!(there, file("one", "0640"));
    }
}
