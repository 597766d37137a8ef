//! The controller's socket: the command line asks, the daemon answers.
//!
//! Invariant: the socket is for root and the group `pinion` (mode 0660), and [`caller`] says who of them may ask what;
//! what it says holds no secret but the join token that was asked for.

mod agent_removal;
pub mod caller;
pub mod callers;
mod direct;
mod examination;
mod notify_test;
pub mod presence;
pub mod protocol;
pub mod purge;
pub mod question;
pub mod status;
pub mod timing;
pub mod web;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, io, sync::Arc};

use pinion_proto::{causes::chain, clock::Clock, id::Guest, lines};
use tokio::{
    io::{AsyncReadExt, BufReader},
    net::{UnixListener, UnixStream, unix::OwnedWriteHalf},
    sync::{mpsc, watch},
    time::timeout,
};
use tracing::{debug, warn};

use crate::{
    channel::client::Client,
    config::advertise::Reachable,
    events::{Events, GuestEvent, What},
    identity::{GuestRecord, Identities},
    inventory::{Inventory, NoGuest},
    issuer::Issuers,
    manifest::{GuestNameError, Manifest, file::ManifestFile},
    notify::Notifier,
    web::access::WebAccess,
};
use caller::{Access, Caller};
use callers::{ASK_TIME, Callers, question, refuse};
use presence::Presence;
use protocol::{Answer, Ask, AskEvents, AskExamine, IdentityStatus};
use question::{AtOnce, FromPlan, Question, Request, Waits};

/// Answers wait here for a slow asker; newer ones replace those that find no place.
const ANSWERS: usize = 8;

/// Who answers a question.
enum Asked {
    /// The loop.
    Loop(Question),
    /// This is the answer, once the loop lets the guest in.
    LetIn(Guest, Answer),
    /// The loop, and then the guest's own side.
    Evict(Guest, Question),
    /// The identities.
    Guests,
    /// The issuers.
    Issuers,
    /// The issuers' roots.
    Roots(Option<String>),
    /// The events.
    Events(AskEvents),
    /// A test message goes to the targets of alarms.
    Targets(Option<String>),
}

/// What the socket answers from.
#[derive(Debug)]
pub struct Admin {
    /// The loop.
    pub requests: mpsc::Sender<Request>,
    /// The manifest's file, looked at before a question about it.
    pub manifest: Arc<ManifestFile>,
    /// Tokens.
    pub identities: Arc<Identities>,
    /// Issuers.
    pub issuers: Arc<Issuers>,
    /// Events.
    pub events: Arc<Events>,
    /// Which guests there are.
    pub inventory: watch::Receiver<Arc<Inventory>>,
    /// The root process, on a Proxmox host.
    pub channel: Option<Client>,
    /// The targets of alarms.
    pub notifier: Arc<Notifier>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where agents dial.
    pub advertise: watch::Receiver<Reachable>,
    /// Who may look at the page.
    pub web: Arc<WebAccess>,
    /// Who may ask what.
    pub access: Access,
    /// Who is connected.
    pub callers: Callers,
}

