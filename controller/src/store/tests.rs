//! What a user relies on: old or new, never something else, and words that help when a file is damaged.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt};

use tempfile::TempDir;

use super::{
    area::MAX_SHARED,
    pmxcfs::{Pmxcfs, Refusal},
    *,
};

pub(super) type Words = BTreeMap<String, u32>;

fn open(directory: &TempDir) -> Result<Store, StoreError> {
    Store::open(&directory.path().join("local"), &directory.path().join("shared"))
}

fn fixture() -> (TempDir, Store) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory).expect("a store");
    (directory, store)
}

pub(super) fn words(number: u32) -> Words {
    BTreeMap::from([("number".to_owned(), number)])
}

#[test]
fn documents_read_back_are_listed_and_removed() {
    let (_directory, store) = fixture();
    for area in [Area::Local, Area::Shared] {
        assert_eq!(store.read::<Words>(area, "guests/101").expect("read"), None);
        store.write(area, "guests/101", &words(1)).expect("written");
        store.write(area, "guests/101", &words(2)).expect("replaced");
        store.write(area, "guests/host", &words(3)).expect("written");
        store.write(area, "top", &words(4)).expect("written");
        assert_eq!(store.read(area, "guests/101").expect("read"), Some(words(2)));
        assert_eq!(store.list(area, "guests").expect("listed"), ["101", "host"]);
        assert_eq!(store.list(area, "").expect("listed"), ["top"]);
        assert_eq!(store.list(area, "none").expect("listed"), Vec::<String>::new());
        store.remove(area, "guests/101").expect("removed");
        store.remove(area, "guests/101").expect("removed twice");
        assert_eq!(store.read::<Words>(area, "guests/101").expect("read"), None);
    }
}

#[test]
fn nobody_else_can_read_them() {
    let (directory, store) = fixture();
    store.write(Area::Shared, "guests/101", &words(1)).expect("written");
    let mode = |path: &str| fs::metadata(directory.path().join(path)).expect(path).permissions().mode() & 0o777;
    assert_eq!(mode("shared/guests/101.json"), 0o600);
    for path in ["local", "shared", "shared/guests"] {
        assert_eq!(mode(path), 0o700, "{path}");
    }
}

#[test]
fn a_name_leads_nowhere_else() {
    let (_directory, store) = fixture();
    for name in ["", "..", "../x", "/etc/x", "a//b", "a/", "a/../b", ".hidden", "a b", "a\0"] {
        assert!(matches!(store.write(Area::Local, name, &words(1)), Err(StoreError::Name(_))), "{name:?}");
        assert!(store.read::<Words>(Area::Local, name).is_err(), "{name:?}");
    }
}

#[test]
fn damaged_files_are_reported_with_place_and_remedy_and_stay() {
    let (directory, store) = fixture();
    let path = directory.path().join("local/x.json");
    for (bytes, said) in [
        (b"".as_slice(), "it is empty"),
        (b" \n", "it is empty"),
        (b"{\"version\":1,\"data\":{\"number\":", "it is cut off"),
        (b"{\"version\":1,\n\"data\":{\"number\":\"x\"}}", "line 2 column"),
        (b"{\"version\":1}", "missing field `data`"),
        (b"{\"version\":0,\"data\":{}}", "version is 0"),
        (b"{\"version\":1,\n\"data\":{\"\xff\"}}", "line 2 column 10 is not UTF-8"),
        (b"{\"version\":2,\"data\":[]}", "has format 2, written by a newer Pinion"),
        (b"[]", "line 1"),
    ] {
        fs::write(&path, bytes).expect("written");
        let error = store.read::<Words>(Area::Local, "x").expect_err(said).to_string();
        assert!(error.contains(said) && error.contains("x.json"), "{error}");
        assert!(error.contains("restore") || error.contains("upgrade"), "{error}");
        assert_eq!(fs::read(&path).expect("still there"), bytes);
    }
}

#[test]
fn an_enormous_file_is_neither_read_nor_written() {
    let (directory, store) = fixture();
    let file = fs::File::create(directory.path().join("shared/x.json")).expect("a file");
    file.set_len(1 << 40).expect("a sparse file");
    let error = store.read::<Words>(Area::Shared, "x").expect_err("too large");
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    let large = "x".repeat(MAX_SHARED);
    assert!(matches!(store.write(Area::Shared, "y", &large), Err(StoreError::TooLarge { .. })));
    store.write(Area::Local, "y", &large).expect("the local area takes more");
}

#[test]
fn what_need_not_outlive_a_power_cut_is_whole_all_the_same() {
    let (directory, store) = fixture();
    store.write_unsynced("undelivered/x", &words(1)).expect("written");
    store.write_unsynced("undelivered/x", &words(2)).expect("replaced");
    drop(store);
    let store = open(&directory).expect("a store");
    assert_eq!(store.read(Area::Local, "undelivered/x").expect("read"), Some(words(2)));
    store.remove_unsynced("undelivered/x").expect("removed");
    store.remove_unsynced("undelivered/x").expect("removed twice");
    assert_eq!(store.list(Area::Local, "undelivered").expect("listed"), Vec::<String>::new());
}

#[test]
fn one_controller_at_a_time() {
    let (directory, store) = fixture();
    let error = open(&directory).expect_err("locked").to_string();
    assert!(error.contains("another controller") && error.contains("systemctl stop pinion"), "{error}");
    drop(store);
    open(&directory).expect("free again");
}

