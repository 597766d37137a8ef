//! Whether all is well, in one word for each placement and one line for all.
//!
//! Answers: what do `pinion status --check` and systemd say?
//! Invariant: a placement counts once, under the worst that is true of it.

use std::fmt;

use crate::stage::{Halt, Validity};

/// How many placements a line names of each kind.
const MAX_NAMED: usize = 3;

/// How a placement is, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing is to be done, or it is being done.
    Good,
    /// Something that is due waits, and continues by itself.
    Waiting,
    /// It needs a person.
    Blocked,
    /// What it holds is past its end.
    Expired,
}

impl Verdict {
    /// Of a placement that holds something this good, is held up by this, and for which something is due or not.
    #[must_use]
    pub fn of(validity: Option<Validity>, halt: Option<Halt>, is_due: bool) -> Self {
        match (validity, halt) {
            (Some(Validity::Expired), _) => Self::Expired,
            (_, Some(Halt::Blocked)) => Self::Blocked,
            (_, Some(Halt::Waiting)) if is_due => Self::Waiting,
            _ => Self::Good,
        }
    }
}

/// How many placements are how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    all: usize,
    expired: Kind,
    blocked: Kind,
    waiting: Kind,
}

/// Those that are alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Kind {
    count: usize,
    named: Vec<String>,
}

impl Tally {
    /// Counts one more; its name is asked for where there is room for it.
    pub fn add(&mut self, verdict: Verdict, name: impl FnOnce() -> String) {
        self.all += 1;
        let kind = match verdict {
            Verdict::Good => return,
            Verdict::Waiting => &mut self.waiting,
            Verdict::Blocked => &mut self.blocked,
            Verdict::Expired => &mut self.expired,
        };
        kind.count += 1;
        if kind.named.len() < MAX_NAMED {
            kind.named.push(name());
        }
    }

    /// The worst of all.
    #[must_use]
    pub fn worst(&self) -> Verdict {
        let kinds =
            [(&self.expired, Verdict::Expired), (&self.blocked, Verdict::Blocked), (&self.waiting, Verdict::Waiting)];
        kinds.into_iter().find(|(kind, _)| kind.count > 0).map_or(Verdict::Good, |(_, verdict)| verdict)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, word) in [(&self.expired, "expired"), (&self.blocked, "blocked"), (&self.waiting, "waiting")] {
            if kind.count == 0 {
                continue;
            }
            write!(f, "{} {word} ({}", kind.count, kind.named.join(", "))?;
            match kind.count - kind.named.len() {
                0 => f.write_str("), ")?,
                more => write!(f, " and {more} more), ")?,
            }
        }
        let good = self.all - self.expired.count - self.blocked.count - self.waiting.count;
        match self.all {
            1 => write!(f, "{good} of 1 placement good"),
            all => write!(f, "{good} of {all} placements good"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placement_counts_under_the_worst_that_is_true_of_it() {
        use Validity::{Expired, Expiring, Ok};
        for (validity, halt, is_due, expected) in [
            (Some(Ok), None, false, Verdict::Good),
            (None, None, true, Verdict::Good),
            // A guest is stopped whose certificate is good.
            (Some(Ok), Some(Halt::Waiting), false, Verdict::Good),
            (None, Some(Halt::Waiting), true, Verdict::Waiting),
            (Some(Expiring), Some(Halt::Waiting), true, Verdict::Waiting),
            (Some(Ok), Some(Halt::Blocked), false, Verdict::Blocked),
            (Some(Expiring), Some(Halt::Blocked), true, Verdict::Blocked),
            (Some(Expired), None, true, Verdict::Expired),
            (Some(Expired), Some(Halt::Waiting), true, Verdict::Expired),
        ] {
            assert_eq!(Verdict::of(validity, halt, is_due), expected, "{validity:?} {halt:?} {is_due}");
        }
    }

    #[test]
    fn the_line_names_the_worst_first_and_not_all_of_many() {
        let mut tally = Tally::default();
        assert_eq!((tally.to_string().as_str(), tally.worst()), ("0 of 0 placements good", Verdict::Good));
        tally.add(Verdict::Good, || unreachable!("nobody asks who is good"));
        assert_eq!(tally.to_string(), "1 of 1 placement good");
        for number in 101..106 {
            tally.add(Verdict::Waiting, || format!("web@{number}"));
        }
        assert_eq!(tally.worst(), Verdict::Waiting);
        tally.add(Verdict::Blocked, || "mail@101".into());
        assert_eq!(tally.worst(), Verdict::Blocked);
        tally.add(Verdict::Expired, || "db@101".into());
        assert_eq!(tally.worst(), Verdict::Expired);
        assert_eq!(
            tally.to_string(),
            "1 expired (db@101), 1 blocked (mail@101), 5 waiting (web@101, web@102, web@103 and 2 more), 1 of 8 \
             placements good"
        );
    }
}
