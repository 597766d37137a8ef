//! What Proxmox said of whom, for a minute; and the tickets of those who may look, as long as somebody uses them.
//!
//! Answers: is the answer known already, or may Proxmox be asked now?
//! Invariants: an answer is used for [`MAX_GOOD_FOR`] seconds at most, refusals too, also when the clock is set back. A ticket or
//! API token is kept only while its user may look. The number of everything is bounded, and so is how often Proxmox is asked. Time
//! comes in as an argument.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pinion_proto::clock::Timestamp;

use super::{
    credential::Credential,
    pvedaemon::Verdict,
    said::{MAX_GOOD_FOR, WebAnswer, WebRight, WebUser},
};
use crate::{
    digest::Digest,
    rate_limit::{RateLimit, TokenBucket},
};

/// More people than look at one host's certificates. Beyond that, the one who was away longest has to sign in again.
const MAX_KEPT: usize = 64;

/// Refusals that are remembered; [`SIGN_INS`] lets fewer happen in a minute.
const MAX_REFUSED: usize = 256;

/// An API token that nobody has used for so long is not kept, as the page's session ends then.
const MAX_IDLE: Duration = Duration::from_secs(12 * 60 * 60);

/// Tickets and API tokens that are new here: people sign in a few times a day, and at this rate guessing is hopeless.
const SIGN_INS: RateLimit = RateLimit { burst: 10, every: Duration::from_secs(2) };

/// Those that are kept: each is asked about once a minute, and more often only while Proxmox does not answer.
const AGAIN: RateLimit = RateLimit { burst: 2 * MAX_KEPT as u64, every: Duration::from_secs(1) };

/// What is remembered.
#[derive(Debug)]
pub(super) struct Remembered {
    entries: BTreeMap<Digest, Entry>,
    sign_ins: TokenBucket,
    again: TokenBucket,
}

#[derive(Debug)]
struct Entry {
    /// Who may look; nobody is remembered with a ticket who may not.
    kept: Option<Arc<Credential>>,
    answer: WebAnswer,
    asked: Timestamp,
    used: Timestamp,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This is the answer.
    Answer(WebAnswer),
    /// Proxmox is to be asked about this.
    Ask(Arc<Credential>),
    /// Proxmox was asked too often.
    Wait,
}

impl Remembered {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { entries: BTreeMap::new(), sign_ins: SIGN_INS.full(now), again: AGAIN.full(now) }
    }

    /// About a ticket or API token that somebody signs in with.
    pub(super) fn sign_in(&mut self, credential: Credential, now: Timestamp) -> Next {
        match self.known(credential.digest(), now) {
            Some(answer) => Next::Answer(answer),
            None if self.sign_ins.take(now) => Next::Ask(Arc::new(credential)),
            None => Next::Wait,
        }
    }

    /// About one that is kept.
    pub(super) fn again(&mut self, digest: Digest, now: Timestamp) -> Next {
        if let Some(answer) = self.known(digest, now) {
            return Next::Answer(answer);
        }
        match self.entries.get(&digest).and_then(|entry| entry.kept.clone()) {
            None => Next::Answer(WebAnswer::Forgotten),
            Some(credential) if self.again.take(now) => Next::Ask(credential),
            Some(_) => Next::Wait,
        }
    }

    /// Forgets it.
    pub(super) fn forget(&mut self, digest: Digest) {
        self.entries.remove(&digest);
    }

    /// Proxmox has said this of it, when it was asked at `asked`.
    pub(super) fn learned(&mut self, credential: Arc<Credential>, verdict: Verdict, asked: Timestamp) -> WebAnswer {
        let answer = match verdict {
            Verdict::Refused => WebAnswer::Unknown,
            Verdict::Privileges { audit, modify, permissions } => WebAnswer::Known(WebUser {
                user: credential.user().to_owned(),
                right: match (audit, modify) {
                    (false, _) => WebRight::None,
                    (true, false) => WebRight::Audit,
                    (true, true) => WebRight::AuditAndModify,
                },
                is_almighty: permissions,
                ends: credential.ends(),
                good_for: MAX_GOOD_FOR,
            }),
        };
        let may_look = matches!(&answer, WebAnswer::Known(user) if user.right != WebRight::None);
        let digest = credential.digest();
        self.entries.remove(&digest);
        self.make_room(may_look, asked);
        let kept = may_look.then_some(credential);
        self.entries.insert(digest, Entry { kept, answer: answer.clone(), asked, used: asked });
        answer
    }

    /// What is known of it now. What is over is forgotten.
    fn known(&mut self, digest: Digest, now: Timestamp) -> Option<WebAnswer> {
        self.entries.retain(|_, entry| !entry.is_over(now));
        let entry = self.entries.get_mut(&digest)?;
        entry.used = now;
        let left = entry.good_for(now).filter(|left| *left > 0)?;
        Some(match entry.answer.clone() {
            WebAnswer::Known(user) => WebAnswer::Known(WebUser { good_for: left, ..user }),
            other => other,
        })
    }

    fn make_room(&mut self, is_kept: bool, now: Timestamp) {
        self.entries.retain(|_, entry| !entry.is_over(now));
        let max = if is_kept { MAX_KEPT } else { MAX_REFUSED };
        let alike = |entry: &Entry| entry.kept.is_some() == is_kept;
        while self.entries.values().filter(|entry| alike(entry)).count() >= max {
            let oldest = self.entries.iter().filter(|(_, entry)| alike(entry)).min_by_key(|(_, entry)| entry.used);
            let Some(oldest) = oldest.map(|(digest, _)| *digest) else { return };
            self.entries.remove(&oldest);
        }
    }
}

impl Entry {
    /// For how many seconds it may still be used; none where the clock was set back.
    fn good_for(&self, now: Timestamp) -> Option<u64> {
        (self.asked <= now).then(|| MAX_GOOD_FOR.saturating_sub(now.since(self.asked).as_secs()))
    }

    fn is_over(&self, now: Timestamp) -> bool {
        let Some(credential) = &self.kept else { return self.good_for(now).is_none_or(|left| left == 0) };
        credential.ends().is_some_and(|ends| ends <= now) || now.since(self.used) >= MAX_IDLE
    }
}

#[cfg(test)]
mod tests;