#[test]
fn what_was_left_half_written_is_cleaned_and_what_others_write_is_not() {
    let (directory, store) = fixture();
    store.write(Area::Shared, "guests/101", &words(1)).expect("written");
    let left = directory.path().join("shared/guests").join(store.temporaries.of_a_dead_process());
    let others = directory.path().join("shared/guests/.tmp.another-node.1.1");
    let under_way = directory.path().join("shared/guests").join(store.temporaries.next());
    for path in [&left, &others, &under_way] {
        fs::write(path, "{\"vers").expect("written");
    }
    assert_eq!(store.list(Area::Shared, "guests").expect("listed"), ["101"]);
    drop(store);
    let store = open(&directory).expect("a store");
    assert!(!left.exists() && others.exists() && under_way.exists());
    assert_eq!(store.read(Area::Shared, "guests/101").expect("read"), Some(words(1)));
}

#[test]
fn a_write_that_fails_leaves_the_old_document_and_no_other_file() {
    let (directory, store) = fixture();
    store.write(Area::Local, "x", &words(1)).expect("written");
    // A directory in the way of the rename fails it, for root too.
    fs::create_dir_all(directory.path().join("local/y.json/in-the-way")).expect("made");
    let error = store.write(Area::Local, "y", &words(2)).expect_err("in the way");
    assert!(matches!(error, StoreError::Io { doing: "replace", .. }), "{error}");
    assert_eq!(store.read(Area::Local, "x").expect("read"), Some(words(1)));
    let names = entries(&RealFiles, &directory.path().join("local")).expect("listed");
    assert!(names.iter().all(|(name, _)| !name.starts_with(".tmp")), "{names:?}");
}

/// The ways in which pmxcfs refuses, and a full disk, whether or not that shows without writing.
fn refusals() -> impl Iterator<Item = Refusal> {
    use rustix::io::Errno;
    let shown = [Errno::ACCESS, Errno::PERM, Errno::ROFS, Errno::BUSY, Errno::NOSPC]
        .into_iter()
        .flat_map(|errno| [(errno, true), (errno, false)]);
    shown.map(|(errno, shows)| Refusal { errno, shows })
}

fn pmxcfs() -> (TempDir, Arc<Pmxcfs>, Store) {
    let directory = tempfile::tempdir().expect("a directory");
    let files = Arc::new(Pmxcfs::default());
    let paths = (directory.path().join("local"), directory.path().join("shared"));
    let store = Store::open_on(&paths.0, &paths.1, files.clone()).expect("a store");
    (directory, files, store)
}

#[test]
fn without_quorum_documents_are_read_and_writes_say_why_until_it_is_back() {
    for refusal in refusals() {
        let (_directory, files, store) = pmxcfs();
        store.write(Area::Shared, "guests/101", &words(1)).expect("written");
        store.shared_writable().expect("writable");
        files.refuse(Some(refusal));
        for outcome in [
            store.write(Area::Shared, "guests/101", &words(2)),
            store.write(Area::Shared, "new/x", &words(2)),
            store.remove(Area::Shared, "guests/101"),
            store.shared_writable(),
            store.try_shared(),
        ] {
            let error = outcome.expect_err("refused");
            assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
            let full = refusal.errno == rustix::io::Errno::NOSPC;
            let guess = if full { "its disk is full" } else { "no quorum?" };
            assert!(error.to_string().contains(&format!("shared cannot be written ({guess})")), "{error}");
        }
        assert_eq!(store.read(Area::Shared, "guests/101").expect("read"), Some(words(1)));
        files.refuse(None);
        store.try_shared().expect("writable again");
        store.write(Area::Shared, "guests/101", &words(2)).expect("written");
        assert_eq!(store.list(Area::Shared, "").expect("listed"), Vec::<String>::new());
    }
}

#[test]
fn a_full_disk_is_found_before_something_has_to_be_written() {
    let (directory, files, store) = pmxcfs();
    let full = Refusal { errno: rustix::io::Errno::NOSPC, shows: true };
    files.refuse(Some(full));
    store.try_shared().expect_err("full");
    store.shared_writable().expect_err("it stays known, without a write");
    files.refuse(None);
    store.shared_writable().expect_err("until one has succeeded");
    store.try_shared().expect("writable again");
    store.shared_writable().expect("known too");
    let left = entries(&RealFiles, &directory.path().join("shared")).expect("listed");
    assert!(left.is_empty(), "the trials leave nothing: {left:?}");
}

#[test]
fn a_controller_starts_without_quorum() {
    let (directory, files, store) = pmxcfs();
    store.write(Area::Shared, "guests/101", &words(1)).expect("written");
    let left = directory.path().join("shared/guests").join(store.temporaries.of_a_dead_process());
    fs::write(&left, "{").expect("written");
    drop(store);
    for refusal in refusals() {
        files.refuse(Some(refusal));
        let paths = (directory.path().join("local"), directory.path().join("shared"));
        // What is local is on another file system, which is not refused here either: nothing is written at start.
        let store = Store::open_on(&paths.0, &paths.1, files.clone()).expect("a store");
        assert_eq!(store.read(Area::Shared, "guests/101").expect("read"), Some(words(1)));
    }
}

#[test]
fn a_directory_that_nobody_may_write_is_told_to_root_too() {
    let (directory, store) = fixture();
    let shared = directory.path().join("shared");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o555)).expect("set");
    assert!(matches!(store.shared_writable(), Err(StoreError::ReadOnly { .. })));
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o700)).expect("set");
    store.shared_writable().expect("writable again");
}
