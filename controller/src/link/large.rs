//! Large messages come in a few at a time.
//!
//! Answers: what do many guests cost that each send the largest message at once?
//! tonic gathers a message whole before it is decoded, so its bytes and what is made of them are in memory together.
//! This looks at each message's announced length before tonic sees it, and leaves a large one in the guest's own send
//! queue (HTTP/2 flow control) until it is its turn.
//! Invariant: at most [`MAX_AT_ONCE`] messages of more than [`LARGE`] bytes are being received or decoded, whatever the
//! guests do; each has [`RECEIVE_TIME`] to arrive, and waits at most [`WAIT_TIME`] for its turn. A guest stands in the
//! queue once, whatever its connections, and not for [`PAUSE_TIME`] after one of its messages came too late.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::body::{Body, Bytes, Frame};
use pinion_proto::{id::Guest, lock::lock};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep, timeout},
};
use tonic::{Status, codegen::StdError};

/// A message of a guest with dozens of placements is below it (bytes); it is what HTTP/2 lets a guest send unasked.
pub(super) const LARGE: usize = 64 * 1024;

/// Each takes 4 MiB as bytes and at most 12 MiB decoded.
const MAX_AT_ONCE: usize = 2;

/// 4 MiB over a network of the last century, on a loaded host.
const RECEIVE_TIME: Duration = Duration::from_secs(10);

/// An agent gives up after 30 s without an answer, and dials anew.
const WAIT_TIME: Duration = Duration::from_secs(20);

/// A guest whose large message came too late lets others go first for this long.
const PAUSE_TIME: Duration = Duration::from_secs(60);

/// The turns of all links.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    free: Arc<Semaphore>,
    /// Those that want a turn, have one, or have to pause.
    guests: Arc<Mutex<HashMap<Guest, Standing>>>,
    receive_time: Duration,
    pause_time: Duration,
}

#[derive(Debug)]
struct Standing {
    /// The guest's one place in the queue; its connections take turns among themselves.
    own: Arc<Semaphore>,
    paused_until: Option<Instant>,
}

/// A guest's place, and its turn; both are given back when dropped.
struct Turn {
    _own: OwnedSemaphorePermit,
    _turn: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(MAX_AT_ONCE)),
            guests: Arc::default(),
            receive_time: RECEIVE_TIME,
            pause_time: PAUSE_TIME,
        }
    }
}

impl Turns {
    /// Waits for the guest's turn.
    async fn turn(self, guest: Guest) -> Result<Turn, Status> {
        let stopping = |_| Status::unavailable("the controller is shutting down");
        let turn = async {
            let own = self.place(guest)?.acquire_owned().await.map_err(stopping)?;
            // One before it may have come too late meanwhile.
            self.place(guest)?;
            let turn = self.free.clone().acquire_owned().await.map_err(stopping)?;
            Ok(Turn { _own: own, _turn: turn })
        };
        let late = |_| Err(Status::resource_exhausted("too many guests are sending large messages: try again"));
        timeout(WAIT_TIME, turn).await.unwrap_or_else(late)
    }

    /// Where the guest's connections take turns among themselves, unless it has to pause.
    fn place(&self, guest: Guest) -> Result<Arc<Semaphore>, Status> {
        let (mut guests, now) = (lock(&self.guests), Instant::now());
        let is_paused = |standing: &Standing| standing.paused_until.is_some_and(|until| now < until);
        guests.retain(|_, standing| is_paused(standing) || Arc::strong_count(&standing.own) > 1);
        let new = || Standing { own: Arc::new(Semaphore::new(1)), paused_until: None };
        let standing = guests.entry(guest).or_insert_with(new);
        if is_paused(standing) {
            let why = "a large message of this guest took too long to arrive: wait a minute";
            return Err(Status::resource_exhausted(why));
        }
        Ok(standing.own.clone())
    }

    /// The guest's message came too late. It holds its place still, so that it is listed.
    fn came_late(&self, guest: Guest) {
        if let Some(standing) = lock(&self.guests).get_mut(&guest) {
            standing.paused_until = Some(Instant::now() + self.pause_time);
        }
    }
}

/// A link's request body, whose large messages wait for their turn.
pub(super) struct Gate<B> {
    inner: B,
    guest: Guest,
    turns: Turns,
    framing: Framing,
    state: State,
}

