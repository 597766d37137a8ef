//! The files without a mount: what changes do, what refuses them, and that a replay makes the same.

use rustix::io::Errno;
use serde_json::Value;

use super::{
    entry::{Entry, Operation},
    status::{Local, Peer},
    tree::{LOCK_TIMEOUT, MAX_FILE_SIZE, Tree},
};

/// A tree and the entries that made it.
#[derive(Default)]
struct Story {
    tree: Tree,
    entries: Vec<Entry>,
    at: u64,
}

impl Story {
    fn of_two_nodes() -> Self {
        let mut story = Self { at: 1_000, ..Self::default() };
        for path in ["priv", "priv/lock", "nodes", "nodes/pve1", "nodes/pve1/lxc", "nodes/pve1/qemu-server"] {
            story.make(path).expect("made");
        }
        for path in ["nodes/pve2", "nodes/pve2/lxc", "nodes/pve2/qemu-server"] {
            story.make(path).expect("made");
        }
        story
    }

    fn by(&mut self, node: &str, operation: Operation) -> Result<(), Errno> {
        let sequence = self.entries.iter().filter(|entry| entry.node == node).count() as u64 + 1;
        let entry = Entry { node: node.to_owned(), sequence, at: self.at, operation };
        self.tree.apply(&entry)?;
        self.entries.push(entry);
        Ok(())
    }

    fn make(&mut self, path: &str) -> Result<(), Errno> {
        self.by("pve1", Operation::MakeDirectory { path: path.into() })
    }

    fn create(&mut self, path: &str) -> Result<(), Errno> {
        self.by("pve1", Operation::Create { path: path.into() })
    }

    fn write(&mut self, path: &str, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.by("pve1", Operation::Write { path: path.into(), offset, data: data.into() })
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        self.by("pve1", Operation::Rename { from: from.into(), to: to.into() })
    }

    fn delete(&mut self, path: &str) -> Result<(), Errno> {
        self.by("pve1", Operation::Delete { path: path.into() })
    }

    fn content(&self, path: &str) -> Option<&[u8]> {
        self.tree.get(path)?.content.as_deref()
    }

    fn list(&self) -> Value {
        serde_json::from_str(&self.tree.guests().text()).expect("JSON")
    }
}

#[test]
fn files_are_written_in_place_moved_and_removed() {
    let mut story = Story::of_two_nodes();
    story.create("one").expect("created");
    assert_eq!(story.create("one"), Err(Errno::EXIST), "O_EXCL");
    story.write("one", 0, b"hello").expect("written");
    story.write("one", 7, b"!").expect("written behind a hole");
    assert_eq!(story.content("one"), Some(&b"hello\0\0!"[..]));
    story.by("pve1", Operation::Truncate { path: "one".into(), size: 4 }).expect("cut");
    assert_eq!(story.content("one"), Some(&b"hell"[..]));
    story.create("two").expect("created");
    let inode = story.tree.get("one").expect("there").inode;
    story.rename("one", "two").expect("in place of the other");
    assert_eq!((story.content("one"), story.content("two")), (None, Some(&b"hell"[..])));
    assert_eq!(story.tree.path(inode), Some("two"), "an open file moves along");
    story.delete("two").expect("removed");
    assert_eq!(story.delete("two"), Err(Errno::NOENT));
    assert_eq!(story.create("nowhere/one"), Err(Errno::NOENT));
    story.create("file").expect("created");
    assert_eq!(story.create("file/one"), Err(Errno::NOTDIR));
    assert_eq!(story.delete("nodes/pve1"), Err(Errno::NOTEMPTY));
    assert_eq!(story.rename("nodes/pve1", "nodes/pve3"), Err(Errno::NOTEMPTY), "only empty directories move");
}

#[test]
fn a_file_stops_at_one_mebibyte() {
    let mut story = Story::of_two_nodes();
    story.create("big").expect("created");
    story.write("big", MAX_FILE_SIZE - 1, b"x").expect("the last byte");
    assert_eq!(story.write("big", MAX_FILE_SIZE, b"x"), Err(Errno::FBIG));
    assert_eq!(story.write("big", u64::MAX, b"x"), Err(Errno::FBIG));
    assert_eq!(story.by("pve1", Operation::Truncate { path: "big".into(), size: MAX_FILE_SIZE + 1 }), Err(Errno::FBIG));
}

#[test]
fn versions_count_every_write_and_rename_of_a_guests_configuration() {
    let mut story = Story::of_two_nodes();
    assert_eq!(story.list()["ids"], Value::Null, "without guests there is no list");
    let mut before = story.list()["version"].as_u64().expect("a number");
    let mut counts = |story: &Story, by: u64, what: &str| {
        let now = story.list()["version"].as_u64().expect("a number");
        assert_eq!(now, before + by, "{what}");
        before = now;
    };
    let conf = "nodes/pve1/lxc/101.conf";
    story.create(&format!("{conf}.tmp.7")).expect("created");
    story.write(&format!("{conf}.tmp.7"), 0, b"hostname: gateway\n").expect("written");
    counts(&story, 0, "another name is no guest");
    story.rename(&format!("{conf}.tmp.7"), conf).expect("in place");
    counts(&story, 1, "it is there");
    let version = story.list()["ids"]["101"]["version"].clone();
    story.write(conf, 0, b"h").expect("written");
    counts(&story, 1, "it was written");
    assert_ne!(story.list()["ids"]["101"]["version"], version);
    story.rename(conf, "nodes/pve2/lxc/101.conf").expect("migrated");
    counts(&story, 2, "it went and came");
    assert_eq!(story.list()["ids"]["101"]["node"], "pve2");
    assert_eq!(story.create(conf), Err(Errno::EXIST), "a number is one guest's in the whole cluster");
    assert_eq!(story.create("nodes/pve2/qemu-server/101.conf"), Err(Errno::EXIST));
    story.delete("nodes/pve2/lxc/101.conf").expect("destroyed");
    counts(&story, 1, "it is gone");
    assert_eq!(story.list()["ids"], Value::Null);
    let replayed = Tree::replay(&story.entries).expect("replayed");
    assert_eq!(replayed.guests().text(), "{\n\"version\": 1\n\n}\n", "a server begins to count anew");
}

