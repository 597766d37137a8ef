//! A clock whose hands the test moves.

use std::{future::Future, pin::Pin, time::Duration};

use pinion_proto::clock::{Clock, Timestamp};
use tokio::sync::watch;

/// Stands still until it is moved; sleepers wake when it passes their moment, and look again when it was set back.
#[derive(Debug)]
pub struct ManualClock(watch::Sender<Timestamp>);

impl ManualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn at(start: Timestamp) -> Self {
        Self(watch::Sender::new(start))
    }

    /// Moves the hands on.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = *now + by);
    }

    /// Sets the hands, backwards too.
    pub fn set(&self, moment: Timestamp) {
        self.0.send_replace(moment);
    }

    /// How many sleepers wait.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.0.receiver_count()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn sleep_until(&self, moment: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        // Subscribed here and not in the future: a move between the two is not missed.
        let mut hands = self.0.subscribe();
        Box::pin(async move {
            // The sender is `self`, which the future borrows, so the channel is open.
            let mut latest = *hands.borrow();
            let awake = |now: &Timestamp| {
                let back = *now < latest;
                latest = *now;
                *now >= moment || back
            };
            if hands.wait_for(awake).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::wait::{PATIENCE, until_async};

    #[tokio::test]
    async fn sleepers_wake_when_their_moment_has_come_and_not_before() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix(1_000)));
        let sleeper = tokio::spawn({
            let clock = Arc::clone(&clock);
            async move { clock.sleep_until(Timestamp::from_unix(1_060)).await }
        });
        until_async(
            "the sleeper to lie down",
            PATIENCE,
            async || {
                if clock.sleepers() == 1 { Ok(()) } else { Err("awake") }
            },
        )
        .await
        .expect("it lies down");
        clock.advance(Duration::from_secs(59));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1));
        tokio::time::timeout(PATIENCE, sleeper).await.expect("it wakes").expect("it did not panic");
    }
}
