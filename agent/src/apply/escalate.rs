//! How firmly a service is notified: with the mildest action of its recipe first, with the next one when that has failed
//! often enough.
//!
//! Invariant: the level depends on nothing but how often the service was notified in vain since it last showed what it
//! should.

use crate::recipe::{Levels, ReloadAction};

/// How often one level is tried before the next one.
const TRIES_PER_LEVEL: u32 = 3;

/// How often a service was notified in vain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Escalation {
    in_vain: u32,
}

impl Escalation {
    /// The action of the level that is reached, out of all levels; the last one stays.
    pub(super) fn action(self, levels: &Levels) -> &ReloadAction {
        levels.at(usize::try_from(self.in_vain / TRIES_PER_LEVEL).unwrap_or(usize::MAX))
    }

    /// Whether the next level comes after one more try in vain.
    pub(super) fn is_last_of_level(self) -> bool {
        self.in_vain % TRIES_PER_LEVEL == TRIES_PER_LEVEL - 1
    }

    /// The service was notified and does not show what it should.
    pub(super) fn failed(&mut self) {
        self.in_vain = self.in_vain.saturating_add(1);
    }

    /// The service shows what it should.
    pub(super) fn reset(&mut self) {
        self.in_vain = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_is_tried_three_times_and_the_last_one_for_ever() {
        let unit = || "web.service".parse().expect("a unit");
        let container = || "web".parse().expect("a container");
        let (reload, restart) = (ReloadAction::Reload(unit()), ReloadAction::Restart(unit()));
        let stop = ReloadAction::RestartContainer(container());
        let levels = Levels::new(reload.clone(), vec![restart.clone(), stop.clone()]);
        for (failures, expected) in [
            (0, &reload),
            (1, &reload),
            (2, &reload),
            (3, &restart),
            (5, &restart),
            (6, &stop),
            (8, &stop),
            (9, &stop),
            (u32::MAX, &stop),
        ] {
            assert_eq!(Escalation { in_vain: failures }.action(&levels), expected, "after {failures}");
            let only = Levels::new(reload.clone(), Vec::new());
            assert_eq!(Escalation { in_vain: failures }.action(&only), &reload, "there is nothing else");
        }
    }

    #[test]
    fn a_service_that_shows_what_it_should_is_notified_mildly_again() {
        let mut escalation = Escalation::default();
        for in_vain in 1..=4 {
            escalation.failed();
            assert_eq!(escalation, Escalation { in_vain });
        }
        escalation.reset();
        assert_eq!(escalation, Escalation::default());
        let mut at_the_end = Escalation { in_vain: u32::MAX };
        at_the_end.failed();
        assert_eq!(at_the_end.in_vain, u32::MAX, "it does not begin anew by itself");
    }
}
