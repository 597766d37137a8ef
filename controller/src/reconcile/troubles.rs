//! Every trouble of the loop, in the words that operators read: what was tried, why it failed, who must act, and what
//! to do.
//!
//! Answers: where are the words of a trouble? (Those of a plan are in `planner/words`, those of an issuer in
//! `issuer/error`.)

use pinion_proto::{
    clock::Timestamp,
    id::{CertificateName, Guest, PlacementId},
    stage::{Halt, Trouble},
};

use crate::{admin::caller::Caller, events::WHILE_UNWRITABLE};

/// A destroyed guest's placement is still in the manifest, or nobody has taken note of its end.
pub(super) fn destroyed(label: &str, guest: Guest) -> Trouble {
    Trouble {
        halt: Halt::Blocked,
        attempt: format!("keep {label}"),
        cause: format!("guest {guest} was destroyed"),
        remedy: format!("`pinion guest forget {guest}` takes note of it; take what it held out of the manifest"),
        retry_at: None,
    }
}

/// A placement's guest was evicted.
pub(super) fn evicted(label: &str, guest: Guest, compromised: bool, since: Timestamp, by: &Caller) -> Trouble {
    let how = if compromised { " as compromised" } else { "" };
    Trouble {
        halt: Halt::Blocked,
        attempt: format!("keep {label}"),
        cause: format!("guest {guest} was evicted{how} at {since}, by {by}"),
        remedy: format!(
            "take its placements out of the manifest; or `pinion guest enroll {guest}`, or a join token, lets it in again"
        ),
        retry_at: None,
    }
}

/// Which guests were evicted cannot be read.
pub(super) fn evictions_unreadable(why: &str) -> Trouble {
    Trouble {
        halt: Halt::Blocked,
        attempt: "read which guests were evicted".into(),
        cause: format!("{why}; until that is known, no guest is brought in by itself"),
        remedy:
            "put the file back from a backup; or remove it, and evict those guests again that are not to come back: \
                 `pinion events` has them"
                .into(),
        retry_at: None,
    }
}

/// A guest holds an identity newer than what is on record, and the hypervisor lets it join anew, or only a person can.
pub(super) fn must_rejoin(label: &str, guest: Guest, by_itself: bool) -> Trouble {
    let (halt, remedy) = if by_itself {
        (Halt::Waiting, "nothing: Pinion lets it join anew through the hypervisor".to_owned())
    } else {
        let how = "`pinion-agent join` in the guest";
        (Halt::Blocked, format!("let it join anew: `pinion token create --guest {guest}` here, and {how}"))
    };
    let cause = format!(
        "guest {guest} holds an identity newer than this controller's state, which was restored from a backup or lost \
         that guest's record"
    );
    Trouble { halt, attempt: link_attempt(label, guest), cause, remedy, retry_at: None }
}

/// What is attempted for a guest that must rejoin.
pub(super) fn link_attempt(label: &str, guest: Guest) -> String {
    format!("link guest {guest} for {label}")
}

/// The state that a cluster's nodes share cannot be written.
pub(super) fn shared_state(problem: &str) -> Trouble {
    Trouble {
        halt: Halt::Waiting,
        attempt: "write the shared state".to_owned(),
        cause: problem.to_owned(),
        remedy: format!(
            "make room on its disk, or let the user that runs `pinion serve` write there; on a cluster's /etc/pve \
             `pvecm status` shows the quorum; {WHILE_UNWRITABLE}"
        ),
        retry_at: None,
    }
}

/// A guest had one certificate signed after the other, and is left alone for a while.
pub(super) fn too_many_signed(id: &PlacementId, allowed: u64, next: Timestamp) -> Trouble {
    Trouble {
        halt: Halt::Waiting,
        attempt: format!("have {id} signed"),
        cause: format!("the guest had {allowed} certificates signed one after the other and kept none"),
        remedy: format!("look at the agent's log in the guest; `pinion ensure {id} --renew` does not wait"),
        retry_at: Some(next),
    }
}

/// There is no shared key to sign a certificate for: it waits until the shared state can be written, or needs a person.
pub(super) fn no_shared_key(certificate: &CertificateName, generation: u64, waits: bool, cause: String) -> Trouble {
    let (halt, remedy) = if waits {
        (
            Halt::Waiting,
            "a shared key is written down before it is used: Pinion goes on as soon as the shared state can be written",
        )
    } else {
        (Halt::Blocked, "see that the controller's state directory can be written, and that its files are whole")
    };
    let attempt = format!("make the shared key of {certificate} for generation {generation}");
    Trouble { halt, attempt, cause, remedy: remedy.to_owned(), retry_at: None }
}
