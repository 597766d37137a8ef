//! Who may look at the page: links that are good once, the sessions that they become, and lasting tokens.
//!
//! Answers: does this secret give a right, and which?
//! Invariant: only SHA-256 sums of secrets are kept, so that neither memory nor disk gives one away. Everything here is bounded
//! in number and ends by itself, except for lasting tokens, which a person takes back.

mod secret;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Duration,
};

use pinion_proto::{
    clock::{Clock, Timestamp},
    lock::lock,
    spec::PlainName,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    digest::Digest,
    store::{Area, Store, StoreError},
};

/// The document of lasting tokens, in the area `local`.
const FILE: &str = "web-tokens";

/// A link is opened at once, by the person who asked for it.
pub const LINK_LIFE: Duration = Duration::from_secs(2 * 60);

/// A session ends when nobody has looked for so long.
const SESSION_IDLE: Duration = Duration::from_secs(12 * 60 * 60);

/// And after so long in any case.
const SESSION_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// More links, sessions and tokens than people have; the oldest link or session makes room.
const MAX_LINKS: usize = 32;
const MAX_SESSIONS: usize = 256;
const MAX_TOKENS: usize = 128;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// Look.
    Look,
    /// Look, and renew certificates.
    Renew,
}

/// A session: what its cookie gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSession {
    /// What it may do.
    pub right: Right,
    /// Proves that a form was made for it.
    pub csrf: String,
    /// Whose it is, if it began with Proxmox's login.
    pub proxmox: Option<ProxmoxUser>,
    began: Timestamp,
    used: Timestamp,
}

/// A user of Proxmox's who has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxmoxUser {
    /// `anna@pve`, or `anna@pve!page` with an API token.
    pub name: String,
    /// Of the ticket or API token, which is not here.
    pub digest: Digest,
    /// When Proxmox was asked about it.
    pub asked: Timestamp,
    /// Until when that counts.
    pub good_until: Timestamp,
    /// When a ticket ends in any case.
    pub ends: Option<Timestamp>,
}

impl ProxmoxUser {
    /// Whether what Proxmox said still counts; not after the clock was set back.
    #[must_use]
    pub fn is_known_at(&self, now: Timestamp) -> bool {
        (self.asked..self.good_until).contains(&now)
    }
}

/// A lasting token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebToken {
    /// What it is called.
    pub name: PlainName,
    /// What it may do.
    pub right: Right,
    /// When it was made.
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeptToken {
    #[serde(flatten)]
    token: WebToken,
    /// The SHA-256 of its secret.
    digest: Digest,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Document {
    tokens: Vec<KeptToken>,
}

/// Why no token was made or taken back.
#[derive(Debug, Error)]
pub enum TokenError {
    /// There is one already.
    #[error(
        "there is a token called {0} already; take it back with `pinion web token revoke {0}`, or choose another name"
    )]
    Exists(PlainName),
    /// There is none.
    #[error("there is no token called {0}; `pinion web token list` shows them")]
    Unknown(PlainName),
    /// There are too many.
    #[error("there are {MAX_TOKENS} tokens already; take one back with `pinion web token revoke NAME`")]
    TooMany,
    /// The document cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Links, sessions and tokens.
#[derive(Debug)]
pub struct WebAccess {
    clock: Arc<dyn Clock>,
    store: Arc<Store>,
    state: Mutex<State>,
    /// Where the page is, once it is there.
    url: OnceLock<String>,
}

#[derive(Debug, Default)]
struct State {
    /// By when each is to be opened.
    links: BTreeMap<Digest, (Right, Timestamp)>,
    sessions: BTreeMap<Digest, WebSession>,
    /// None while the document cannot be read: then no token is good.
    tokens: Option<Vec<KeptToken>>,
}

impl WebAccess {
    /// With the tokens of an earlier controller.
    #[must_use]
    pub fn open(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        let state = State { tokens: read(&store).ok(), ..State::default() };
        Self { clock, store, state: Mutex::new(state), url: OnceLock::new() }
    }

    /// The page is there, under this URL without a path.
    pub(super) fn is_at(&self, url: String) {
        self.url.set(url).ok();
    }

    /// A link that is good once; none while the page is not there.
    #[must_use]
    pub fn link_url(&self, right: Right) -> Option<Zeroizing<String>> {
        let url = self.url.get()?;
        Some(Zeroizing::new(format!("{url}/open/{}", *self.link(right))))
    }

    /// A secret for a link, which is good once.
    #[must_use]
    fn link(&self, right: Right) -> Zeroizing<String> {
        let (secret, digest) = secret::new();
        let now = self.clock.now();
        let mut state = self.state();
        state.links.retain(|_, (_, until)| now < *until);
        make_room(&mut state.links, MAX_LINKS, |(_, until)| *until);
        state.links.insert(digest, (right, now + LINK_LIFE));
        secret
    }

    /// Opens a link: the secret of a session, if the link is good, and what the session may do.
    pub fn open_link(&self, secret: &str) -> Option<Zeroizing<String>> {
        let now = self.clock.now();
        let (right, until) = self.state().links.remove(&Digest::of(secret))?;
        (now < until).then(|| self.begin(right, None))
    }

