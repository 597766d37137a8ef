//! What an operator relies on: each change is seen, and nothing that is broken harms what is not.

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// Long after any file was written.
const LATER: i64 = i64::MAX;

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

    fn observer(&self) -> Observer {
        Observer::new(self.directory.path(), "pve1", BTreeMap::new())
    }
}

fn vmid(number: u32) -> Vmid {
    Vmid::try_from(number).expect("a VMID")
}

fn guest(observer: &Observer, number: u32) -> GuestInfo {
    observer.inventory(None).guest(vmid(number)).cloned().expect("a guest")
}

fn name(observer: &Observer, number: u32) -> String {
    guest(observer, number).name.expect("a name")
}

#[test]
fn guests_are_told_with_what_their_files_say() {
    let pve = Pve::new();
    let mut observer = pve.observer();
    assert!(observer.look(0));
    let gateway = guest(&observer, 101);
    assert_eq!((gateway.kind, gateway.node, gateway.unprivileged), (Some(GuestKind::Lxc), Node::Here, true));
    assert_eq!(gateway.running, None, "nobody has said");
    assert!(guest(&observer, 1001).agent);
    assert_eq!(guest(&observer, 200).node, Node::Elsewhere("pve2".into()));
    let states = States::new([(vmid(101), false)].into());
    let known = observer.inventory(Some(&states));
    assert_eq!(known.guest(vmid(101)).and_then(|info| info.running), Some(false));
    assert_eq!((known.problem(), known.is_complete()), (None, true));
}

#[test]
fn each_change_is_seen_and_none_is_made_up() {
    for counting in [false, true] {
        let mut pve = Pve::new();
        let mut observer = if counting { pve.observer().counting() } else { pve.observer() };
        assert!(observer.look(LATER));
        assert!(!observer.look(LATER), "nothing has changed");
        pve.write(101, "pve1", "lxc", "hostname: renamed\nlock: backup\n");
        assert!(observer.look(LATER));
        assert_eq!((name(&observer, 101), guest(&observer, 101).is_backed_up()), ("renamed".into(), true));
        fs::remove_file(pve.conf(101, "pve1", "lxc")).expect("removed");
        pve.write(101, "pve2", "lxc", "hostname: renamed\n");
        assert!(observer.look(LATER));
        assert_eq!(guest(&observer, 101).node, Node::Elsewhere("pve2".into()));
        pve.guests.remove(&200);
        pve.versions += 1;
        pve.list();
        assert!(observer.look(LATER));
        assert_eq!(observer.inventory(None).guest(vmid(200)), None);
    }
}

#[test]
fn a_plain_directory_is_looked_at_by_its_files_times() {
    let pve = Pve::new();
    let mut observer = pve.observer();
    observer.look(0);
    fs::write(pve.conf(101, "pve1", "lxc"), "hostname: edited\n").expect("written");
    assert!(observer.look(0), "nobody counted, and the file is another one");
    assert_eq!(name(&observer, 101), "edited");
}

#[test]
fn a_file_that_may_grow_is_taken_when_it_has_not_grown() {
    let mut pve = Pve::new();
    let mut observer = pve.observer();
    observer.look(0);
    pve.write(101, "pve1", "lxc", "unprivileged: 1\nhostname: gate");
    observer.look(0);
    assert_eq!(name(&observer, 101), "gateway", "it may be half written");
    observer.look(0);
    assert_eq!(name(&observer, 101), "gate", "it was not");
}

#[test]
fn what_breaks_is_told_after_a_while_and_mended_by_itself() {
    let mut pve = Pve::new();
    let mut observer = pve.observer();
    observer.look(0);
    pve.write(101, "pve1", "lxc", "");
    for _ in 0..3 {
        assert_eq!(observer.inventory(None).problem(), None);
        observer.look(0);
        assert_eq!((name(&observer, 101), name(&observer, 1001)), ("gateway".into(), "docker".into()));
    }
    let told = observer.inventory(None).problem().expect("told").to_owned();
    assert!(told.contains("nodes/pve1/lxc/101.conf") && told.contains("restore"), "{told}");
    pve.write(101, "pve1", "lxc", "hostname: mended\n");
    observer.look(0);
    assert_eq!((name(&observer, 101), observer.inventory(None).problem()), ("mended".into(), None));
}

#[test]
fn a_list_that_cannot_be_read_leaves_the_one_before() {
    let pve = Pve::new();
    let mut observer = pve.observer();
    observer.look(0);
    pve.put(".vmlist", "{\"version\":1,\"ids\":{\"101\":{\"no");
    for _ in 0..3 {
        observer.look(0);
        assert_eq!(observer.inventory(None).guests().len(), 3);
    }
    let told = observer.inventory(None).problem().expect("told").to_owned();
    assert!(told.contains(".vmlist cannot be understood") && told.contains("pve-cluster"), "{told}");
    pve.list();
    assert!(observer.look(0));
    assert_eq!(observer.inventory(None).problem(), None);
}

#[test]
fn without_the_directory_there_are_the_configured_names_and_a_remedy() {
    let names = [("gateway".to_owned(), vmid(101))];
    let mut observer = Observer::new(Path::new("/nonexistent/pve"), "pve1", names.into());
    assert!(observer.look(0));
    let inventory = observer.inventory(None);
    assert_eq!((inventory.name(vmid(101)), inventory.is_complete()), (Some("gateway"), false));
    let told = inventory.problem().expect("told");
    assert!(told.contains("/nonexistent/pve/.vmlist") && told.contains("controller.toml"), "{told}");
    assert!(!observer.look(0), "it is told once");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_file_of_one_guest_changes_no_other(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let pve = Pve::new();
        let mut observer = pve.observer();
        observer.look(0);
        fs::write(pve.conf(101, "pve1", "lxc"), &bytes).expect("written");
        for _ in 0..3 {
            observer.look(0);
        }
        prop_assert_eq!(name(&observer, 1001), "docker");
        prop_assert_eq!(name(&observer, 200), "far");
        prop_assert!(observer.inventory(None).guests().len() == 3);
    }
}
