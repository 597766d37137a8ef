//! Which key, chain and roots are in files that somebody else wrote: pure.
//!
//! Invariant: a [`Pair`] is one key with the certificate for it, and every file of it says the same.

use pinion_proto::{
    bundle::{CertificateError, Chain},
    private_key::{KeyError, PrivateKey},
    spec::{GuestPath, Part},
};
use thiserror::Error;

/// What the files of a placement contain.
#[derive(Debug)]
pub struct Pair {
    /// The private key.
    pub key: PrivateKey,
    /// The certificate for it, and its intermediates.
    pub chain: Chain,
    /// The certificates in the file of roots, each DER; none where there is no such file.
    pub roots: Option<Vec<Vec<u8>>>,
}

/// Why files are no pair.
#[derive(Debug, Error)]
pub enum NoPair {
    /// Its content is behind a password.
    #[error("Pinion does not read {0}, which is behind a password")]
    Password(GuestPath),
    /// No private key can be read.
    #[error("cannot read the private key in {path}")]
    Key {
        /// Where.
        path: GuestPath,
        /// Why.
        source: KeyError,
    },
    /// No certificate can be read.
    #[error("cannot read the certificates in {path}")]
    Certificates {
        /// Where.
        path: GuestPath,
        /// Why.
        source: CertificateError,
    },
    /// Two files that should belong together do not.
    #[error("{path} does not belong to {other}")]
    Mixed {
        /// One of them.
        path: GuestPath,
        /// The other.
        other: GuestPath,
    },
    /// A file is missing in what the placement is to have.
    #[error("the placement has no file with {0}")]
    Incomplete(&'static str),
}

/// A file: what it should contain, where it is, and its bytes.
pub type File<'a> = (Part, &'a GuestPath, &'a [u8]);

impl Pair {
    /// The pair in these files.
    ///
    /// # Errors
    /// They are none.
    pub fn of(files: &[File<'_>]) -> Result<Self, NoPair> {
        if let Some((_, path, _)) = files.iter().find(|(part, ..)| is_behind_password(*part)) {
            return Err(NoPair::Password((*path).clone()));
        }
        let (key_path, key) = key(files)?;
        let (chain_path, chain) = chain(files)?;
        let mixed = |path: &GuestPath, other: &GuestPath| NoPair::Mixed { path: path.clone(), other: other.clone() };
        if chain.leaf().key() != key.public() {
            return Err(mixed(key_path, chain_path));
        }
        for (part, path, content) in files {
            let is_alike = match part {
                Part::Cert | Part::Fullchain | Part::Combined => {
                    read(path, content)?.first().is_some_and(|first| first == chain.leaf().der())
                }
                Part::Chain => above(&chain, path, content)?.intermediates().eq(chain.intermediates()),
                Part::Der => *content == chain.leaf().der(),
                Part::Ca | Part::Key | Part::Pkcs12 | Part::Jks | Part::EncryptedKey => true,
            };
            if !is_alike {
                return Err(mixed(path, chain_path));
            }
        }
        let roots = files.iter().find(|(part, ..)| *part == Part::Ca);
        let roots = roots.map(|(_, path, content)| read(path, content)).transpose()?;
        Ok(Self { key, chain, roots })
    }
}

fn is_behind_password(part: Part) -> bool {
    matches!(part, Part::Pkcs12 | Part::Jks | Part::EncryptedKey)
}

/// The private key, and where it is.
fn key<'a>(files: &[File<'a>]) -> Result<(&'a GuestPath, PrivateKey), NoPair> {
    let secret = files.iter().find(|(part, ..)| part.is_secret());
    let (_, path, content) = secret.ok_or(NoPair::Incomplete("the private key"))?;
    let key = PrivateKey::from_foreign_pem(content).map_err(|source| NoPair::Key { path: (*path).clone(), source })?;
    Ok((path, key))
}

/// The chain as the most complete file has it, and where that is.
fn chain<'a>(files: &[File<'a>]) -> Result<(&'a GuestPath, Chain), NoPair> {
    let at = |wanted: Part| files.iter().find(|(part, ..)| *part == wanted);
    let whole = at(Part::Fullchain).or_else(|| at(Part::Combined));
    let first = whole.or_else(|| at(Part::Cert)).or_else(|| at(Part::Der));
    let (part, path, content) = first.ok_or(NoPair::Incomplete("the certificate"))?;
    let mut certificates = if *part == Part::Der { vec![content.to_vec()] } else { read(path, content)? };
    if whole.is_none()
        && let Some((_, path, content)) = at(Part::Chain)
    {
        certificates.extend(read(path, content)?);
    }
    let chain = Chain::from_der(&certificates);
    Ok((path, chain.map_err(|source| NoPair::Certificates { path: (*path).clone(), source })?))
}

/// The certificates in a PEM text, whatever else is in it.
fn read(path: &GuestPath, content: &[u8]) -> Result<Vec<Vec<u8>>, NoPair> {
    let blocks = pem::parse_many(content).unwrap_or_default();
    let certificates = blocks.into_iter().filter(|block| block.tag() == "CERTIFICATE").map(pem::Pem::into_contents);
    let certificates: Vec<_> = certificates.collect();
    if certificates.is_empty() {
        return Err(NoPair::Certificates { path: path.clone(), source: CertificateError::EmptyChain });
    }
    Ok(certificates)
}

/// The leaf with the intermediates of this file.
fn above(chain: &Chain, path: &GuestPath, content: &[u8]) -> Result<Chain, NoPair> {
    let leaf = std::iter::once(chain.leaf().der().to_vec());
    let certificates: Vec<_> = leaf.chain(read(path, content)?).collect();
    Chain::from_der(&certificates).map_err(|source| NoPair::Certificates { path: path.clone(), source })
}
