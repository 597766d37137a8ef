//! The next identity root, where the root process has its key: nobody joins anew, and every step survives a crash.

use std::fs;

use pinion_proto::clock::SystemClock;

use super::*;
use crate::{
    channel::{identity::DIRECTORY, tests::root_process::RootProcess},
    store::{Area, Files, NEW_ROOT, NEXT_ROOT, RealFiles, cut::Cut},
};

/// More than a takeover consists of.
const MAX_CHANGES: usize = 120;

/// Whose the present root and the next one are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Both the root process's.
    There,
    /// The controller's, then the root process's.
    Moves,
    /// Both the controller's.
    Own,
}

/// A host with a root process and, between its starts, no controller.
struct Host {
    directory: TempDir,
    clock: Arc<Hands>,
    root_process: RootProcess,
}

impl Host {
    fn start(directory: TempDir) -> Self {
        let config = directory.path().join("etc/pinion/controller.toml");
        fs::create_dir_all(config.parent().expect("one")).expect("made");
        fs::write(config, "listen = '127.0.0.1:1'\n").expect("written");
        let root_process = RootProcess::start(directory.path());
        // The root process has the time from the system.
        let clock = Arc::new(Hands(AtomicI64::new(SystemClock.now().unix())));
        Self { directory, clock, root_process }
    }

    /// Where the root process has the root, and one guest has an identity.
    async fn held_there() -> (Self, Peer) {
        let host = Self::start(TempDir::new().expect("a directory"));
        let shown = host.joined(&host.open().await, "101");
        (host, shown)
    }

    /// Where the controller has the root, and one guest has an identity.
    async fn held_here() -> (Self, Peer) {
        let host = Self::start(TempDir::new().expect("a directory"));
        let identities = open(&host.directory, host.clock.clone(), None).expect("identities");
        let shown = host.joined(&identities, "101");
        (host, shown)
    }

    async fn try_open(&self, files: Arc<dyn Files>) -> Result<Identities, IdentityError> {
        let root = self.directory.path();
        let store = Arc::new(Store::open_on(&root.join("local"), &root.join("shared"), files)?);
        let on_host = (root, &self.root_process.client, true);
        Identities::open_on_host(&store, self.clock.clone(), None, Arc::new(NoMachines), on_host).await
    }

    async fn open(&self) -> Identities {
        self.try_open(Arc::new(RealFiles)).await.expect("it starts")
    }

    /// What a person does who wants another root, with both stopped and started again.
    async fn asked(self, moves: bool) -> Self {
        let Self { directory, root_process, .. } = self;
        root_process.stop().await;
        let path = |path: &str| directory.path().join(path);
        let of_controller = moves.then(|| {
            let store = Store::open(&path("local"), &path("shared")).expect("a store");
            stored_domain(&store).expect("read").expect("one")
        });
        let wish = NextWish { asked_at: SystemClock.now(), of_controller };
        for (local, shared) in [(DIRECTORY, DIRECTORY), ("local", "shared")] {
            let store = Store::open(&path(local), &path(shared)).expect("a store");
            store.write(Area::Local, NEXT_ROOT, &wish).expect("left");
        }
        Self::start(directory)
    }

    /// The same where the controller goes on holding the root, beside a root process.
    fn asked_for_own(self) -> Self {
        let store = Store::open(&self.path("local"), &self.path("shared")).expect("a store");
        let wish = NewRoot { asked_at: SystemClock.now(), at_once: false, keep: false };
        store.write(Area::Local, NEW_ROOT, &wish).expect("left");
        self
    }

    /// Whose root process holds the root and the next one, which its one guest trusts: with that guest, and both roots.
    async fn ready_to_follow() -> (Self, Peer, RootCertificate, RootCertificate) {
        let (host, shown) = Self::held_there().await;
        let before = host.open().await.root().clone();
        let host = host.asked(false).await;
        let identities = host.open().await;
        let next = identities.next_root().expect("one").root.clone();
        identities.note_roots(name("101"), &[next.fingerprint()]).expect("noted");
        drop(identities);
        (host, shown, before, next)
    }

    async fn copy(&self) -> Self {
        let directory = TempDir::new().expect("a directory");
        for part in ["etc", "local", "shared", "var"].into_iter().filter(|part| self.path(part).exists()) {
            copy(&self.directory.path().join(part), &directory.path().join(part));
        }
        Self::start(directory)
    }

    fn joined(&self, identities: &Identities, guest: &str) -> Peer {
        let token = identities.create_token(name(guest), Vec::new()).expect("a token");
        let facts = GuestFacts { hostname: "docker".into(), ..GuestFacts::default() };
        let request = JoinRequest { guest: name(guest), secret: token.secret, csr: csr(), facts };
        peer(&identities.join(&request, self.clock.now()).expect("joined"))
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.directory.path().join(path)
    }
}

fn admitted(identities: &Identities, guest: &str, shown: &Peer) {
    let facts = GuestFacts::default();
    let caller = LinkCaller { facts: &facts, from: "127.0.0.1:1".parse().expect("an address") };
    identities.admit(name(guest), shown, caller).expect("its identity is on record");
}

