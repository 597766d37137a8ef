//! Files below a mount point: nothing is made there while nothing is mounted, that is reported, and it continues by itself.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use pinion_proto::{
    message::Purge,
    spec::{Layout, PlacementSpec},
    stage::{Halt, Stage, Trouble},
};

use super::guest::{DEADLINE, Guest, at_stage, deliver, name, ordered, plain, plain_guest, report, until};
use crate::{apply::Placements, install::tests::mounting::Mounting};

/// A guest whose placement `web` has its files on a share, and two devices that can be mounted there.
pub(super) struct Shared {
    pub(super) guest: Guest,
    pub(super) files: Mounting,
    point: PathBuf,
    pub(super) web: PlacementSpec,
}

impl Shared {
    pub(super) fn new(layout: Layout) -> Self {
        Self::at("/mnt/pve/nfs", layout)
    }

    fn at(point: &str, layout: Layout) -> Self {
        let mut guest = plain_guest();
        guest.config.check_every = Duration::from_millis(20);
        let recipe = guest.config.recipes.join("web.toml");
        let text = fs::read_to_string(&recipe).expect("a recipe").replace("/etc/ssl/", &format!("{point}/certs/"));
        fs::write(&recipe, text).expect("written");
        guest.config.allow.directories.push(point.parse().expect("a path"));
        let point = guest.at(point);
        for directory in [&point, &guest.at("devices/one"), &guest.at("devices/other")] {
            fs::create_dir_all(directory).expect("made");
        }
        let files = Mounting::at(&point);
        guest.files = Arc::new(files.clone());
        Self { guest, files, point, web: plain(layout) }
    }

    pub(super) fn mount(&self, device: &str) {
        self.files.mount(&self.guest.at("devices").join(device), false);
    }

    /// What an unmounted share would hide.
    pub(super) fn hidden(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.point).expect("the mount point is there");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }

    pub(super) fn serial(&self, device: &str) -> Option<String> {
        self.guest.serial(&format!("devices/{device}/certs/web.example.crt"))
    }

    /// A generation in place.
    pub(super) async fn placed(&self, generation: u64) -> Placements {
        let placements = self.guest.start().await;
        placements.desire(vec![ordered(&self.web, generation)]);
        deliver(&self.guest, &placements, "web", generation).await;
        at_stage(&placements, "web", generation, Stage::Reloaded).await;
        placements
    }

    /// The ledger as an agent left it that noted no mounts.
    fn forget_mounts(&self) {
        let path = self.guest.at("var/lib/pinion-agent/placements/web.json");
        let mut ledger: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("a ledger");
        let placement = ledger.get_mut("placement").and_then(|ledger| ledger.as_object_mut()).expect("a ledger");
        placement.remove("mounts").expect("it was noted");
        fs::write(&path, ledger.to_string()).expect("written");
    }

    fn noted(&self) -> bool {
        let ledger = self.guest.content("var/lib/pinion-agent/placements/web.json").expect("a ledger");
        String::from_utf8(ledger).expect("text").contains(&format!("\"{}\"", self.point.display()))
    }
}

async fn waits(placements: &Placements) -> Trouble {
    let waits = report(placements, "web", "waiting for the mount", |report| {
        report.trouble.as_ref().is_some_and(|trouble| trouble.cause.contains("is not mounted"))
    });
    let trouble = waits.await.trouble.expect("just seen");
    assert_eq!(trouble.halt, Halt::Waiting, "{trouble}");
    assert!(!trouble.attempt.is_empty() && trouble.retry_at.is_some(), "{trouble}");
    trouble
}