enum State {
    /// Nothing large is on its way.
    Open,
    /// This frame begins a large message, and it is not its turn yet.
    Waiting(Frame<Bytes>, Pin<Box<dyn Future<Output = Result<Turn, Status>> + Send>>),
    /// A large message is on its way, or is being decoded.
    Turn(Pin<Box<Sleep>>, #[expect(dead_code, reason = "held, and given back when dropped")] Turn),
}

impl<B> Gate<B> {
    pub(super) fn new(inner: B, guest: Guest, turns: Turns) -> Self {
        Self { inner, guest, turns, framing: Framing::default(), state: State::Open }
    }
}

impl<B> Body for Gate<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<StdError>,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = self.get_mut();
        match &mut this.state {
            State::Waiting(_, turn) => {
                let turn = match ready!(turn.as_mut().poll(context)) {
                    Ok(turn) => turn,
                    Err(status) => return Poll::Ready(Some(Err(status.into()))),
                };
                let state = State::Turn(Box::pin(sleep(this.turns.receive_time)), turn);
                if let State::Waiting(frame, _) = std::mem::replace(&mut this.state, state) {
                    return Poll::Ready(Some(Ok(frame)));
                }
            }
            // tonic asks for more bytes only when what came before is decoded, and taken.
            State::Turn(..) if !this.framing.in_large() => this.state = State::Open,
            State::Turn(deadline, _) => {
                if deadline.as_mut().poll(context).is_ready() {
                    this.turns.came_late(this.guest);
                    let late = Status::deadline_exceeded("a large message took too long to arrive");
                    return Poll::Ready(Some(Err(late.into())));
                }
            }
            State::Open => {}
        }
        let frame = match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => return Poll::Ready(None),
        };
        let begins_large = frame.data_ref().is_some_and(|bytes| this.framing.passes(bytes));
        if begins_large && matches!(this.state, State::Open) {
            this.state = State::Waiting(frame, Box::pin(this.turns.clone().turn(this.guest)));
            return Pin::new(this).poll_frame(context);
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

/// Where in the stream of messages it is (the gRPC protocol's `Length-Prefixed-Message`: a flag, four bytes of length).
#[derive(Debug, Default)]
struct Framing {
    head: [u8; 5],
    /// How much of the head there is.
    filled: usize,
    /// How much of the message is still to come.
    left: usize,
    large: bool,
}

impl Framing {
    /// Whether a large message has begun and not ended.
    fn in_large(&self) -> bool {
        self.large && self.left > 0
    }

    /// Takes note of bytes. True when a large message begins in them.
    fn passes(&mut self, mut bytes: &[u8]) -> bool {
        let mut begins = false;
        while !bytes.is_empty() {
            if self.left > 0 {
                let passed = self.left.min(bytes.len());
                self.left -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            self.head[self.filled] = bytes[0];
            self.filled += 1;
            bytes = &bytes[1..];
            if self.filled == self.head.len() {
                let [_, length @ ..] = self.head;
                // A length that is no `usize` is refused by tonic, as every one above its limit.
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                self.filled = 0;
                self.large = self.left > LARGE;
                begins |= self.large;
            }
        }
        begins
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::atomic::{AtomicU32, Ordering},
    };

    use super::*;

    /// A body of these pieces, and then silence.
    struct Pieces(VecDeque<Vec<u8>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = StdError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
            match self.0.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece.into())))),
                None => Poll::Pending,
            }
        }
    }

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(length).expect("a length").to_be_bytes());
        bytes.extend(vec![7; length]);
        bytes
    }

    /// Of a guest of its own.
    fn gate(turns: &Turns, bytes: &[u8], piece: usize) -> Gate<Pieces> {
        // Above those that tests name themselves.
        static NEXT: AtomicU32 = AtomicU32::new(1000);
        gate_of(NEXT.fetch_add(1, Ordering::Relaxed), turns, bytes, piece)
    }

    fn gate_of(guest: u32, turns: &Turns, bytes: &[u8], piece: usize) -> Gate<Pieces> {
        let guest = guest.to_string().parse().expect("a guest");
        Gate::new(Pieces(bytes.chunks(piece).map(<[u8]>::to_vec).collect()), guest, turns.clone())
    }

    async fn next(gate: &mut Gate<Pieces>) -> Result<usize, StdError> {
        let polled = std::future::poll_fn(|context| Pin::new(&mut *gate).poll_frame(context));
        // A test of 100,000 frames has no budget left for timers otherwise.
        let frame = tokio::task::unconstrained(polled).await;
        frame.expect("it does not end").map(|frame| frame.data_ref().map_or(0, Bytes::len))
    }

    /// Everything that comes without waiting.
    async fn all(gate: &mut Gate<Pieces>) -> usize {
        let mut passed = 0;
        while let Some(more) = now_or_never(next(gate)).await {
            passed += more.expect("no error");
        }
        passed
    }

    async fn now_or_never<F: Future>(future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }

    #[tokio::test]
    async fn small_messages_never_wait_and_large_ones_take_turns() {
        let turns = Turns::default();
        let (small, large) = (message(LARGE), message(LARGE + 1));
        for piece in [1, 4, 7, 16_384] {
            let mut busy: Vec<_> = (0..MAX_AT_ONCE).map(|_| gate(&turns, &large[..LARGE], piece)).collect();
            for one in &mut busy {
                assert_eq!(all(one).await, LARGE, "it is its turn");
            }
            let mut other = gate(&turns, &[small.clone(), small.clone(), large.clone(), small.clone()].concat(), piece);
            let passed = all(&mut other).await;
            // A piece with the end of one message and the beginning of the next goes as a whole.
            assert!(passed <= 2 * small.len() + 5 && passed + piece > 2 * small.len(), "{passed}, pieces of {piece}");
            busy.pop();
            assert_eq!(passed + all(&mut other).await, 3 * small.len() + large.len());
            // Its large message has been taken, and it holds up nobody.
            let mut next = gate(&turns, &large, piece);
            assert_eq!(all(&mut next).await, large.len());
        }
    }

    #[tokio::test]
    async fn a_large_message_that_does_not_arrive_makes_room() {
        let turns = Turns { receive_time: Duration::from_millis(20), ..Turns::default() };
        let large = message(LARGE + 1);
        let mut slow: Vec<_> = (0..MAX_AT_ONCE).map(|_| gate(&turns, &large[..100], 100)).collect();
        for one in &mut slow {
            next(one).await.expect("its beginning");
        }
        for mut one in slow {
            assert!(next(&mut one).await.expect_err("too late").to_string().contains("too long to arrive"));
        }
        next(&mut gate(&turns, &large, 100)).await.expect("room");
    }

    #[tokio::test]
    async fn a_guest_stands_in_the_queue_once() {
        let turns = Turns::default();
        let large = message(LARGE + 1);
        let mut trickles: Vec<_> = (0..4).map(|_| gate_of(101, &turns, &large[..100], 100)).collect();
        assert_eq!(all(&mut trickles[0]).await, 100);
        for other in &mut trickles[1..] {
            assert_eq!(all(other).await, 0, "its other connections wait for the first");
        }
        assert_eq!(all(&mut gate(&turns, &large, 100)).await, large.len(), "and another guest has a turn");
        trickles.remove(0);
        assert_eq!(all(&mut trickles[0]).await, 100);
    }

    #[tokio::test]
    async fn a_guest_whose_message_came_too_late_pauses() {
        let turns = Turns::default();
        let short = Turns { receive_time: Duration::from_secs(1), ..turns.clone() };
        let (small, large) = (message(LARGE), message(LARGE + 1));
        let mut slow = gate_of(101, &short, &large[..100], 100);
        let mut waits = gate_of(101, &turns, &large, 100);
        next(&mut slow).await.expect("its beginning");
        assert_eq!(all(&mut waits).await, 0);
        next(&mut slow).await.expect_err("too late");
        drop(slow);
        for mut again in [waits, gate_of(101, &turns, &large, 100)] {
            assert!(next(&mut again).await.expect_err("it pauses").to_string().contains("wait a minute"));
        }
        assert_eq!(all(&mut gate_of(101, &turns, &small, 100)).await, small.len());
        assert_eq!(all(&mut gate(&turns, &large, 100)).await, large.len(), "another guest");
        let sooner = Instant::now();
        lock(&turns.guests).values_mut().for_each(|standing| standing.paused_until = Some(sooner));
        assert_eq!(all(&mut gate_of(101, &turns, &large, 100)).await, large.len(), "the pause is over");
    }

    #[test]
    fn a_message_is_large_from_one_byte_above_the_limit() {
        for (length, is_large) in [(0, false), (1, false), (LARGE, false), (LARGE + 1, true)] {
            for piece in [1, 3, 5, 4096] {
                let mut framing = Framing::default();
                let bytes = message(length);
                let begins = bytes.chunks(piece).filter(|bytes| framing.passes(bytes)).count();
                assert_eq!(begins, usize::from(is_large), "{length} in pieces of {piece}");
                assert!(!framing.in_large(), "it has come whole");
                let mut half = Framing::default();
                half.passes(&bytes[..bytes.len() - bytes.len().min(1)]);
                assert_eq!(half.in_large(), is_large, "{length}");
            }
        }
        // The largest length that can be announced is only counted.
        let mut framing = Framing::default();
        assert!(framing.passes(&[0, 0xff, 0xff, 0xff, 0xff]));
        assert!(framing.in_large());
    }
}
