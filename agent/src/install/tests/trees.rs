//! Places in arbitrary trees of directories and links, judged by the kernel, and by what lies outside of them.
//!
//! Invariant: openat2(2) with `RESOLVE_IN_ROOT` follows a path as if the root were `/`, and so is the model of what
//! [`crate::install::place`] does step by step; nothing outside an allowed directory changes, whatever is written.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{MetadataExt, symlink},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use pinion_proto::spec::{GuestPath, Layout, Part};
use proptest::prelude::*;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, ResolveFlags, openat2, renameat_with};
use zeroize::Zeroizing;

use super::racing::Racing;
use crate::{
    config::Config,
    install::{
        InstallError,
        execute::write,
        files::{Files, RealFiles},
        observed::Observed,
        place::{self, Place, PlaceError, find},
        plan::{Plan, Wanted},
    },
};

const ALLOWED: &str = "/etc/ssl";

/// A guest's root with something outside its allowed directory, and something outside its root.
struct Tree {
    kept: tempfile::TempDir,
    config: Config,
}

impl Tree {
    fn new() -> Self {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let beside = kept.path().canonicalize().expect("a real path");
        let root = beside.join("root");
        for directory in ["etc/ssl", "etc/cron.d", "srv"] {
            fs::create_dir_all(root.join(directory)).expect("directories");
        }
        for canary in ["root/etc/shadow", "root/etc/cron.d/x", "root/srv/a", "canary"] {
            fs::write(beside.join(canary), "canary").expect("a canary");
        }
        let mut config = Config::shipped(root);
        config.allow.only_directories(&[ALLOWED]);
        Self { kept, config }
    }

    /// Makes what can be made of this.
    fn grow(&self, entries: &[Entry]) {
        for Entry { path, kind } in entries {
            let at = self.config.root.join(path);
            // What an earlier link leads out of the root to is no part of the tree.
            if self.real(path.parent().unwrap_or(Path::new(""))).is_none() {
                continue;
            }
            drop(match kind {
                Grown::Directory => fs::create_dir(&at),
                Grown::File => fs::File::create_new(&at).map(drop),
                Grown::Link(to) => symlink(to, &at),
            });
        }
    }

    /// Where the kernel says that a directory is, with the root as `/`; none when it is not there.
    fn real(&self, directory: &Path) -> Option<PathBuf> {
        let root = fs::File::open(&self.config.root).expect("the root");
        let inside = Path::new(".").join(directory.strip_prefix("/").unwrap_or(directory));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat2(root, inside, flags, Mode::empty(), ResolveFlags::IN_ROOT).ok()?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&opened);
        fs::read_link(format!("/proc/self/fd/{number}")).ok()
    }

    fn allowed(&self) -> Option<PathBuf> {
        self.real(Path::new(ALLOWED))
    }

    /// Everything that is not in the allowed directory.
    fn outside(&self) -> BTreeMap<PathBuf, (u32, OsString)> {
        let mut all = BTreeMap::new();
        let mut todo = vec![self.kept.path().canonicalize().expect("a real path")];
        let allowed = self.allowed();
        while let Some(directory) = todo.pop() {
            if Some(&directory) == allowed.as_ref() {
                continue;
            }
            for entry in fs::read_dir(&directory).expect("listed") {
                let path = entry.expect("an entry").path();
                let found = path.symlink_metadata().expect("there");
                let content = if found.is_symlink() {
                    fs::read_link(&path).expect("a link").into()
                } else if found.is_file() {
                    OsString::from_vec(fs::read(&path).expect("read"))
                } else {
                    todo.push(path.clone());
                    OsString::new()
                };
                all.insert(path, (found.mode(), content));
            }
        }
        all
    }
}

#[derive(Debug, Clone)]
struct Entry {
    path: PathBuf,
    kind: Grown,
}

#[derive(Debug, Clone)]
enum Grown {
    Directory,
    File,
    Link(OsString),
}

/// Names that are easily mistaken: for Pinion's own, for `..`, too long by one for a name beside them, or no text.
fn name() -> impl Strategy<Value = OsString> {
    let long = "n".repeat(255);
    let names =
        ["a", "b", "c", "ü☃", "..a", "...", " ", ".pinion", "web", "current", "1", long.as_str()].map(OsString::from);
    prop_oneof![9 => proptest::sample::select(names.to_vec()), 1 => Just(OsString::from_vec(vec![b'x', 0xff]))]
}

fn below(directory: &'static str) -> impl Strategy<Value = PathBuf> {
    proptest::collection::vec(name(), 1..4).prop_map(move |names| {
        let mut path = PathBuf::from(directory);
        path.extend(names);
        path
    })
}

fn somewhere() -> impl Strategy<Value = PathBuf> {
    prop_oneof![4 => below("etc/ssl"), 1 => below("srv"), 1 => below("etc")]
}

/// Where a link may lead: up, round, nowhere, elsewhere, with slashes to spare.
fn target() -> impl Strategy<Value = OsString> {
    let part = prop_oneof![
        4 => name(),
        3 => proptest::sample::select(vec!["..", ".", "", "etc", "ssl", "srv", "cron.d"]).prop_map(OsString::from),
    ];
    (any::<bool>(), proptest::collection::vec(part, 1..5), any::<bool>()).prop_map(|(absolute, parts, slash)| {
        let mut to = if absolute { b"/".to_vec() } else { Vec::new() };
        to.extend(parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>().join(&b'/'));
        if slash || to.is_empty() {
            to.push(b'/');
        }
        OsString::from_vec(to)
    })
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let kind = prop_oneof![3 => Just(Grown::Directory), 1 => Just(Grown::File), 4 => target().prop_map(Grown::Link)];
    proptest::collection::vec((somewhere(), kind).prop_map(|(path, kind)| Entry { path, kind }), 0..12)
}

