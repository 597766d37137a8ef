//! Join tokens on the controller's side: one live token a guest, kept as a hash until it is spent.
//!
//! Invariant: a token is taken from the disk before anything is given for it, by a rename that succeeds for one alone; so
//! neither a crash nor another controller on the same directory makes it good twice.

use std::sync::{Arc, Mutex};

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
};
use pinion_proto::{bundle::Fingerprint, clock::Timestamp, id::Guest, lock::lock, message::JoinSecret};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::store::{Area, Store, StoreError};

/// The directory of the tokens' documents in the shared area.
const DIRECTORY: &str = "join-tokens";

/// Time to carry a token into a guest and start its agent, and not much more.
const LIFE: std::time::Duration = std::time::Duration::from_secs(10 * 60);

/// Every guest of a large host being enrolled at once; a script gone wild stops here.
const MAX_LIVE: usize = 4096;

/// A token that can still be used, as it is stored: its hash, never the token.
#[derive(Debug, Serialize, Deserialize)]
struct Live {
    /// SHA-256 of the secret.
    hash: Fingerprint,
    expires: Timestamp,
}

#[derive(Debug)]
pub(super) struct Tokens {
    store: Arc<Store>,
    /// Reading and removing a token must be one step.
    spending: Mutex<()>,
    /// So many are live at once.
    pub(super) max_live: usize,
}

impl Tokens {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, spending: Mutex::new(()), max_live: MAX_LIVE }
    }

    /// Makes a token; an earlier one of the guest is good no more.
    pub(super) fn create(&self, guest: Guest, now: Timestamp) -> Result<JoinSecret, TokenRefused> {
        let _spending = lock(&self.spending);
        let live = self.prune(now)?;
        if live >= self.max_live {
            return Err(TokenRefused::TooMany);
        }
        let mut secret = Zeroizing::new([0u8; 32]);
        aws_lc_rs::rand::fill(secret.as_mut_slice()).map_err(|_| TokenRefused::Random)?;
        let token = Live { hash: Fingerprint::of(secret.as_slice()), expires: now + LIFE };
        self.store.replace(Area::Shared, &document(guest), &token)?;
        Ok(JoinSecret(secret))
    }

    /// Whether this is the guest's live token.
    pub(super) fn is_live(&self, guest: Guest, secret: &JoinSecret, now: Timestamp) -> bool {
        let live = self.store.read::<Live>(Area::Shared, &document(guest));
        let presented = Fingerprint::of(secret.0.as_slice());
        live.is_ok_and(|live| live.is_some_and(|live| live.expires > now && same(live.hash, presented)))
    }

    /// Spends the guest's token: it is gone, whatever comes next. A wrong secret spends nothing, or anyone on the
    /// network could keep a guest from joining.
    pub(super) fn spend(&self, guest: Guest, secret: &JoinSecret, now: Timestamp) -> Result<(), TokenRefused> {
        let _spending = lock(&self.spending);
        let Some(live) = self.store.read::<Live>(Area::Shared, &document(guest))? else {
            return Err(TokenRefused::None { guest });
        };
        if live.expires <= now {
            self.store.remove(Area::Shared, &document(guest))?;
            return Err(TokenRefused::Expired { guest, at: live.expires });
        }
        let presented = Fingerprint::of(secret.0.as_slice());
        if !same(live.hash, presented) {
            return Err(TokenRefused::Wrong { guest });
        }
        // Whoever shares the directory may spend it in this moment too: the one who takes it away has it.
        match self.store.take::<Live>(Area::Shared, &document(guest))? {
            Some(taken) if same(taken.hash, presented) => Ok(()),
            _ => Err(TokenRefused::None { guest }),
        }
    }

    pub(super) fn remove(&self, guest: Guest) -> Result<(), StoreError> {
        let _spending = lock(&self.spending);
        self.store.remove(Area::Shared, &document(guest))
    }

    /// Removes expired tokens, and says how many are live. A document that cannot be read counts as live, and
    /// stays for someone to look at.
    fn prune(&self, now: Timestamp) -> Result<usize, StoreError> {
        let mut live = 0;
        for name in self.store.list(Area::Shared, DIRECTORY)? {
            let name = format!("{DIRECTORY}/{name}");
            match self.store.read::<Live>(Area::Shared, &name) {
                Ok(Some(token)) if token.expires <= now => self.store.remove(Area::Shared, &name)?,
                Ok(None) => {}
                Ok(Some(_)) => live += 1,
                Err(error) => {
                    tracing::warn!(error = %error, "Cannot read a join token");
                    live += 1;
                }
            }
        }
        Ok(live)
    }
}

fn document(guest: Guest) -> String {
    format!("{DIRECTORY}/{guest}")
}

/// Compares in constant time, by hashing once more what has no way to its bytes.
fn same(one: Fingerprint, other: Fingerprint) -> bool {
    let bytes = |print: Fingerprint| digest(&SHA256, print.to_string().as_bytes());
    verify_slices_are_equal(bytes(one).as_ref(), bytes(other).as_ref()).is_ok()
}

/// Why a token was not made or not taken.
#[derive(Debug, Error)]
pub enum TokenRefused {
    /// There is no live token: never made, spent, or replaced by a newer one.
    #[error("guest {guest} has no valid join token: none was created, it was used already, or a newer one replaced it")]
    None {
        /// The guest that the caller claims to be.
        guest: Guest,
    },
    /// The token is older than ten minutes.
    #[error("the join token of guest {guest} expired at {at}")]
    Expired {
        /// The guest that the caller claims to be.
        guest: Guest,
        /// When it expired.
        at: Timestamp,
    },
    /// Another secret: a token of another guest, or an altered one.
    #[error("the join token that was used for guest {guest} is not its valid one")]
    Wrong {
        /// The guest that the caller claims to be.
        guest: Guest,
    },
    /// The guest is locked.
    #[error("guest {guest} is locked ({why}): unlock it first with `pinion guest unlock {guest}`")]
    Locked {
        /// The guest that the token should be for.
        guest: Guest,
        /// Why the guest was locked.
        why: String,
    },
    /// Too many live tokens.
    #[error("{MAX_LIVE} join tokens are valid already: wait ten minutes until they expire")]
    TooMany,
    /// The system's random number generator fails.
    #[error("the system gives no random numbers")]
    Random,
    /// The token's document cannot be read or written.
    #[error("cannot read or write the join token's document")]
    Store(#[from] StoreError),
}
