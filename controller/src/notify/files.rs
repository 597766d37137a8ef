//! Small files that targets need: secrets, roots, templates. They are read for each message, so that a change of one needs no
//! restart.
//!
//! Invariant: a bounded number of bytes is read; a secret is overwritten when it is dropped.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use pinion_proto::tls::provider;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use zeroize::Zeroizing;

use super::failure::SendError;

/// A token or a URL is a line (bytes).
const MAX_SECRET: u64 = 4096;

/// A template is a page, and some roots are a few (bytes).
const MAX_FILE: u64 = 256 * 1024;

/// Where files are, and what they hold.
#[derive(Debug, Clone)]
pub(super) struct Files {
    /// The directory that stands for `/`.
    root: PathBuf,
}

impl Files {
    pub(super) fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// A file's path as it is used.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }

    /// A secret: one line, without the white space around it.
    pub(super) fn secret(&self, path: &Path) -> Result<Zeroizing<String>, SendError> {
        let path = self.path(path);
        let bytes = read(&path, MAX_SECRET)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| SendError::file(&path, "it is not text"))?.trim();
        match text.is_empty() || text.chars().any(char::is_control) {
            true => Err(SendError::file(&path, "it is empty, or more than one line")),
            false => Ok(Zeroizing::new(text.to_owned())),
        }
    }

    /// A text.
    pub(super) fn text(&self, path: &Path) -> Result<String, SendError> {
        let path = self.path(path);
        let bytes = read(&path, MAX_FILE)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| SendError::file(&path, "it is not UTF-8 text"))
    }

    /// The roots that are trusted: those of a file, or the host's.
    pub(super) fn roots(&self, ca_file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, SendError> {
        let Some(path) = ca_file.map(|path| self.path(path)) else {
            let found = rustls_native_certs::load_native_certs().certs;
            let remedy = "install the package ca-certificates, or name a file as `ca_file`";
            return if found.is_empty() {
                Err(SendError::lasting("this host has no root certificates", remedy))
            } else {
                Ok(found)
            };
        };
        let bytes = read(&path, MAX_FILE)?;
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match roots {
            Ok(roots) if !roots.is_empty() => Ok(roots),
            Ok(_) => Err(SendError::file(&path, "there is no certificate in it")),
            Err(error) => Err(SendError::file(&path, error)),
        }
    }

    /// TLS that trusts nobody, for a client that is not to use it.
    pub(super) fn no_tls(&self) -> Result<ClientConfig, SendError> {
        client_config(RootCertStore::empty())
    }

    /// TLS as a client that trusts these roots and nothing else.
    pub(super) fn tls(&self, ca_file: Option<&Path>) -> Result<ClientConfig, SendError> {
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(self.roots(ca_file)?);
        if added == 0 {
            return Err(SendError::lasting("none of the root certificates can be used", "correct `ca_file`"));
        }
        client_config(store)
    }
}

fn client_config(roots: RootCertStore) -> Result<ClientConfig, SendError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| SendError::passing(format!("TLS cannot be set up: {error}")))?;
    Ok(config.with_root_certificates(Arc::new(roots)).with_no_client_auth())
}

fn read(path: &Path, max: u64) -> Result<Zeroizing<Vec<u8>>, SendError> {
    let mut bytes = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(|error| SendError::file(path, error))?;
    file.take(max + 1).read_to_end(&mut bytes).map_err(|error| SendError::file(path, error))?;
    if bytes.len() as u64 > max {
        return Err(SendError::file(path, format_args!("it has more than {max} bytes")));
    }
    Ok(bytes)
}
