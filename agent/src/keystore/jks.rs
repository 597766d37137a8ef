//! Java's first keystore, JKS, as `sun.security.provider.JavaKeyStore` and `KeyProtector` of OpenJDK read it.
//!
//! Invariant: as in [`super::pbes2`], the same content gives the same bytes. The format has SHA-1 in it and nothing else: it is
//! for programs that read no PKCS #12.

use aws_lc_rs::digest;
use zeroize::Zeroizing;

use super::{
    der::{NULL, octets, oid, sequence},
    error::EncodeError,
    salts::Salts,
};
use crate::bundle::Credential;

/// The beginning of a file, and its version.
const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
const VERSION: u32 = 2;

/// The kind of an entry with a private key.
const PRIVATE_KEY: u32 = 1;

/// How a private key is protected: Sun's own way.
const PROTECTOR: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x2a, 0x02, 0x11, 0x01, 0x01];

/// Goes into the hash over a file, behind the password.
const WHITENER: &[u8] = b"Mighty Aphrodite";

/// The file, with this name for the pair in it.
pub(super) fn encode(
    credential: &Credential,
    alias: &str,
    password: &str,
    salts: &Salts,
) -> Result<Vec<u8>, EncodeError> {
    let password: Zeroizing<Vec<u8>> = Zeroizing::new(password.encode_utf16().flat_map(u16::to_be_bytes).collect());
    let key = protected(&credential.key.to_pkcs8(), &password, &salts.of("key salt"));
    let certificates: Vec<&[u8]> = credential.chain.certificates().collect();
    let mut file = [&MAGIC[..], &VERSION.to_be_bytes(), &1_u32.to_be_bytes(), &PRIVATE_KEY.to_be_bytes()].concat();
    // Java looks a name up in small letters.
    text(&mut file, &alias.to_lowercase())?;
    // When it was made, in milliseconds: with the certificate.
    let made = credential.chain.leaf().not_before().unix().saturating_mul(1000);
    file.extend(made.to_be_bytes());
    block(&mut file, &key)?;
    file.extend(length(certificates.len())?.to_be_bytes());
    for certificate in certificates {
        text(&mut file, "X.509")?;
        block(&mut file, certificate)?;
    }
    let hashed = sha1(&[&password, WHITENER, &file]);
    file.extend_from_slice(hashed.as_ref());
    Ok(file)
}

/// A private key as `EncryptedPrivateKeyInfo`, in Sun's own way: a stream of hashes over it, and one hash to check it by.
fn protected(key: &[u8], password: &[u8], salt: &[u8; 20]) -> Vec<u8> {
    let mut bytes = salt.to_vec();
    let mut hashed = Zeroizing::new(salt.to_vec());
    for chunk in key.chunks(hashed.len()) {
        hashed = Zeroizing::new(sha1(&[password, &hashed]).as_ref().to_vec());
        bytes.extend(chunk.iter().zip(hashed.iter()).map(|(plain, hashed)| plain ^ hashed));
    }
    bytes.extend_from_slice(sha1(&[password, key]).as_ref());
    sequence(&[&sequence(&[&oid(PROTECTOR), NULL]), &octets(&bytes)])
}

fn sha1(parts: &[&[u8]]) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        context.update(part);
    }
    context.finish()
}

/// A text as Java's `writeUTF` has it: of letters, digits, `.`, `_` and `-` it is the bytes.
fn text(file: &mut Vec<u8>, text: &str) -> Result<(), EncodeError> {
    let length = u16::try_from(text.len()).map_err(|_| EncodeError::TooLong)?;
    file.extend(length.to_be_bytes());
    file.extend_from_slice(text.as_bytes());
    Ok(())
}

fn block(file: &mut Vec<u8>, bytes: &[u8]) -> Result<(), EncodeError> {
    file.extend(length(bytes.len())?.to_be_bytes());
    file.extend_from_slice(bytes);
    Ok(())
}

fn length(length: usize) -> Result<u32, EncodeError> {
    u32::try_from(length).map_err(|_| EncodeError::TooLong)
}
