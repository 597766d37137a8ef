//! The list of guests, as far as it can be believed.
//!
//! Invariant: a list is taken only if it counts at least as far as `.version` does, so that one which the kernel has
//! kept from before is never taken for the present one.

use std::path::Path;

use pinion_proto::causes::chain;

use super::{
    super::{
        InventoryProblem,
        read::limited,
        vmlist::{MAX_LIST, VmList},
    },
    unreadable::{FAILURES_TOLD, unreadable},
};

/// A list that is older than `.version` for so many looks is no matter of a second any more.
const LAGS_TOLD: u32 = 10;

/// The list of guests.
#[derive(Debug, Default)]
pub(super) struct List {
    known: Option<VmList>,
    /// How often in a row it could not be read, or was old.
    failures: u32,
    problem: Option<InventoryProblem>,
}

impl List {
    /// The list that was taken last.
    pub(super) fn known(&self) -> Option<&VmList> {
        self.known.as_ref()
    }

    /// Whether the last look found one that could be taken.
    pub(super) fn is_current(&self) -> bool {
        self.known.is_some() && self.failures == 0
    }

    /// Why it is not known as it is now.
    pub(super) fn problem(&self) -> Option<&InventoryProblem> {
        self.problem.as_ref()
    }

    /// Looks at it; `counted` is `vmlist` of `.version`. Whether anything is known otherwise than before.
    pub(super) fn look(&mut self, directory: &Path, counted: Option<u64>) -> bool {
        let path = directory.join(".vmlist");
        let read = limited(&path, MAX_LIST).map_err(|error| unreadable(&path, &error));
        let parsed = read.and_then(|bytes| {
            VmList::parse(&bytes).map_err(|error| InventoryProblem {
                cause: format!("cannot read {}: {}", path.display(), chain(&error)),
                remedy: "run `systemctl status pve-cluster`".to_owned(),
            })
        });
        let before = self.problem.clone();
        let listed = match parsed {
            Ok(list) => match (list.version, counted) {
                (Some(own), Some(counted)) if own < counted => {
                    let cause = format!("{} has version {own}, but .version says {counted}", path.display());
                    let remedy = "if this lasts, restart pve-cluster (`systemctl restart pve-cluster`)";
                    self.failed(InventoryProblem { cause, remedy: remedy.to_owned() }, LAGS_TOLD);
                    false
                }
                _ => self.take(list),
            },
            Err(problem) => {
                // At first there is nothing else to tell.
                let patience = if self.known.is_none() { 1 } else { FAILURES_TOLD };
                self.failed(problem, patience);
                false
            }
        };
        listed || before != self.problem
    }

    fn take(&mut self, list: VmList) -> bool {
        let other = self.known.as_ref() != Some(&list);
        *self = Self { known: Some(list), ..Self::default() };
        other
    }

    fn failed(&mut self, problem: InventoryProblem, patience: u32) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= patience {
            self.problem = Some(problem);
        }
    }
}
