//! What is read of a caller whose identity is not good any more.
//!
//! Answers: who is it that shows a locked or replaced identity, without reading all that it says it holds?
//! Of its hello, what it says of itself is enough to tell a guest from its copy and from its own past; its reports are
//! not looked at, because nobody will act on them.
//! Invariant: at most [`LARGE`] bytes of such a caller are gathered, and nothing waits for its turn.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::body::{Body, Bytes, Frame};
use pinion_proto::wire;
use tonic::{Status, codegen::StdError};

use super::large::LARGE;

/// gRPC's flag and length before each message.
const HEAD: usize = 5;

/// Facts come first in a hello, and are a few hundred bytes.
const FACTS: usize = 16 * 1024;

/// A link's request body, of which a large first message becomes its facts alone, and the end.
pub(super) struct Beginning<B> {
    inner: B,
    state: State,
}

enum State {
    /// So much of the first message has come.
    First(Vec<u8>),
    /// It was small: all is passed on, within tonic's limit.
    Small,
    /// It was large: nothing more is read.
    Cut,
}

impl<B> Beginning<B> {
    pub(super) fn new(inner: B) -> Self {
        Self { inner, state: State::First(Vec::new()) }
    }
}

impl<B> Body for Beginning<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<StdError>,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = self.get_mut();
        loop {
            if matches!(this.state, State::Cut) {
                return Poll::Ready(None);
            }
            let frame = match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            };
            let (State::First(gathered), Some(bytes)) = (&mut this.state, frame.data_ref()) else {
                return Poll::Ready(Some(Ok(frame)));
            };
            gathered.extend_from_slice(bytes);
            let Some(([_, length @ ..], message)) = gathered.split_first_chunk::<HEAD>() else { continue };
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            if length <= LARGE {
                let passed = Bytes::from(std::mem::take(gathered));
                this.state = State::Small;
                return Poll::Ready(Some(Ok(Frame::data(passed))));
            }
            if message.len() < FACTS {
                continue;
            }
            let facts = wire::facts_alone(message);
            this.state = State::Cut;
            return Poll::Ready(Some(match facts {
                Some(facts) => Ok(Frame::data(framed(&facts))),
                None => Err(Status::out_of_range("the identity is not current, and its hello is too large").into()),
            }));
        }
    }
}

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("shorter than what it was made of");
    [&[0], &length.to_be_bytes()[..], message].concat().into()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use pinion_proto::{
        message::{Hello, ToController},
        report::{GuestFacts, PlacementReport},
    };

    use super::*;

    struct Pieces(VecDeque<Vec<u8>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = StdError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece.into()))))
        }
    }

    async fn through(bytes: &[u8], piece: usize) -> Result<Vec<u8>, String> {
        let mut body = Beginning::new(Pieces(bytes.chunks(piece).map(<[u8]>::to_vec).collect()));
        let mut all = Vec::new();
        while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            all.extend_from_slice(frame.map_err(|error| error.to_string())?.data_ref().expect("data"));
        }
        Ok(all)
    }

    fn hello(reports: usize) -> Vec<u8> {
        let facts = GuestFacts { hostname: "web".into(), ..GuestFacts::default() };
        let reports = (0..reports).map(|n| PlacementReport::nothing(format!("c{n}").parse().expect("a name")));
        let hello =
            Hello { facts, identity_generation: 3, link_count: 7, reports: reports.collect(), roots: Vec::new() };
        framed(&wire::encoded(ToController::Hello(hello))).to_vec()
    }

    #[tokio::test]
    async fn a_small_hello_is_read_whole_and_of_a_large_one_who_it_is() {
        for piece in [1, 3, 1000, 16_384, 1 << 20] {
            let small = [hello(10), hello(10)].concat();
            assert_eq!(through(&small, piece).await.as_ref(), Ok(&small));
            let large = hello(3000);
            assert!(large.len() > LARGE + HEAD, "{}", large.len());
            let read = through(&large, piece).await.expect("its facts");
            assert!(read.len() < 200, "{}", read.len());
            let (_, message) = read.split_at(HEAD);
            let Ok(ToController::Hello(hello)) = wire::decoded(message) else { panic!("no hello") };
            assert_eq!((hello.facts.hostname.as_str(), hello.reports.len()), ("web", 0));
        }
    }

    #[tokio::test]
    async fn what_is_large_and_no_hello_is_refused() {
        let mut noise = framed(&vec![0x1a; LARGE + 1]).to_vec();
        through(&noise, 1000).await.expect_err("reports first");
        noise.truncate(100);
        assert_eq!(through(&noise, 10).await, Ok(Vec::new()), "it ends before there is anything to read");
    }

    #[tokio::test]
    async fn a_first_message_of_exactly_the_limit_is_passed_on_whole() {
        let message = vec![0x1a; LARGE];
        let whole = framed(&message).to_vec();
        for piece in [1, 4096, whole.len()] {
            assert_eq!(through(&whole, piece).await.as_ref(), Ok(&whole), "{piece}");
        }
        let why = through(&framed(&vec![0x1a; LARGE + 1]), 4096).await.expect_err("one byte more");
        assert!(why.contains("too large"), "{why}");
    }

    #[tokio::test]
    async fn the_facts_are_looked_for_in_the_first_sixteen_kib() {
        let large = hello(3000);
        // All of what they are looked for in has come, and then less of it.
        assert!(!through(&large[..HEAD + FACTS], 1000).await.expect("its facts").is_empty());
        assert_eq!(through(&large[..HEAD + FACTS - 1], 1000).await, Ok(Vec::new()));
    }
}
