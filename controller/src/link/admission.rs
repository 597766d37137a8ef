//! Who is connected, as far as it must be bounded.
//!
//! Answers: when there are too many callers, who goes?
//! Of callers that have not said who they are, those of the network with the most of them go first, of that network's
//! those of the address with the most, and of that address's the oldest: a flood from one address throws out itself,
//! also among neighbours. Where that leaves a choice, addresses of guests that were let in lately are spared. Of a
//! guest's connections the newest stay.
//! When thousands come at once, as after a restart, they are let in as fast as they get through.
//! Invariant: a caller that has spent its join token is thrown out for nobody.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, VecDeque, hash_map::Entry},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use pinion_proto::{id::Guest, lock::lock};
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, timeout},
};

use crate::source::Source;

/// Handshakes in flight.
const MAX_HANDSHAKES: usize = 256;

/// While so many handshakes have only just begun, no more connections are accepted: a new one would end one that is nearly
/// done. They wait in the kernel's queue. A handshake that takes longer is waiting for its caller, and does not count; longer
/// than this, or than four times what those of guests took lately, where the machine is slow or has much to do.
const BUSY: usize = 64;
const YOUNG: Duration = Duration::from_millis(500);

/// Whatever guests took, no handshake counts for longer.
const MAX_YOUNG: Duration = Duration::from_secs(2);

/// Of one address so many of them count: a flood from there holds up nobody.
const BUSY_OF_ADDRESS: usize = 4;

/// Callers without a good identity at any one time: joining is one small call.
const MAX_STRANGERS: usize = 64;

/// Addresses of which it is remembered that a guest was let in from there (count).
const MAX_LATELY: usize = 4096;

/// A guest has one link, and for a moment two while it redials.
const MAX_PER_GUEST: usize = 2;

/// Everyone who is connected.
#[derive(Debug, Default)]
pub(super) struct Admission {
    rows: Mutex<Rows>,
    /// Somebody's handshake is over.
    left: Notify,
}

#[derive(Debug, Default)]
struct Rows {
    /// How many there have been.
    count: u64,
    /// Until it says who it is, a caller stands in the first row.
    handshakes: Row,
    /// Those that showed no certificate, or none that is good.
    strangers: Row,
    guests: HashMap<Guest, VecDeque<(u64, AbortHandle)>>,
    /// How long handshakes of guests took lately: each counts for an eighth of all before.
    took: Duration,
    lately: Lately,
}

/// Where guests were let in from, and by which number last.
#[derive(Debug, Default)]
struct Lately(HashMap<IpAddr, u64>);

/// A caller's place; it leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    admission: Arc<Admission>,
    source: Source,
    address: IpAddr,
    number: u64,
    /// Whose link it is, once that is known.
    guest: OnceLock<Guest>,
}

impl Admission {
    /// Waits until another caller would throw out nobody who is nearly through.
    pub(super) async fn is_ready(&self) {
        loop {
            let left = self.left.notified();
            if !lock(&self.rows).is_busy() {
                return;
            }
            // They grow older, too.
            timeout(YOUNG / 10, left).await.ok();
        }
    }

    /// A new connection. Whoever goes for it is ended.
    pub(super) fn enter(self: &Arc<Self>, from: SocketAddr) -> Ticket {
        let address = from.ip().to_canonical();
        let source = Source::of(address);
        let rows = &mut *lock(&self.rows);
        rows.count += 1;
        let number = rows.count;
        rows.handshakes.add(
            source,
            Caller { number, address, begun: Instant::now(), task: None },
            MAX_HANDSHAKES,
            &rows.lately,
        );
        Ticket { admission: self.clone(), source, address, number, guest: OnceLock::new() }
    }

    /// The task that a connection is; it may be over already.
    pub(super) fn runs(&self, source: Source, number: u64, task: AbortHandle) {
        let rows = &mut *lock(&self.rows);
        let caller = rows.handshakes.find(source, number).or_else(|| rows.strangers.find(source, number));
        if let Some(caller) = caller {
            caller.task = Some(task);
        }
    }
}

impl Rows {
    /// Whether so many handshakes have only just begun that another one would end one that is nearly done.
    fn is_busy(&self) -> bool {
        self.handshakes.is_busy((self.took * 4).clamp(YOUNG, MAX_YOUNG))
    }
}

impl Ticket {
    /// Ends its task.
    pub(super) fn key(&self) -> (Source, u64) {
        (self.source, self.number)
    }

    /// It showed no certificate, or one that is not the guest's any more.
    pub(super) fn is_stranger(&self) {
        let rows = &mut *lock(&self.admission.rows);
        self.admission.left.notify_one();
        if let Some(caller) = rows.handshakes.remove(self.source, self.number) {
            rows.strangers.add(self.source, caller, MAX_STRANGERS, &rows.lately);
        }
    }

