//! pmxcfs as the kernel shows it: each file is up to a second old, whatever the others are.

use std::{cell::RefCell, collections::HashMap};

use super::*;

/// What a file was, from which moment on (milliseconds).
type History = Vec<(u64, String)>;

/// The files as pmxcfs has them, and a directory with what the kernel shows of them.
struct Mount {
    directory: TempDir,
    files: HashMap<String, History>,
    shown: RefCell<HashMap<String, (u64, String)>>,
    now: u64,
    start: u64,
    version: u64,
    guests: BTreeMap<u32, (u64, String)>,
}

/// What happens to the guests.
#[derive(Debug, Clone)]
enum Change {
    Write(u32, String),
    Destroy(u32),
    /// pmxcfs starts anew, and counts from the beginning.
    Restart,
}

impl Mount {
    fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        fs::create_dir_all(directory.path().join("nodes/pve1/lxc")).expect("made");
        let (files, shown, guests) = (HashMap::new(), RefCell::default(), BTreeMap::new());
        let mut mount = Self { directory, files, shown, now: 10_000, start: 1, version: 1, guests };
        mount.counters();
        mount
    }

    fn put(&mut self, name: &str, text: String) {
        self.files.entry(name.to_owned()).or_default().push((self.now, text));
    }

    fn counters(&mut self) {
        let entry = |(id, (version, _)): (&u32, &(u64, String))| {
            format!(r#""{id}": {{ "node": "pve1", "type": "lxc", "version": {version} }}"#)
        };
        let ids = self.guests.iter().map(entry).collect::<Vec<_>>().join(",\n");
        let ids = if ids.is_empty() { String::new() } else { format!(",\n\"ids\": {{\n{ids}}}") };
        self.put(".vmlist", format!("{{\n\"version\": {}{ids}\n}}\n", self.version));
        self.put(".version", format!("{{\n\"starttime\": {},\n\"vmlist\": {}\n}}\n", self.start, self.version));
    }

    fn change(&mut self, change: &Change) {
        self.version += 1;
        match change {
            Change::Write(vmid, text) => {
                self.guests.insert(*vmid, (self.version, text.clone()));
                self.put(&conf(*vmid), format!("hostname: {text}\n"));
            }
            Change::Destroy(vmid) => {
                self.guests.remove(vmid);
                self.put(&conf(*vmid), String::new());
            }
            Change::Restart => {
                self.start += 1;
                self.version = 1;
                for (version, _) in self.guests.values_mut() {
                    self.version += 1;
                    *version = self.version;
                }
            }
        }
        self.counters();
    }

    /// Has the kernel show each file as it was up to a second ago; `ages` says how old each is, one after the other.
    fn show(&self, ages: &[u64]) {
        let mut names: Vec<_> = self.files.keys().collect();
        names.sort_unstable();
        for (name, age) in names.into_iter().zip(ages.iter().cycle()) {
            // Never older than it was shown before.
            let mut shown = self.shown.borrow_mut();
            let before = shown.get(name).map_or(0, |(at, _)| *at);
            let at = (self.now - age.min(&1000)).max(before);
            let Some((_, text)) = self.files[name].iter().rev().find(|(since, _)| *since <= at) else { continue };
            let path = self.directory.path().join(name);
            if shown.get(name).is_none_or(|(_, before)| before != text) {
                match text.is_empty() {
                    true => fs::remove_file(&path).unwrap_or(()),
                    false => fs::write(&path, text).expect("written"),
                }
            }
            shown.insert(name.clone(), (at, text.clone()));
        }
    }

    fn truth(&self) -> BTreeMap<u32, String> {
        self.guests.iter().map(|(vmid, (_, name))| (*vmid, name.clone())).collect()
    }
}

fn conf(vmid: u32) -> String {
    format!("nodes/pve1/lxc/{vmid}.conf")
}

fn seen(observer: &Observer) -> BTreeMap<u32, String> {
    let guests = observer.guests().unwrap_or_default().into_iter();
    guests.map(|(vmid, info)| (vmid.number(), info.name.unwrap_or_default())).collect()
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (101_u32..104, "[a-z]{1,12}").prop_map(|(vmid, name)| Change::Write(vmid, name)),
        2 => (101_u32..104).prop_map(Change::Destroy),
        1 => Just(Change::Restart),
    ]
}

#[test]
fn a_list_from_before_the_change_is_not_taken_for_the_one_after() {
    let mut mount = Mount::new();
    mount.change(&Change::Write(101, "before".into()));
    mount.now += 5_000;
    mount.show(&[0]);
    let mut observer = Observer::new(mount.directory.path(), "pve1").counting();
    observer.look(Duration::from_millis(mount.now));
    mount.now += 5_000;
    observer.look(Duration::from_millis(mount.now));
    mount.change(&Change::Write(101, "after".into()));
    mount.now += 10;
    // `.version` is as it is now, and `.vmlist` as it was: no other change comes that would show this one.
    mount.show(&[0, 1000, 1000]);
    for _ in 0..6 {
        observer.look(Duration::from_millis(mount.now));
        mount.now += 1_000;
        mount.show(&[0]);
    }
    assert_eq!(seen(&observer), mount.truth());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn no_change_is_missed_however_old_each_file_is(
        changes in prop::collection::vec((change(), 0_u64..1_500), 1..12),
        ages in prop::collection::vec(0_u64..=1_000, 3..40),
    ) {
        let mut mount = Mount::new();
        mount.show(&[0]);
        let mut observer = Observer::new(mount.directory.path(), "pve1").counting();
        let mut looked = mount.now;
        let mut used = 0;
        let mut until = |mount: &mut Mount, observer: &mut Observer, moment: u64| {
            while looked + 1_000 <= moment {
                looked += 1_000;
                let later = mount.now;
                mount.now = looked;
                used += 1;
                mount.show(&ages[used % ages.len()..]);
                observer.look(Duration::from_millis(looked));
                mount.now = later;
            }
        };
        for (change, pause) in &changes {
            let next = mount.now + pause;
            until(&mut mount, &mut observer, next);
            mount.now = next;
            mount.change(change);
        }
        // The last one is seen although nothing happens after it.
        let end = mount.now + 7_000;
        until(&mut mount, &mut observer, end);
        prop_assert_eq!(seen(&observer), mount.truth());
    }
}
