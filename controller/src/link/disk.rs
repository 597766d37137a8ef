//! What links read and write, a few of them at a time.
//!
//! Answers: why do ten thousand guests that link at once not need a thread each?
//! Invariant: a call that waits here waits for the disk, and more threads would not make that faster.

use std::sync::Arc;

use tokio::{
    sync::Semaphore,
    task::{JoinError, spawn_blocking},
};

/// So many calls at once. A thread has a stack, and a heap of its own that it keeps.
const AT_ONCE: usize = 8;

#[derive(Debug)]
pub(super) struct Disk(Arc<Semaphore>);

impl Default for Disk {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Disk {
    /// Runs something that reads or writes, on a thread for that. It runs to its end even if the caller is dropped.
    ///
    /// # Errors
    /// It panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // It is never closed; and without a turn the work is done all the same.
        let turn = self.0.clone().acquire_owned().await.ok();
        let work = move || {
            // Also of a caller that is thrown out meanwhile.
            let _turn = turn;
            work()
        };
        spawn_blocking(work).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn no_more_than_a_few_run_at_once() {
        let (disk, running) = (Arc::new(Disk::default()), Arc::new(AtomicUsize::new(0)));
        let calls = (0..100).map(|_| {
            let (disk, running) = (disk.clone(), running.clone());
            tokio::spawn(async move {
                let work = move || {
                    let max = running.fetch_add(1, Ordering::SeqCst) + 1;
                    std::thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                    max
                };
                disk.run(work).await.expect("it ran")
            })
        });
        for call in calls.collect::<Vec<_>>() {
            assert!(call.await.expect("it ended") <= AT_ONCE);
        }
    }
}
