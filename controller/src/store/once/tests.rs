//! One document, whoever races for it and wherever a crash cuts; and a token that is taken once.

use std::{
    fs,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tempfile::TempDir;

use super::{
    super::{
        Files, RealFiles,
        faults::{Fault, Operation},
        tests::{Words, words},
    },
    *,
};

/// Enough for threads to meet at every step, on a busy machine too.
const ROUNDS: usize = 60;

/// A controller's store beside others on the same shared directory.
fn beside(directory: &TempDir, local: &str, files: Arc<dyn Files>) -> Store {
    Store::open_on(&directory.path().join(local), &directory.path().join("shared"), files).expect("a store")
}

fn settle(store: &Store, number: u32) -> Result<Words, StoreError> {
    store.settle(Area::Shared, "root", |_| true, || Ok(words(number)))
}

fn left_over(directory: &TempDir) -> Vec<String> {
    let names = fs::read_dir(directory.path().join("shared")).expect("a directory");
    let names = names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name != LOCK && name != "root.json" && name != "tokens").collect()
}

fn race<T: Send>(stores: &[Store], each: impl Fn(usize, &Store) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(stores.len());
    thread::scope(|scope| {
        let running: Vec<_> = stores
            .iter()
            .enumerate()
            .map(|(number, store)| {
                scope.spawn({
                    let (start, each) = (&start, &each);
                    move || {
                        start.wait();
                        each(number, store)
                    }
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

fn many_make_one(files: &Arc<dyn Files>) {
    let directory = TempDir::new().expect("a directory");
    let stores: Vec<_> = (0..6).map(|n| beside(&directory, &format!("local-{n}"), files.clone())).collect();
    for round in 0..ROUNDS {
        let made = race(&stores, |number, store| settle(store, u32::try_from(number).expect("few")).expect("one"));
        let stored = stores[0].read::<Words>(Area::Shared, "root").expect("read").expect("there");
        assert!(made.iter().all(|one| *one == stored), "round {round}: {made:?}, stored {stored:?}");
        assert_eq!(left_over(&directory), Vec::<String>::new(), "round {round}");
        stores[0].remove(Area::Shared, "root").expect("removed");
    }
}

#[test]
fn of_many_on_this_host_one_makes_it_and_all_have_that_one() {
    many_make_one(&(Arc::new(RealFiles) as Arc<dyn Files>));
}

#[test]
fn of_many_nodes_that_share_no_flock_one_makes_it_too() {
    many_make_one(&(Arc::new(Altered::default()) as Arc<dyn Files>));
}

#[test]
fn of_many_who_take_a_token_one_gets_it() {
    let directory = TempDir::new().expect("a directory");
    let stores: Vec<_> = (0..6).map(|n| beside(&directory, &format!("local-{n}"), Arc::new(RealFiles))).collect();
    for round in 0..4 * ROUNDS {
        stores[0].replace(Area::Shared, "tokens/101", &words(7)).expect("written");
        let taken = race(&stores, |_, store| store.take::<Words>(Area::Shared, "tokens/101").expect("asked"));
        assert_eq!(taken.iter().flatten().collect::<Vec<_>>(), [&words(7)], "round {round}");
        assert_eq!(fs::read_dir(directory.path().join("shared/tokens")).expect("listed").count(), 0);
    }
}

#[test]
fn a_crash_at_any_operation_leaves_nothing_or_the_one_document() {
    for at in 0.. {
        let directory = TempDir::new().expect("a directory");
        let files = Arc::new(Altered { cut_at: Some(at), ..Altered::default() });
        // The directories are there: making them is not what is looked at here.
        fs::create_dir_all(directory.path().join("shared")).expect("made");
        let mut cut = beside(&directory, "local-1", files.clone());
        cut.patience = Duration::ZERO;
        files.armed.store(1, Ordering::SeqCst);
        let first = settle(&cut, 1);
        let done = files.count.load(Ordering::SeqCst) < at;
        drop(cut);
        let on_disk = fs::read(directory.path().join("shared/root.json")).ok();
        let mut next = beside(&directory, "local-1", Arc::new(RealFiles));
        next.patience = Duration::ZERO;
        let second = settle(&next, 2).expect("the next start makes it or finds it");
        if let Ok(first) = first {
            assert_eq!(second, first, "cut at {at}: what was given out is gone");
        }
        if let Some(bytes) = on_disk {
            assert_eq!(fs::read(directory.path().join("shared/root.json")).expect("there"), bytes, "cut at {at}");
        }
        drop(next);
        let again = beside(&directory, "local-1", Arc::new(RealFiles));
        assert_eq!(settle(&again, 3).expect("found"), second);
        // A file under way is this process's, which lives.
        let left = left_over(&directory).into_iter().filter(|name| !name.starts_with(".tmp."));
        assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new(), "cut at {at}");
        if done {
            assert!(at > 4, "only {at} operations were cut");
            return;
        }
    }
}

#[test]
fn a_crash_while_a_token_is_taken_never_makes_it_good_twice() {
    for at in 0.. {
        let directory = TempDir::new().expect("a directory");
        let files = Arc::new(Altered { cut_at: Some(at), ..Altered::default() });
        let cut = beside(&directory, "local-1", files.clone());
        cut.replace(Area::Shared, "tokens/101", &words(7)).expect("written");
        files.armed.store(1, Ordering::SeqCst);
        let first = cut.take::<Words>(Area::Shared, "tokens/101");
        let done = files.count.load(Ordering::SeqCst) < at;
        drop(cut);
        let next = beside(&directory, "local-1", Arc::new(RealFiles));
        let second = next.take::<Words>(Area::Shared, "tokens/101").expect("asked");
        let got = [first.ok().flatten(), second].into_iter().flatten().count();
        assert!(got <= 1, "cut at {at}: taken twice");
        if done {
            assert_eq!(got, 1);
            return;
        }
    }
}

#[test]
fn a_claim_of_somebody_who_died_is_taken_over_and_a_live_one_is_waited_for() {
    let directory = TempDir::new().expect("a directory");
    let mut store = beside(&directory, "local-1", Arc::new(RealFiles));
    store.patience = Duration::from_millis(50);
    fs::create_dir(directory.path().join("shared/.claim.root.json.0")).expect("a claim");
    let began = Instant::now();
    assert_eq!(settle(&store, 1).expect("made"), words(1));
    assert!(began.elapsed() >= store.patience, "it was not waited for");
    assert_eq!(left_over(&directory), Vec::<String>::new());
}

#[test]
fn whoever_was_taken_over_and_comes_back_has_what_was_made_meanwhile() {
    let directory = TempDir::new().expect("a directory");
    let (files, other) = (Arc::new(Altered::default()), Arc::new(Altered::default()));
    let slow = beside(&directory, "local-1", files);
    let mut quick = beside(&directory, "local-2", other);
    quick.patience = Duration::ZERO;
    let made = slow.settle(
        Area::Shared,
        "root",
        |_| true,
        || {
            // It stops here for longer than anybody waits.
            assert_eq!(settle(&quick, 2).expect("taken over"), words(2));
            Ok::<_, StoreError>(words(1))
        },
    );
    assert_eq!(made.expect("found"), words(2));
    assert_eq!(slow.read::<Words>(Area::Shared, "root").expect("read"), Some(words(2)));
    assert_eq!(left_over(&directory), Vec::<String>::new());
}

#[test]
fn what_does_not_fit_any_more_is_replaced_once() {
    let directory = TempDir::new().expect("a directory");
    let stores: Vec<_> = (0..4).map(|n| beside(&directory, &format!("local-{n}"), Arc::new(RealFiles))).collect();
    for round in 0..u32::try_from(ROUNDS).expect("few") {
        stores[0].replace(Area::Shared, "root", &words(round)).expect("written");
        let next = race(&stores, |number, store| {
            let number = 1000 + u32::try_from(number).expect("few");
            let fits = |found: &Words| *found != words(round);
            store.settle::<_, StoreError>(Area::Shared, "root", fits, || Ok(words(number))).expect("one")
        });
        assert!(next.iter().all(|one| *one == next[0] && *one != words(round)), "{next:?}");
    }
}

/// The kernel's files as other nodes have them, without a flock between them, or cut off by a crash.
#[derive(Debug, Default)]
struct Altered {
    /// From this operation on nothing happens any more; the one before is done by half.
    cut_at: Option<usize>,
    armed: AtomicUsize,
    count: AtomicUsize,
}

impl Altered {
    fn step(&self) -> io::Result<()> {
        if self.armed.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        let count = self.count.fetch_add(1, Ordering::SeqCst);
        if self.cut_at.is_some_and(|at| count >= at) { Err(io::Error::other("the machine stopped")) } else { Ok(()) }
    }
}

impl Fault for Altered {
    fn before(&self, operation: Operation<'_>) -> io::Result<()> {
        let stopped = self.step();
        if let Operation::Create(path, bytes) | Operation::CreateUnsynced(path, bytes) = operation
            && stopped.is_err()
            && self.count.load(Ordering::SeqCst) == self.cut_at.map_or(0, |at| at + 1)
        {
            // A file may be there and hold a part.
            fs::write(path, &bytes[..bytes.len() / 2])?;
        }
        stopped
    }

    fn exclude(&self, _: &Path) -> io::Result<Option<Box<dyn Send>>> {
        Ok(Some(Box::new(())))
    }
}
