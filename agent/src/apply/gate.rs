//! A few at a time.
//!
//! Answers: what does an agent with fifty placements keep of the moment in which it looks at all of them? As much as is done at
//! once: memory that was used once stays with the process, and so does that of each thread.
//! Invariant: nobody waits for others that hang: after a second in which none of them has left he goes in beside them.

use std::{pin::pin, sync::Mutex, time::Duration};

use pinion_proto::lock::lock;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};

/// What local disks and services need is a hundredth of it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lets so many in at once.
pub(super) struct Gate {
    places: Semaphore,
    /// When somebody with a place left last.
    left: Mutex<Option<Instant>>,
}

/// A place, which is free again when it is dropped.
pub(super) struct Place<'a> {
    gate: &'a Gate,
    /// None for one who went in beside others that hang.
    permit: Option<SemaphorePermit<'a>>,
}

impl Gate {
    pub(super) fn for_as_many_as(places: usize) -> Self {
        Self { places: Semaphore::new(places), left: Mutex::default() }
    }

    /// Returns as soon as there is a place, or when nobody has left for too long.
    pub(super) async fn enter(&self) -> Place<'_> {
        let begun = Instant::now();
        // Kept over the rounds, because it has its turn among those who wait.
        let mut acquired = pin!(self.places.acquire());
        let mut until = begun + PATIENCE;
        loop {
            if let Ok(permit) = timeout_at(until, &mut acquired).await {
                return Place { gate: self, permit: permit.ok() };
            }
            // A queue that moves on a slow disk is not one that hangs: those who left it for the disk would make it slower.
            match lock(&self.left).map(|left| left + PATIENCE).filter(|later| *later > until) {
                Some(later) => until = later,
                None => return Place { gate: self, permit: None },
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.permit.is_some() {
            *lock(&self.gate.left) = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test]
    async fn as_many_as_there_are_places_are_in_and_those_who_hang_delay_the_next_by_a_second() {
        let gate = Gate::for_as_many_as(2);
        let begun = Instant::now();
        let (first, second) = (gate.enter().await, gate.enter().await);
        assert!(first.permit.is_some() && second.permit.is_some() && begun.elapsed() < PATIENCE);
        let leaves = async {
            sleep(PATIENCE / 4).await;
            drop(first);
        };
        let (third, ()) = tokio::join!(gate.enter(), leaves);
        assert!(third.permit.is_some() && begun.elapsed() < PATIENCE, "it has the place of the first");
        let fourth = gate.enter().await;
        assert!(fourth.permit.is_none() && begun.elapsed() >= PATIENCE, "the others hang");
        drop((second, third, fourth));
    }

    #[tokio::test]
    async fn where_one_leaves_after_the_other_nobody_goes_in_beside_them() {
        let gate = Gate::for_as_many_as(1);
        let stay = async |time| {
            let place = gate.enter().await;
            sleep(time).await;
            place.permit.is_some()
        };
        // The third waits for longer than a second.
        let all = tokio::join!(stay(PATIENCE * 2 / 5), stay(PATIENCE * 7 / 10), stay(Duration::ZERO));
        assert_eq!(all, (true, true, true));
    }

    #[tokio::test]
    async fn those_who_went_in_beside_others_keep_nobody_waiting_when_they_leave() {
        let gate = Gate::for_as_many_as(1);
        let _hangs = gate.enter().await;
        let begun = Instant::now();
        let late = async {
            sleep(PATIENCE / 2).await;
            gate.enter().await.permit.is_none()
        };
        let (one, other) = tokio::join!(async { gate.enter().await.permit.is_none() }, late);
        assert!(one && other && begun.elapsed() < PATIENCE * 7 / 4, "{:?}", begun.elapsed());
    }
}
