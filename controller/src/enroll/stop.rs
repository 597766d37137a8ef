//! What is under way for a guest that a person puts out ends at once.
//!
//! Invariant: a task that was stopped gives its guest nothing any more: what it has done already, its token too, is for
//! the caller to take back.

use pinion_proto::{
    id::Vmid,
    stage::{Halt, Trouble},
};

use super::Enrolments;
use crate::admin::protocol::Answer;

impl Enrolments {
    /// Stops whatever is done for this guest; whoever waits for it gets the reason.
    pub(crate) fn stop(&mut self, guest: Vmid, why: &str) {
        let Some(state) = self.guests.remove(&guest) else { return };
        if let Some(task) = &state.task {
            task.abort();
        }
        let trouble = Trouble {
            halt: Halt::Blocked,
            attempt: format!("enrol guest {guest}"),
            cause: why.to_owned(),
            remedy: format!("to start again, run `pinion guest enroll {guest}`"),
            retry_at: None,
        };
        for asked in state.asked {
            asked.try_send(Answer::NotEnrolled(trouble.clone())).ok();
        }
    }
}
