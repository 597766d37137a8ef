//! The agent's own certificate: got by joining, kept 0600, renewed on the link.
//!
//! Answers: who is this agent, whom does it dial, and when must its identity be renewed?
//! Invariant: the identity's key is made here and never leaves; what is stored is always a whole identity.

use std::{fmt, io, net::SocketAddr, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use pinion_proto::{
    bundle::{CertificateError, Chain, EndorsedRoot, Fingerprint, MAX_CHAIN, RootCertificate},
    clock::Timestamp,
    document::{self, DocumentError},
    id::{Guest, Member},
    message::IssuedIdentity,
    tls::{self, IdentityCell, TlsError},
};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::{
    config::Config,
    install::{
        files::{Files, RealFiles},
        replace::replace,
    },
};

/// The version of the document that this agent writes and reads.
const VERSION: u32 = 1;

/// A chain, a key and a root are a few KiB (bytes).
const MAX_DOCUMENT: u64 = 256 * 1024;

/// An agent's identity and where it leads.
#[derive(Clone)]
pub struct Identity {
    /// Whose identity it is.
    pub guest: Guest,
    /// Where the controller listens.
    pub controllers: Vec<SocketAddr>,
    /// The root of the controller's identities.
    pub root: RootCertificate,
    /// Another root that is trusted as well: the next one, or the one of before.
    pub other_root: Option<RootCertificate>,
    /// How many identities the guest has had, this one included.
    pub generation: u64,
    /// First second of its validity.
    pub not_before: Timestamp,
    /// Last second of its validity.
    pub not_after: Timestamp,
    chain: Vec<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
}

impl Identity {
    /// Takes what the controller issued for `request`, after checking that it is this guest's, for this key.
    ///
    /// # Errors
    /// It is another's, for another key, or malformed.
    pub fn accept(
        issued: IssuedIdentity,
        request: IdentityRequest,
        guest: Guest,
        root: RootCertificate,
        controllers: Vec<SocketAddr>,
    ) -> Result<Self, IdentityError> {
        if issued.chain.len() > MAX_CHAIN {
            return Err(IdentityError::NotOurs(format!("{} certificates are too many", issued.chain.len())));
        }
        let peer_chain: Vec<CertificateDer<'_>> =
            issued.chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let peer = tls::peer(&peer_chain)?;
        if peer.id.member != Member::Guest(guest) {
            return Err(IdentityError::NotOurs(format!("it is for {}, but this is guest {guest}", peer.id)));
        }
        let leaf = issued.chain.first().map(Vec::as_slice).unwrap_or_default();
        let (_, leaf) = X509Certificate::from_der(leaf).map_err(|e| IdentityError::NotOurs(e.to_string()))?;
        if Fingerprint::of(leaf.public_key().raw) != request.public {
            return Err(IdentityError::NotOurs("it is for another key".into()));
        }
        let validity = leaf.validity();
        let (not_before, not_after) =
            (validity.not_before.to_datetime().into(), validity.not_after.to_datetime().into());
        Ok(Self {
            guest,
            controllers,
            root,
            other_root: None,
            generation: issued.generation,
            not_before,
            not_after,
            chain: issued.chain,
            key: request.key,
        })
    }

    /// Itself, when it holds up at `now` under the root by which this agent knows its controller: an identity that
    /// does not must not take the place of one that does.
    ///
    /// # Errors
    /// Its chain does not end at the root, or is over.
    pub fn checked(mut self, now: Timestamp) -> Result<Self, IdentityError> {
        let not_ours = |error: CertificateError| IdentityError::NotOurs(error.to_string());
        let chain = Chain::from_der(&self.chain).map_err(not_ours)?;
        // The guest's clock may lag behind the controller's.
        let at = now.max(self.not_before);
        if let Err(error) = chain.verify(&self.root, at) {
            // Under the other root: from now on that one is the agent's, and the one of before stays trusted.
            match self.other_root.take().filter(|other| chain.verify(other, at).is_ok()) {
                Some(other) => self.other_root = Some(std::mem::replace(&mut self.root, other)),
                None => return Err(not_ours(error)),
            }
        }
        Ok(self)
    }

    /// Every root that is trusted for the controller's identity.
    #[must_use]
    pub fn roots(&self) -> Vec<RootCertificate> {
        std::iter::once(&self.root).chain(&self.other_root).cloned().collect()
    }

    /// Itself with another root to trust as well.
    #[must_use]
    pub fn with_other_root(self, other_root: Option<RootCertificate>) -> Self {
        Self { other_root, ..self }
    }

    /// Itself, trusting a root that its own vouches for; none when it trusts that already.
    ///
    /// # Errors
    /// Nobody whom this agent trusts vouches for it.
    pub fn trusting(&self, endorsed: &EndorsedRoot) -> Result<Option<Self>, IdentityError> {
        if self.roots().contains(&endorsed.root) {
            return Ok(None);
        }
        endorsed.check(&self.root).map_err(|error| IdentityError::NotOurs(error.to_string()))?;
        Ok(Some(self.clone().with_other_root(Some(endorsed.root.clone()))))
    }

    /// Reads the stored identity; none when the agent has not joined.
    ///
    /// # Errors
    /// The file is unreadable, broken or from a newer version.
    pub fn load(config: &Config) -> Result<Option<Self>, IdentityError> {
        let path = path(config);
        let bytes = match RealFiles.read(&path, MAX_DOCUMENT) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if matches!(error.kind(), io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput) => {
                return Err(IdentityError::Stored { path, why: error.to_string() });
            }
            Err(source) => return Err(IdentityError::Read { path, source }),
        };
        let broken = |why: String| IdentityError::Stored { path: path.clone(), why };
        let stored: Document<Stored> = match document::parse(&bytes, VERSION) {
            Ok(stored) => stored,
            Err(DocumentError::Newer(version)) => return Err(IdentityError::Version { path, version }),
            Err(DocumentError::Malformed(why)) => return Err(broken(why)),
        };
        Self::from_stored(stored.identity).map(Some).map_err(|source| broken(source.to_string()))
    }

    /// Stores the identity in place of the one before.
    ///
    /// # Errors
    /// The file cannot be written; the one before is untouched.
    pub fn save(&self, config: &Config) -> Result<(), IdentityError> {
        let encode = |der: &Vec<u8>| STANDARD.encode(der);
        let stored = Stored {
            guest: self.guest,
            controllers: self.controllers.clone(),
            root: STANDARD.encode(self.root.der()),
            other_root: self.other_root.as_ref().map(|root| STANDARD.encode(root.der())),
            generation: self.generation,
            chain: self.chain.iter().map(encode).collect(),
            key: Zeroizing::new(STANDARD.encode(&*self.key)),
        };
        let path = path(config);
        let failed = |source: io::Error| IdentityError::Write { path: path.clone(), source };
        // Sized at once: growing would leave copies of the key behind in freed memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
        serde_json::to_writer(&mut *bytes, &Document { version: VERSION, identity: stored })
            .map_err(|e| failed(e.into()))?;
        std::fs::create_dir_all(&config.state).map_err(failed)?;
        replace(&RealFiles, &path, &bytes, 0o600).map_err(failed)
    }

    /// The identity as TLS shows it.
    ///
    /// # Errors
    /// The stored key is not the certificate's.
    pub fn cell(&self) -> Result<IdentityCell, TlsError> {
        IdentityCell::new(&self.chain, &self.key)
    }

    /// When it is to be renewed: at two thirds of its life.
    #[must_use]
    pub fn renew_at(&self) -> Timestamp {
        self.not_before + self.not_after.since(self.not_before) * 2 / 3
    }

    fn from_stored(stored: Stored) -> Result<Self, IdentityError> {
        let decode = |text: &str| STANDARD.decode(text).map_err(|e| IdentityError::NotOurs(e.to_string()));
        let chain = stored.chain.iter().map(|text| decode(text)).collect::<Result<Vec<_>, _>>()?;
        let key = Zeroizing::new(decode(&stored.key)?);
        let root =
            |text: &str| RootCertificate::parse(&decode(text)?).map_err(|e| IdentityError::NotOurs(e.to_string()));
        let (root, other_root) = (root(&stored.root)?, stored.other_root.as_deref().map(root).transpose()?);
        let pair = KeyPair::try_from(key.as_slice()).map_err(|e| IdentityError::Key(e.to_string()))?;
        let request = IdentityRequest { csr: Vec::new(), public: public(&pair), key };
        let issued = IssuedIdentity { chain, generation: stored.generation };
        let identity = Self::accept(issued, request, stored.guest, root, stored.controllers)?;
        Ok(identity.with_other_root(other_root))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("guest", &self.guest)
            .field("generation", &self.generation)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// A fresh key and the request for an identity with it.
pub struct IdentityRequest {
    /// PKCS #10, DER.
    pub csr: Vec<u8>,
    public: Fingerprint,
    key: Zeroizing<Vec<u8>>,
}

impl IdentityRequest {
    /// Makes a key (ECDSA P-256) and its request. Its subject says nothing: who the guest is, the token
    /// or the link says.
    ///
    /// # Errors
    /// The crypto provider fails.
    pub fn make() -> Result<Self, IdentityError> {
        let fail = |e: rcgen::Error| IdentityError::Key(e.to_string());
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(fail)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let csr = params.serialize_request(&pair).map_err(fail)?.der().to_vec();
        Ok(Self { csr, public: public(&pair), key: Zeroizing::new(pair.serialize_der()) })
    }
}

impl fmt::Debug for IdentityRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityRequest({})", self.public)
    }
}

