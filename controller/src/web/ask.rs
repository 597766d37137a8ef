//! Questions to the loop.

use std::time::Duration;

use pinion_proto::stage::Stage;
use rustix::process::geteuid;
use tokio::{sync::mpsc, time::timeout};

use super::site::Web;
use crate::{
    admin::{
        protocol::{Answer, Ensure, PlanDocument, Selection, Status},
        question::{FromPlan, Question, Request, Waits},
    },
    caller::Caller,
    events::Event,
};

/// The loop answers in milliseconds; a page that waits longer says so.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who asks, where nobody is known by name.
const PAGE: &str = "the page";

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The loop is busy or stops.
    Silent,
    /// Nothing has this name.
    NoSuchName(String),
}

impl Web {
    /// Everything.
    pub(super) async fn everything(&self) -> Result<Status, Unanswered> {
        self.status(Selection::default()).await
    }

    /// How these are.
    pub(super) async fn status(&self, selection: Selection) -> Result<Status, Unanswered> {
        match self.ask(Question::FromPlan(FromPlan::Status(selection))).await? {
            Answer::Status(status) => Ok(*status),
            _ => Err(Unanswered::Silent),
        }
    }

    /// What would be done now.
    pub(super) async fn plan(&self) -> Result<PlanDocument, Unanswered> {
        match self.ask(Question::FromPlan(FromPlan::Plan)).await? {
            Answer::Plan(plan) => Ok(plan),
            _ => Err(Unanswered::Silent),
        }
    }

    /// Has a placement renewed, in its window, for this user of Proxmox's or somebody else.
    pub(super) async fn renew(&self, placement: String, user: Option<&str>) -> Result<(), Unanswered> {
        let ensure = Ensure {
            selection: Selection::new(vec![placement], Vec::new()),
            renew: true,
            now: false,
            until: Stage::Served,
            wait: false,
        };
        let name = user.map_or_else(|| PAGE.to_owned(), |user| format!("{user} on {PAGE}"));
        self.ask_as(name, Question::Waits(Waits::Ensure(ensure))).await.map(drop)
    }

    /// The last `max` events that are meant, the newest first; files are read for it, beside the tasks that answer.
    pub(super) async fn recent(&self, max: usize, is_meant: impl Fn(&Event) -> bool + Send + 'static) -> Vec<Event> {
        let (events, now) = (self.events.clone(), self.clock.now());
        let read = tokio::task::spawn_blocking(move || {
            let mut recent = events.recent_of(max, now, is_meant);
            recent.reverse();
            recent
        });
        read.await.unwrap_or_default()
    }

    /// The first answer to a question.
    async fn ask(&self, question: Question) -> Result<Answer, Unanswered> {
        self.ask_as(PAGE.to_owned(), question).await
    }

    async fn ask_as(&self, name: String, question: Question) -> Result<Answer, Unanswered> {
        let caller = Caller { uid: geteuid().as_raw(), name: Some(name) };
        let (answers, mut queue) = mpsc::channel(1);
        let asked = async {
            self.requests.send(Request { question, caller, answers }).await.ok()?;
            queue.recv().await
        };
        match timeout(PATIENCE, asked).await {
            Ok(Some(Answer::NoSuchName(why) | Answer::Refused(why))) => Err(Unanswered::NoSuchName(why)),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) | Err(_) => Err(Unanswered::Silent),
        }
    }
}
