//! What `pvesh get /cluster/resources --type vm --output-format json` prints: which guests run.
//!
//! Invariant: an entry that cannot be understood says nothing; only output that is no list at all is an error.

use std::{collections::BTreeMap, sync::Arc};

use pinion_proto::{id::Vmid, stage::Trouble};
use serde_json::Value;
use thiserror::Error;

/// Some 500 bytes a guest (bytes).
pub const MOST_RESOURCES: usize = 32 * 1024 * 1024;

/// Which guests run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct States {
    running: BTreeMap<Vmid, bool>,
}

/// Whether Proxmox has said which guests run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Asked {
    /// It was not asked yet, or has only just failed to answer.
    #[default]
    NotYet,
    /// It has.
    Known(Arc<States>),
    /// It does not answer.
    Failed(Trouble),
}

impl Asked {
    /// What it said.
    #[must_use]
    pub fn states(&self) -> Option<&States> {
        match self {
            Self::Known(states) => Some(states),
            Self::NotYet | Self::Failed(_) => None,
        }
    }

    /// Why it says nothing.
    #[must_use]
    pub fn trouble(&self) -> Option<&Trouble> {
        match self {
            Self::Failed(trouble) => Some(trouble),
            Self::NotYet | Self::Known(_) => None,
        }
    }
}

impl States {
    /// Guests that run, and guests that do not.
    #[must_use]
    pub fn new(running: BTreeMap<Vmid, bool>) -> Self {
        Self { running }
    }

    /// Reads the output. `running` and `stopped` are told; a guest in any other state, `unknown` for one, is not.
    ///
    /// # Errors
    /// The output is too large, or no list.
    pub fn parse(bytes: &[u8]) -> Result<Self, ResourcesError> {
        if bytes.len() > MOST_RESOURCES {
            return Err(ResourcesError::TooLarge);
        }
        let entries: Vec<Value> = serde_json::from_slice(bytes)?;
        Ok(Self { running: entries.iter().filter_map(state).collect() })
    }

    /// Whether a guest runs; none when nobody has said.
    #[must_use]
    pub fn running(&self, vmid: Vmid) -> Option<bool> {
        self.running.get(&vmid).copied()
    }
}

fn state(entry: &Value) -> Option<(Vmid, bool)> {
    let vmid = entry.get("vmid")?;
    // Perl prints a number that it has used as text as text.
    let number = vmid.as_u64().or_else(|| vmid.as_str()?.parse().ok())?;
    let vmid = Vmid::try_from(u32::try_from(number).ok()?).ok()?;
    let running = match entry.get("status")?.as_str()? {
        "running" => true,
        "stopped" => false,
        _ => return None,
    };
    Some((vmid, running))
}

/// Why the output says nothing.
#[derive(Debug, Error)]
pub enum ResourcesError {
    /// Not what was asked for.
    #[error("the output of pvesh is not a list of guests")]
    Json(#[from] serde_json::Error),
    /// Longer than any.
    #[error("the output of pvesh is longer than {MOST_RESOURCES} bytes")]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vmid(number: u32) -> Vmid {
        Vmid::try_from(number).expect("a VMID")
    }

    #[test]
    fn what_runs_is_told_and_what_is_new_is_passed_over() {
        let states = States::parse(
            br#"[{"cpu":0.01,"disk":0,"id":"lxc/101","node":"pve1","status":"running","type":"lxc","vmid":101},
                 {"id":"qemu/1001","status":"stopped","vmid":"1001"}, {"id":"qemu/1002","status":"unknown","vmid":1002},
                 {"id":"qemu/1003","status":"dreaming","vmid":1003}, {"status":"running"}, {"vmid":-1,"status":"running"},
                 {"vmid":7,"status":"running"}, null, 3, "x", []]"#,
        )
        .expect("a list");
        let told: Vec<_> = [101, 1001, 1002, 1003].map(|number| states.running(vmid(number))).into();
        assert_eq!(told, [Some(true), Some(false), None, None]);
    }

    #[test]
    fn other_output_is_an_error() {
        for text in ["", "no such command", "{}", "[{\"vmid\":101"] {
            assert!(States::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
            States::parse(&bytes).ok();
        }
    }
}
