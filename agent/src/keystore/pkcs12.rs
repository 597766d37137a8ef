//! PKCS #12 (RFC 7292): a private key and its chain behind one password, with AES-256 and an HMAC by SHA-256
//! over all, or with the algorithms of before 2021.
//!
//! Invariant: as in [`super::pbes2`], the same content gives the same bytes.

use aws_lc_rs::{digest, hmac};

use super::{
    der::{NULL, bmp, explicit, integer, octets, oid, sequence, set},
    error::EncodeError,
    kdf::{Purpose, derive},
    legacy, pbes2,
    salts::Salts,
};
use crate::bundle::Credential;

const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06];
const SHROUDED_KEY_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x02];
const CERTIFICATE_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03];
const X509: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x14];
const LOCAL_KEY_ID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x15];
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];

/// How often the key of the HMAC is hashed.
const ITERATIONS: u32 = 10_000;

/// The file, with this name for the pair in it.
pub(super) fn encode(
    is_legacy: bool,
    credential: &Credential,
    alias: &str,
    password: &str,
    salts: &Salts,
) -> Result<Vec<u8>, EncodeError> {
    let id: [u8; 20] = salts.of("local key id");
    let name = sequence(&[&oid(FRIENDLY_NAME), &set(&[&bmp(alias)])]);
    let attributes = set(&[&name, &sequence(&[&oid(LOCAL_KEY_ID), &set(&[&octets(&id)])])]);
    let encrypt = if is_legacy { legacy::encrypt } else { pbes2::encrypt };
    let key = encrypt(&credential.key.to_pkcs8(), password, salts, "key")?;
    let key = sequence(&[&oid(SHROUDED_KEY_BAG), &explicit(&key.private_key_info()), &attributes]);
    let key = sequence(&[&oid(DATA), &explicit(&octets(&sequence(&[&key])))]);
    let mut bags = Vec::new();
    for (index, certificate) in credential.chain.certificates().enumerate() {
        let certificate = sequence(&[&oid(X509), &explicit(&octets(certificate))]);
        let bag = explicit(&certificate);
        // The leaf is the key's.
        let attributes: &[u8] = if index == 0 { &attributes } else { &[] };
        bags.push(sequence(&[&oid(CERTIFICATE_BAG), &bag, attributes]));
    }
    let bags: Vec<&[u8]> = bags.iter().map(Vec::as_slice).collect();
    let [algorithm, content] = encrypt(&sequence(&bags), password, salts, "certificates")?.content();
    let content = sequence(&[&oid(DATA), &algorithm, &content]);
    let certificates = sequence(&[&oid(ENCRYPTED_DATA), &explicit(&sequence(&[&integer(0), &content]))]);
    let safe = sequence(&[&certificates, &key]);
    let mac = mac(is_legacy, &safe, password, &salts.of("mac salt"));
    Ok(sequence(&[&integer(3), &sequence(&[&oid(DATA), &explicit(&octets(&safe))]), &mac]))
}

/// `MacData`.
fn mac(is_legacy: bool, safe: &[u8], password: &str, salt: &[u8; 16]) -> Vec<u8> {
    let (hash, mac, name, iterations) = match is_legacy {
        true => (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SHA1, legacy::ITERATIONS),
        false => (&digest::SHA256, hmac::HMAC_SHA256, SHA256, ITERATIONS),
    };
    let key = derive(hash, Purpose::Mac, password, salt, iterations, hash.output_len());
    let signed = hmac::sign(&hmac::Key::new(mac, &key), safe);
    let digest = sequence(&[&sequence(&[&oid(name), NULL]), &octets(signed.as_ref())]);
    sequence(&[&digest, &octets(salt), &integer(iterations)])
}