#[test]
fn a_lock_is_its_holders_until_120_s_after_the_holders_last_word() {
    let mut story = Story::of_two_nodes();
    let lock = "priv/lock/pinion";
    story.make(lock).expect("locked");
    assert_eq!(story.make(lock), Err(Errno::EXIST));
    let touch = |time| Operation::Touch { path: lock.into(), time };
    let ask = || Operation::Unlock { path: lock.into() };
    story.at += 100;
    story.by("pve1", touch(1_100)).expect("held still");
    assert_eq!(story.by("pve2", touch(1_200)), Err(Errno::ACCESS), "by its holder's hand alone");
    assert_eq!(story.by("pve1", touch(1_099)), Err(Errno::ACCESS));
    story.at += LOCK_TIMEOUT;
    assert_eq!(story.by("pve2", ask()), Err(Errno::ACCESS));
    story.at += 1;
    story.by("pve2", ask()).expect("its holder is taken for dead");
    story.by("pve2", Operation::MakeDirectory { path: lock.into() }).expect("locked by another");
    assert_eq!(story.rename(lock, "priv/lock/other"), Err(Errno::ACCESS));
    story.at += LOCK_TIMEOUT + 1;
    story.by("pve1", Operation::Start).expect("a server starts");
    assert_eq!(story.by("pve1", ask()), Err(Errno::ACCESS), "it counts anew");
}

#[test]
fn a_replay_makes_the_same_files_and_what_was_refused_has_changed_nothing() {
    let mut story = Story::of_two_nodes();
    let names = ["a", "b", "nodes/pve1/lxc/101.conf", "nodes/pve2/lxc/101.conf", "nodes/pve1/lxc/new", "priv/lock/x"];
    let mut random = 1_u64;
    let mut refused = 0;
    for _ in 0..2_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let pick = |shift: u32, count: usize| usize::try_from(random >> shift).expect("64 bits") % count;
        let (path, other) = (names[pick(33, names.len())].to_owned(), names[pick(40, names.len())].to_owned());
        let operation = match pick(48, 8) {
            0 => Operation::Create { path },
            1 => Operation::MakeDirectory { path },
            2 => Operation::Write { path, offset: random % 100, data: random.to_le_bytes().into() },
            3 => Operation::Truncate { path, size: random % 50 },
            4 if path != other => Operation::Rename { from: path, to: other },
            5 => Operation::Touch { path, time: random % 5_000 },
            6 => Operation::Unlock { path },
            _ => Operation::Delete { path },
        };
        story.at += random % 50;
        let before = whole(&story.tree);
        let node = if random.is_multiple_of(3) { "pve2" } else { "pve1" };
        if story.by(node, operation).is_err() {
            refused += 1;
            assert_eq!(whole(&story.tree), before);
        }
    }
    assert!(refused > 200 && story.entries.len() > 200, "both happen");
    let replayed = Tree::replay(&story.entries).expect("replayed");
    assert_eq!(whole(&replayed), whole(&story.tree));
}

/// Every path with its number, time and content.
fn whole(tree: &Tree) -> Vec<(String, u64, u64, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    let mut directories = vec![String::new()];
    while let Some(directory) = directories.pop() {
        for (name, node) in tree.list(&directory) {
            let path = if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") };
            if node.content.is_none() {
                directories.push(path.clone());
            }
            all.push((path, node.inode, node.time, node.content.clone()));
        }
    }
    all.sort();
    all
}

#[test]
fn the_files_that_are_made_are_json_of_the_real_ones_shape() {
    let mut story = Story::of_two_nodes();
    story.create("storage.cfg").expect("created");
    let peer = |name: &str, address: &str| Peer { name: name.into(), address: address.into() };
    let peers = vec![peer("pve1", "10.0.0.13"), peer("pve2", "10.0.0.14")];
    let mut local = Local { node: "pve1".into(), peers, started: 77 };
    let read = |local: &Local, name: &str, quorate| -> Value {
        serde_json::from_str(&local.text(name, &story.tree, quorate)).expect("JSON")
    };
    let version = read(&local, ".version", true);
    assert_eq!(
        (&version["starttime"], &version["storage.cfg"], &version["user.cfg"]),
        (&77.into(), &2.into(), &1.into())
    );
    assert_eq!(version["vmlist"], story.list()["version"]);
    assert_eq!(read(&local, ".members", true)["cluster"]["quorate"], 1);
    let members = read(&local, ".members", false);
    assert_eq!((&members["cluster"]["quorate"], &members["nodelist"]["pve2"]["online"]), (&0.into(), &0.into()));
    local.peers.clear();
    assert_eq!(read(&local, ".members", true)["cluster"], Value::Null, "one node is no cluster");
}
