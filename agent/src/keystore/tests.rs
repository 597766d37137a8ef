//! Keystores as programs read them that are not Pinion's: OpenSSL and Java.

use std::{path::Path, process::Command};

use pinion_proto::{
    bundle::{Chain, RootCertificate},
    key::KeyAlgorithm,
    private_key::PrivateKey,
};
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateSigningRequestDer;

use super::*;

const PASSWORD: &str = "ein Schlüssel, 世界";

fn credential(algorithm: KeyAlgorithm) -> Credential {
    let ca = KeyPair::generate().expect("a key");
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = parameters.self_signed(&ca).expect("a root");
    let root_issuer = Issuer::new(parameters.clone(), ca);
    let between = KeyPair::generate().expect("a key");
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "Between");
    let intermediate = parameters.signed_by(&between, &root_issuer).expect("an intermediate");
    let issuer = Issuer::new(parameters, between);
    let key = PrivateKey::generate(algorithm).expect("a key");
    let name = "web.example".parse::<pinion_proto::names::SubjectName>().expect("a name");
    let names = vec![name.clone()].try_into().expect("names");
    let request = key.request(&name, &names).expect("a request");
    let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request));
    let leaf = request.expect("a request").signed_by(&issuer).expect("a certificate");
    let chain = Chain::from_der(&[leaf.der().to_vec(), intermediate.der().to_vec()]).expect("a chain");
    let root = RootCertificate::parse(root.der()).expect("a root");
    let issuer = "embedded".parse().expect("a name");
    Credential { key, chain, root, issuer, common_name: None }
}

fn made(part: Part, credential: &Credential, password: &str) -> Vec<u8> {
    let password = Password::read(format!("{password}\n").as_bytes()).expect("a password");
    encode(part, false, credential, "Web.1", &password).expect("encoded").expect("a part with a password").to_vec()
}

/// What a program says about a file, or the other way round.
fn run(program: &str, arguments: &[&str], directory: &Path) -> String {
    let ran = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("it is installed: `cargo xtask test` sees to it");
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{program} {arguments:?}: {said}");
    said
}

#[test]
fn openssl_reads_every_kind_of_key_from_pkcs12_and_from_an_encrypted_key() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("password"), PASSWORD).expect("written");
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Ed25519, KeyAlgorithm::Rsa2048] {
        let credential = credential(algorithm);
        let pem = credential.key.to_pem();
        std::fs::write(directory.path().join("p12"), made(Part::Pkcs12, &credential, PASSWORD)).expect("written");
        let pkcs12 = ["pkcs12", "-in", "p12", "-passin", "file:password", "-nodes"];
        let found = run("openssl", &pkcs12, directory.path());
        assert!(found.contains(pem.trim()), "{algorithm}: {found}");
        assert_eq!(found.matches("BEGIN CERTIFICATE").count(), 2, "{found}");
        assert!(found.contains("friendlyName: Web.1"), "{found}");
        let how =
            run("openssl", &["pkcs12", "-in", "p12", "-passin", "file:password", "-info", "-noout"], directory.path());
        assert!(how.contains("MAC: sha256") && how.contains("AES-256-CBC") && how.contains("hmacWithSHA256"), "{how}");
        std::fs::write(directory.path().join("key"), made(Part::EncryptedKey, &credential, PASSWORD)).expect("written");
        let found = run("openssl", &["pkey", "-in", "key", "-passin", "file:password"], directory.path());
        assert!(found.contains(pem.trim()), "{algorithm}: {found}");
    }
}