impl Admin {
    /// Answers on `listener` until the future is dropped.
    pub async fn serve(self: Arc<Self>, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((mut stream, _)) => {
                    let place = match stream.peer_cred().map(|peer| self.callers.enter(peer.uid())) {
                        Ok(Ok(place)) => place,
                        Ok(Err(why)) => {
                            // It fits into the empty socket, so nobody is waited for.
                            drop(timeout(ASK_TIME, lines::write(&mut stream, &Answer::Failed(why))).await);
                            continue;
                        }
                        // It is gone already.
                        Err(_) => continue,
                    };
                    let admin = self.clone();
                    tokio::spawn(async move {
                        let _place = place;
                        if let Err(error) = admin.answer(stream).await {
                            debug!(%error, "A caller on the controller's socket went away");
                        }
                    });
                }
                Err(error) => {
                    warn!(%error, "Cannot accept on the controller's socket");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn answer(&self, stream: UnixStream) -> io::Result<()> {
        let peer = stream.peer_cred()?;
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        let ask = match question(&mut read, self.callers.max_question(peer.uid()), ASK_TIME).await {
            Ok(Some(ask)) => ask,
            Ok(None) => return Ok(()),
            Err(error) => {
                let words = format!(
                    "the controller cannot read the request: {error}; if it runs another version, \
                    restart it (systemctl restart pinion)"
                );
                return refuse(&mut read, &mut write, &Answer::Refused(words), ASK_TIME).await;
            }
        };
        let caller = match self.access.admit(peer, &ask) {
            Ok(caller) => caller,
            Err(why) => {
                warn!(uid = peer.uid(), %why, "Refused a request on the controller's socket");
                return lines::write(&mut write, &Answer::Forbidden(why)).await;
            }
        };
        let answering = async {
            match self.question(ask, &caller) {
                Ok(Asked::Loop(question)) => self.ask_loop(&mut write, question, caller).await,
                Ok(Asked::LetIn(guest, answer)) => self.let_in(&mut write, guest, answer, caller).await,
                Ok(Asked::Evict(guest, question)) => self.put_out(&mut write, guest, question, caller).await,
                Ok(Asked::Guests) => lines::write(&mut write, &self.guests()).await,
                Ok(Asked::Issuers) => lines::write(&mut write, &self.issuers().await).await,
                Ok(Asked::Roots(name)) => lines::write(&mut write, &self.roots(name.as_deref()).await).await,
                Ok(Asked::Events(ask)) => self.tell_events(&mut write, &ask).await,
                Ok(Asked::Targets(target)) => {
                    lines::write(&mut write, &notify_test::test(&self.notifier, target.as_deref()).await).await
                }
                Err(answer) => lines::write(&mut write, &answer).await,
            }
        };
        // Whoever hangs up waits no longer.
        let mut nothing = [0];
        tokio::select! {
            outcome = answering => outcome,
            _ = read.read(&mut nothing) => Ok(()),
        }
    }

    /// Who answers a question, with the guest that it names resolved. What is to be done before the loop is asked is
    /// done here.
    fn question(&self, ask: Ask, caller: &Caller) -> Result<Asked, Answer> {
        let question = match ask.with_names(|name| self.inventory.borrow().placement_name(name)) {
            Ask::Guests => return Ok(Asked::Guests),
            Ask::Issuers => return Ok(Asked::Issuers),
            Ask::IssuerRoots(name) => return Ok(Asked::Roots(name)),
            Ask::Events(ask) => return Ok(Asked::Events(ask)),
            Ask::NotifyTest(target) => return Ok(Asked::Targets(target)),
            Ask::Token(text) => {
                let guest = self.guest(&text)?;
                return Ok(Asked::LetIn(guest, self.token(guest, caller)?));
            }
            Ask::Unlock(text) => {
                let guest = self.guest(&text)?;
                return Ok(Asked::LetIn(guest, self.unlock(guest, caller)?));
            }
            // The loop forgets what it knows too, and ends the guest's link.
            Ask::Forget(text) => match self.forget(&text, caller)? {
                (guest, true) => Question::AtOnce(AtOnce::Forget(guest)),
                (guest, false) => Question::AtOnce(AtOnce::NoteEnd(guest)),
            },
            Ask::Acknowledge(text) => Question::AtOnce(AtOnce::NoteEnd(self.guest(&text)?)),
            Ask::Evict { guest, compromised } => {
                let guest = self.evict(&guest, caller)?;
                return Ok(Asked::Evict(guest, Question::AtOnce(AtOnce::Evict { guest, compromised })));
            }
            Ask::AcceptName(text) => {
                let name = text.parse().map_err(|error: GuestNameError| Answer::Refused(error.to_string()))?;
                Question::AtOnce(AtOnce::AcceptName(name))
            }
            Ask::Wake(text) => Question::AtOnce(AtOnce::Wake(self.guest(&text)?)),
            Ask::Freeze(ask) => Question::AtOnce(AtOnce::Freeze(ask)),
            Ask::Status(selection) => Question::FromPlan(FromPlan::Status(selection)),
            Ask::Show(ask) => Question::FromPlan(FromPlan::Show(ask)),
            Ask::Plan => Question::FromPlan(FromPlan::Plan),
            Ask::PlanOf(text) => {
                let manifest = Manifest::parse(text.as_bytes()).map_err(|error| Answer::Refused(chain(&error)))?;
                Question::FromPlan(FromPlan::PlanOf(Box::new(manifest)))
            }
            Ask::Web(ask) => return Err(self.web(ask)),
            Ask::Purge(ask) => Question::FromPlan(FromPlan::Purge(ask)),
            Ask::Ensure(ensure) => Question::Waits(Waits::Ensure(ensure)),
            Ask::Enroll(text) => Question::Waits(Waits::Enroll(self.guest(&text)?)),
            Ask::Examine(AskExamine { guests, subject }) => {
                let named: Vec<_> = guests.iter().map(|text| self.guest(text)).collect::<Result<_, _>>()?;
                let guests = Some(named).filter(|named| !named.is_empty());
                Question::Waits(Waits::Examine { guests, subject })
            }
        };
        Ok(Asked::Loop(question))
    }

    /// Answers what lets a guest in again, when the loop knows of it.
    async fn let_in(&self, write: &mut OwnedWriteHalf, guest: Guest, answer: Answer, caller: Caller) -> io::Result<()> {
        let (answers, mut queue) = mpsc::channel(ANSWERS);
        let request = Request { question: Question::AtOnce(AtOnce::LetIn(guest)), caller, answers };
        if self.requests.send(request).await.is_err() || queue.recv().await.is_none() {
            return lines::write(write, &Answer::Failed("the controller is shutting down".into())).await;
        }
        lines::write(write, &answer).await
    }

    /// Has the loop put a guest out, and then takes the agent out of it.
    async fn put_out(
        &self,
        write: &mut OwnedWriteHalf,
        guest: Guest,
        question: Question,
        caller: Caller,
    ) -> io::Result<()> {
        self.ask_loop(write, question, caller.clone()).await?;
        let inventory = self.inventory.borrow().clone();
        let removal = agent_removal::remove(self.channel.as_ref(), &inventory, guest).await;
        match &removal.trouble {
            Some(trouble) => self.record(guest, GuestEvent::AgentStays(trouble.to_string()), &caller),
            None if removal.gone => self.record(guest, GuestEvent::AgentRemoved, &caller),
            None => {}
        }
        lines::write(write, &Answer::AgentRemoval(Box::new(removal))).await
    }

    async fn ask_loop(&self, write: &mut OwnedWriteHalf, question: Question, caller: Caller) -> io::Result<()> {
        // An editor's last word counts, even if it was written a moment ago.
        self.manifest.settled().await;
        let (answers, mut queue) = mpsc::channel(ANSWERS);
        if self.requests.send(Request { question, caller, answers }).await.is_err() {
            return lines::write(write, &Answer::Failed("the controller is shutting down".into())).await;
        }
        while let Some(answer) = queue.recv().await {
            lines::write(write, &answer).await?;
        }
        Ok(())
    }

    fn token(&self, guest: Guest, caller: &Caller) -> Result<Answer, Answer> {
        let reachable = self.advertise.borrow().clone();
        if let ([], [problem, ..]) = (reachable.addresses.as_slice(), reachable.problems.as_slice()) {
            return Err(Answer::Refused(problem.clone()));
        }
        if reachable.addresses.is_empty() {
            return Err(Answer::Refused(
                "the controller does not know under which address guests reach it: write `advertise = \
                 [\"ADDRESS:7443\"]` into controller.toml and restart it"
                    .into(),
            ));
        }
        let token = self.identities.create_token(guest, reachable.addresses);
        let token = token.map_err(|error| Answer::Refused(chain(&error)))?;
        self.record(guest, GuestEvent::TokenMade, caller);
        let text = token.to_text().map_err(|error| Answer::Failed(chain(&error)))?;
        Ok(Answer::Token(text.to_string()))
    }

    fn guests(&self) -> Answer {
        match self.identities.guests() {
            Ok(guests) => {
                let inventory = self.inventory.borrow().clone();
                let manifest = self.manifest.in_force().borrow().manifest.clone();
                let placements = manifest.certificates.iter().flat_map(|certificate| &certificate.placements);
                let named = placements.filter_map(|placement| inventory.resolve(&placement.guest).ok());
                let mut records: BTreeMap<_, _> = named.map(|guest| (guest, None)).collect();
                records.extend(guests.into_iter().map(|(guest, record)| (guest, Some(record))));
                let guests = records.into_iter().map(|(guest, record)| identity(&inventory, guest, record));
                Answer::Guests(guests.collect())
            }
            Err(error) => Answer::Failed(chain(&error)),
        }
    }

    fn unlock(&self, guest: Guest, caller: &Caller) -> Result<Answer, Answer> {
        if !self.identities.unlock(guest).map_err(|error| Answer::Failed(chain(&error)))? {
            let text = format!("guest {guest} has no identity; `pinion guest list` shows the guests that have one");
            return Err(Answer::NoSuchName(text));
        }
        self.record(guest, GuestEvent::Unlocked, caller);
        Ok(Answer::End)
    }

    /// Refuses a guest's identity, whether the disk takes that or not.
    fn evict(&self, text: &str, caller: &Caller) -> Result<Guest, Answer> {
        let guest = self.guest(text)?;
        let unwritten = self.identities.evict(guest).err().map(|error| chain(&error));
        self.record(guest, GuestEvent::Evicted(unwritten), caller);
        Ok(guest)
    }

    /// The guest, and whether it had an identity.
    fn forget(&self, text: &str, caller: &Caller) -> Result<(Guest, bool), Answer> {
        let guest = self.guest(text)?;
        match self.identities.guest(guest) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok((guest, false)),
            // A record that cannot be read is one more reason to forget it.
            Err(error) => {
                warn!(%guest, error = chain(&error), "The record of a guest that is to be forgotten is broken")
            }
        }
        self.identities.forget(guest).map_err(|error| Answer::Failed(chain(&error)))?;
        self.record(guest, GuestEvent::Forgotten, caller);
        Ok((guest, true))
    }

    /// Records what a person has done to a guest.
    fn record(&self, guest: Guest, what: GuestEvent, caller: &Caller) {
        self.events.record(What::Guest(guest, what).at(self.clock.now()).by(caller));
    }

    fn guest(&self, text: &str) -> Result<Guest, Answer> {
        Ok(self.inventory.borrow().guest_of(text)?)
    }
}

fn identity(inventory: &Inventory, guest: Guest, record: Option<GuestRecord>) -> IdentityStatus {
    let name = match guest {
        Guest::Host => None,
        Guest::Vmid(vmid) => inventory.name(vmid).map(ToOwned::to_owned),
    };
    let record = record.as_ref();
    IdentityStatus {
        guest,
        name,
        presence: Presence::of(inventory, guest),
        generation: record.map_or(0, |record| record.generation),
        joined_at: record.map(|record| record.joined_at),
        issued_at: record.map(|record| record.issued_at),
        hostname: record.map(|record| record.facts.hostname.clone()).unwrap_or_default(),
        locked: record.and_then(|record| record.locked.clone()),
    }
}

impl From<NoGuest> for Answer {
    fn from(error: NoGuest) -> Self {
        match error {
            NoGuest::NotAGuest(why) => Self::Refused(why),
            NoGuest::Unresolved(error) => Self::NoSuchName(error.to_string()),
        }
    }
}
