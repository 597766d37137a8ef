//! What became of each entry, why, and what to look at: for people and as JSON.
//!
//! Invariant: every entry of the old manifest is in it, and every command that is not taken over.

use std::{collections::BTreeMap, fmt};

use pinion_proto::{id::Guest, printable::Shown};
use schemars::JsonSchema;
use serde::Serialize;

use super::{allow::Allow, hook::Hook};

/// All that is to be said about an import.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Import")]
pub struct Report {
    /// Each entry of the old manifest, in its order.
    pub entries: Vec<EntryReport>,
    /// What each guest's agent must allow besides its defaults.
    pub allow: BTreeMap<Guest, Allow>,
    /// Files to review.
    pub hooks: Vec<Hook>,
    /// How many certificates there are.
    pub certificates: usize,
    /// How many places they are in.
    pub placements: usize,
}

/// What became of an entry.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EntryReport {
    /// Its number in the old manifest, counted from 1.
    pub entry: usize,
    /// Where it begins in the old manifest.
    pub line: usize,
    /// The name that it is for.
    pub common_name: String,
    /// The placements.
    pub became: Vec<Became>,
    /// Why it became these.
    pub why: Vec<String>,
    /// What a person should look at.
    pub look_at: Vec<String>,
}

/// A placement that an entry became.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Became {
    /// Its name, as `docker@1001`.
    pub placement: String,
    /// The recipe that it has.
    pub recipe: Option<&'static str>,
    /// The hook to review that it names.
    pub hook: Option<String>,
}

impl Report {
    /// How many things a person should look at, hooks too.
    #[must_use]
    pub fn to_look_at(&self) -> usize {
        self.entries.iter().map(|entry| entry.look_at.len()).sum::<usize>() + self.allow.len() + self.hooks.len()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.entries {
            writeln!(f, "{entry}")?;
        }
        for (guest, allow) in &self.allow {
            writeln!(f, "{}: its /etc/pinion/agent.toml needs, under [allow]:", place(*guest))?;
            for line in allow.lines() {
                writeln!(f, "  {}", Shown(&line))?;
            }
            writeln!(f)?;
        }
        for hook in &self.hooks {
            let Hook { file, name, .. } = hook;
            if hook.named {
                let place = place(hook.guest);
                writeln!(
                    f,
                    "hook {file}: review it, then put it into {place} as /etc/pinion/hooks.d/{}",
                    name.as_str()
                )?;
            } else {
                writeln!(
                    f,
                    "hook {file}: for reading alone; its commands ran on the host, and Pinion does not run them"
                )?;
            }
        }
        write!(
            f,
            "{} became {} in {}; {} to look at",
            count(self.entries.len(), "entry", "entries"),
            count(self.certificates, "certificate", "certificates"),
            count(self.placements, "place", "places"),
            count(self.to_look_at(), "thing", "things"),
        )
    }
}

impl fmt::Display for EntryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "entry {}, line {}: {}", self.entry, self.line, Shown(&self.common_name))?;
        for became in &self.became {
            write!(f, "  became {}", Shown(&became.placement))?;
            if let Some(recipe) = became.recipe {
                write!(f, ", recipe {recipe}")?;
            }
            match &became.hook {
                Some(hook) => writeln!(f, ", hook {hook}")?,
                None => writeln!(f)?,
            }
        }
        for why in &self.why {
            writeln!(f, "  why: {}", Shown(why))?;
        }
        for look in &self.look_at {
            writeln!(f, "  look at: {}", Shown(look))?;
        }
        Ok(())
    }
}

fn place(guest: Guest) -> String {
    match guest {
        Guest::Host => "the host".into(),
        Guest::Vmid(vmid) => format!("guest {vmid}"),
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
