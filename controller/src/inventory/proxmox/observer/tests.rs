//! What an operator relies on: each change is seen, and nothing that is broken harms what is not.

mod stale;

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// What was read is settled some looks later.
const LOOKS: u64 = 5;

struct Pve {
    directory: TempDir,
    guests: BTreeMap<u32, (&'static str, &'static str, u64)>,
    versions: u64,
}

impl Pve {
    /// Container 101 and virtual machine 1001 on pve1, container 200 on pve2.
    fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        let mut pve = Self { directory, guests: BTreeMap::new(), versions: 0 };
        pve.write(101, "pve1", "lxc", "hostname: gateway\nunprivileged: 1\n");
        pve.write(1001, "pve1", "qemu", "agent: 1\nname: docker\n");
        pve.write(200, "pve2", "lxc", "hostname: far\n");
        pve
    }

    fn conf(&self, vmid: u32, node: &str, kind: &str) -> PathBuf {
        let kind = if kind == "lxc" { "lxc" } else { "qemu-server" };
        self.directory.path().join(format!("nodes/{node}/{kind}/{vmid}.conf"))
    }

    fn write(&mut self, vmid: u32, node: &'static str, kind: &'static str, text: &str) {
        let path = self.conf(vmid, node, kind);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(&path, text).expect("written");
        self.versions += 1;
        self.guests.insert(vmid, (node, kind, self.versions));
        self.list();
    }

    fn list(&self) {
        let ids: Vec<_> = self
            .guests
            .iter()
            .map(|(id, (node, kind, version))| {
                format!(r#""{id}": {{ "node": "{node}", "type": "{kind}", "version": {version} }}"#)
            })
            .collect();
        let text = format!("{{\n\"version\": {},\n\"ids\": {{\n{}}}\n\n}}\n", self.versions, ids.join(",\n"));
        self.put(".vmlist", &text);
        self.put(".version", &format!("{{\n\"starttime\": 1,\n\"clinfo\": 3,\n\"vmlist\": {}\n}}\n", self.versions));
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.directory.path().join(name), text).expect("written");
    }

    fn observer(&self) -> Watched {
        Watched(Observer::new(self.directory.path(), "pve1"), 0)
    }
}

/// An observer that looks each second.
struct Watched(Observer, u64);

impl Watched {
    fn look(&mut self) -> bool {
        self.1 += 1;
        self.0.look(Duration::from_secs(self.1))
    }

    /// Looks until nothing is to be read again; whether anything was known otherwise.
    fn settle(&mut self) -> bool {
        (0..LOOKS).fold(false, |changed, _| self.look() || changed)
    }

    fn problem(&self) -> Option<String> {
        self.0.problem().map(|problem| format!("{}; {}", problem.cause, problem.remedy))
    }

    fn count(&self) -> Option<usize> {
        self.0.guests().map(|guests| guests.len())
    }
}

fn vmid(number: u32) -> Vmid {
    Vmid::try_from(number).expect("a VMID")
}

fn guest(observer: &Watched, number: u32) -> GuestInfo {
    observer.0.guests().expect("a list").remove(&vmid(number)).expect("a guest")
}

fn name(observer: &Watched, number: u32) -> String {
    guest(observer, number).name.expect("a name")
}

#[test]
fn guests_are_told_with_what_their_files_say() {
    let pve = Pve::new();
    let mut observer = pve.observer();
    assert!(observer.look());
    let gateway = guest(&observer, 101);
    assert_eq!((gateway.kind, gateway.node, gateway.unprivileged), (Some(GuestKind::Lxc), Node::Here, true));
    assert_eq!(gateway.running, None, "nobody has said");
    assert!(guest(&observer, 1001).agent);
    assert_eq!(guest(&observer, 200).node, Node::Elsewhere("pve2".into()));
    assert_eq!(observer.problem(), None);
}

#[test]
fn each_change_is_seen_and_none_is_made_up() {
    for counting in [false, true] {
        let mut pve = Pve::new();
        let mut observer = pve.observer();
        if counting {
            observer.0 = observer.0.counting();
        }
        assert!(observer.settle());
        assert!(!observer.settle(), "nothing has changed");
        pve.write(101, "pve1", "lxc", "hostname: renamed\nlock: backup\n");
        assert!(observer.settle());
        assert_eq!((name(&observer, 101), guest(&observer, 101).is_backed_up()), ("renamed".into(), true));
        fs::remove_file(pve.conf(101, "pve1", "lxc")).expect("removed");
        pve.write(101, "pve2", "lxc", "hostname: renamed\n");
        assert!(observer.settle());
        assert_eq!(guest(&observer, 101).node, Node::Elsewhere("pve2".into()));
        pve.guests.remove(&200);
        pve.versions += 1;
        pve.list();
        assert!(observer.settle());
        assert_eq!(observer.count(), Some(2));
    }
}