/// Several looks go by.
pub(super) async fn looks_go_by(shared: &Shared) {
    let before = shared.files.operations();
    while shared.files.operations() < before + 40 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn installed_files_are_not_restored_below_an_unmounted_share() {
    for layout in Layout::ALL {
        let shared = Shared::new(layout);
        shared.mount("one");
        let placements = shared.placed(1).await;
        let first = shared.serial("one").expect("in place");
        shared.files.unmount();
        let trouble = waits(&placements).await;
        let point = shared.point.display().to_string();
        for part in [&trouble.attempt, &trouble.cause, &trouble.remedy] {
            assert!(part.contains(&point), "{trouble}");
        }
        assert!(trouble.remedy.contains("continues by itself"), "{trouble}");
        looks_go_by(&shared).await;
        // A renewal comes meanwhile, and waits.
        placements.desire(vec![ordered(&shared.web, 2)]);
        let second = deliver(&shared.guest, &placements, "web", 2).await;
        looks_go_by(&shared).await;
        let waiting = waits(&placements).await;
        assert!(waiting.cause.contains(&point), "{waiting}");
        // So it is after a restart.
        placements.shutdown().await;
        let placements = shared.guest.start().await;
        waits(&placements).await;
        looks_go_by(&shared).await;
        assert_eq!(shared.hidden(), Vec::<PathBuf>::new(), "{layout}");
        // Another device, of which all is missing.
        shared.mount("other");
        at_stage(&placements, "web", 2, Stage::Reloaded).await;
        placements.shutdown().await;
        assert_eq!(shared.serial("other").as_deref(), Some(second.serial()));
        assert_eq!(shared.serial("one"), Some(first), "nobody was there");
        assert_eq!(shared.hidden(), Vec::<PathBuf>::new(), "{layout}");
    }
}

#[tokio::test]
async fn a_first_installation_waits_for_what_the_machine_means_to_mount() {
    let requiring = |path: &str| Some(path.parse().expect("a mount point"));
    for (point, fstab, required) in [
        ("/mnt/pve/nfs", "", None),
        ("/srv/share", "host:/x /srv/share nfs _netdev 0 0\n", None),
        ("/srv/with blank", "/dev/sdb1 /srv/with\\040blank/ ext4 noauto 0 0\n", None),
        ("/srv/share", "", requiring("/srv/share")),
    ] {
        let mut shared = Shared::at(point, Layout::Symlink);
        shared.web.requires_mount = required;
        fs::write(shared.guest.at("etc/fstab"), fstab).expect("written");
        let placements = shared.guest.start().await;
        placements.desire(vec![ordered(&shared.web, 1)]);
        let leaf = deliver(&shared.guest, &placements, "web", 1).await;
        waits(&placements).await;
        looks_go_by(&shared).await;
        assert_eq!(shared.hidden(), Vec::<PathBuf>::new(), "{point}");
        shared.mount("one");
        at_stage(&placements, "web", 1, Stage::Reloaded).await;
        assert_eq!(shared.serial("one").as_deref(), Some(leaf.serial()));
        assert!(shared.noted(), "{point}");
        placements.shutdown().await;
    }
}

#[tokio::test]
async fn a_mount_point_that_is_gone_itself_is_not_made() {
    let shared = Shared::new(Layout::Copy);
    fs::remove_dir(&shared.point).expect("removed");
    let placements = shared.guest.start().await;
    placements.desire(vec![ordered(&shared.web, 1)]);
    deliver(&shared.guest, &placements, "web", 1).await;
    waits(&placements).await;
    looks_go_by(&shared).await;
    placements.shutdown().await;
    assert!(!shared.point.exists());
}

#[tokio::test]
async fn an_older_agents_ledger_learns_what_is_mounted_and_what_is_not_to_be() {
    // Learned at the next look while it is mounted, wherever that is.
    let shared = Shared::at("/srv/share", Layout::Symlink);
    shared.mount("one");
    shared.placed(1).await.shutdown().await;
    shared.forget_mounts();
    let placements = shared.guest.start().await;
    let noted = async {
        while !shared.noted() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, noted).await.expect("it is noted again");
    shared.files.unmount();
    waits(&placements).await;
    placements.shutdown().await;
    assert_eq!(shared.hidden(), Vec::<PathBuf>::new());

    // Where its files are, although Proxmox could mount something there, they stay.
    let shared = Shared::new(Layout::Symlink);
    shared.mount("one");
    shared.placed(1).await.shutdown().await;
    shared.forget_mounts();
    shared.files.unmount();
    fs::rename(shared.guest.at("devices/one/certs"), shared.point.join("certs")).expect("moved");
    let placements = shared.guest.start().await;
    at_stage(&placements, "web", 1, Stage::Reloaded).await;
    placements.desire(vec![ordered(&shared.web, 2)]);
    deliver(&shared.guest, &placements, "web", 2).await;
    at_stage(&placements, "web", 2, Stage::Reloaded).await;
    placements.shutdown().await;

    // Where they are not, they are not made.
    let shared = Shared::new(Layout::Symlink);
    shared.mount("one");
    shared.placed(1).await.shutdown().await;
    shared.forget_mounts();
    shared.files.unmount();
    let placements = shared.guest.start().await;
    waits(&placements).await;
    looks_go_by(&shared).await;
    placements.shutdown().await;
    assert_eq!(shared.hidden(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn what_is_not_to_be_mounted_any_more_is_said_in_the_manifest() {
    let mut shared = Shared::new(Layout::Symlink);
    shared.mount("one");
    let placements = shared.placed(1).await;
    shared.files.unmount();
    assert!(waits(&placements).await.remedy.contains("\"requires_mount\": \"/\""));
    shared.web.requires_mount = Some("/".parse().expect("a mount point"));
    placements.desire(vec![ordered(&shared.web, 1)]);
    at_stage(&placements, "web", 1, Stage::Reloaded).await;
    placements.shutdown().await;
    assert!(shared.point.join("certs/web.example.crt").exists() && !shared.noted());
}

#[tokio::test]
async fn what_is_to_be_removed_is_removed_from_the_share_and_not_forgotten_meanwhile() {
    let shared = Shared::new(Layout::Symlink);
    shared.mount("one");
    let placements = shared.placed(1).await;
    shared.files.unmount();
    placements.desire(Vec::new());
    report(&placements, "web", "retired", |report| report.retired).await;
    placements.purge(Purge::all(name("web")));
    waits(&placements).await;
    looks_go_by(&shared).await;
    assert!(shared.serial("one").is_some());
    shared.mount("one");
    until(&placements, "removed", |reports| reports.is_empty()).await;
    placements.shutdown().await;
    assert_eq!(fs::read_dir(shared.guest.at("devices/one/certs")).expect("listed").count(), 0);
}

#[tokio::test]
async fn below_proxmoxs_own_file_system_nothing_is_made_while_it_is_away() {
    let shared = Shared::at("/etc/pve", Layout::Copy);
    // All that a certificate's files may be there.
    let recipe = shared.guest.config.recipes.join("web.toml");
    let text = fs::read_to_string(&recipe).expect("a recipe");
    let own = ["crt", "key"].iter().zip(["pem", "key"]).fold(text, |text, (from, to)| {
        text.replace(&format!("/etc/pve/certs/{{common_name}}.{from}"), &format!("/etc/pve/local/pveproxy-ssl.{to}"))
    });
    fs::write(&recipe, own).expect("written");
    // In a root that is not `/`, a directory without anything in it.
    let mut guest = plain_guest();
    guest.config.clone_from(&shared.guest.config);
    let placements = guest.start().await;
    placements.desire(vec![ordered(&shared.web, 1)]);
    deliver(&guest, &placements, "web", 1).await;
    let trouble = waits(&placements).await;
    assert!(trouble.cause.contains("pmxcfs") && trouble.remedy.contains("pve-cluster"), "{trouble}");
    assert_eq!(shared.hidden(), Vec::<PathBuf>::new());
    placements.shutdown().await;
}
