//! The root of the agents' identities, whose key is this process's alone, and the nodes' authorities below it.
//!
//! Answers: what does `pinion serve` sign with, where a broken one must not be able to take the root along?
//! Invariant: the key is in a directory of root's and leaves this process in no way. Of a caller's bytes nothing gets into
//! a certificate but a public key whose possession was proven; names, limits and life are fixed here, and how often too.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use pinion_proto::{
    bundle::{Fingerprint, RootCertificate},
    causes::chain,
    clock::Timestamp,
    id::TrustDomain,
};
use serde::de::IgnoredAny;

use super::protocol::{Cause, Failure, NodeAuthority};
use crate::{
    authority::{self, Authority, Traces},
    config::Config,
    identity::{IdentityError, NewRoot, PIN, ROOT_BEFORE, ROOT_DOCUMENT, pinned, settle_domain},
    rate_limit::{RateLimit, TokenBucket},
    store::{Area, NEW_ROOT, Store, StoreError},
};

/// Where the root's key is, below `/`.
pub(crate) const DIRECTORY: &str = "var/lib/pinion-channel";

/// A node's authority is renewed once a day; whoever asks more often is in trouble, or wants to fill a disk.
const SIGNED: RateLimit = RateLimit { burst: 8, every: Duration::from_secs(10 * 60) };

/// The root, and whose identities it is for.
#[derive(Debug)]
struct Opened {
    authority: Authority,
    domain: TrustDomain,
    /// Holds the directory's lock.
    _store: Store,
}

/// The root and who has asked for how much.
#[derive(Debug)]
pub(super) struct IdentityRoot {
    host: PathBuf,
    domain: Option<TrustDomain>,
    node: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Opened at the first call: whoever never calls has no use for a root.
    opened: Option<Opened>,
    left: TokenBucket,
}

impl IdentityRoot {
    pub(super) fn new(config: &Config, now: Timestamp) -> Self {
        let node = rustix::system::uname();
        let node: String = node
            .nodename()
            .to_string_lossy()
            .split('.')
            .next()
            .unwrap_or_default()
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .take(63)
            .collect();
        Self {
            host: config.root.clone(),
            domain: config.trust_domain.clone(),
            node: if node.is_empty() { "host".to_owned() } else { node.to_ascii_lowercase() },
            state: Mutex::new(State { opened: None, left: SIGNED.full(now) }),
        }
    }

    /// Signs the authority of this host's node. `known` is the root that the caller has known so far: where there was
    /// one, none is made.
    pub(super) fn sign(&self, csr: &str, known: Option<Fingerprint>, now: Timestamp) -> Result<NodeAuthority, Failure> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.left.take(now) {
            let text = format!("too many node authorities were asked for: the next is signed at {}", state.left.next());
            return Err(Failure::new(Cause::Busy, text));
        }
        let csr = STANDARD.decode(csr).map_err(|_| refused("the request is not base64"))?;
        let (opened, existed) = match &mut state.opened {
            Some(opened) => (opened, true),
            closed => {
                let (opened, existed) = self.open(known, now).map_err(|error| refused(&chain(&error)))?;
                (closed.insert(opened), existed)
            }
        };
        let Opened { authority, domain, .. } = opened;
        let root: &RootCertificate = authority.root();
        if let Some(known) = known.filter(|known| *known != root.fingerprint()) {
            return Err(refused(&format!(
                "the identity root in {} is {}, and the controller knows {known}: put back the one that belongs together",
                self.host.join(DIRECTORY).display(),
                root.fingerprint()
            )));
        }
        let signed = authority.sign_node(&csr, domain, &self.node, now);
        let certificate = signed.map_err(|error| refused(&chain(&error)))?;
        pin(&self.host, root.fingerprint());
        Ok(NodeAuthority {
            certificate: STANDARD.encode(certificate),
            root: root.clone(),
            trust_domain: domain.clone(),
            existed,
        })
    }

    /// Reads the root, or makes it where nothing says that there was one; says which. A person's wish for a new one is spent
    /// first.
    fn open(&self, known: Option<Fingerprint>, now: Timestamp) -> Result<(Opened, bool), IdentityError> {
        let directory = self.host.join(DIRECTORY);
        let store = Store::open(&directory, &directory)?;
        let pin = self.host.join(PIN);
        let mut traces =
            Traces { pinned: None, of_use: known.map(|root| format!("the controller knows the root {root}")) };
        if let Some(NewRoot { asked_at, .. }) = store.take(Area::Local, NEW_ROOT)? {
            tracing::warn!(%asked_at, "A new identity root was asked for");
            match store.rename(Area::Shared, ROOT_DOCUMENT, ROOT_BEFORE) {
                Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed?,
            }
            authority::forget(&store, ROOT_DOCUMENT)?;
            fs::remove_file(&pin).ok();
            traces.of_use = None;
        } else {
            traces.pinned = pinned(&pin)?.map(|root| (root, pin));
        }
        let domain = settle_domain(&store, self.domain.as_ref())?;
        let name = format!("Pinion identities of {domain}");
        let existed = store.read::<IgnoredAny>(Area::Shared, ROOT_DOCUMENT)?.is_some();
        let authority = Authority::load_or_make(&store, ROOT_DOCUMENT, &name, || Ok(traces), now)?;
        Ok((Opened { authority, domain, _store: store }, existed))
    }
}

fn refused(why: &str) -> Failure {
    Failure::new(Cause::Refused, why)
}

/// Names the root in a file of the administrator's, if there is none yet: it outlives the loss of all state.
fn pin(host: &Path, root: Fingerprint) {
    let path = host.join(PIN);
    if path.exists() {
        return;
    }
    let fresh = path.with_extension("new");
    let text = format!(
        "# The root of the agents' identities (SHA-256). Without its key no other is made in its place.\n{root}\n"
    );
    let write = || {
        fs::write(&fresh, text)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o644))?;
        fs::rename(&fresh, &path)
    };
    let written: io::Result<()> = write();
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), %error, "Cannot name the identity root for the case that all else is lost");
    }
}
