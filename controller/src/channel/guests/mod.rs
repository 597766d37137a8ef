//! Which guests there are and which run: looked at each second, sent when it differs from the answer before.
//!
//! Answers: [`super::protocol::Call::Guests`], which is held until something has changed, so that a change is known
//! within about a second and a caller that waits costs nothing. The other verbs ask here too where a guest is.
//! Invariant: Proxmox's files are looked at by one thread of its own, and nobody waits for it: while pmxcfs hangs, the
//! guests stay as they were known, that is reported, and every verb goes on. One look at a time, however long it takes.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, mpsc},
    time::{Duration, Instant, SystemTime},
};

use pinion_proto::{alarm, id::Vmid};
use tokio::{
    sync::{Semaphore, mpsc::UnboundedReceiver, mpsc::UnboundedSender, watch},
    time::timeout,
};
use tracing::error;

use super::{
    listing::{ListedGuest, Listing, Revision},
    protocol::{Cause, ChannelAnswer, Failure, MAX_ANSWER},
};
use crate::{
    config::Config,
    inventory::{
        GuestInfo,
        proxmox::{InventoryProblem, Observer, Running, RunningGuests},
    },
};

/// How often. A look at a cluster in which nothing has changed is the reading of one small file of pmxcfs, the kernel's
/// list of sockets, and three small files for each virtual machine that runs.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A look that takes longer has met a file system that does not answer.
const HANGS_AFTER: Duration = Duration::from_secs(3);

/// How long a caller that knows everything is held before it gets the same answer again.
pub(super) const HOLD: Duration = Duration::from_secs(25);

/// How long a caller waits for the first look of all.
const FIRST_LOOK: Duration = Duration::from_secs(4);

/// Callers that are held at once: a controller has one, and one that is restarted two for a moment.
const MAX_HELD: usize = 8;

/// What an answer has besides its guests, at most (bytes).
const ENVELOPE: u64 = 64 * 1024;

/// What is known, and who waits for it.
#[derive(Debug)]
pub(super) struct Guests {
    known: watch::Receiver<Known>,
    held: Semaphore,
}

/// What is known of the guests now.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    listing: Arc<Listing>,
    guests: Option<Arc<BTreeMap<Vmid, GuestInfo>>>,
}

impl Known {
    /// A guest of the cluster.
    ///
    /// # Errors
    /// Why nobody knows which there are.
    pub(super) fn guest(&self, vmid: Vmid) -> Result<Option<&GuestInfo>, String> {
        match (&self.guests, &self.listing.problem) {
            (Some(guests), _) => Ok(guests.get(&vmid)),
            (None, Some(problem)) => Err(problem.cause.clone()),
            (None, None) => Err("Proxmox's files have not been read yet".to_owned()),
        }
    }
}

impl Guests {
    /// Answers from what the watcher tells; it is to be spawned.
    pub(super) fn new(config: &Config) -> (Self, impl Future<Output = ()> + Send + 'static + use<>) {
        let (teller, known) = watch::channel(Known::default());
        let source = config.proxmox.clone().map(|proxmox| (proxmox.directory, proxmox.node));
        let running = Running::below(&config.root);
        let watcher = async move {
            match source {
                Some((directory, node)) => watch(Looker::new(directory, node), running, teller).await,
                None => {
                    let problem = InventoryProblem {
                        cause: "this is not a Proxmox host: it has no pvesh and no pmxcfs".to_owned(),
                        remedy: "if it is one, write [proxmox] into controller.toml".to_owned(),
                    };
                    let listing = Listing { revision: fresh(), problem: Some(problem), ..Listing::default() };
                    teller.send_replace(Known { listing: Arc::new(listing), guests: None });
                    // Nothing changes any more.
                    teller.closed().await;
                }
            }
        };
        (Self { known, held: Semaphore::new(MAX_HELD) }, watcher)
    }

    /// What is known now.
    pub(super) fn known(&self) -> Known {
        self.known.borrow().clone()
    }

    /// The listing, as soon as it is another one than the caller has; the same one after a while.
    pub(super) async fn answer(&self, has: Option<Revision>) -> ChannelAnswer {
        let Ok(_place) = self.held.try_acquire() else {
            let text = format!("{MAX_HELD} callers already wait for changes of the guests");
            return ChannelAnswer::Failed(Failure::new(Cause::Busy, text));
        };
        let mut known = self.known.clone();
        // The teller is gone only when this process stops: then whatever is known is the answer.
        let looked = |known: &Known| known.listing.revision != Revision::default();
        drop(timeout(FIRST_LOOK, known.wait_for(looked)).await);
        if let Some(has) = has {
            drop(timeout(HOLD, known.wait_for(|known| known.listing.revision != has)).await);
        }
        let listing = Listing::clone(&known.borrow().listing);
        ChannelAnswer::Guests(listing)
    }
}

/// Looks until the future is dropped.
async fn watch(mut looker: Looker, running: Running, teller: watch::Sender<Known>) {
    let mut revision = fresh();
    loop {
        looker.look().await;
        let source = running.clone();
        let states = tokio::task::spawn_blocking(move || source.look()).await;
        let states = match states {
            Ok(Ok(states)) => Ok(states),
            Ok(Err(error)) => Err(format!("cannot find out which guests run: {error}")),
            Err(error) => Err(format!("cannot find out which guests run: {error}; this is a bug")),
        };
        let mut next = known(&looker.seen, states);
        teller.send_if_modified(|before| {
            next.listing_mut().revision = before.listing.revision;
            if next.listing == before.listing && before.listing.revision != Revision::default() {
                return false;
            }
            revision.number += 1;
            next.listing_mut().revision = revision;
            *before = std::mem::take(&mut next);
            true
        });
        alarm::next(LOOK_EVERY).await;
    }
}