    /// Makes a session for whoever has this lasting token.
    pub fn sign_in(&self, token: &str) -> Option<Zeroizing<String>> {
        let right = self.token(token)?;
        Some(self.begin(right, None))
    }

    /// Makes a session for a user of Proxmox's.
    pub(super) fn begin_for(&self, right: Right, user: ProxmoxUser) -> Zeroizing<String> {
        self.begin(right, Some(user))
    }

    /// Proxmox was asked again about the user of this session: the session as it is now.
    pub(super) fn confirm(&self, secret: &str, right: Right, user: ProxmoxUser) -> Option<WebSession> {
        let mut state = self.state();
        let session = state.sessions.get_mut(&Digest::of(secret))?;
        (session.right, session.proxmox) = (right, Some(user));
        Some(session.clone())
    }

    /// The session of a cookie, which is in use again.
    pub fn session(&self, secret: &str) -> Option<WebSession> {
        let now = self.clock.now();
        let digest = Digest::of(secret);
        let mut state = self.state();
        let session = state.sessions.get_mut(&digest)?;
        // A clock that was set back makes nothing last longer.
        let is_over = |since: Timestamp, life: Duration| now < since || since + life <= now;
        let has_ended = session.proxmox.as_ref().and_then(|user| user.ends).is_some_and(|ends| ends <= now);
        if has_ended || is_over(session.began, SESSION_LIFE) || is_over(session.used, SESSION_IDLE) {
            state.sessions.remove(&digest);
            return None;
        }
        session.used = now;
        Some(session.clone())
    }

    /// Ends a session. What its user signed in with at Proxmox, unless another session began with it, too.
    pub fn sign_out(&self, secret: &str) -> Option<Digest> {
        let mut state = self.state();
        let digest = state.sessions.remove(&Digest::of(secret))?.proxmox?.digest;
        let mut others = state.sessions.values().filter_map(|session| session.proxmox.as_ref());
        (!others.any(|user| user.digest == digest)).then_some(digest)
    }

    /// What a lasting token may do.
    #[must_use]
    pub fn token(&self, secret: &str) -> Option<Right> {
        let digest = Digest::of(secret);
        let state = self.state();
        let kept = state.tokens.iter().flatten().find(|kept| kept.digest == digest)?;
        Some(kept.token.right)
    }

    /// Makes a lasting token.
    ///
    /// # Errors
    /// The name is taken, there are too many, or it cannot be written.
    pub fn create_token(&self, name: PlainName, right: Right) -> Result<Zeroizing<String>, TokenError> {
        let (secret, digest) = secret::new();
        let created_at = self.clock.now();
        self.change(|tokens| {
            if tokens.iter().any(|kept| kept.token.name == name) {
                return Err(TokenError::Exists(name));
            }
            if tokens.len() >= MAX_TOKENS {
                return Err(TokenError::TooMany);
            }
            tokens.push(KeptToken { token: WebToken { name, right, created_at }, digest });
            Ok(())
        })?;
        Ok(secret)
    }

    /// Takes a lasting token back. Sessions that began with it end with it.
    ///
    /// # Errors
    /// There is none of that name, or it cannot be written.
    pub fn revoke_token(&self, name: &PlainName) -> Result<(), TokenError> {
        self.change(|tokens| {
            let before = tokens.len();
            tokens.retain(|kept| kept.token.name != *name);
            if tokens.len() == before { Err(TokenError::Unknown(name.clone())) } else { Ok(()) }
        })?;
        // Which one a session began with is not kept, so everybody signs in again.
        self.state().sessions.clear();
        Ok(())
    }

    /// The lasting tokens, without their secrets.
    ///
    /// # Errors
    /// The document cannot be read.
    pub fn tokens(&self) -> Result<Vec<WebToken>, TokenError> {
        Ok(read(&self.store)?.into_iter().map(|kept| kept.token).collect())
    }

    fn change(&self, change: impl FnOnce(&mut Vec<KeptToken>) -> Result<(), TokenError>) -> Result<(), TokenError> {
        let mut state = self.state();
        let mut tokens = read(&self.store)?;
        change(&mut tokens)?;
        self.store.replace(Area::Local, FILE, &Document { tokens: tokens.clone() })?;
        state.tokens = Some(tokens);
        Ok(())
    }

    fn begin(&self, right: Right, proxmox: Option<ProxmoxUser>) -> Zeroizing<String> {
        let (secret, digest) = secret::new();
        let (csrf, _) = secret::new();
        let now = self.clock.now();
        let mut state = self.state();
        make_room(&mut state.sessions, MAX_SESSIONS, |session| session.used);
        state.sessions.insert(digest, WebSession { right, csrf: csrf.to_string(), proxmox, began: now, used: now });
        secret
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is whole in itself.
        lock(&self.state)
    }
}

fn read(store: &Store) -> Result<Vec<KeptToken>, StoreError> {
    Ok(store.read::<Document>(Area::Local, FILE)?.unwrap_or_default().tokens)
}

/// Removes the oldest, where there is no room for one more.
fn make_room<T>(all: &mut BTreeMap<Digest, T>, max: usize, age: impl Fn(&T) -> Timestamp) {
    while all.len() >= max {
        let oldest = all.iter().min_by_key(|(_, one)| age(one)).map(|(digest, _)| *digest);
        oldest.and_then(|oldest| all.remove(&oldest));
    }
}
