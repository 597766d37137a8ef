//! What was found of a fleet, phase by phase; and of a placement, in fleets of different sizes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::table::{Unit, bytes_of};

/// What each agent holds.
pub(super) const PLACEMENTS: u32 = 10;

/// What a phase took.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Phase {
    pub(crate) what: String,
    /// Until it was done.
    pub(crate) time: Duration,
    /// Of the controller.
    pub(crate) processor: Duration,
    /// The most that the controller had (bytes).
    pub(crate) peak: u64,
    /// What the controller had written to disks (bytes).
    pub(crate) written: u64,
    /// Connections that agents began.
    pub(crate) dialled: u64,
    /// When each link began, from the phase's begin on.
    pub(crate) links: Vec<Duration>,
}

/// Everything that was found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Scale {
    pub(crate) agents: u32,
    pub(crate) phases: Vec<Phase>,
    /// Of the controller, with everything installed and nothing to do (bytes).
    pub(crate) at_rest: u64,
}

impl Scale {
    /// As Markdown.
    pub(super) fn text(&self) -> String {
        let placements = self.agents * PLACEMENTS;
        let mut text = format!(
            "{} agents, {placements} placements; the controller has {} at rest.\n\n\
             | what | until done | processor | for a placement | memory, at most | written | dials |\n\
             |---|---:|---:|---:|---:|---:|---:|\n",
            self.agents,
            Unit::Bytes.words(bytes_of(self.at_rest))
        );
        for phase in &self.phases {
            let Phase { what, time, processor, peak, written, dialled, .. } = phase;
            let each = processor.as_secs_f64() * 1e6 / f64::from(placements);
            text += &format!(
                "| {what} | {:.1} s | {:.1} s | {each:.0} µs | {} | {} | {dialled} |\n",
                time.as_secs_f64(),
                processor.as_secs_f64(),
                Unit::Bytes.words(bytes_of(*peak)),
                Unit::Bytes.words(bytes_of(*written)),
            );
        }
        text
    }
}

/// What one placement costs in a fleet of this size.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Costs {
    pub(super) placements: u32,
    pub(super) each: Vec<Cost>,
}

/// What one placement takes of something.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Cost {
    pub(super) what: String,
    /// Processor time, but for the manifest's check, which is the time that a person waits.
    pub(super) microseconds: f64,
    /// On the wire, on the disk, or in the answer.
    pub(super) bytes: Option<f64>,
}

/// With a comma before each three digits, as people write it.
pub(super) fn thousands(number: u32) -> String {
    match number {
        few if few < 1000 => few.to_string(),
        many => format!("{},{:03}", thousands(many / 1000), many % 1000),
    }
}
