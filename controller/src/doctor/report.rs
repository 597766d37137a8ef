//! What was found, in the order of its areas.

use schemars::JsonSchema;
use serde::Serialize;

/// Everything that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Doctor")]
pub(crate) struct Report {
    /// Whether nothing needs a person.
    pub(crate) ok: bool,
    /// What was looked at, area by area.
    pub(crate) findings: Vec<Finding>,
}

/// What was looked at, and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "DoctorFinding")]
pub(crate) struct Finding {
    /// What it belongs to.
    pub(crate) area: Area,
    /// How it is.
    pub(crate) level: Level,
    /// What was looked at and how it is: a sentence.
    pub(crate) message: String,
    /// What to do; null if there is nothing to do.
    pub(crate) remedy: Option<String>,
}

/// What a finding belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Area {
    /// controller.toml, the manifest and the files that they name.
    Configuration,
    /// Owners and modes of files, directories and sockets.
    Files,
    /// Room on the file systems.
    Disk,
    /// The units, and which versions are installed and run.
    Programs,
    /// Proxmox's tools and its replicated file system.
    Proxmox,
    /// The addresses that agents dial.
    Network,
    /// This host's clock.
    Clock,
    /// Who signs.
    Issuers,
    /// What the controller itself says.
    Controller,
    /// Guests and their agents.
    Guests,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    /// As it should be.
    Good,
    /// It could not be looked at.
    Skipped,
    /// Worth knowing; it needs nobody.
    Note,
    /// It needs a person.
    Problem,
}

/// What is found, in the order in which it is looked at.
#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn add(
        &mut self,
        area: Area,
        level: Level,
        message: impl Into<String>,
        remedy: impl Into<Option<String>>,
    ) {
        self.0.push(Finding { area, level, message: message.into(), remedy: remedy.into() });
    }

    pub(super) fn good(&mut self, area: Area, message: impl Into<String>) {
        self.add(area, Level::Good, message, None);
    }

    pub(super) fn skipped(&mut self, area: Area, message: impl Into<String>) {
        self.add(area, Level::Skipped, message, None);
    }

    pub(super) fn problem(&mut self, area: Area, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(area, Level::Problem, message, remedy.into());
    }

    pub(super) fn note(&mut self, area: Area, message: impl Into<String>, remedy: impl Into<Option<String>>) {
        self.add(area, Level::Note, message, remedy);
    }

    pub(super) fn report(mut self) -> Report {
        // Stable: within an area things stay as they were looked at.
        self.0.sort_by_key(|finding| finding.area);
        let ok = self.0.iter().all(|finding| finding.level != Level::Problem);
        Report { ok, findings: self.0 }
    }
}

/// Names, not all of many.
pub(super) fn few(names: &[String]) -> String {
    const MAX: usize = 8;
    let more = names.len().saturating_sub(MAX);
    let shown = names.iter().take(MAX).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::few;

    #[test]
    fn of_many_names_a_few_are_shown() {
        let names: Vec<String> = (1..=10).map(|number| number.to_string()).collect();
        assert_eq!(few(&names), "1, 2, 3, 4, 5, 6, 7, 8 and 2 more");
        assert_eq!(few(&names[..8]), "1, 2, 3, 4, 5, 6, 7, 8");
    }
}
