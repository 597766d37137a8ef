//! The root of the agents' identities, whose key is this process's alone, and the nodes' authorities below it.
//!
//! Answers: what does `pinion serve` sign with, where a broken one must not be able to take the root along?
//! Invariant: the key is in a directory of root's and leaves this process in no way. Of a caller's bytes nothing gets into
//! a certificate but a public key whose possession was proven; names, limits and life are fixed here, and how often too.
//! [`held`] has the roots themselves.

mod held;

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use pinion_proto::{causes::chain, clock::Timestamp, id::TrustDomain, lock::lock};

pub(super) use self::held::Asked;
pub(crate) use self::held::DIRECTORY;
use self::held::{Held, refused, unusable};
use super::protocol::{Cause, Failure, NextRoot, NodeAuthority};
use crate::{
    config::Config,
    rate_limit::{RateLimit, TokenBucket},
};

/// A node's authority is renewed once a day; whoever asks more often is in trouble, or wants to fill a disk.
const SIGNED: RateLimit = RateLimit { burst: 8, every: Duration::from_secs(10 * 60) };

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
    held: Option<Held>,
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
            state: Mutex::new(State { held: None, left: SIGNED.full(now) }),
        }
    }

    /// Signs the authority of this host's node.
    pub(super) fn sign(&self, csr: &str, asked: Asked, now: Timestamp) -> Result<NodeAuthority, Failure> {
        let mut state = self.state();
        if !state.left.take(now) {
            let text = format!("too many node authorities were asked for: the next is signed at {}", state.left.next());
            return Err(Failure::new(Cause::Busy, text));
        }
        let csr = STANDARD.decode(csr).map_err(|_| refused("the request is not base64"))?;
        let held = state.held(self, now)?;
        let existed = held.is_used();
        let signed = held.signer(asked, now).and_then(|(authority, domain)| {
            let certificate = authority.sign_node(&csr, &domain, &self.node, now);
            let certificate = STANDARD.encode(certificate.map_err(|error| refused(&chain(&error)))?);
            Ok(NodeAuthority { certificate, root: authority.root().clone(), trust_domain: domain, existed })
        });
        if held.is_over() {
            state.held = None;
        }
        signed
    }

    /// The root that follows, if a person asked for one.
    pub(super) fn next(&self, now: Timestamp) -> Result<Option<NextRoot>, Failure> {
        let mut state = self.state();
        let held = state.held(self, now)?;
        let next = held.next();
        if held.is_over() {
            state.held = None;
        }
        Ok(next)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn held(&mut self, root: &IdentityRoot, now: Timestamp) -> Result<&mut Held, Failure> {
        let held = match self.held.take() {
            Some(held) => held,
            None => Held::open(&root.host, root.domain.as_ref(), now).map_err(|error| unusable(&error))?,
        };
        Ok(self.held.insert(held))
    }
}

#[cfg(test)]
mod tests;