#[test]
fn a_plain_directory_is_looked_at_by_its_files_times() {
    let pve = Pve::new();
    let mut observer = pve.observer();
    observer.look();
    fs::write(pve.conf(101, "pve1", "lxc"), "hostname: edited\n").expect("written");
    assert!(observer.look(), "nobody counted, and the file is another one");
    assert_eq!(name(&observer, 101), "edited");
}

#[test]
fn a_file_that_may_grow_is_taken_when_it_has_not_grown() {
    let mut pve = Pve::new();
    let mut observer = pve.observer();
    observer.look();
    pve.write(101, "pve1", "lxc", "unprivileged: 1\nhostname: gate");
    observer.look();
    assert_eq!(name(&observer, 101), "gateway", "it may be half written");
    observer.look();
    assert_eq!(name(&observer, 101), "gate", "it was not");
}

#[test]
fn what_breaks_is_told_after_a_while_and_mended_by_itself() {
    let mut pve = Pve::new();
    let mut observer = pve.observer();
    observer.look();
    pve.write(101, "pve1", "lxc", "");
    for _ in 0..3 {
        assert_eq!(observer.problem(), None);
        observer.look();
        assert_eq!((name(&observer, 101), name(&observer, 1001)), ("gateway".into(), "docker".into()));
    }
    let told = observer.problem().expect("told");
    assert!(told.contains("nodes/pve1/lxc/101.conf") && told.contains("restore"), "{told}");
    pve.write(101, "pve1", "lxc", "hostname: mended\n");
    observer.look();
    assert_eq!((name(&observer, 101), observer.problem()), ("mended".into(), None));
}

#[test]
fn a_list_that_cannot_be_read_leaves_the_one_before() {
    let pve = Pve::new();
    let mut observer = pve.observer();
    observer.look();
    pve.put(".vmlist", "{\"version\":1,\"ids\":{\"101\":{\"no");
    for _ in 0..3 {
        observer.look();
        assert_eq!(observer.count(), Some(3));
    }
    let told = observer.problem().expect("told");
    assert!(told.contains("cannot read ") && told.contains(".vmlist") && told.contains("pve-cluster"), "{told}");
    pve.list();
    assert!(observer.look());
    assert_eq!(observer.problem(), None);
}

#[test]
fn without_the_directory_nothing_is_known_and_that_is_told_once() {
    let mut observer = Watched(Observer::new(Path::new("/nonexistent/pve"), "pve1"), 0);
    assert!(observer.look());
    assert_eq!(observer.count(), None);
    let told = observer.problem().expect("told");
    assert!(told.contains("/nonexistent/pve/.vmlist") && told.contains("pve-cluster"), "{told}");
    assert!(!observer.look(), "it is told once");
}

#[test]
fn the_last_guest_of_a_cluster_can_go() {
    let pve = Pve::new();
    let mut observer = pve.observer();
    observer.look();
    pve.put(".vmlist", "{\n\"version\": 9\n}\n");
    pve.put(".version", "{\n\"starttime\": 1,\n\"clinfo\": 3,\n\"vmlist\": 9\n}\n");
    assert!(observer.look());
    assert_eq!((observer.count(), observer.problem()), (Some(0), None), "there are none, and that is known");
}

#[test]
fn pmxcfs_may_go_and_come_back() {
    let mut pve = Pve::new();
    let mut observer = pve.observer();
    observer.settle();
    let (mounted, away) = (pve.directory.path().to_owned(), pve.directory.path().with_extension("away"));
    fs::rename(&mounted, &away).expect("unmounted");
    fs::create_dir(&mounted).expect("an empty directory");
    observer.settle();
    let told = observer.problem().expect("told");
    assert!(told.contains("cannot read") && observer.count() == Some(3), "{told}");
    fs::remove_dir(&mounted).expect("removed");
    fs::rename(&away, &mounted).expect("mounted");
    assert!(observer.look());
    assert_eq!((observer.problem(), observer.count()), (None, Some(3)));
    pve.write(101, "pve1", "lxc", "hostname: renamed\n");
    observer.look();
    assert_eq!(name(&observer, 101), "renamed");
}

#[test]
fn a_list_that_stays_older_than_the_count_is_told() {
    let pve = Pve::new();
    let mut observer = pve.observer();
    observer.look();
    pve.put(".version", "{\n\"starttime\": 1,\n\"vmlist\": 900\n}\n");
    observer.settle();
    assert_eq!(observer.problem(), None, "a second or two are as it should be");
    observer.settle();
    let told = observer.problem().expect("told");
    assert!(told.contains("has version 3, but .version says 900"), "{told}");
    pve.list();
    observer.look();
    assert_eq!(observer.problem(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_file_of_one_guest_changes_no_other(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let pve = Pve::new();
        let mut observer = pve.observer();
        observer.look();
        fs::write(pve.conf(101, "pve1", "lxc"), &bytes).expect("written");
        for _ in 0..3 {
            observer.look();
        }
        prop_assert_eq!(name(&observer, 1001), "docker");
        prop_assert_eq!(name(&observer, 200), "far");
        prop_assert!(observer.count() == Some(3));
    }
}