/// Where the identity is stored.
#[must_use]
pub fn path(config: &Config) -> PathBuf {
    config.state.join("identity.json")
}

/// What is wrong with an identity.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// What came is not an identity of this guest for the key that was made.
    #[error("the received identity is not for this agent: {0}")]
    NotOurs(String),
    /// Key trouble.
    #[error("cannot create or read the identity's key: {0}")]
    Key(String),
    /// The stored identity is broken.
    #[error("the identity in {path} is damaged: {why}; move the file away and join again")]
    Stored {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The stored identity is of another version.
    #[error(
        "the identity in {path} has version {version}, but this agent reads {VERSION}: install the agent that wrote \
         it, or move the file away and join again"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The stored identity cannot be read.
    #[error("cannot read the identity in {path}: let the agent's user, and nobody else, read it")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The identity cannot be stored.
    #[error("cannot store the identity in {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// TLS refuses it.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The document around an identity.
#[derive(Serialize, Deserialize)]
struct Document<T> {
    version: u32,
    identity: T,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    guest: Guest,
    controllers: Vec<SocketAddr>,
    root: String,
    // Not written while there is none: an earlier agent that is put back knows no such field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    other_root: Option<String>,
    generation: u64,
    chain: Vec<String>,
    key: Zeroizing<String>,
}

fn public(pair: &KeyPair) -> Fingerprint {
    use rcgen::PublicKeyData;
    Fingerprint::of(&pair.subject_public_key_info())
}

#[cfg(test)]
mod tests;
