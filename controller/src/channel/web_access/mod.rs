//! Who may look at the page with Proxmox's login: Proxmox's own daemon is asked, and its answer is a right and a name.
//!
//! Answers: what may the user of this ticket or API token do on the page?
//! Invariant: nobody is asked unless the configuration says so, which only root writes. The caller is not trusted: forms, rates and
//! numbers are checked here.

pub(crate) mod credential;
mod pvedaemon;
mod remembered;
pub(super) mod said;

use std::sync::{Arc, Mutex};

use pinion_proto::{clock::Clock, lock::lock};
use tokio::sync::Semaphore;

use super::failure::{Cause, Failure};
use crate::config::Config;
use credential::Credential;
use pvedaemon::Pvedaemon;
use remembered::{Next, Remembered};
use said::{WebAnswer, WebQuestion};

/// Proxmox is asked about so many at once: it has three processes, and people wait for it too. It takes 3 s to refuse, so those who
/// sign in do not take the places of those who have.
const AT_ONCE: usize = 4;

/// Asks Proxmox, and remembers what it said.
#[derive(Debug)]
pub(super) struct WebAccess {
    /// Whether the configuration has Proxmox's login.
    is_on: bool,
    daemon: Pvedaemon,
    remembered: Mutex<Remembered>,
    sign_ins: Semaphore,
    again: Semaphore,
    clock: Arc<dyn Clock>,
}

impl WebAccess {
    pub(super) fn new(config: &Config, clock: Arc<dyn Clock>) -> Self {
        Self {
            is_on: config.web.proxmox_login.is_some(),
            daemon: Pvedaemon::at(config.channel.pvedaemon),
            remembered: Mutex::new(Remembered::new(clock.now())),
            sign_ins: Semaphore::new(AT_ONCE),
            again: Semaphore::new(AT_ONCE),
            clock,
        }
    }

    /// Answers; asks Proxmox where that is not known.
    pub(super) async fn answer(&self, question: &WebQuestion) -> Result<WebAnswer, Failure> {
        if !self.is_on {
            let text = "Proxmox's login is off: set `proxmox_login` in `[web]`, and restart pinion-channel and pinion";
            return Err(Failure::new(Cause::Refused, text));
        }
        let asked = self.clock.now();
        let (next, places) = match question {
            WebQuestion::Ticket(text) => {
                let credential = Credential::parse(text.reveal());
                let credential = credential.map_err(|error| Failure::new(Cause::Refused, error.to_string()))?;
                (lock(&self.remembered).sign_in(credential, asked), &self.sign_ins)
            }
            WebQuestion::Again(digest) => (lock(&self.remembered).again(*digest, asked), &self.again),
            WebQuestion::Forget(digest) => {
                lock(&self.remembered).forget(*digest);
                return Ok(WebAnswer::Forgotten);
            }
        };
        let credential = match next {
            Next::Answer(answer) => return Ok(answer),
            Next::Ask(credential) => credential,
            Next::Wait => return Err(busy()),
        };
        let Ok(_place) = places.try_acquire() else { return Err(busy()) };
        let verdict = self.daemon.ask(&credential).await?;
        Ok(lock(&self.remembered).learned(credential, verdict, asked))
    }
}

fn busy() -> Failure {
    Failure::new(Cause::Busy, "Proxmox is asked about too many tickets and API tokens at this moment")
}

#[cfg(test)]
mod tests;
