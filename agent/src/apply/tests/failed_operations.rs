//! One operation fails, whichever, and the next ones do not: of a first installation, a renewal, a way back, a removal and
//! a change of layout. Nothing is lost, what holds it up is reported with its cause, and the agent continues by itself.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pinion_proto::spec::Layout;
use rustix::io::Errno;

use super::{
    disk_work::{Work, Works},
    guest::{Guest, count, plain, plain_guest},
};
use crate::install::{
    files::{Files, RealFiles},
    tests::failing::Failing,
};

#[tokio::test]
async fn a_first_installation_continues_after_any_failed_operation() {
    fail_everywhere(Work::First).await;
}

#[tokio::test]
async fn a_renewal_continues_after_any_failed_operation() {
    fail_everywhere(Work::Renewal).await;
}

#[tokio::test]
async fn a_rollback_after_a_failed_validate_continues_after_any_failed_operation() {
    fail_everywhere(Work::BackFromCheck).await;
}

#[tokio::test]
async fn a_rollback_after_a_refused_reload_continues_after_any_failed_operation() {
    fail_everywhere(Work::BackFromReload).await;
}

#[tokio::test]
async fn a_removal_continues_after_any_failed_operation() {
    fail_everywhere(Work::Removal).await;
}

#[tokio::test]
async fn a_change_of_layout_continues_after_any_failed_operation() {
    fail_everywhere(Work::Layout).await;
}

#[tokio::test]
async fn an_agent_that_cannot_start_says_why_and_can_the_next_time() {
    let mut operation = 0;
    loop {
        let mut guest = plain_guest();
        let left = Arc::new(AtomicUsize::new(operation));
        guest.files = Arc::new(Failing::some_of_any_after(&left, Errno::NOSPC, 1));
        match guest.try_start().await {
            Ok(placements) => {
                placements.shutdown().await;
                break;
            }
            Err(error) => {
                let told = pinion_proto::causes::chain(&error);
                assert!(told.contains("os error 28") && told.contains("pinion-agent"), "{told}");
                guest.try_start().await.expect("the next time").shutdown().await;
            }
        }
        operation += 1;
    }
    assert!(operation > 2, "a start has more operations than {operation}");
}

/// A kind of fault.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Of one operation that changes something: a write, a sync, a rename.
    Change(Errno),
    /// Of one operation of any kind, a look or a read too.
    Any(Errno),
    /// Of so many, one after the other.
    InARow(Errno, usize),
}

impl Fault {
    /// A disk that is full, broken, read-only or, for renewals, used up by its owner; and no more open files.
    fn of(work: Work) -> impl Iterator<Item = Self> {
        let all = [
            Self::Change(Errno::NOSPC),
            Self::Change(Errno::IO),
            Self::Change(Errno::ROFS),
            Self::Any(Errno::IO),
            Self::InARow(Errno::MFILE, 8),
        ];
        all.into_iter().chain((work == Work::Renewal).then_some(Self::Change(Errno::DQUOT)))
    }

    fn errno(self) -> Errno {
        match self {
            Self::Change(errno) | Self::Any(errno) | Self::InARow(errno, _) => errno,
        }
    }

    /// It begins with this operation.
    fn after(self, operation: usize) -> usize {
        match self {
            Self::Change(_) | Self::Any(_) => operation,
            Self::InARow(_, span) => operation + span - 1,
        }
    }

    fn disk(self, left: &Arc<AtomicUsize>) -> Arc<dyn Files> {
        Arc::new(match self {
            Self::Change(errno) => Failing::once_after(left, errno),
            Self::Any(errno) => Failing::some_of_any_after(left, errno, 1),
            Self::InARow(errno, span) => Failing::some_of_any_after(left, errno, span),
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errno = std::io::Error::from(self.errno());
        match self {
            Self::Change(_) => write!(f, "{errno} for one change"),
            Self::Any(_) => write!(f, "{errno} for one operation"),
            Self::InARow(_, span) => write!(f, "{errno} for {span} operations"),
        }
    }
}

/// Does it again and again in each layout, each time with one operation more before the one that fails.
async fn fail_everywhere(work: Work) {
    for layout in Layout::ALL {
        for fault in Fault::of(work) {
            let (mut guest, left) = (failing_guest(), Arc::new(AtomicUsize::new(usize::MAX)));
            guest.files = fault.disk(&left);
            let mut works = Works::begin(guest, plain(layout)).await;
            let (mut operation, mut told) = (0, 0);
            loop {
                let at = format!("{work}, {layout}, {fault}, operation {operation}");
                works.prepare(work).await;
                works.forget_troubles();
                works.begin_work(work, || left.store(fault.after(operation), Ordering::SeqCst));
                works.is_done(work, &at).await;
                let failed = left.swap(usize::MAX, Ordering::SeqCst) > usize::MAX / 2;
                told += usize::from(works.was_reported(fault.errno(), &at));
                works.afterwards(work, &at).await;
                if !failed {
                    break;
                }
                operation += 1;
            }
            let guest = works.end().await;
            let names = RealFiles.list(&guest.at("etc/ssl")).expect("listed");
            assert!(names.is_empty(), "{work}, {layout}, {fault}: leftovers in {names:?}");
            count("faults", &format!("{work}, {layout}, {fault}, told {told}"), operation);
            assert!(operation >= work.least(), "{work} has more operations than {operation}");
            // Not reported is what holds nothing up: what is tidied up, and written down once more, afterwards.
            assert!(told * 4 > operation, "{work}, {layout}: of {operation} faults {told} were told");
        }
    }
}

/// What is wrong for long is tried again soon, too.
fn failing_guest() -> Guest {
    let mut guest = plain_guest();
    guest.config.retry.initial = Duration::from_millis(2);
    guest.config.retry.blocked = Duration::from_millis(60);
    guest
}
