//! A trouble, between the generated messages and the checked one.

use super::pb;
use crate::{
    clock::Timestamp,
    stage::{Halt, Trouble},
};

pub(super) fn read_trouble(trouble: pb::Trouble) -> Trouble {
    Trouble {
        halt: if trouble.blocked { Halt::Blocked } else { Halt::Waiting },
        attempt: printable(&trouble.attempt),
        cause: printable(&trouble.cause),
        remedy: printable(&trouble.remedy),
        retry_at: (trouble.retry_at != 0).then(|| Timestamp::from_unix(trouble.retry_at)),
    }
}

pub(super) fn write_trouble(trouble: Trouble) -> pb::Trouble {
    pb::Trouble {
        blocked: trouble.halt == Halt::Blocked,
        attempt: trouble.attempt,
        cause: trouble.cause,
        remedy: trouble.remedy,
        retry_at: trouble.retry_at.map_or(0, Timestamp::unix),
    }
}

/// Words from the other side, for people: one printable line, of a length that a screen takes.
pub(super) fn printable(text: &str) -> String {
    crate::printable::line(text, 4000)
}
