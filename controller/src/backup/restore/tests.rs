use std::os::unix::fs::{MetadataExt, chown, symlink};

use super::*;
use crate::backup::encode;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

/// A host whose controller is another user, and a file of root's.
fn host() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().expect("a directory");
    fs::set_permissions(root.path(), Permissions::from_mode(0o755)).expect("open");
    let local = root.path().join("var/lib/pinion/local");
    fs::create_dir_all(&local).expect("made");
    for directory in [local.as_path(), local.parent().expect("a parent")] {
        chown(directory, Some(998), Some(998)).expect("given away");
    }
    let target = root.path().join("shadow");
    fs::write(&target, "secret").expect("written");
    (root, target)
}

fn backup(root: &Path) -> PathBuf {
    let entry = |text: &str| Entry { mode: 0o600, content: Zeroizing::new(text.as_bytes().to_vec()) };
    let paths =
        ["shared/identity-ca.json", "shared/guests/101.json", "local/replaced/101-0123.json", "local/freezes.json"];
    let entries: Entries = paths.into_iter().map(|path| (path.to_owned(), entry("{}"))).collect();
    let file = root.join("backup");
    fs::write(&file, encode(&entries, NOW, "pve1").expect("written")).expect("written");
    file
}

fn replacing() -> Wishes {
    Wishes { replace: true, ..Wishes::default() }
}

fn owner(path: &Path) -> u32 {
    path.symlink_metadata().expect("there").uid()
}

#[test]
fn a_link_in_the_controllers_area_gives_nothing_away() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (root, target) = host();
    let (file, state) = (backup(root.path()), root.path().join("var/lib/pinion"));
    let lock = state.join("local/controller.lock");
    symlink(&target, &lock).expect("a link");
    restore(root.path(), &file, &replacing(), NOW).expect_err("a link is no lock");
    assert_eq!(owner(&target), 0);
    fs::remove_file(&lock).expect("removed");

    // Directories in which only root may write.
    let roots = root.path().join("roots");
    fs::create_dir(&roots).expect("made");
    symlink(&roots, state.join("local/replaced")).expect("a link");
    restore(root.path(), &file, &replacing(), NOW).expect_err("pinion may not write there");
    assert!(fs::read_dir(&roots).expect("listed").next().is_none());
    fs::remove_file(state.join("local/replaced")).expect("removed");
    symlink(&target, state.join("local/.freezes.json.restoring")).expect("a link");
    symlink(&target, state.join("local/freezes.json")).expect("a link");

    let restored = restore(root.path(), &file, &replacing(), NOW).expect("restored");
    assert_eq!(restored.entries, 4);
    assert_eq!((owner(&target), fs::read_to_string(&target).expect("read")), (0, "secret".to_owned()));
    for path in [
        "local/controller.lock",
        "local/freezes.json",
        "local/replaced/101-0123.json",
        "shared",
        "shared/guests/101.json",
    ] {
        assert_eq!(owner(&state.join(path)), 998, "{path}");
    }
}