fn key(path: &Path) -> String {
    let document: serde_json::Value = serde_json::from_slice(&fs::read(path).expect("a document")).expect("JSON");
    document["data"]["key"].as_str().expect("a key").to_owned()
}

fn has(directory: &Path, text: &str) -> bool {
    fs::read_dir(directory).expect("a directory").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return has(&path, text);
        }
        // The root process's socket is none.
        path.is_file() && String::from_utf8_lossy(&fs::read(path).expect("readable")).contains(text)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_processs_root_is_followed_by_another_without_a_new_join() {
    let (host, first) = Host::held_there().await;
    let before = host.open().await.root().clone();
    let old_key = key(&host.path(DIRECTORY).join("identity-ca.json"));
    let host = host.asked(false).await;
    let identities = host.open().await;
    let endorsed = identities.next_root().expect("it is on its way").clone();
    endorsed.check(&before).expect("the present root vouches for it");
    let next = endorsed.root.fingerprint();
    assert_eq!((identities.root(), identities.rollover_late()), (&before, None));
    assert_eq!(identities.trusted_roots(), [before.clone(), endorsed.root.clone()]);
    let progress = identities.rollover().expect("read").expect("one");
    assert_eq!((progress.guests, progress.missing.as_slice()), (1, &[name("101")][..]));
    let second = host.joined(&identities, "102");
    identities.note_roots(name("101"), &[before.fingerprint(), next]).expect("noted");
    drop(identities);

    let identities = host.open().await;
    assert_eq!(*identities.root(), before, "one guest does not trust it yet");
    assert_eq!(identities.next_root(), Some(&endorsed), "also without asking the root process again");
    assert!(has(&host.path(DIRECTORY), &old_key));
    identities.note_roots(name("102"), &[next]).expect("noted");
    drop(identities);

    for start in 0..2 {
        let identities = host.open().await;
        assert_eq!((identities.root(), identities.next_root()), (&endorsed.root, None), "start {start}");
        assert_eq!(identities.trusted_roots(), [endorsed.root.clone(), before.clone()]);
        assert_eq!((identities.rollover_late(), identities.rollover().expect("read")), (None, None));
        for (guest, shown) in [("101", &first), ("102", &second)] {
            admitted(&identities, guest, shown);
        }
    }
    assert!(!has(&host.path(DIRECTORY), &old_key), "the previous key is gone");
    let pin = fs::read_to_string(host.path("etc/pinion/identity-root")).expect("named");
    assert!(pin.contains(&next.to_string()), "{pin}");
    host.clock.0.fetch_add(31 * 24 * 3600, Ordering::SeqCst);
    assert_eq!(host.open().await.trusted_roots(), [endorsed.root]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controllers_root_moves_to_the_root_process_without_a_new_join() {
    let (host, first) = Host::held_here().await;
    let before = host.open().await.root().clone();
    let own = host.path("shared/identity-ca.json");
    let old_key = key(&own);
    let host = host.asked(true).await;
    let identities = host.open().await;
    let endorsed = identities.next_root().expect("it is on its way").clone();
    endorsed.check(&before).expect("the controller's root vouches for it");
    let domain = identities.trust_domain().clone();
    drop(identities);
    let identities = host.open().await;
    assert_eq!((identities.root(), identities.next_root().map(|next| &next.root)), (&before, Some(&endorsed.root)));
    assert!(identities.node().is_none() && own.exists(), "the controller's root goes on");
    identities.note_roots(name("101"), &[endorsed.root.fingerprint()]).expect("noted");
    drop(identities);
    for start in 0..2 {
        let identities = host.open().await;
        assert_eq!((identities.root(), identities.next_root()), (&endorsed.root, None), "start {start}");
        assert!(identities.node().is_some(), "it has an authority alone");
        assert_eq!(identities.trusted_roots(), [endorsed.root.clone(), before.clone()]);
        assert_eq!((identities.trust_domain(), identities.rollover_late()), (&domain, None));
        admitted(&identities, "101", &first);
        peer(&identities.renew(name("101"), &first, &csr()).expect("renewed under the next root"));
    }
    assert!(!has(host.directory.path(), &old_key), "the controller's key is gone");
    // The loss of the shared area is noticed as where the root process had the root from the beginning.
    fs::remove_dir_all(host.path("shared")).expect("lost");
    let error = host.try_open(Arc::new(RealFiles)).await.expect_err("lost").to_string();
    assert!(error.contains("identity-root") && error.contains("is gone"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_goes_on_wherever_the_controller_is_interrupted() {
    for how in [How::There, How::Moves, How::Own] {
        let (host, shown) = if how == How::There { Host::held_there().await } else { Host::held_here().await };
        let before = host.open().await.root().clone();
        let host = if how == How::Own { host.asked_for_own() } else { host.asked(how == How::Moves).await };
        let identities = host.open().await;
        let next = identities.next_root().expect("one").root.clone();
        identities.note_roots(name("101"), &[next.fingerprint()]).expect("noted");
        drop(identities);
        let mut changes = 0;
        loop {
            let host = host.copy().await;
            let cut = Arc::new(Cut::after(changes));
            // One that starts all the same is good for its guests.
            if let Ok(identities) = host.try_open(cut.clone()).await {
                assert!(identities.trusted_roots().contains(&before), "{how:?}, {changes} changes");
            }
            let identities = host.try_open(Arc::new(RealFiles)).await;
            let identities = identities.unwrap_or_else(|error| panic!("{how:?}, {changes} changes: {error}"));
            assert_eq!(*identities.root(), next, "{how:?}, {changes} changes");
            assert_eq!(identities.trusted_roots(), [next.clone(), before.clone()], "{how:?}, {changes} changes");
            assert_eq!(identities.rollover_late(), None, "{how:?}, {changes} changes");
            admitted(&identities, "101", &shown);
            drop(identities);
            let again = host.open().await;
            assert_eq!((again.root(), again.next_root()), (&next, None), "{how:?}, {changes} changes");
            let holds_it = host.path("shared/identity-ca.json").exists();
            assert_eq!(holds_it, how == How::Own, "{how:?}, {changes} changes");
            drop(again);
            host.root_process.stop().await;
            if !cut.is_over() {
                break;
            }
            changes += 1;
            assert!(changes < MAX_CHANGES, "{how:?}: it does not end");
        }
        assert!(changes > 10, "{how:?}: it was interrupted {changes} times");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_was_interrupted_starts_without_the_root_process_too() {
    let (host, shown, before, next) = Host::ready_to_follow().await;
    let mut under_next = 0;
    for changes in 0..MAX_CHANGES {
        let mut host = host.copy().await;
        let cut = Arc::new(Cut::after(changes));
        drop(host.try_open(cut.clone()).await);
        host.root_process.halt().await;
        let identities = host.try_open(Arc::new(RealFiles)).await;
        let identities = identities.unwrap_or_else(|error| panic!("after {changes} changes: {error}"));
        assert!([&before, &next].map(|root| identities.trusted_roots().contains(root)) == [true, true]);
        under_next += usize::from(*identities.root() == next);
        admitted(&identities, "101", &shown);
        drop(identities);
        let host = Host::start(host.directory);
        assert_eq!(*host.open().await.root(), next, "after {changes} changes");
        host.root_process.stop().await;
        if !cut.is_over() {
            return assert!((2..changes - 2).contains(&under_next), "{under_next} of {changes}");
        }
    }
    panic!("more than {MAX_CHANGES} changes");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_root_process_the_present_root_goes_on_and_says_so() {
    let (host, shown, before, next) = Host::ready_to_follow().await;
    // It answers, and knows of no next root: its directory was restored from a backup.
    let Host { directory, root_process, .. } = host;
    root_process.stop().await;
    let kept = directory.path().join(DIRECTORY).join("identity-ca-next.json");
    let aside = directory.path().join("aside");
    fs::rename(&kept, &aside).expect("moved");
    let host = Host::start(directory);
    let identities = host.open().await;
    assert_eq!(*identities.root(), before);
    let late = identities.rollover_late().expect("it says so").to_owned();
    assert!(
        late.contains(&next.fingerprint().to_string()) && late.contains(&before.fingerprint().to_string()),
        "{late}"
    );
    admitted(&identities, "101", &shown);
    drop(identities);
    let Host { directory, root_process, .. } = host;
    root_process.stop().await;
    fs::rename(&aside, &kept).expect("moved back");
    assert_eq!(*Host::start(directory).open().await.root(), next);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_next_root_that_the_present_one_does_not_vouch_for_is_not_told_to_anybody() {
    let (host, _) = Host::held_there().await;
    let host = host.asked(false).await;
    // The root process has another root than the one that the agents know: its directory is of another installation.
    let (other, _) = Host::held_there().await;
    let other = other.asked(false).await;
    let root = host.directory.path();
    let store = Arc::new(Store::open(&root.join("local"), &root.join("shared")).expect("a store"));
    let on_host = (root, &other.root_process.client, true);
    let identities = Identities::open_on_host(&store, host.clock.clone(), None, Arc::new(NoMachines), on_host).await;
    let identities = identities.expect("it goes on");
    assert!(identities.next_root().is_none());
    let late = identities.rollover_late().expect("it says so");
    assert!(late.contains("is not used") && late.contains("not signed by the root that is trusted"), "{late}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_holds_the_root_goes_on_without_the_root_process_and_says_so() {
    let (host, shown) = Host::held_here().await;
    let before = host.open().await.root().clone();
    let mut host = host.asked(true).await;
    host.root_process.halt().await;
    let identities = host.open().await;
    assert_eq!((identities.root(), identities.next_root()), (&before, None));
    let late = identities.rollover_late().expect("it says so");
    assert!(late.contains("the root process does not say which"), "{late}");
    admitted(&identities, "101", &shown);
}
