//! Who is connected, as far as it must be bounded.
//!
//! Answers: when there are too many callers, who goes?
//! Of callers that have not said who they are, those of the network with the most of them go first, of that network's
//! those of the address with the most, and of that address's the oldest: a flood from one address throws out itself,
//! also among neighbours. Where that leaves a choice, addresses of guests that were let in lately are spared. Of a
//! guest's connections the newest stay.
//! Invariant: a caller that has spent its join token is thrown out for nobody.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use pinion_proto::{id::Guest, lock::lock};
use tokio::task::AbortHandle;

/// Handshakes in flight.
const MAX_HANDSHAKES: usize = 256;

/// Callers without a good identity at any one time: joining is one small call.
const MAX_STRANGERS: usize = 64;

/// Addresses of which it is remembered that a guest was let in from there (count).
const MAX_LATELY: usize = 4096;

/// A guest has one link, and for a moment two while it redials.
const MAX_PER_GUEST: usize = 2;

/// Where a caller comes from: an IPv4 address, or the network that one IPv6 host has to itself (RFC 6177 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source(IpAddr);

impl Source {
    fn of(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// Everyone who is connected.
#[derive(Debug, Default)]
pub(super) struct Admission(Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    /// How many there have been.
    count: u64,
    /// Until it says who it is, a caller stands in the first row.
    handshakes: Row,
    /// Those that showed no certificate, or none that is good.
    strangers: Row,
    guests: HashMap<Guest, VecDeque<(u64, AbortHandle)>>,
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
}

impl Admission {
    /// A new connection. Whoever goes for it is ended.
    pub(super) fn enter(self: &Arc<Self>, from: SocketAddr) -> Ticket {
        let address = from.ip().to_canonical();
        let source = Source::of(address);
        let rows = &mut *lock(&self.0);
        rows.count += 1;
        let number = rows.count;
        rows.handshakes.add(source, Caller { number, address, task: None }, MAX_HANDSHAKES, &rows.lately);
        Ticket { admission: self.clone(), source, address, number }
    }

    /// The task that a connection is; it may be over already.
    pub(super) fn runs(&self, source: Source, number: u64, task: AbortHandle) {
        let rows = &mut *lock(&self.0);
        let caller = rows.handshakes.find(source, number).or_else(|| rows.strangers.find(source, number));
        if let Some(caller) = caller {
            caller.task = Some(task);
        }
    }
}

impl Ticket {
    /// Ends its task.
    pub(super) fn key(&self) -> (Source, u64) {
        (self.source, self.number)
    }

    /// It showed no certificate, or one that is not the guest's any more.
    pub(super) fn is_stranger(&self) {
        let rows = &mut *lock(&self.admission.0);
        if let Some(caller) = rows.handshakes.remove(self.source, self.number) {
            rows.strangers.add(self.source, caller, MAX_STRANGERS, &rows.lately);
        }
    }

    /// It showed an identity that is on record as the guest's, and good.
    pub(super) fn is_guest(&self, guest: Guest) {
        let mut rows = lock(&self.admission.0);
        let Some(task) = rows.handshakes.remove(self.source, self.number).and_then(|caller| caller.task) else {
            return;
        };
        rows.lately.note(self.address, self.number);
        rows.guests.retain(|_, tasks| tasks.iter().any(|(_, task)| !task.is_finished()));
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
        let mut rows = lock(&self.admission.0);
        rows.handshakes.remove(self.source, self.number);
        rows.strangers.remove(self.source, self.number);
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
        let mut rows = lock(&self.admission.0);
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
