//! Waiting for a long time without being woken in between: by the kernel's timers.
//!
//! Answers: how does a program that has nothing to do sleep? tokio keeps its timers in wheels, whose slots are emptied one into
//! the other: one that is more than four seconds away wakes the program three times, and one that is put off wakes it at its
//! former time as well (tokio, `runtime/time/wheel`). A timer of the kernel's wakes it once (timerfd_create(2)).
//! Invariant: a wait ends. Where the kernel gives no timer, tokio's is used.

use std::{
    io,
    os::fd::OwnedFd,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::{
    io::{Errno, read},
    time::{
        ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
        timerfd_settime,
    },
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::Instant,
};

/// A timer of the kernel's, which can be put off as often as one likes.
#[derive(Debug)]
pub struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    /// One that is not set.
    ///
    /// # Errors
    /// The kernel gives none, for example because too many files are open.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new() -> io::Result<Self> {
        Self::of(TimerfdClockId::Monotonic)
    }

    fn of(clock: TimerfdClockId) -> io::Result<Self> {
        let timer = timerfd_create(clock, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // It is deprecated for types that could close their descriptor meanwhile, and its successor is unsafe.
        #[allow(deprecated, reason = "an OwnedFd keeps its descriptor open")]
        Ok(Self(AsyncFd::with_interest(timer, Interest::READABLE)?))
    }

    /// It rings so long from now, and not when it was to ring before.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn set(&self, after: Duration) -> io::Result<()> {
        self.set_at(TimerfdTimerFlags::empty(), timespec(after))
    }

    /// Of all zeros, a time would be none.
    fn set_at(&self, flags: TimerfdTimerFlags, at: Timespec) -> io::Result<()> {
        let at = if at == (Timespec { tv_sec: 0, tv_nsec: 0 }) { Timespec { tv_sec: 0, tv_nsec: 1 } } else { at };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
        timerfd_settime(self.0.get_ref(), flags, &once)?;
        Ok(())
    }

    /// Ready when it has expired since it was set last, or when its clock was set.
    pub fn poll_expired(&self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            // Nothing can be said of a timer that cannot be read: whoever waits looks for himself.
            let Ok(mut ready) = ready!(self.0.poll_read_ready(context)) else { return Poll::Ready(()) };
            match read(self.0.get_ref(), &mut [0; 8]) {
                // It was put off when it had expired already.
                Err(Errno::AGAIN) => ready.clear_ready(),
                Ok(_) | Err(_) => {
                    ready.clear_ready();
                    return Poll::Ready(());
                }
            }
        }
    }

    async fn expired(&self) {
        std::future::poll_fn(|context| self.poll_expired(context)).await;
    }
}

/// Returns at this instant. Those who wait for the same one are woken at the same time.
pub async fn sleep_until(instant: Instant) {
    let left = instant.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return;
    }
    // In whole milliseconds, because what is left is not the same for two who ask one after the other.
    let at = Duration::from_millis(milliseconds(since_boot() + left)) + Duration::from_millis(1);
    match set_at(at) {
        Ok(alarm) => alarm.expired().await,
        Err(_) => tokio::time::sleep_until(instant).await,
    }
}

/// Returns when the next multiple of this time since the machine's start is over, so that everything in a program which is
/// done every second, or every ten, is done at the same moments.
pub async fn next(every: Duration) {
    let now = since_boot();
    let left = every - Duration::from_millis(milliseconds(now) % milliseconds(every).max(1));
    let at = Duration::from_millis(milliseconds(now + left));
    match set_at(at) {
        Ok(alarm) => alarm.expired().await,
        Err(_) => tokio::time::sleep(every).await,
    }
}

fn set_at(at: Duration) -> io::Result<Alarm> {
    let alarm = Alarm::of(TimerfdClockId::Monotonic)?;
    alarm.set_at(TimerfdTimerFlags::ABSTIME, timespec(at))?;
    Ok(alarm)
}

fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanoseconds) = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanoseconds.unwrap_or(0))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns when the machine's clock shows this time (Unix seconds), which is so far away now, and earlier when somebody sets that clock, or after `max`.
pub(crate) async fn sleep_until_time(time: i64, left: Duration, max: Duration) {
    if left.is_zero() {
        return;
    }
    let set = || {
        let alarm = Alarm::of(TimerfdClockId::Realtime)?;
        let seconds = if left > max { time.saturating_sub(whole_seconds(left - max)) } else { time };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        alarm.set_at(flags, Timespec { tv_sec: seconds, tv_nsec: 0 }).map(|()| alarm)
    };
    match set() {
        Ok(alarm) => alarm.expired().await,
        Err(_) => tokio::time::sleep(left.min(max).min(FALLBACK)).await,
    }
}

/// tokio's timers do not know that the clock was set.
const FALLBACK: Duration = Duration::from_secs(60);

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: whole_seconds(duration), tv_nsec: duration.subsec_nanos().into() }
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_wait_ends_at_its_instant_and_not_before() {
        let begun = Instant::now();
        sleep_until(begun).await;
        let until = begun + Duration::from_millis(30);
        tokio::join!(sleep_until(until), sleep_until(until));
        assert!(Instant::now() >= until, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn those_who_do_something_as_often_do_it_at_the_same_moments() {
        let every = Duration::from_millis(50);
        let begun = Instant::now();
        let mut ends = Vec::new();
        for _ in 0..3 {
            let end = async || {
                next(every).await;
                Instant::now()
            };
            let (one, other) = tokio::join!(end(), end());
            assert!(other.max(one) - other.min(one) < every / 2, "{one:?} {other:?}");
            ends.push(one);
        }
        let took = ends[2] - begun;
        assert!(took > every * 2 && ends.windows(2).all(|pair| pair[1] > pair[0]), "{took:?}");
    }

    #[tokio::test]
    async fn what_is_put_off_rings_at_its_later_time_only() {
        let alarm = Alarm::new().expect("a timer");
        alarm.set(Duration::from_millis(20)).expect("set");
        let begun = Instant::now();
        // It has expired, and nobody has looked.
        std::thread::sleep(Duration::from_millis(40));
        alarm.set(Duration::from_millis(50)).expect("put off");
        poll_fn(|context| alarm.poll_expired(context)).await;
        assert!(begun.elapsed() >= Duration::from_millis(90), "{:?}", begun.elapsed());
    }
}
