//! The key of the provisioner that signs for Pinion.
//!
//! Answers: where is it, and what opens it?
//! Invariant: `key_file` comes before what the CA publishes. A key that is not the provisioner's is found before a token
//! is made with it.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use pinion_proto::{bundle::Fingerprint, id::shown};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    jwe,
    jwk::TokenKey,
    password::{MAX_PASSWORD, Password},
    provisioner::Listed,
    settings::Settings,
};
use crate::issuer::IssuerError;

/// A key is a JWK, encrypted or not, not a disk (bytes).
const MAX_KEY: u64 = 64 * 1024;

/// The provisioner's key, and what it was read from.
#[derive(Debug)]
pub(super) struct OpenedKey {
    pub(super) id: String,
    pub(super) key: TokenKey,
    /// The SHA-256 of the text that was opened: the same text is not opened again.
    source: Fingerprint,
}

/// Opens the key of a provisioner; `before` again, where that still is its key.
pub(super) async fn open(
    settings: &Settings,
    listed: &Listed,
    before: Option<&Arc<OpenedKey>>,
) -> Result<Arc<OpenedKey>, IssuerError> {
    let text = match (&settings.key_file, &listed.encrypted_key) {
        (Some(file), _) => read_key(settings, file.clone()).await?,
        (None, Some(published)) => Zeroizing::new(published.clone()),
        (None, None) => return Err(unpublished(settings)),
    };
    let public = listed.key.clone().unwrap_or_default();
    let source = Fingerprint::of(text.as_bytes());
    if let Some(before) = before.filter(|key| key.source == source && key.id == public.kid) {
        return Ok(before.clone());
    }
    let (password, password_file) = (settings.password.clone(), settings.password_file.clone());
    // Deriving the key takes up to a second of one core on purpose.
    let opened = tokio::task::spawn_blocking(move || unlock(&text, password.as_ref(), password_file.as_deref()));
    let opened = opened.await.map_err(|e| settings.unavailable("open the provisioner's key", e))?;
    let json = opened.map_err(|why| unopened(settings, &why))?;
    let key = TokenKey::parse(&json).map_err(|why| {
        settings.misconfigured(
            &why.to_string(),
            "create a provisioner with an EC key: `step ca provisioner add pinion --create`".into(),
        )
    })?;
    if !is_of(&json, &public.x, &public.y) {
        return Err(another(settings));
    }
    Ok(Arc::new(OpenedKey { id: public.kid, key, source }))
}

/// A private JWK, or one that `step crypto jwk create` has encrypted: RFC 7516 section 7.2.2, or compact.
#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    protected: Option<String>,
    #[serde(default)]
    encrypted_key: String,
    #[serde(default)]
    iv: String,
    #[serde(default)]
    ciphertext: String,
    #[serde(default)]
    tag: String,
}

fn unlock(
    text: &str,
    password: Option<&Password>,
    password_file: Option<&Path>,
) -> Result<Zeroizing<Vec<u8>>, Unopened> {
    let text = text.trim_ascii();
    let compact = if text.starts_with('{') {
        match serde_json::from_str(text) {
            Ok(Written { protected: Some(protected), encrypted_key, iv, ciphertext, tag }) => {
                [protected, encrypted_key, iv, ciphertext, tag].join(".")
            }
            // What is wrong with a key that is not encrypted, the key's reader says.
            Ok(Written { protected: None, .. }) | Err(_) => return Ok(Zeroizing::new(text.as_bytes().to_vec())),
        }
    } else {
        text.to_owned()
    };
    if let Some(password) = password {
        return Ok(jwe::open(&compact, password.reveal().as_bytes())?);
    }
    let password = read_password(password_file.ok_or(Unopened::NoPassword)?).map_err(Unopened::File)?;
    Ok(jwe::open(&compact, &password)?)
}

/// Whether a private JWK has the public coordinates of the provisioner; yes, where the CA does not say them.
fn is_of(json: &[u8], x: &str, y: &str) -> bool {
    #[derive(Deserialize)]
    struct Public {
        #[serde(default)]
        x: String,
        #[serde(default)]
        y: String,
    }
    x.is_empty() || serde_json::from_slice::<Public>(json).is_ok_and(|own| own.x == x && own.y == y)
}

async fn read_key(settings: &Settings, file: PathBuf) -> Result<Zeroizing<String>, IssuerError> {
    let path = file.clone();
    let read = tokio::task::spawn_blocking(move || -> io::Result<Zeroizing<String>> {
        let mut text = Zeroizing::new(String::with_capacity(4096));
        File::open(&path)?.take(MAX_KEY).read_to_string(&mut text)?;
        Ok(text)
    });
    let read = read.await.map_err(|e| settings.unavailable("read the provisioner's key", e))?;
    read.map_err(|error| {
        settings.misconfigured(
            &format!("cannot read the key file {}: {error}", file.display()),
            format!(
                "copy the private key of provisioner `{}` into it (the file that `step crypto jwk create` wrote), mode \
                 0600, owned by the user pinion",
                shown(&settings.provisioner)
            ),
        )
    })
}

