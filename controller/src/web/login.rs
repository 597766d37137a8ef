//! Proxmox's login: people sign in with an API token or a ticket, and Proxmox says what they may do.
//!
//! Answers: whose is this, and may this session still look?
//! Invariants: the API token or ticket is passed on to the root process once and not kept here; a session keeps its SHA-256. What
//! Proxmox said is used for a minute at most, and a session whose right is gone ends. While Proxmox does not answer, nobody is
//! let in by it.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use percent_encoding::percent_decode_str;
use pinion_proto::{
    clock::{Clock, Timestamp},
    lock::lock,
};
use tokio::time::timeout;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::access::{ProxmoxUser, Right, WebAccess, WebSession};
use crate::{
    channel::{
        client::Client,
        credential::Credential,
        protocol::{Cause, Failure, Secret, WebAnswer, WebQuestion, WebRight, WebUser},
    },
    digest::Digest,
    events::{Events, HostEvent, What},
    rate_limit::{RateLimit, TokenBucket},
    source::Source,
};

/// The root process answers within this time, as it waits for Proxmox no longer.
const PATIENCE: Duration = Duration::from_secs(9);

/// Somebody who mistypes; whoever tries more often from one address does not use up the tries of others.
const TRIES: RateLimit = RateLimit { burst: 5, every: Duration::from_secs(15) };

/// More addresses than people sign in from within a minute.
const MAX_SOURCES: usize = 1024;

/// Signs people in by what Proxmox says of them.
#[derive(Debug)]
pub(super) struct ProxmoxLogin {
    channel: Client,
    access: Arc<WebAccess>,
    events: Arc<Events>,
    clock: Arc<dyn Clock>,
    tries: Mutex<BTreeMap<Source, TokenBucket>>,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoLogin {
    /// It is neither an API token nor a ticket.
    NoCredential,
    /// There were too many tries.
    TooMany,
    /// Proxmox does not accept it.
    Unknown,
    /// This user of Proxmox's may not look.
    MayNot(String),
    /// Proxmox or the root process does not answer.
    Unanswered,
}

impl ProxmoxLogin {
    pub(super) fn new(channel: Client, access: Arc<WebAccess>, events: Arc<Events>, clock: Arc<dyn Clock>) -> Self {
        Self { channel, access, events, clock, tries: Mutex::default() }
    }

    /// Begins a session for whoever pasted this: its secret.
    pub(super) async fn sign_in(&self, pasted: &str, from: IpAddr) -> Result<Zeroizing<String>, NoLogin> {
        let text = canonical(pasted);
        let digest = Credential::parse(&text).map_err(|_| NoLogin::NoCredential)?.digest();
        let now = self.clock.now();
        if !self.may_try(Source::of(from.to_canonical()), now) {
            return Err(NoLogin::TooMany);
        }
        let (right, user) = match self.ask(WebQuestion::Ticket(Secret::new(text))).await? {
            WebAnswer::Known(user) => allowed(user)?,
            WebAnswer::Unknown | WebAnswer::Forgotten => {
                info!(%from, "Proxmox does not accept what somebody wanted to sign in with");
                return Err(NoLogin::Unknown);
            }
        };
        let may_renew = right == Right::Renew;
        let signed_in = HostEvent::SignedIn { user: user.user.clone(), may_renew, is_almighty: user.is_almighty };
        self.events.record(What::Host(signed_in).at(now));
        Ok(self.access.begin_for(right, known(user, digest, now)))
    }

    /// The session, if its user may still look; with what the user may do now.
    pub(super) async fn confirmed(&self, secret: &str, session: WebSession) -> Result<WebSession, NoLogin> {
        let now = self.clock.now();
        let Some(user) = session.proxmox.as_ref().filter(|user| !user.is_known_at(now)) else { return Ok(session) };
        let digest = user.digest;
        let answer = match self.ask(WebQuestion::Again(digest)).await? {
            WebAnswer::Known(user) => allowed(user),
            WebAnswer::Unknown | WebAnswer::Forgotten => Err(NoLogin::Unknown),
        };
        match answer {
            // It may have ended meanwhile.
            Ok((right, user)) => self.access.confirm(secret, right, known(user, digest, now)).ok_or(NoLogin::Unknown),
            Err(gone) => {
                self.access.sign_out(secret);
                Err(gone)
            }
        }
    }

    /// Nobody uses it any more, so the root process need not keep it.
    pub(super) async fn forget(&self, digest: Digest) {
        // It forgets it by itself, only later.
        self.ask(WebQuestion::Forget(digest)).await.ok();
    }

    fn may_try(&self, from: Source, now: Timestamp) -> bool {
        let mut tries = lock(&self.tries);
        tries.retain(|_, left| !left.is_full(now));
        if tries.len() >= MAX_SOURCES && !tries.contains_key(&from) {
            return false;
        }
        tries.entry(from).or_insert_with(|| TRIES.full(now)).take(now)
    }

    async fn ask(&self, question: WebQuestion) -> Result<WebAnswer, NoLogin> {
        match timeout(PATIENCE, self.channel.web_access(question)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Failure { cause: Cause::Busy, .. })) => Err(NoLogin::TooMany),
            Ok(Err(failure)) => {
                warn!(why = %failure, "Cannot ask Proxmox who may look at the page");
                Err(NoLogin::Unanswered)
            }
            Err(_) => {
                warn!("The root process does not say in time who may look at the page");
                Err(NoLogin::Unanswered)
            }
        }
    }
}

/// What somebody may do who may look.
fn allowed(user: WebUser) -> Result<(Right, WebUser), NoLogin> {
    match user.right {
        WebRight::None => Err(NoLogin::MayNot(user.user)),
        WebRight::Audit => Ok((Right::Look, user)),
        WebRight::AuditAndModify => Ok((Right::Renew, user)),
    }
}

fn known(user: WebUser, digest: Digest, now: Timestamp) -> ProxmoxUser {
    let good_for = Duration::from_secs(user.good_for);
    ProxmoxUser { name: user.user, digest, asked: now, good_until: now + good_for, ends: user.ends }
}

/// As Proxmox knows it: without the word that a header or cookie has before it, and not escaped as a browser keeps a cookie.
fn canonical(pasted: &str) -> Zeroizing<String> {
    let text = pasted.trim().trim_end_matches(';');
    let bare = ["PVEAPIToken=", "PVEAuthCookie="].iter().find_map(|word| text.strip_prefix(word));
    let text = bare.unwrap_or(text);
    let unescaped = text.starts_with("PVE%3A").then(|| percent_decode_str(text).decode_utf8().ok()).flatten();
    Zeroizing::new(unescaped.map_or_else(|| text.to_owned(), |text| text.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_copy_is_understood() {
        for (pasted, text) in [
            (" anna@pve!page=12ab \n", "anna@pve!page=12ab"),
            ("PVEAPIToken=anna@pve!page=12ab", "anna@pve!page=12ab"),
            ("PVEAuthCookie=PVE%3Aanna%40pve%3A65A1B2C3%3A%3AAA%2B%3D;", "PVE:anna@pve:65A1B2C3::AA+="),
            ("PVE%3Aanna@pve%3A65A1B2C3%3A%3AAA+/%3D", "PVE:anna@pve:65A1B2C3::AA+/="),
            ("PVE:anna@pve:65A1B2C3::AA+=", "PVE:anna@pve:65A1B2C3::AA+="),
            ("PVE%3A%FF", "PVE%3A%FF"),
        ] {
            assert_eq!(canonical(pasted).as_str(), text);
        }
    }
}
