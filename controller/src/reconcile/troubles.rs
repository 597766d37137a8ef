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
        remedy: format!(
            "remove its placements from the manifest, and run `pinion guest forget {guest}` to remove \
            this notice"
        ),
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
            "remove its placements from the manifest; or let it in again with `pinion guest enroll {guest}` or a \
             join token"
        ),
        retry_at: None,
    }
}

/// Which guests were evicted cannot be read.
pub(super) fn evictions_unreadable(why: &str) -> Trouble {
    Trouble {
        halt: Halt::Blocked,
        attempt: "read the list of evicted guests".into(),
        cause: format!("{why}; until then Pinion enrols no guest by itself"),
        remedy:
            "restore the file from a backup; or remove it: if it is the one in `local`, its copy in `shared` is used \
             then; evict the guests again that are missing in it: `pinion events` lists them"
                .into(),
        retry_at: None,
    }
}

/// A guest's agent does not know every field of a placement: `lacks` is the level of the newest.
pub(super) fn agent_too_old(label: &str, guest: Guest, version: &str, lacks: u32, by_itself: bool) -> Trouble {
    let (halt, remedy) = if by_itself {
        (Halt::Waiting, "nothing: Pinion replaces the agent through the hypervisor".to_owned())
    } else {
        let what = "install the package `pinion-agent` of the controller's version";
        (Halt::Blocked, format!("{what} in guest {guest}, or run `pinion guest enroll {guest}` here"))
    };
    let what = match lacks {
        1 => "several services in one placement: it reloads and probes the first one only",
        5 => "\"watch\": true: it does not look at what is served",
        4 => "a `unit` in this placement's `probe`: it restarts whichever service it takes for that one",
        3 => "the file parts der, pkcs12, jks and encrypted_key: it leaves them out",
        _ => "a field of this placement's `probe`, `proxy_protocol` or `starttls`: it ignores it",
    };
    let cause = format!("the agent in guest {guest} ({version}) is too old for {what}");
    Trouble { halt, attempt: format!("keep {label}"), cause, remedy, retry_at: None }
}

/// A guest holds an identity newer than what is on record, and the hypervisor lets it join anew, or only a person can.
pub(super) fn must_rejoin(label: &str, guest: Guest, by_itself: bool) -> Trouble {
    let (halt, remedy) = if by_itself {
        (Halt::Waiting, "nothing: Pinion lets it join again through the hypervisor".to_owned())
    } else {
        let how = "`pinion-agent join` in the guest";
        (Halt::Blocked, format!("let it join again: run `pinion token create --guest {guest}` here, and {how}"))
    };
    let cause = format!(
        "guest {guest} has an identity newer than this controller's state, which was restored from a backup or lost \
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
            "free space on its disk, or let the user that runs `pinion serve` write there; on a cluster's /etc/pve \
             check the quorum with `pvecm status`; {WHILE_UNWRITABLE}"
        ),
        retry_at: None,
    }
}

/// A guest had one certificate signed after the other, and is left alone for a while.
pub(super) fn too_many_signed(id: &PlacementId, allowed: u64, next: Timestamp) -> Trouble {
    Trouble {
        halt: Halt::Waiting,
        attempt: format!("have {id} signed"),
        cause: format!("{allowed} certificates were signed for it in a short time, and now it gets one a minute"),
        remedy: format!(
            "read the agent's log in the guest (`journalctl -u pinion-agent`); to sign another now, run \
            `pinion ensure {id} --renew`"
        ),
        retry_at: Some(next),
    }
}

/// There is no shared key to sign a certificate for: it waits until the shared state can be written, or needs a person.
pub(super) fn no_shared_key(certificate: &CertificateName, generation: u64, waits: bool, cause: String) -> Trouble {
    let (halt, remedy) = if waits {
        (
            Halt::Waiting,
            "nothing for this key: Pinion stores a shared key before it uses it, and continues as soon as the shared \
             state can be written",
        )
    } else {
        (
            Halt::Blocked,
            "check that the controller can write to its state directory, and that the files there are \
            undamaged",
        )
    };
    let attempt = format!("create the shared key of {certificate} for generation {generation}");
    Trouble { halt, attempt, cause, remedy: remedy.to_owned(), retry_at: None }
}