/// What both looks say together.
fn known(seen: &Seen, states: Result<RunningGuests, String>) -> Known {
    let (states, states_unknown) = match states {
        Ok(states) => (Some(states), None),
        Err(why) => (None, Some(why)),
    };
    let mut listing = Listing { problem: seen.problem.clone(), states_unknown, ..Listing::default() };
    let Some(guests) = &seen.guests else { return Known { listing: Arc::new(listing), guests: None } };
    let runs = |vmid: Vmid, info: &GuestInfo| {
        let (states, kind) = (states.as_ref()?, info.kind?);
        info.is_here().then(|| states.has(vmid, kind))
    };
    let stated = |(vmid, info): (&Vmid, &GuestInfo)| (*vmid, GuestInfo { running: runs(*vmid, info), ..info.clone() });
    let guests: BTreeMap<Vmid, GuestInfo> = guests.iter().map(stated).collect();
    let listed: Vec<_> = guests.iter().map(|(vmid, info)| ListedGuest::of(*vmid, info)).collect();
    match serde_json::to_vec(&listed) {
        Ok(text) if text.len() as u64 <= MAX_ANSWER - ENVELOPE => listing.guests = Some(listed),
        _ => {
            listing.problem = Some(InventoryProblem {
                cause: format!("the list of guests is longer than {MAX_ANSWER} bytes"),
                remedy: "remove long tags from the guests".to_owned(),
            });
        }
    }
    Known { listing: Arc::new(listing), guests: Some(Arc::new(guests)) }
}

impl Known {
    fn listing_mut(&mut self) -> &mut Listing {
        Arc::make_mut(&mut self.listing)
    }
}

/// Before the first revision of this process, which no other one shares.
fn fresh() -> Revision {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let nanoseconds = u64::try_from(since.as_nanos() & u128::from(u64::MAX)).unwrap_or_default();
    Revision { run: nanoseconds ^ (u64::from(std::process::id()) << 32), number: 1 }
}

/// What was seen of Proxmox's files.
#[derive(Debug, Clone, Default)]
struct Seen {
    guests: Option<BTreeMap<Vmid, GuestInfo>>,
    problem: Option<InventoryProblem>,
}

/// The thread that looks at Proxmox's files, of which nobody knows when they answer. It ends with this value, or with the
/// look that is under way.
#[derive(Debug)]
struct Looker {
    directory: PathBuf,
    node: String,
    thread: Option<(mpsc::Sender<()>, UnboundedReceiver<Option<Seen>>)>,
    /// Since when a look has been under way.
    since: Option<Instant>,
    seen: Seen,
}

impl Looker {
    fn new(directory: PathBuf, node: String) -> Self {
        Self { directory, node, thread: None, since: None, seen: Seen::default() }
    }

    /// Looks once more, or waits on for the look that is under way; not longer than a file system that answers takes.
    async fn look(&mut self) {
        let (asks, looks) = self.thread.get_or_insert_with(|| thread(self.directory.clone(), self.node.clone()));
        let patience = match self.since {
            // It was waited for already.
            Some(_) => Duration::from_millis(1),
            None => {
                asks.send(()).ok();
                self.since = Some(Instant::now());
                HANGS_AFTER
            }
        };
        match timeout(patience, looks.recv()).await {
            Ok(Some(seen)) => {
                self.since = None;
                if let Some(seen) = seen {
                    self.seen = seen;
                }
            }
            Ok(None) => {
                error!("Reading Proxmox's files failed and starts again; this is a bug");
                (self.thread, self.since) = (None, None);
            }
            Err(_) => self.seen.problem = Some(hangs(&self.directory)),
        }
    }
}

fn hangs(directory: &std::path::Path) -> InventoryProblem {
    InventoryProblem {
        cause: format!("{} does not answer: pmxcfs hangs", directory.display()),
        remedy: "run `systemctl status pve-cluster corosync`".to_owned(),
    }
}

/// A thread that looks once for each time that it is asked, and tells what it saw, or nothing when that is as before.
fn thread(directory: PathBuf, node: String) -> (mpsc::Sender<()>, UnboundedReceiver<Option<Seen>>) {
    let (asks, asked) = mpsc::channel();
    let (teller, looks): (UnboundedSender<Option<Seen>>, _) = tokio::sync::mpsc::unbounded_channel();
    let look = move || {
        let began = Instant::now();
        let mut observer = Observer::new(&directory, &node);
        let mut first = true;
        while asked.recv().is_ok() {
            let begun = Instant::now();
            let changed = observer.look(began.elapsed());
            // During a long look it was reported that there is no answer.
            let long = begun.elapsed() >= HANGS_AFTER / 2;
            let telling = changed || long || std::mem::take(&mut first);
            let seen = telling.then(|| Seen { guests: observer.guests(), problem: observer.problem() });
            if teller.send(seen).is_err() {
                break;
            }
        }
    };
    // Not of the runtime's: that would wait at its end for a look that hangs.
    if let Err(error) = std::thread::Builder::new().name("proxmox-files".into()).spawn(look) {
        error!(%error, "Cannot start the thread that reads Proxmox's files");
    }
    (asks, looks)
}

#[cfg(test)]
mod tests;
