//! What is needed to ask a CA for a signature: its proven root, a client that trusts it alone, the provisioner's key.
//!
//! Answers: is this the CA that was configured, and may we sign tokens for it?
//! Invariant: nothing that the CA says is believed before its root's hash has been compared with the configured
//! fingerprint; the password is read anew each time a key is opened, so that a corrected file helps at once.

use std::{
    fs::File,
    io::Read,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use pinion_proto::{bundle::RootCertificate, clock::Timestamp, id::shown, lock::lock};
use reqwest::StatusCode;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    durations::Limits,
    http::{Http, Trust},
    jwe,
    jwk::TokenKey,
    provisioner::{Listed, MAX_PAGES, Page},
    roots::Memory,
    settings::{Settings, call_failed, json},
    skew::Skew,
};
use crate::issuer::IssuerError;

/// A password is a line of text, not a disk (bytes).
const MAX_PASSWORD: u64 = 4096;

/// The provisioner is looked at anew this often: its durations may have been changed, its key replaced.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(300);

/// A proven CA and an opened key.
#[derive(Debug)]
pub(super) struct Session {
    /// What its certificate and those that it signs may end at: the configured root first, if it still has that.
    pub(super) roots: Vec<RootCertificate>,
    pub(super) http: Http,
    pub(super) key: Arc<OpenedKey>,
    pub(super) read_at: Timestamp,
    limits: Mutex<Limits>,
}

/// The provisioner's key, and the ciphertext it came from.
#[derive(Debug)]
pub(super) struct OpenedKey {
    pub(super) id: String,
    pub(super) key: TokenKey,
    encrypted: String,
}

impl Session {
    /// Proves the CA and opens the provisioner's key. What `before` has that still holds is kept.
    pub(super) async fn open(
        settings: &Settings,
        memory: &Memory,
        skew: &Arc<Skew>,
        before: Option<&Session>,
    ) -> Result<Self, IssuerError> {
        let successors = memory.successors();
        let roots = match fetch_root(settings, skew).await {
            Ok(root) => [vec![root], successors].concat(),
            // It has given that root up, and while it had it, it said which came in its place.
            Err(IssuerError::Misconfigured { .. }) if !successors.is_empty() => successors,
            Err(error) => return Err(error),
        };
        let http = Http::new(&settings.url, Trust::These(&roots), settings.timeout, settings.concurrency, skew)
            .map_err(|e| settings.unavailable("prepare", e))?;
        let (listed, encrypted) = find_provisioner(settings, &http).await?;
        let claims = listed.claims.unwrap_or_default();
        let limits = before.map_or_else(|| Limits::of(claims), |before| before.limits().refreshed(claims));
        let kept = before.map(|before| &before.key).filter(|key| key.encrypted == encrypted);
        let key = match kept {
            Some(key) => key.clone(),
            None => Arc::new(open_key(settings, listed.key.map(|key| key.kid).unwrap_or_default(), encrypted).await?),
        };
        Ok(Self { roots, http, key, read_at: skew.here(), limits: Mutex::new(limits) })
    }

    pub(super) fn limits(&self) -> MutexGuard<'_, Limits> {
        lock(&self.limits)
    }

    pub(super) fn is_stale(&self, now: Timestamp) -> bool {
        // A clock that was set back makes it stale too.
        now < self.read_at || now.since(self.read_at) >= READ_AGAIN_AFTER
    }
}

/// `GET /root/{sha256}`, from whomever it comes, is right when its hash is.
async fn fetch_root(settings: &Settings, skew: &Arc<Skew>) -> Result<RootCertificate, IssuerError> {
    #[derive(Deserialize)]
    struct Root {
        ca: String,
    }
    const DOING: &str = "fetch the root";
    let anyone = Http::new(&settings.url, Trust::Anyone, settings.timeout, 0, skew)
        .map_err(|e| settings.unavailable("prepare", e))?;
    let answer =
        anyone.get(&format!("/root/{}", settings.fingerprint)).await.map_err(|e| settings.unavailable(DOING, e))?;
    if answer.status == StatusCode::NOT_FOUND {
        return Err(other_root(settings, &anyone).await);
    }
    let Root { ca } = json(settings, DOING, &answer)?;
    let root = RootCertificate::from_pem(&ca).map_err(|e| settings.unavailable(DOING, e))?;
    if root.fingerprint() != settings.fingerprint {
        return Err(wrong_root(settings, &root.fingerprint().to_string()));
    }
    Ok(root)
}

/// The CA does not know the root: which does it have? The answer is unproven, and only for the message.
async fn other_root(settings: &Settings, anyone: &Http) -> IssuerError {
    #[derive(Deserialize)]
    struct Roots {
        crts: Vec<String>,
    }
    let answer = anyone.get("/roots").await.ok().filter(|answer| answer.status.is_success());
    let roots = answer.and_then(|answer| serde_json::from_slice::<Roots>(&answer.body).ok());
    let prints: Vec<String> = roots
        .map(|roots| roots.crts)
        .unwrap_or_default()
        .iter()
        .take(4)
        .filter_map(|pem| RootCertificate::from_pem(pem).ok())
        .map(|root| root.fingerprint().to_string())
        .collect();
    if prints.is_empty() {
        // Without a root of its own it may be no step-ca at all, such as a proxy whose backend is away.
        return settings.unavailable("fetch the root", "it answers 404 Not Found and has no root to offer");
    }
    wrong_root(settings, &prints.join(", "))
}

