//! What goes, what stays, and what is in the way; the power goes at every operation.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::atomic::{AtomicUsize, Ordering},
};

use pinion_proto::{bundle::Fingerprint, spec::Part};
use tempfile::TempDir;

use super::*;
use crate::{
    install::{files::RealFiles, steps::temporary, tests::failing::Failing},
    ledger::{InstalledFile, Ledger},
};

/// A guest with two placements and three files of theirs.
struct Guest {
    _kept: TempDir,
    config: Config,
}

const CERTIFICATE: &str = "/etc/ssl/web/web.crt";
const KEY: &str = "/etc/ssl/web/web.key";
const OTHER: &str = "/etc/ssl/other.key";
const PEM_KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----\n";

impl Guest {
    fn new() -> Self {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let mut config = Config::shipped(kept.path().canonicalize().expect("a real path"));
        config.allow.only_directories(&["/etc/ssl"]);
        let guest = Self { _kept: kept, config };
        for directory in ["etc/ssl/web", "var/lib/pinion-agent/placements"] {
            fs::create_dir_all(guest.config.root.join(directory)).expect("directories");
        }
        guest.write("/var/lib/pinion-agent/identity.json", PEM_KEY);
        guest.write("/var/lib/pinion-agent/.identity.json.pinion-new", PEM_KEY);
        guest.write("/var/lib/pinion-agent/placements/.web.json.pinion-new", PEM_KEY);
        guest.write("/var/lib/pinion-agent/links", "7\n");
        guest.write("/var/lib/pinion-agent/.links.pinion-new", "8\n");
        guest.write("/etc/machine-id", "0123456789abcdef\n");
        guest.remember("web", &[(Part::Cert, CERTIFICATE, "a certificate"), (Part::Key, KEY, PEM_KEY)]);
        guest.remember("other", &[(Part::Key, OTHER, PEM_KEY)]);
        for (path, content) in [(CERTIFICATE, "a certificate"), (KEY, PEM_KEY), (OTHER, PEM_KEY)] {
            guest.write(path, content);
        }
        fs::write(temporary(&guest.at(KEY)), PEM_KEY).expect("what an interrupted exchange leaves");
        guest
    }

    fn at(&self, inside: &str) -> PathBuf {
        self.config.root.join(inside.trim_start_matches('/'))
    }

    fn write(&self, inside: &str, content: &str) {
        fs::write(self.at(inside), content).expect("written");
    }

    /// The ledger of a placement that wrote these files.
    fn remember(&self, name: &str, written: &[(Part, &str, &str)]) {
        let file = |(part, path, content): &(Part, &str, &str)| InstalledFile {
            part: *part,
            path: path.parse().expect("a path"),
            content: Fingerprint::of(content.as_bytes()),
        };
        let ledger = Ledger { left_behind: written.iter().map(file).collect(), ..Ledger::default() };
        let ledgers = Ledgers::open(&self.config.state, Arc::new(RealFiles)).expect("opened");
        ledgers.write(&name.parse().expect("a name"), &ledger).expect("written");
    }

    fn seal(&self) -> Result<Sealed, SealError> {
        seal(&self.config, &(Arc::new(RealFiles) as Arc<dyn Files>))
    }

    /// Why nothing was removed; nothing was.
    fn obstacles(&self) -> Vec<String> {
        let Err(SealError::Obstacles(obstacles)) = self.seal() else { panic!("something is in the way") };
        assert!(self.at("/var/lib/pinion-agent/identity.json").exists() && self.at(OTHER).exists());
        obstacles.iter().map(ToString::to_string).collect()
    }

    /// Every file below the root.
    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut todo = vec![self.config.root.clone()];
        while let Some(directory) = todo.pop() {
            for entry in fs::read_dir(directory).expect("listed") {
                let path = entry.expect("an entry").path();
                if path.is_dir() { todo.push(path) } else { found.push(shown(&self.config, &path)) }
            }
        }
        found.sort_unstable();
        found
    }
}

#[test]
fn all_that_pinion_brought_goes_and_nothing_else() {
    let guest = Guest::new();
    guest.write("/etc/ssl/web/mine.txt", "not Pinion's");
    guest.write(CERTIFICATE, "another certificate by now");
    let sealed = guest.seal().expect("sealed");
    assert_eq!(guest.files(), ["/etc/machine-id", "/etc/ssl/web/mine.txt", CERTIFICATE, "/var/lib/pinion-agent/lock"]);
    assert_eq!(sealed.left, [CERTIFICATE.parse().expect("a path")]);
    let removed: Vec<_> = sealed.removed.iter().map(|path| shown(&guest.config, path)).collect();
    assert!(removed.contains(&KEY.to_owned()) && removed.contains(&OTHER.to_owned()), "{removed:?}");
    assert!(sealed.machine_id);

    guest.write("/etc/machine-id", "uninitialized\n");
    assert_eq!(guest.seal().expect("again"), Sealed::default(), "there is nothing more to do");
}

