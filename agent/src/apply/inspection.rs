//! Looking at the files of many placements in one go.
//!
//! Answers: what does it take to look at ten placements at once? One thread, which does one after the other and then says what
//! it found: a thread for each, each with its own answer, would wake the agent thirty times.
//! Invariant: a file system that hangs delays the others by one second. Then a second thread takes over the rest, and what was
//! found so far is reported.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use pinion_proto::lock::lock;
use tokio::{
    sync::oneshot,
    task::{spawn_blocking, yield_now},
    time::timeout,
};

use super::failure::Stopped;
use crate::install::{files::Files, snapshot::Snapshot};

/// Says what was found.
type Answer = Box<dyn FnOnce() + Send>;

/// Looks at these files.
type Look = Box<dyn FnOnce(&Arc<dyn Files>) -> Answer + Send>;

/// Local disks are done long before; a share that takes longer has its own thread from then on.
const PATIENCE: Duration = Duration::from_secs(1);

/// The looks that are waiting, of all placements.
pub(super) struct Inspection {
    files: Arc<dyn Files>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    looks: VecDeque<Look>,
    answers: Vec<Answer>,
    /// Somebody takes what is waiting, until nothing is.
    is_begun: bool,
}

impl Inspection {
    /// Of these files.
    pub(super) fn new(files: Arc<dyn Files>) -> Self {
        Self { files, waiting: Mutex::default() }
    }

    /// Looks on a thread where waiting for a disk holds nobody up, together with all who ask before this task waits: what is
    /// the same for several of them is looked at once.
    pub(super) fn run<T: Send + 'static>(
        self: &Arc<Self>,
        look: impl FnOnce(&Arc<dyn Files>) -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, Stopped>> {
        let (sender, receiver) = oneshot::channel();
        let look = move |files: &Arc<dyn Files>| {
            let found = look(files);
            // The caller may be gone.
            Box::new(move || drop(sender.send(found))) as Answer
        };
        let is_begun = {
            let mut waiting = lock(&self.waiting);
            waiting.looks.push_back(Box::new(look));
            std::mem::replace(&mut waiting.is_begun, true)
        };
        if !is_begun {
            tokio::spawn(Arc::clone(self).begin());
        }
        async { receiver.await.map_err(|_| Stopped) }
    }

    async fn begin(self: Arc<Self>) {
        loop {
            // Those who were woken at the same time ask first. A task that yields has its turn when no other is ready.
            yield_now().await;
            let this = Arc::clone(&self);
            match timeout(PATIENCE, spawn_blocking(move || this.work())).await {
                // One of them panicked: the others are looked at all the same.
                Ok(Err(error)) if error.is_panic() => continue,
                // Its runtime ends.
                Ok(Err(_)) => return,
                Ok(Ok(())) => {}
                Err(_) => self.answer(),
            }
            let mut waiting = lock(&self.waiting);
            if waiting.looks.is_empty() {
                waiting.is_begun = false;
                return;
            }
        }
    }

    fn work(&self) {
        let (mut files, mut since) = (self.snapshot(), Instant::now());
        loop {
            let next = lock(&self.waiting).looks.pop_front();
            let Some(look) = next else { return self.answer() };
            let answer = look(&files);
            lock(&self.waiting).answers.push(answer);
            if since.elapsed() >= PATIENCE {
                // It hung: much may be different by now.
                (files, since) = (self.snapshot(), Instant::now());
            }
        }
    }

    fn snapshot(&self) -> Arc<dyn Files> {
        Arc::new(Snapshot::of(Arc::clone(&self.files)))
    }

    fn answer(&self) {
        let answers = std::mem::take(&mut lock(&self.waiting).answers);
        answers.into_iter().for_each(|answer| answer());
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;
    use crate::install::files::RealFiles;

    fn inspection() -> Arc<Inspection> {
        Arc::new(Inspection::new(Arc::new(RealFiles)))
    }

    #[tokio::test]
    async fn those_who_ask_at_the_same_time_share_a_thread() {
        let inspection = inspection();
        let look = || inspection.run(|_| thread::current().id());
        let (first, second, third) = tokio::join!(look(), look(), look());
        let first = first.ok();
        assert!(first.is_some() && first == second.ok() && first == third.ok());
    }

    #[tokio::test]
    async fn those_who_ask_while_a_thread_is_at_work_have_it_too() {
        let inspection = inspection();
        let (release, busy) = mpsc::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let first = inspection.run(move |_| {
            let is_released = begun.send(()).is_ok() && busy.recv().is_err();
            is_released.then(|| thread::current().id())
        });
        let second = async {
            has_begun.await.expect("it has begun");
            let second = inspection.run(|_| Some(thread::current().id()));
            let later = async {
                // Another thread would have it by then.
                for _ in 0..10 {
                    yield_now().await;
                }
                drop(release);
            };
            tokio::join!(second, later).0
        };
        let (first, second) = tokio::join!(first, second);
        let first = first.ok().flatten();
        assert!(first.is_some() && first == second.ok().flatten());
        // And who asks when all is done is looked at, too.
        assert_eq!(inspection.run(|_| 1).await.ok(), Some(1));
    }

    #[tokio::test]
    async fn a_look_that_hangs_delays_the_others_by_a_second() {
        let inspection = inspection();
        let (release, hanging) = mpsc::channel::<()>();
        let hangs = inspection.run(move |_| hanging.recv().is_err());
        let begun = Instant::now();
        let others = async {
            let found = tokio::join!(inspection.run(|_| 1), inspection.run(|_| 2));
            drop(release);
            found
        };
        let (hung, (first, second)) = tokio::join!(hangs, others);
        assert_eq!((hung.ok(), first.ok(), second.ok()), (Some(true), Some(1), Some(2)));
        assert!(begun.elapsed() < PATIENCE * 2, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn one_that_panics_takes_nobody_along() {
        let inspection = inspection();
        let bad = inspection.run(|_| -> u8 { panic!("on purpose") });
        let (bad, good) = tokio::join!(bad, inspection.run(|_| 1));
        assert_eq!((bad.is_err(), good.ok()), (true, Some(1)));
    }

    #[tokio::test]
    async fn each_look_is_at_the_files_as_they_are_by_then() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let path = kept.path().canonicalize().expect("a real path").join("file");
        let inspection = inspection();
        let is_there = || {
            let path = path.clone();
            inspection.run(move |files| files.look(&path).is_ok_and(|found| found.is_some()))
        };
        assert_eq!(is_there().await.ok(), Some(false));
        std::fs::write(&path, "x").expect("written");
        assert_eq!(is_there().await.ok(), Some(true));
    }
}