fn wrong_root(settings: &Settings, found: &str) -> IssuerError {
    settings.misconfigured(
        &format!("its root has the fingerprint {found}, but {} is configured", settings.fingerprint),
        format!(
            "if you set up the CA again, set `fingerprint` of [issuers.{}] in controller.toml to that of its root \
             (`step certificate fingerprint root_ca.crt` on the CA), and give the clients of your services the new \
             root; if not, something else answers at this address",
            settings.name
        ),
    )
}

/// The JWK provisioner of the configured name with a key to open, from all pages.
async fn find_provisioner(settings: &Settings, http: &Http) -> Result<(Listed, String), IssuerError> {
    const DOING: &str = "list the provisioners";
    let mut cursor = String::new();
    let mut found: Option<Listed> = None;
    let mut names = Vec::new();
    for _ in 0..MAX_PAGES {
        let path = format!("/provisioners?limit=100&cursor={cursor}");
        let answer = http.get(&path).await.map_err(|e| call_failed(settings, DOING, &e))?;
        let page: Page = json(settings, DOING, &answer)?;
        for listed in page.provisioners {
            if listed.name != settings.provisioner {
                if listed.kind == "JWK" && names.len() < 20 {
                    names.push(shown(&listed.name));
                }
            } else if listed.kind == "JWK" && listed.encrypted_key.is_some() {
                let encrypted = listed.encrypted_key.clone().unwrap_or_default();
                return Ok((listed, encrypted));
            } else {
                found = Some(listed);
            }
        }
        // Cursors are hexadecimal and grow; anything else would be asked for in vain.
        let next = page.next_cursor;
        if next.is_empty() {
            break;
        }
        if next == cursor || next.len() > 64 || !next.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(settings.unavailable(DOING, format!("the CA sent an invalid cursor: `{}`", shown(&next))));
        }
        cursor = next;
    }
    let wanted = shown(&settings.provisioner);
    Err(match found {
        Some(listed) if listed.kind == "JWK" => settings.misconfigured(
            &format!("the CA does not hand out the encrypted key of provisioner `{wanted}`"),
            "use a JWK provisioner created with `step ca provisioner add NAME --create`".into(),
        ),
        Some(listed) => settings.misconfigured(
            &format!("provisioner `{wanted}` has type {}, but Pinion needs a JWK provisioner", shown(&listed.kind)),
            "create one on the CA with `step ca provisioner add pinion --create`, and restart step-ca".into(),
        ),
        None => settings.misconfigured(
            &format!("it has no provisioner `{wanted}`; its JWK provisioners: {}", names.join(", ")),
            format!("correct `provisioner` of [issuers.{}] in controller.toml, or add it on the CA", settings.name),
        ),
    })
}

async fn open_key(settings: &Settings, id: String, encrypted: String) -> Result<OpenedKey, IssuerError> {
    let file = settings.password_file.clone();
    let text = encrypted.clone();
    // Deriving the key takes up to a second of one core on purpose.
    let opened = tokio::task::spawn_blocking(move || -> Result<_, Unopened> {
        let password = read_password(&file)?;
        Ok(jwe::open(&text, &password)?)
    });
    let opened = opened.await.map_err(|e| settings.unavailable("open the provisioner's key", e))?;
    let json = opened.map_err(|why| unopened(settings, &why))?;
    let key = TokenKey::parse(&json).map_err(|why| {
        settings.misconfigured(
            &why.to_string(),
            "create a provisioner with an EC key: `step ca provisioner add pinion --create`".into(),
        )
    })?;
    Ok(OpenedKey { id, key, encrypted })
}

enum Unopened {
    File(std::io::Error),
    Key(jwe::JweError),
}

impl From<jwe::JweError> for Unopened {
    fn from(error: jwe::JweError) -> Self {
        Self::Key(error)
    }
}

/// The file's text without the white space at its end, as `step --password-file` reads it.
fn read_password(path: &Path) -> Result<Zeroizing<Vec<u8>>, Unopened> {
    let mut password = Zeroizing::new(Vec::with_capacity(256));
    File::open(path).and_then(|file| file.take(MAX_PASSWORD).read_to_end(&mut password)).map_err(Unopened::File)?;
    let length = password.trim_ascii_end().len();
    password.truncate(length);
    Ok(password)
}

fn unopened(settings: &Settings, why: &Unopened) -> IssuerError {
    let file = settings.password_file.display();
    let provisioner = shown(&settings.provisioner);
    match why {
        Unopened::File(error) => settings.misconfigured(
            &format!("cannot read the password file {file}: {error}"),
            format!("write the password of provisioner `{provisioner}` into it, mode 0600, owned by the user pinion"),
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