enum Unopened {
    NoPassword,
    File(io::Error),
    Key(jwe::JweError),
}

impl From<jwe::JweError> for Unopened {
    fn from(error: jwe::JweError) -> Self {
        Self::Key(error)
    }
}

/// The file's text without the white space at its end, as `step --password-file` reads it.
fn read_password(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut password = Zeroizing::new(Vec::with_capacity(256));
    File::open(path)?.take(MAX_PASSWORD).read_to_end(&mut password)?;
    let length = password.trim_ascii_end().len();
    password.truncate(length);
    Ok(password)
}

fn unpublished(settings: &Settings) -> IssuerError {
    settings.misconfigured(
        &format!("the CA does not publish the encrypted key of provisioner `{}`", shown(&settings.provisioner)),
        format!(
            "copy the provisioner's private key to this host, and set `key_file` of [issuers.{}] in controller.toml to \
             its path; or create a provisioner whose key is published: `step ca provisioner add NAME --create`",
            settings.name
        ),
    )
}

fn another(settings: &Settings) -> IssuerError {
    let wanted = shown(&settings.provisioner);
    let (what, remedy) = match &settings.key_file {
        Some(file) => (
            format!("the key in {} is not that of provisioner `{wanted}`", file.display()),
            format!("write the private key of provisioner `{wanted}` into {}", file.display()),
        ),
        None => (
            format!("the encrypted key that the CA publishes for provisioner `{wanted}` is not that provisioner's"),
            "create the provisioner again: `step ca provisioner add NAME --create`".to_owned(),
        ),
    };
    settings.misconfigured(&what, remedy)
}

fn unopened(settings: &Settings, why: &Unopened) -> IssuerError {
    let provisioner = shown(&settings.provisioner);
    let file = settings.password_file.as_deref().unwrap_or(Path::new("none")).display();
    match why {
        Unopened::NoPassword => settings.misconfigured(
            &format!("the key of provisioner `{provisioner}` is encrypted, and there is no password for it"),
            format!("set `password_file` of [issuers.{}] in controller.toml", settings.name),
        ),
        Unopened::File(error) => settings.misconfigured(
            &format!("cannot read the password file {file}: {error}"),
            format!("write the password of provisioner `{provisioner}` into it, mode 0600, owned by the user pinion"),
        ),
        Unopened::Key(error @ jwe::JweError::Password) if settings.password.is_some() => settings.misconfigured(
            &format!("the key of provisioner `{provisioner}`: {error}"),
            format!("give the password of provisioner `{provisioner}`; this is not the password of the CA's own keys"),
        ),
        Unopened::Key(error @ jwe::JweError::Password) => settings.misconfigured(
            &format!("the key of provisioner `{provisioner}`: {error} (from {file})"),
            format!(
                "write the password of provisioner `{provisioner}` into {file}; this is not the password of the CA's \
                 own keys"
            ),
        ),
        Unopened::Key(error) => settings.misconfigured(
            &format!("the key of provisioner `{provisioner}`: {error}"),
            "create the provisioner again: `step ca provisioner add NAME --create`".into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::jwe::tests::seal, *};

    const JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"xx","y":"yy","d":"dd"}"#;

    #[test]
    fn a_key_is_read_in_every_form_that_step_writes() {
        let directory = tempfile::tempdir().expect("a directory");
        let password = directory.path().join("password");
        std::fs::write(&password, "secret\n").expect("written");
        let compact = seal(JWK.as_bytes(), b"secret", "PBES2-HS256+A128KW", "A256GCM", 1000);
        let parts: Vec<&str> = compact.split('.').collect();
        let flattened = serde_json::json!({ "protected": parts[0], "encrypted_key": parts[1], "iv": parts[2],
            "ciphertext": parts[3], "tag": parts[4] });
        for text in [JWK.to_owned(), format!("\n{JWK}\n"), compact.clone(), format!("{flattened:#}\n")] {
            let Ok(opened) = unlock(&text, None, Some(&password)) else { panic!("{text}") };
            assert_eq!(opened.as_slice(), JWK.as_bytes(), "{text}");
        }
        assert!(unlock(JWK, None, None).is_ok(), "a key that is not encrypted needs no password");
        assert!(matches!(unlock(&compact, None, None), Err(Unopened::NoPassword)));
        std::fs::write(&password, "other").expect("written");
        assert!(matches!(unlock(&compact, None, Some(&password)), Err(Unopened::Key(jwe::JweError::Password))));
        assert!(matches!(unlock("nonsense", None, Some(&password)), Err(Unopened::Key(jwe::JweError::Malformed(_)))));
    }

    #[test]
    fn only_the_provisioners_own_key_is_its_key() {
        for (x, y, is_own) in [("xx", "yy", true), ("", "", true), ("xx", "yz", false), ("x", "yy", false)] {
            assert_eq!(is_of(JWK.as_bytes(), x, y), is_own, "{x} {y}");
        }
    }
}
