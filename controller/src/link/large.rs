//! Large messages come in a few at a time.
//!
//! Answers: what do many guests cost that each send the largest message at once?
//! tonic gathers a message whole before it is decoded, so its bytes and what is made of them are in memory together.
//! This looks at each message's announced length before tonic sees it, and leaves a large one in the guest's own send
//! queue (HTTP/2 flow control) until it is its turn.
//! Invariant: at most [`MAX_AT_ONCE`] messages of more than [`LARGE`] bytes are being received or decoded, whatever the
//! guests do; each has [`RECEIVE_TIME`] to arrive, and waits at most [`WAIT_TIME`] for its turn.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::body::{Body, Bytes, Frame};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep, timeout},
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

/// The turns of all links.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    free: Arc<Semaphore>,
    receive_time: Duration,
}

impl Default for Turns {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(MAX_AT_ONCE)), receive_time: RECEIVE_TIME }
    }
}

/// A link's request body, whose large messages wait for their turn.
pub(super) struct Gate<B> {
    inner: B,
    turns: Turns,
    framing: Framing,
    state: State,
}

enum State {
    /// Nothing large is on its way.
    Open,
    /// This frame begins a large message, and it is not its turn yet.
    Waiting(Frame<Bytes>, Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, Status>> + Send>>),
    /// A large message is on its way, or is being decoded.
    Turn(Pin<Box<Sleep>>, #[expect(dead_code, reason = "held, and given back when dropped")] OwnedSemaphorePermit),
}

impl<B> Gate<B> {
    pub(super) fn new(inner: B, turns: Turns) -> Self {
        Self { inner, turns, framing: Framing::default(), state: State::Open }
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
                let permit = match ready!(turn.as_mut().poll(context)) {
                    Ok(permit) => permit,
                    Err(status) => return Poll::Ready(Some(Err(status.into()))),
                };
                let state = State::Turn(Box::pin(sleep(this.turns.receive_time)), permit);
                if let State::Waiting(frame, _) = std::mem::replace(&mut this.state, state) {
                    return Poll::Ready(Some(Ok(frame)));
                }
            }
            // tonic asks for more bytes only when what came before is decoded, and taken.
            State::Turn(..) if !this.framing.in_large() => this.state = State::Open,
            State::Turn(deadline, _) => {
                if deadline.as_mut().poll(context).is_ready() {
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
            let free = this.turns.free.clone();
            let turn = Box::pin(async move {
                match timeout(WAIT_TIME, free.acquire_owned()).await {
                    Ok(Ok(permit)) => Ok(permit),
                    Ok(Err(_)) => Err(Status::unavailable("the controller is shutting down")),
                    Err(_) => Err(Status::resource_exhausted("too many guests send large messages: try again")),
                }
            });
            this.state = State::Waiting(frame, turn);
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
    use std::collections::VecDeque;

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

    fn gate(turns: &Turns, bytes: &[u8], piece: usize) -> Gate<Pieces> {
        Gate::new(Pieces(bytes.chunks(piece).map(<[u8]>::to_vec).collect()), turns.clone())
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
}
