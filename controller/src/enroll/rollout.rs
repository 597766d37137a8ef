//! How a newer agent gets into all guests: one first, then a few at a time, and no more after the first that goes wrong.
//!
//! Answers: may one more agent be replaced now?
//! Invariant: the first guest, the canary, has to be linked by the newer agent and to serve what it served before anybody
//! follows. One that does not come back so gets its earlier agent again, and stops all others until a person has seen to
//! it, or the controller is started anew, which begins with one again.

use std::time::Duration;

use pinion_proto::{
    id::Vmid,
    stage::{Halt, Trouble},
};

/// After the canary so many are replaced at once.
const AT_ONCE: usize = 4;

/// A guest that is linked again has to serve what it served within this time: its agent looks at each service anew.
pub(super) const PROVING_TIME: Duration = Duration::from_secs(120);

/// The state of replacing agents.
#[derive(Debug, Default)]
pub(super) struct Rollout {
    /// Whether the packaged agent has proven itself in one guest.
    proven: bool,
    /// Where it went wrong, and how.
    stopped: Option<(Vmid, String)>,
}

impl Rollout {
    /// Whether one more agent may be replaced while so many are.
    pub(super) fn may_start(&self, under_way: usize) -> bool {
        self.stopped.is_none() && under_way < if self.proven { AT_ONCE } else { 1 }
    }

    /// A guest is linked by the packaged agent, and serves what it served.
    pub(super) fn proven(&mut self) {
        self.proven = true;
    }

    /// A guest did not come back as it was.
    pub(super) fn stop(&mut self, guest: Vmid, why: &str) {
        self.stopped.get_or_insert((guest, why.to_owned()));
    }

    /// A person wants it tried again, with one guest first.
    pub(super) fn resume(&mut self) {
        *self = Self::default();
    }

    /// Why no agent is replaced any more, if so.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let (guest, why) = self.stopped.as_ref()?;
        Some(Trouble {
            halt: Halt::Blocked,
            attempt: format!("bring agent {} into all guests", env!("CARGO_PKG_VERSION")),
            cause: format!("in guest {guest} {why}; its previous agent was restored, and no other agent is replaced"),
            remedy: format!(
                "read `journalctl -u pinion-agent` in guest {guest}; to try again there, run `pinion guest enroll \
                 {guest}`: the other guests follow when it is served"
            ),
            retry_at: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_first_then_some_and_none_after_one_that_went_wrong() {
        let guest = Vmid::try_from(101).expect("a VMID");
        let mut rollout = Rollout::default();
        assert!(rollout.may_start(0) && !rollout.may_start(1), "the canary is alone");
        rollout.proven();
        assert!(rollout.may_start(AT_ONCE - 1) && !rollout.may_start(AT_ONCE));
        assert!(rollout.trouble().is_none());
        rollout.stop(guest, "it did not link");
        rollout.stop(Vmid::try_from(102).expect("a VMID"), "nor did this");
        assert!(!rollout.may_start(0));
        let trouble = rollout.trouble().expect("told").to_string();
        assert!(
            trouble.contains("guest 101 it did not link") && trouble.contains("pinion guest enroll 101"),
            "{trouble}"
        );
        rollout.resume();
        assert!(rollout.may_start(0) && !rollout.may_start(1), "with one first again");
    }
}