    /// It showed an identity that is on record as the guest's, and good.
    pub(super) fn is_guest(&self, guest: Guest) {
        let mut rows = lock(&self.admission.rows);
        self.admission.left.notify_one();
        let Some(caller) = rows.handshakes.remove(self.source, self.number) else { return };
        rows.took = (rows.took * 7 + caller.begun.elapsed()) / 8;
        let Some(task) = caller.task else { return };
        rows.lately.note(self.address, self.number);
        let guest = *self.guest.get_or_init(|| guest);
        let row = rows.guests.entry(guest).or_default();
        row.retain(|(_, task)| !task.is_finished());
        row.push_back((self.number, task));
        while row.len() > MAX_PER_GUEST {
            if let Some((_, oldest)) = row.pop_front() {
                oldest.abort();
            }
        }
    }

    /// A way to keep the caller, for the one who serves it.
    pub(super) fn keeper(&self) -> Keeper {
        Keeper { admission: self.admission.clone(), source: self.source, number: self.number }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let rows = &mut *lock(&self.admission.rows);
        rows.handshakes.remove(self.source, self.number);
        rows.strangers.remove(self.source, self.number);
        if let Some(guest) = self.guest.get()
            && let Entry::Occupied(mut row) = rows.guests.entry(*guest)
        {
            row.get_mut().retain(|(number, _)| *number != self.number);
            if row.get().is_empty() {
                row.remove();
            }
        }
        self.admission.left.notify_one();
    }
}

/// Keeps a stranger from being thrown out.
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    admission: Arc<Admission>,
    source: Source,
    number: u64,
}

impl Keeper {
    /// The caller has shown a live token: it goes for nobody any more. There are only so many live tokens.
    pub(super) fn keep(&self) {
        let mut rows = lock(&self.admission.rows);
        rows.strangers.remove(self.source, self.number);
    }
}

/// Callers by where they come from.
#[derive(Debug, Default)]
struct Row {
    /// Of each source the oldest first.
    sources: BTreeMap<Source, VecDeque<Caller>>,
    count: usize,
}

#[derive(Debug)]
struct Caller {
    number: u64,
    address: IpAddr,
    begun: Instant,
    /// None until it is spawned.
    task: Option<AbortHandle>,
}

impl Lately {
    fn note(&mut self, address: IpAddr, number: u64) {
        self.0.insert(address, number);
        if self.0.len() > MAX_LATELY
            && let Some(oldest) = self.0.iter().min_by_key(|(_, number)| **number).map(|(address, _)| *address)
        {
            self.0.remove(&oldest);
        }
    }

    fn has(&self, address: IpAddr) -> bool {
        self.0.contains_key(&address)
    }
}

impl Row {
    fn add(&mut self, source: Source, caller: Caller, max: usize, lately: &Lately) {
        self.sources.entry(source).or_default().push_back(caller);
        self.count += 1;
        while self.count > max {
            let oldest = |callers: &VecDeque<Caller>| callers.front().map_or(u64::MAX, |caller| caller.number);
            let spared = |callers: &VecDeque<Caller>| callers.iter().any(|caller| lately.has(caller.address));
            let worst = self
                .sources
                .iter()
                .max_by_key(|(_, callers)| (callers.len(), Reverse(spared(callers)), Reverse(oldest(callers))));
            let Some((source, number)) =
                worst.and_then(|(source, callers)| Some((*source, worst_of(callers, lately)?)))
            else {
                return;
            };
            if let Some(task) = self.remove(source, number).and_then(|caller| caller.task) {
                task.abort();
            }
        }
    }

    /// Whether too many have come within this time; of each address at most so many count.
    fn is_busy(&self, young: Duration) -> bool {
        if self.count < BUSY {
            return false;
        }
        let now = Instant::now();
        let mut addresses: HashMap<IpAddr, usize> = HashMap::new();
        for caller in self.sources.values().flatten().filter(|caller| now.duration_since(caller.begun) < young) {
            *addresses.entry(caller.address).or_default() += 1;
        }
        addresses.values().map(|count| (*count).min(BUSY_OF_ADDRESS)).sum::<usize>() >= BUSY
    }

    fn find(&mut self, source: Source, number: u64) -> Option<&mut Caller> {
        self.sources.get_mut(&source)?.iter_mut().find(|caller| caller.number == number)
    }

    fn remove(&mut self, source: Source, number: u64) -> Option<Caller> {
        let callers = self.sources.get_mut(&source)?;
        let at = callers.iter().position(|caller| caller.number == number)?;
        let caller = callers.remove(at);
        if callers.is_empty() {
            self.sources.remove(&source);
        }
        self.count -= usize::from(caller.is_some());
        caller
    }
}

/// Of one source's callers, the oldest of the address with the most.
fn worst_of(callers: &VecDeque<Caller>, lately: &Lately) -> Option<u64> {
    let mut addresses: HashMap<IpAddr, (usize, u64)> = HashMap::new();
    for caller in callers {
        addresses.entry(caller.address).or_insert((0, caller.number)).0 += 1;
    }
    let rank =
        |(address, (count, oldest)): &(IpAddr, (usize, u64))| (*count, Reverse(lately.has(*address)), Reverse(*oldest));
    addresses.into_iter().max_by_key(rank).map(|(_, (_, oldest))| oldest)
}

#[cfg(test)]
mod tests;
