//! A directory that a server shares, and that goes away.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use pinion_proto::stage::{Halt, Stage, Trouble};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::guest::{Guest, at_stage, deliver, issue, ordered, report, spec};
use crate::install::{
    acl::Acl,
    files::{Files, Found, NewFile, RealFiles},
    mounts::{Guard, MountTable},
};

/// The kernel's file system, whose `share` directory is a stale handle while that is so.
#[derive(Debug)]
struct Share(Arc<AtomicBool>);

impl Share {
    fn there(&self, path: &Path) -> io::Result<()> {
        let shared = path.components().any(|part| part.as_os_str() == "share");
        if shared && self.0.load(Ordering::SeqCst) { Err(Errno::STALE.into()) } else { Ok(()) }
    }
}

impl Files for Share {
    fn look(&self, path: &Path) -> io::Result<Option<Found>> {
        self.there(path).and_then(|()| RealFiles.look(path))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.there(path).and_then(|()| RealFiles.read_link(path))
    }

    fn read(&self, path: &Path, max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        self.there(path).and_then(|()| RealFiles.read(path, max))
    }

    fn acl(&self, path: &Path) -> io::Result<Option<Acl>> {
        self.there(path).and_then(|()| RealFiles.acl(path))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.there(directory).and_then(|()| RealFiles.list(directory))
    }

    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.there(path).and_then(|()| RealFiles.make_directory(path, mode))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        self.there(path).and_then(|()| RealFiles.create(path))
    }

    fn make_link(&self, path: &Path, to: &Path) -> io::Result<()> {
        self.there(path).and_then(|()| RealFiles.make_link(path, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.there(to).and_then(|()| RealFiles.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.there(path).and_then(|()| RealFiles.remove(path))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.there(path).and_then(|()| RealFiles.remove_directory(path))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.there(path).and_then(|()| RealFiles.sync_directory(path))
    }

    fn mounts(&self) -> io::Result<MountTable> {
        RealFiles.mounts()
    }

    fn guarded(&self, _: &Guard) -> Arc<dyn Files> {
        Arc::new(Self(Arc::clone(&self.0)))
    }
}

#[tokio::test]
async fn a_share_that_went_away_is_waited_for_and_reported() {
    let mut guest = Guest::new();
    guest.allow_units(&["web"]);
    let service = guest.service("web").await;
    let recipe = guest.config.recipes.join("web.toml");
    let text = std::fs::read_to_string(&recipe).expect("a recipe").replace("/etc/ssl/", "/etc/ssl/share/");
    std::fs::write(&recipe, text).expect("written");
    std::fs::create_dir(guest.at("etc/ssl/share")).expect("made");
    let gone = Arc::new(AtomicBool::new(false));
    guest.files = Arc::new(Share(Arc::clone(&gone)));
    let placements = guest.start().await;
    let web = spec("web", "web");
    let first = issue(&guest, &placements, &web, 1).await;
    at_stage(&placements, "web", 1, Stage::Served).await;

    gone.store(true, Ordering::SeqCst);
    placements.desire(vec![ordered(&web, 2)]);
    deliver(&guest, &placements, "web", 2).await;
    let mut before: Option<Trouble> = None;
    for _ in 0..6 {
        // Tried again and again, it is never anything but waiting.
        let told = report(&placements, "web", "to wait for the share", |report| {
            let told = report.trouble.as_ref();
            told.is_some_and(|told| told.cause.contains("os error 116") && Some(told) != before.as_ref())
        });
        let trouble = told.await.trouble.expect("a trouble");
        assert_eq!(trouble.halt, Halt::Waiting, "{trouble}");
        assert!(trouble.remedy.contains("must be mounted again"), "{trouble}");
        before = Some(trouble);
    }
    assert_eq!(guest.serial("etc/ssl/share/web.example.crt").as_deref(), Some(first.serial()), "nothing was changed");

    gone.store(false, Ordering::SeqCst);
    at_stage(&placements, "web", 2, Stage::Served).await;
    assert_eq!(service.calls(), ["reload", "reload"]);
    placements.shutdown().await;
}