fn asked() -> impl Strategy<Value = GuestPath> {
    somewhere().prop_filter_map("is text", |path| Path::new("/").join(path).to_str()?.parse().ok())
}

fn wanted(path: &GuestPath, place: Place) -> Wanted {
    let Place { target, missing } = place;
    let content = Zeroizing::new(b"a key".to_vec());
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mode = "0600".parse().expect("a mode");
    Wanted { part: Part::Key, path: path.clone(), target, missing, content, uid, gid, mode, acl: None }
}

/// Writes a file as an installation does.
fn install(files: &dyn Files, config: &Config, layout: Layout, path: &GuestPath) -> Result<(), InstallError> {
    let wanted = wanted(path, find(files, config, path)?);
    let observed = Observed::look(files, &"web".parse().expect("a name"), [wanted.target.as_path()])?;
    let plan = Plan::forward(layout, vec![wanted], 1, &observed);
    write(files, &plan)?.sync(None)?.exchange()?.sync(files)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// What is found is where the kernel finds it; what the kernel finds inside is found, and what is outside is not.
    #[test]
    fn a_place_is_where_the_kernel_says(entries in entries(), path in asked()) {
        let tree = Tree::new();
        tree.grow(&entries);
        let named = Path::new(path.as_str());
        let parent = named.parent().expect("a parent");
        let real = tree.real(parent);
        let inside = real.as_ref().zip(tree.allowed()).is_some_and(|(real, allowed)| real.starts_with(allowed));
        match find(&RealFiles, &tree.config, &path) {
            Ok(place) => {
                let directory = place.target.parent().expect("a parent");
                if place.missing.is_empty() {
                    prop_assert_eq!(real.as_deref(), Some(directory));
                    prop_assert!(inside);
                } else {
                    prop_assert_eq!(real, None);
                    for missing in &place.missing {
                        RealFiles.make_directory(missing, 0o755).expect("made in order");
                    }
                    let made = tree.real(parent);
                    prop_assert_eq!(made.as_deref(), Some(directory));
                }
                prop_assert!(directory.starts_with(tree.allowed().expect("it is there")));
            }
            Err(PlaceError::Outside { .. }) => prop_assert!(!inside),
            Err(PlaceError::Link(_) | PlaceError::NotAFile(_)) => {
                let there = real.expect("it is there").join(named.file_name().expect("a name"));
                prop_assert!(inside && !there.symlink_metadata().expect("there").is_file());
            }
            Err(_) => prop_assert_eq!(real, None),
        }
        if let Ok(found) = place::real(&RealFiles, &tree.config, &path) && found.is_there && found.path.is_dir() {
            prop_assert_eq!(tree.real(named), Some(found.path));
        }
    }

    /// An installation, done or refused, changes nothing outside.
    #[test]
    fn nothing_outside_is_written(entries in entries(), path in asked(), links in any::<bool>()) {
        let tree = Tree::new();
        tree.grow(&entries);
        let before = tree.outside();
        let layout = if links { Layout::Symlink } else { Layout::Copy };
        let refused = install(&RealFiles, &tree.config, layout, &path);
        prop_assert_eq!(tree.outside(), before);
        if refused.is_ok() {
            let parent = tree.real(Path::new(path.as_str()).parent().expect("a parent")).expect("there");
            let name = Path::new(path.as_str()).file_name().unwrap_or(OsStr::new(""));
            prop_assert_eq!(fs::read(parent.join(name)).expect("read"), b"a key");
        }
    }
}

/// A directory on the way, and a link to one outside that somebody puts in its place.
fn exchanged(tree: &Tree) -> ([PathBuf; 2], GuestPath) {
    let at = |path: &str| tree.config.root.join(path);
    fs::create_dir_all(at("etc/ssl/d")).expect("directory");
    symlink("../../srv", at("etc/ssl/other")).expect("link");
    ([at("etc/ssl/d"), at("etc/ssl/other")], "/etc/ssl/d/a".parse().expect("a path"))
}

#[test]
fn a_directory_that_becomes_a_link_after_any_operation_leads_nobody_out() {
    for layout in Layout::ALL {
        let mut operation = 0;
        loop {
            let tree = Tree::new();
            let (names, path) = exchanged(&tree);
            let before = tree.outside();
            let files = Racing::after(operation, names);
            drop(install(&files, &tree.config, layout, &path));
            assert_eq!(tree.outside(), before, "{layout}, exchanged after operation {operation}");
            if !files.has_happened() {
                break;
            }
            operation += 1;
        }
        assert!(operation > 10, "{layout}: an installation has more operations than {operation}");
    }
}

#[test]
fn a_directory_that_is_exchanged_all_the_time_leads_nobody_out() {
    let tree = Tree::new();
    let ([one, other], path) = exchanged(&tree);
    let before = tree.outside();
    let done = AtomicBool::new(false);
    let installed = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).expect("exchanged");
            }
        });
        let try_it = |number: usize| {
            let layout = if number.is_multiple_of(2) { Layout::Copy } else { Layout::Symlink };
            install(&RealFiles, &tree.config, layout, &path).is_ok()
        };
        let installed = (0..400).filter(|number| try_it(*number)).count();
        done.store(true, Ordering::Relaxed);
        installed
    });
    assert_eq!(tree.outside(), before, "after {installed} installations");
}
