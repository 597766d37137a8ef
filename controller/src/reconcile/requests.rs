//! What the command line asks, and who answers it.
//!
//! Invariant: what is answered from a plan is answered from the one that the loop acts on, so that what a person is
//! shown is what is done.

use pinion_proto::clock::Timestamp;

use super::{Reconciler, show, view};
use crate::{
    admin::{
        Request,
        caller::Caller,
        protocol::{Answer, Ask},
    },
    events::{GuestEvent, What},
    planner::Plan,
};

impl Reconciler {
    /// Answers a request, or leaves it to the next plan.
    pub(super) fn request(&mut self, request: Request) {
        let now = self.parts.clock.now();
        let answer = match &request.ask {
            Ask::Status(_) | Ask::Show(_) | Ask::Plan | Ask::Purge(_) => {
                self.asked = Some(request);
                return;
            }
            Ask::Ensure(ensure) => {
                match self.start_ensure(ensure.clone(), &request.caller, request.answers.clone(), now) {
                    None => return,
                    Some(refusal) => refusal,
                }
            }
            Ask::Freeze(ask) => self.freeze(ask, &request.caller, now),
            Ask::Evict { guest, compromised } => match guest.parse() {
                Ok(guest) => self.evict(guest, *compromised, &request.caller, now),
                Err(_) => Answer::Refused(format!("`{guest}` is no guest")),
            },
            Ask::Forget(guest) => self.forget(guest),
            Ask::Wake(guest) => self.wake(guest, &request.caller),
            Ask::Enroll(guest) => match self.start_enrolment(guest, &request.caller, request.answers.clone(), now) {
                None => return,
                Some(answer) => answer,
            },
            Ask::Acknowledge(guest) => self.acknowledge_end(guest, &request.caller),
            // A person has made a token, or taken a lock away.
            Ask::Token(guest) | Ask::Unlock(guest) => {
                if let Ok(guest) = guest.parse() {
                    self.let_in(guest, now);
                }
                Answer::End
            }
            Ask::Guests | Ask::Issuers | Ask::Events { .. } => not_for_the_loop(),
        };
        // The asker may be gone.
        request.answers.try_send(answer).ok();
    }

    /// Answers what was left to this plan.
    pub(super) fn answer_from(&mut self, plan: &Plan<'_>, now: Timestamp) {
        let Some(Request { ask, caller, answers }) = self.asked.take() else { return };
        let answer = match ask {
            Ask::Status(selection) => view::status(self, &selection, plan),
            Ask::Show(ask) => show::show(self, &ask, plan),
            Ask::Plan => view::plan(plan),
            Ask::Purge(names) => self.ask_purge(&names, &caller, plan, now),
            _ => not_for_the_loop(),
        };
        answers.try_send(answer).ok();
    }

    /// Forgets what is known of a guest and ends its link; its identity is gone already.
    fn forget(&mut self, guest: &str) -> Answer {
        let Ok(guest) = guest.parse() else { return Answer::Refused(format!("`{guest}` is no guest")) };
        self.acknowledge(guest);
        self.forget_all(guest);
        Answer::End
    }

    /// Forgets what is known of a guest that was destroyed.
    fn acknowledge_end(&mut self, guest: &str, caller: &Caller) -> Answer {
        let Ok(guest) = guest.parse() else { return Answer::Refused(format!("`{guest}` is no guest")) };
        if !self.acknowledge(guest) {
            let text = format!("guest {guest} has no identity; `pinion guest list` shows those that have");
            return Answer::NoSuchName(text);
        }
        self.forget_all(guest);
        self.record(What::Guest(guest, GuestEvent::EndNoted).at(self.parts.clock.now()).by(caller));
        Answer::End
    }
}

fn not_for_the_loop() -> Answer {
    Answer::Failed("this question is not for the loop; this is a bug".into())
}
