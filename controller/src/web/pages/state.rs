//! How a placement is: a word, a shape and a colour, always together.

use pinion_proto::{clock::Timestamp, stage::Validity, verdict::Verdict};

use super::frame::{Moment, path_of};
use crate::admin::protocol::PlacementStatus;

/// How a placement is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Expired,
    Blocked,
    Expiring,
    Waiting,
    UnderWay,
    Good,
    Retired,
}

impl State {
    pub(super) const ALL: [Self; 7] =
        [Self::Expired, Self::Blocked, Self::Expiring, Self::Waiting, Self::UnderWay, Self::Good, Self::Retired];

    pub(super) fn of(status: &PlacementStatus) -> Self {
        if status.retired && !status.counts() {
            return Self::Retired;
        }
        match (status.verdict(), status.validity) {
            (Verdict::Expired, _) => Self::Expired,
            (Verdict::Blocked, _) => Self::Blocked,
            (_, Some(Validity::Expiring)) => Self::Expiring,
            (Verdict::Waiting, _) => Self::Waiting,
            (Verdict::Good, _) if status.due || status.stage < status.goal => Self::UnderWay,
            (Verdict::Good, _) => Self::Good,
        }
    }

    /// The word, which is also the name of its colour in the style.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Blocked => "blocked",
            Self::Expiring => "expiring",
            Self::Waiting => "waiting",
            Self::UnderWay => "under way",
            Self::Good => "good",
            Self::Retired => "retired",
        }
    }

    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::UnderWay => "under-way",
            other => other.word(),
        }
    }

    /// The shape.
    pub(super) const fn symbol(self) -> &'static str {
        match self {
            Self::Expired => "✕",
            Self::Blocked => "■",
            Self::Expiring => "▲",
            Self::Waiting => "◐",
            Self::UnderWay => "▷",
            Self::Good => "✓",
            Self::Retired => "–",
        }
    }

    /// Whether a person should look before anything else.
    pub(super) const fn needs_a_person(self) -> bool {
        matches!(self, Self::Expired | Self::Blocked | Self::Expiring)
    }
}

/// A placement in a list.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) placement: String,
    pub(super) path: String,
    pub(super) state: State,
    pub(super) stage: String,
    pub(super) guest: String,
    pub(super) names: String,
    pub(super) more_names: usize,
    pub(super) all_names: String,
    pub(super) issuer: String,
    pub(super) expires: Option<Moment>,
    pub(super) renews: Option<Moment>,
    pub(super) cause: String,
    pub(super) remedy: String,
    pub(super) retries: Option<Moment>,
    pub(super) not_after: Option<Timestamp>,
    pub(super) renew_at: Option<Timestamp>,
}

impl Row {
    pub(super) fn of(status: &PlacementStatus, now: Timestamp) -> Self {
        let moment = |at: Option<Timestamp>| at.map(|at| Moment::of(at, now));
        let names: Vec<String> = status.names.iter().flat_map(|names| names.iter()).map(|name| name.plain()).collect();
        let trouble = status.trouble.as_ref();
        let number = status.guest.map_or_else(String::new, |guest| guest.to_string());
        Self {
            path: path_of(&status.placement),
            state: State::of(status),
            stage: status.stage.to_string(),
            guest: match &status.guest_name {
                Some(name) => format!("{name} ({number})"),
                None if number == "host" => "this host".to_owned(),
                None => format!("guest {number}"),
            },
            more_names: names.len().saturating_sub(1),
            all_names: names.join(", "),
            names: names.into_iter().next().unwrap_or_else(|| {
                if status.watched { "not seen yet".to_owned() } else { "roots of its issuer".to_owned() }
            }),
            issuer: status.issuer.clone(),
            expires: moment(status.not_after),
            renews: moment(status.renew_at),
            cause: trouble.map(|trouble| format!("{}: {}", trouble.attempt, trouble.cause)).unwrap_or_default(),
            remedy: trouble.map(|trouble| trouble.remedy.clone()).unwrap_or_default(),
            retries: moment(trouble.and_then(|trouble| trouble.retry_at)),
            not_after: status.not_after,
            renew_at: status.renew_at,
            placement: status.placement.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_word_a_class_and_a_shape_of_its_own() {
        for (at, one) in State::ALL.iter().enumerate() {
            for other in State::ALL.iter().skip(at + 1) {
                assert_ne!(one.word(), other.word());
                assert_ne!(one.class(), other.class());
                assert_ne!(one.symbol(), other.symbol());
            }
        }
    }
}
