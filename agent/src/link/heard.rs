//! A connection that fails when nothing has come over it for too long.
//!
//! Answers: is the controller still there? It sends a ping whenever the link has been silent for 20 s. The agent sends none: it
//! takes one that is not heard of any more for dead. A link at rest then wakes the agent three times a minute, at each ping.
//! Invariant: whatever comes is a sign of life, so a slow message is no silence.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pinion_proto::alarm::Alarm;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A dead controller is noticed within this time; a ping that is late by 8 s still counts.
pub(super) const SILENCE: Duration = Duration::from_secs(28);

/// A connection, and when it was heard of last.
#[derive(Debug)]
pub(super) struct Heard<S> {
    stream: S,
    alarm: Alarm,
    silence: Duration,
}

impl<S> Heard<S> {
    /// It counts from now.
    pub(super) fn new(stream: S) -> io::Result<Self> {
        Self::within(stream, SILENCE)
    }

    fn within(stream: S, silence: Duration) -> io::Result<Self> {
        let alarm = Alarm::new()?;
        alarm.set(silence)?;
        Ok(Self { stream, alarm, silence })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Ready(read) => {
                this.alarm.set(this.silence)?;
                Poll::Ready(read)
            }
            Poll::Pending if this.alarm.poll_expired(context).is_ready() => {
                let text = format!("the controller has sent nothing for {} s", this.silence.as_secs());
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::{Instant, sleep},
    };

    use super::*;

    #[tokio::test]
    async fn silence_ends_a_connection_and_every_byte_puts_its_end_off() {
        const SILENCE: Duration = Duration::from_millis(200);
        let (near, mut far) = duplex(64);
        let mut near = Heard::within(near, SILENCE).expect("a timer");
        for _ in 0..3 {
            sleep(SILENCE * 3 / 4).await;
            far.write_all(b"!").await.expect("the other end is there");
            assert_eq!(near.read_u8().await.expect("it has come"), b'!');
        }
        let last = Instant::now();
        let error = near.read_u8().await.expect_err("nothing comes any more");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        assert!(last.elapsed() >= SILENCE - Duration::from_millis(10), "{:?}", last.elapsed());
    }
}
