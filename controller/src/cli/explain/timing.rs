//! `pinion explain --timing`: where the time of each placement's last renewal went.

use pinion_proto::printable::Shown;
use schemars::JsonSchema;
use serde::Serialize;

use crate::admin::{
    protocol::{PlacementStatus, ShownPage},
    timing::{RenewalStep, RenewalTiming},
};

/// The last renewals of everything that a name means.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct Timings {
    /// How many placements the name means; at most the first 20 are in the list.
    pub(super) total: usize,
    /// Each placement.
    pub(super) placements: Vec<PlacementTiming>,
}

/// The last renewal of one placement.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct PlacementTiming {
    /// `docker@1001`.
    pub(super) placement: String,
    /// Its last renewal; null if there was none since the controller started.
    pub(super) renewal: Option<Box<RenewalTiming>>,
}

impl Timings {
    pub(super) fn of(shown: ShownPage) -> Self {
        let timing =
            |PlacementStatus { placement, renewal, .. }: PlacementStatus| PlacementTiming { placement, renewal };
        Self { total: shown.total, placements: shown.placements.into_iter().map(timing).collect() }
    }

    /// What people read of it; no line is wider than 80 columns, but for a placement's name.
    pub(super) fn words(&self) -> String {
        let mut out = String::new();
        for (index, PlacementTiming { placement, renewal }) in self.placements.iter().enumerate() {
            if index > 0 {
                out.push('\n');
            }
            let placement = Shown(placement);
            match renewal {
                None => out += &format!("{placement}\n  there was no renewal since the controller started\n"),
                Some(renewal) => out += &format!("{placement}\n{}", one(renewal)),
            }
        }
        let more = self.total.saturating_sub(self.placements.len());
        if more > 0 {
            out += &format!("\n{more} more placements; name one of them\n");
        }
        out
    }
}

/// The longest bar (characters).
const BAR: u64 = 32;

fn one(renewal: &RenewalTiming) -> String {
    let RenewalTiming { generation, began, milliseconds, is_done, from_guest, steps } = renewal;
    let (whole, began) = (length(*milliseconds), Shown(began));
    let mut out = match is_done {
        true => format!("  generation {generation} took {whole}, from {began}\n"),
        false => format!("  generation {generation} is under way for {whole}, since {began}\n"),
    };
    if !from_guest {
        out += "  its agent does not say how long its own steps took\n";
    }
    let slowest = steps.iter().map(|step| step.milliseconds).max().unwrap_or_default().max(1);
    for RenewalStep { step, milliseconds, .. } in steps {
        let bar = milliseconds.saturating_mul(BAR).div_ceil(slowest).min(BAR);
        let bar = "#".repeat(bar.try_into().unwrap_or_default());
        out += &format!("  {:<28}{:>11}  {bar}\n", step.words(), length(*milliseconds));
    }
    out
}

/// A length that is easy to compare.
fn length(milliseconds: u64) -> String {
    match milliseconds {
        0..10_000 => format!("{milliseconds} ms"),
        10_000..600_000 => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
        _ => format!("{} min", milliseconds / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::timing::StepName;

    #[test]
    fn each_step_is_a_line_with_a_bar_and_no_line_is_too_wide() {
        let step = |step, milliseconds| RenewalStep { step, began: "2026-12-01T01:00:00.000Z".into(), milliseconds };
        let steps = vec![
            step(StepName::Key, 1),
            step(StepName::Sign, 150),
            step(StepName::Check, 300),
            step(StepName::Probe, 600_000_000),
        ];
        let renewal = RenewalTiming {
            generation: 12,
            began: "2026-12-01T01:00:00.123Z".into(),
            milliseconds: 451,
            is_done: true,
            from_guest: true,
            steps: steps[..3].to_vec(),
        };
        let words = |renewal: &RenewalTiming| {
            let placements =
                vec![PlacementTiming { placement: "web@101".into(), renewal: Some(renewal.clone().into()) }];
            Timings { total: 3, placements }.words()
        };
        let text = words(&renewal);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1], "  generation 12 took 451 ms, from 2026-12-01T01:00:00.123Z");
        assert_eq!(lines[2], "  guest: key and request made        1 ms  #");
        assert_eq!(lines[3], format!("  issuer: signed                   150 ms  {}", "#".repeat(16)));
        assert_eq!(lines[4], format!("  guest: files checked             300 ms  {}", "#".repeat(32)));
        assert_eq!(lines[6], "2 more placements; name one of them");
        let text = words(&RenewalTiming { steps, is_done: false, from_guest: false, ..renewal });
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("its agent does not say") && text.contains("10000 min"), "{text}");
    }
}