#[test]
fn openssl_and_java_read_what_programs_of_before_2021_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let (password, credential) = (Password::read(b"changeit").expect("a password"), credential(KeyAlgorithm::Rsa2048));
    std::fs::write(directory.path().join("password"), "changeit").expect("written");
    let made = encode(Part::Pkcs12, true, &credential, "web", &password).expect("encoded").expect("a keystore");
    std::fs::write(directory.path().join("p12"), &*made).expect("written");
    let legacy = ["pkcs12", "-legacy", "-info", "-in", "p12", "-passin", "file:password", "-nodes"];
    let found = run("openssl", &legacy, directory.path());
    assert!(
        found.contains(credential.key.to_pem().trim()) && found.matches("BEGIN CERTIFICATE").count() == 2,
        "{found}"
    );
    assert!(found.contains("MAC: sha1") && found.contains("pbeWithSHA1And3-KeyTripleDES-CBC"), "{found}");
    let list = ["-list", "-keystore", "p12", "-storetype", "PKCS12", "-storepass:file", "password"];
    assert!(run("keytool", &list, directory.path()).contains("PrivateKeyEntry"));
}

#[test]
fn java_reads_both_of_its_keystores() {
    let directory = tempfile::tempdir().expect("a directory");
    let (password, credential) = ("changeit", credential(KeyAlgorithm::EcdsaP256));
    std::fs::write(directory.path().join("password"), password).expect("written");
    for (part, kind) in [(Part::Jks, "JKS"), (Part::Pkcs12, "PKCS12")] {
        std::fs::write(directory.path().join("store"), made(part, &credential, password)).expect("written");
        let list = ["-list", "-v", "-keystore", "store", "-storetype", kind, "-storepass:file", "password"];
        let found = run("keytool", &list, directory.path());
        for words in ["Alias name: web.1", "Entry type: PrivateKeyEntry", "Certificate chain length: 2"] {
            assert!(found.to_lowercase().contains(&words.to_lowercase()), "{kind}: {words}: {found}");
        }
        // The private key comes out as it went in.
        drop(std::fs::remove_file(directory.path().join("copy")));
        let import = [
            "-importkeystore",
            "-srckeystore",
            "store",
            "-srcstoretype",
            kind,
            "-srcstorepass:file",
            "password",
            "-destkeystore",
            "copy",
            "-deststoretype",
            "PKCS12",
            "-deststorepass:file",
            "password",
            "-noprompt",
        ];
        run("keytool", &import, directory.path());
        let found = run("openssl", &["pkcs12", "-in", "copy", "-passin", "file:password", "-nodes"], directory.path());
        assert!(found.contains(credential.key.to_pem().trim()), "{kind}: {found}");
    }
}

#[test]
fn the_same_content_gives_the_same_bytes_and_any_other_gives_others() {
    let (one, other) = (credential(KeyAlgorithm::EcdsaP256), credential(KeyAlgorithm::EcdsaP256));
    for part in [Part::Pkcs12, Part::Jks, Part::EncryptedKey] {
        let bytes = made(part, &one, PASSWORD);
        assert_eq!(bytes, made(part, &one, PASSWORD), "{part}");
        let renewed = Credential { chain: other.chain.clone(), ..one.clone() };
        for different in [made(part, &one, "another"), made(part, &other, PASSWORD), made(part, &renewed, PASSWORD)] {
            let same = bytes.windows(16).filter(|window| different.windows(16).any(|other| other == *window)).count();
            // A JKS has the certificates as they are.
            assert!(bytes != different, "{part}");
            assert!(part == Part::Jks || same < bytes.len() / 2, "{part}: {same} of {} are the same", bytes.len());
        }
    }
}

#[test]
fn a_password_is_one_line_of_text() {
    assert_eq!(Password::read(b"a b\n"), Password::read(b"a b"));
    assert_eq!(Password::read(b"a b\r\n"), Password::read(b"a b"));
    for (bytes, error) in [
        (b"".as_slice(), PasswordError::Empty),
        (b"\n", PasswordError::Empty),
        (b"a\nb\n", PasswordError::NoText),
        (b"\xff\xfe", PasswordError::NoText),
        (&[b'x'; MAX_PASSWORD + 1], PasswordError::TooLong),
    ] {
        assert_eq!(Password::read(bytes), Err(error), "{bytes:?}");
    }
    assert_eq!(format!("{:?}", Password::read(b"secret")), "Ok(Password(…))");
}
