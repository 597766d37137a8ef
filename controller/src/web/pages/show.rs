//! One placement: what is wanted, what is, its files, what happened, and what comes next.

use askama::Template;
use pinion_proto::{clock::Timestamp, report::Details};

use super::{
    super::{gate::Visitor, site::Shown},
    frame::{Frame, Moment},
    state::{Row, State},
    timeline::Timeline,
    whole::EventRow,
};
use crate::{
    admin::protocol::{PlacementStatus, PlanDocument, Status},
    events::Event,
    freeze::Freeze,
};

/// How many of its events are shown.
pub(in crate::web) const MAX_OWN_EVENTS: usize = 40;

#[derive(Template)]
#[template(path = "placement.html")]
struct PlacementPage<'s> {
    frame: Frame,
    stories: Vec<Story<'s>>,
    /// The timeline of all of them.
    timeline: Timeline,
    events: Vec<EventRow>,
    may_renew: bool,
}

struct Story<'s> {
    row: Row,
    status: &'s PlacementStatus,
    details: Details,
    next: String,
    begins: Option<Moment>,
    frozen: String,
    steps: Vec<Step>,
}

/// A stage, and whether it is reached.
struct Step {
    word: &'static str,
    is_reached: bool,
    is_goal: bool,
}

/// Whether an event is about one of these.
pub(in crate::web) fn is_about(placements: &[PlacementStatus], event: &Event) -> bool {
    placements.iter().any(|placement| {
        event.certificate.as_ref() == Some(&placement.certificate)
            && (event.guest.is_none() || event.guest == placement.guest)
    })
}

/// A placement, or every placement of a certificate.
pub(in crate::web) fn placement(
    shown: &Shown,
    visitor: &Visitor,
    status: &Status,
    plan: &PlanDocument,
    events: &[Event],
    name: &str,
) -> Result<String, askama::Error> {
    let now = shown.web.clock.now();
    let stories = status.placements.iter().map(|placement| story(placement, plan, now)).collect();
    PlacementPage {
        frame: Frame::new(shown, visitor, name, "/placements"),
        stories,
        timeline: Timeline::of(status, now, usize::MAX),
        events: EventRow::all(events, now),
        may_renew: shown.renew && visitor.renews().is_some(),
    }
    .render()
}

fn story<'s>(status: &'s PlacementStatus, plan: &PlanDocument, now: Timestamp) -> Story<'s> {
    let step = plan.steps.iter().find(|step| step.placement == status.placement);
    let next = step.map_or_else(String::new, |step| match step.action.as_str() {
        "keep" => step.why.clone(),
        action => format!("{action}: {}", step.why),
    });
    let words = ["pending", "issued", "installed", "reloaded", "served"];
    let goal = status.goal.to_string();
    let stage = words.iter().position(|word| *word == status.stage.to_string()).unwrap_or(0);
    let steps = words.into_iter().enumerate().skip(1).map(|(at, word)| Step {
        word,
        is_reached: at <= stage,
        is_goal: word == goal,
    });
    // A service without TLS ends at `reloaded`.
    let end = words.iter().position(|word| *word == goal).unwrap_or(words.len());
    Story {
        row: Row::of(status, now),
        details: status.details.as_deref().cloned().unwrap_or_default(),
        next,
        begins: status.not_before.map(|at| Moment::of(at, now)),
        frozen: status.frozen.as_ref().map(frozen).unwrap_or_default(),
        steps: steps.take(end).collect(),
        status,
    }
}

fn frozen(freeze: &Freeze) -> String {
    let end = freeze.until.map_or_else(|| "until it is lifted".to_owned(), |until| format!("until {until}"));
    format!("{} is frozen {end}: its service is not disturbed", freeze.what())
}

impl Story<'_> {
    fn state(&self) -> State {
        self.row.state
    }

    fn lists(&self) -> [(&'static str, &[String]); 5] {
        [
            ("Files", &self.details.files),
            ("Services", &self.details.services),
            ("Looked at", &self.details.probes),
            ("Chain", &self.details.chain),
            ("Left behind", &self.status.left_behind),
        ]
    }
}