#[test]
fn the_keys_of_every_generation_go_whoever_has_the_path() {
    let guest = Guest::new();
    // An earlier placement wrote the same file, and comes first.
    guest.remember("alpha", &[(Part::Key, KEY, "an older key")]);
    let home = "/etc/ssl/web/.pinion/web";
    for generation in ["3", "4"] {
        fs::create_dir_all(guest.at(&format!("{home}/{generation}"))).expect("directories");
        guest.write(&format!("{home}/{generation}/web.key"), PEM_KEY);
    }
    symlink("4", guest.at(&format!("{home}/current"))).expect("a link");
    let link = |to: &str| {
        fs::remove_file(guest.at(KEY)).expect("removed");
        symlink(to, guest.at(KEY)).expect("a link");
    };
    link(".pinion/web/current/web.key");
    guest.seal().expect("sealed");
    assert_eq!(guest.files(), ["/etc/machine-id", "/var/lib/pinion-agent/lock"]);

    // The operator has put a link of his own there since.
    let guest = Guest::new();
    fs::create_dir_all(guest.at(&format!("{home}/3"))).expect("directories");
    guest.write(&format!("{home}/3/web.key"), PEM_KEY);
    fs::remove_file(guest.at(KEY)).expect("removed");
    symlink("/etc/other.key", guest.at(KEY)).expect("a link");
    guest.seal().expect("sealed");
    assert!(!guest.at(home).exists());
}

#[test]
fn a_guest_without_any_state_is_sealed() {
    let guest = Guest::new();
    fs::remove_dir_all(&guest.config.state).expect("removed");
    let sealed = guest.seal().expect("sealed");
    assert!(sealed.removed.is_empty() && !guest.config.state.exists());
}

#[test]
fn a_changed_file_with_a_key_is_in_the_way() {
    let guest = Guest::new();
    guest.write(KEY, &format!("# for the gateway\n{PEM_KEY}"));
    let obstacles = guest.obstacles();
    assert!(obstacles.len() == 1 && obstacles[0].contains(KEY), "{obstacles:?}");
    fs::remove_file(guest.at(KEY)).expect("removed");
    guest.seal().expect("sealed");
}

#[test]
fn what_cannot_be_understood_is_in_the_way() {
    let guest = Guest::new();
    guest.write("/var/lib/pinion-agent/placements/web.json", "{");
    guest.write("/var/lib/pinion-agent/identity.json.bak", PEM_KEY);
    guest.write("/var/lib/pinion-agent/placements/old", PEM_KEY);
    let obstacles = guest.obstacles();
    for named in ["placements/web.json", "identity.json.bak", "placements/old"] {
        assert!(obstacles.iter().any(|why| why.contains(named)), "{named}: {obstacles:?}");
    }
    assert_eq!(obstacles.len(), 3, "{obstacles:?}");
}

#[test]
fn a_place_that_is_not_allowed_any_more_is_in_the_way_while_a_file_is_there() {
    let mut guest = Guest::new();
    guest.config.allow.only_directories(&["/etc/ssl/web"]);
    let obstacles = guest.obstacles();
    assert!(obstacles.len() == 1 && obstacles[0].contains("agent.toml"), "{obstacles:?}");
    fs::remove_file(guest.at(OTHER)).expect("removed");
    guest.seal().expect("sealed");
}

#[test]
fn a_link_in_a_files_place_is_left() {
    let guest = Guest::new();
    fs::rename(guest.at(CERTIFICATE), guest.at("/etc/elsewhere")).expect("moved");
    symlink("/etc/elsewhere", guest.at(CERTIFICATE)).expect("linked");
    let sealed = guest.seal().expect("sealed");
    assert_eq!(sealed.left, [CERTIFICATE.parse().expect("a path")]);
    assert!(guest.at("/etc/elsewhere").exists());
}

#[test]
fn a_path_that_changed_hands_goes_with_its_last_owner() {
    let guest = Guest::new();
    guest.remember("former", &[(Part::Key, KEY, "what was there before")]);
    assert!(guest.seal().expect("sealed").left.is_empty());
    assert!(!guest.at(KEY).exists());
}

#[test]
fn a_crash_at_every_operation_leaves_what_a_second_run_finishes() {
    for cut in 0.. {
        let guest = Guest::new();
        let before = guest.files();
        let left = Arc::new(AtomicUsize::new(cut));
        let failing: Arc<dyn Files> = Arc::new(Failing::after(&left));
        let first = seal(&guest.config, &failing);
        let now = guest.files();
        let identity = guest.at("/var/lib/pinion-agent/identity.json");
        // The one with the identity's next key goes first of all.
        assert!(!identity.exists() || now.len() + 1 >= before.len(), "cut at {cut}: it is still somebody");
        guest.seal().unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(guest.files(), ["/etc/machine-id", "/var/lib/pinion-agent/lock"], "cut at {cut}");
        if first.is_ok() && left.load(Ordering::SeqCst) > 0 {
            assert!(cut > 10, "sealing has more operations than {cut}");
            return;
        }
    }
}
