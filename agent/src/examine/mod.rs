//! What a person on the host wants to know about this guest, looked at as far as agent.toml allows.
//!
//! Answers: who serves which certificate here, and what is wrong with this guest?
//! Invariants: one question at a time, each in limited time and of limited length; nothing is changed. Connections go to the
//! guest's own listeners (`listeners`), and to addresses with which this agent joined (`health`): a controller cannot have
//! others dialled. Nothing of a service's answer is reported but what is in its certificate, and that only if agent.toml says
//! `discover = true`.

mod files;
mod handshakes;
mod health;
mod listeners;
mod ports;

use std::{net::SocketAddr, sync::Arc};

use pinion_proto::{
    clock::{Clock, Timestamp},
    examination::{Examined, Subject},
};
use tokio::sync::mpsc;

use crate::{apply::Placements, certificate, config::Config};

/// How many questions may wait. The agent drops further ones: whoever asked repeats the command.
const MAX_WAITING: usize = 4;

/// What is looked at, and with what.
#[derive(Debug, Clone)]
pub struct Examiner {
    /// What the guest allows.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What Pinion manages here.
    pub placements: Placements,
    /// The addresses with which this agent joined.
    pub joined_at: Vec<SocketAddr>,
    /// The end of the agent's identity.
    pub identity_ends: Timestamp,
}

impl Examiner {
    /// Answers questions until the sender or the receiver is gone.
    #[must_use]
    pub fn start(self) -> (mpsc::Sender<(u64, Subject)>, mpsc::Receiver<Examined>) {
        let (asks, mut questions) = mpsc::channel(MAX_WAITING);
        let (answer, answers) = mpsc::channel(MAX_WAITING);
        tokio::spawn(async move {
            while let Some((number, subject)) = questions.recv().await {
                let examined = self.examine(number, subject).await;
                if answer.send(examined).await.is_err() {
                    return;
                }
            }
        });
        (asks, answers)
    }

    async fn examine(&self, number: u64, subject: Subject) -> Examined {
        let mut examined = Examined {
            number,
            now: self.clock.now(),
            left_out: Vec::new(),
            findings: Vec::new(),
            listeners: Vec::new(),
            certificates: Vec::new(),
        };
        match subject {
            Subject::Discover => self.discover(&mut examined).await,
            Subject::Doctor => health::look(&self.config, &self.joined_at, self.identity_ends, &mut examined).await,
        }
        // Looking took its time, and the controller compares clocks when it has the answer.
        examined.now = self.clock.now();
        examined
    }

    async fn discover(&self, examined: &mut Examined) {
        examined.listeners = listeners::list(&self.config.root, &mut examined.left_out);
        if !self.config.allow.discover {
            let why = "no handshakes and no files: /etc/pinion/agent.toml does not say `discover = true` under [allow]";
            examined.left_out.push(why.into());
            return;
        }
        let managed = certificate::Managed::of(&self.placements.reports().borrow());
        handshakes::with_each(&mut examined.listeners, &managed).await;
        examined.certificates = files::certificates(&self.config, &managed, &mut examined.left_out);
    }
}
