//! What a purge removes, what stays because it is another's or named, and what was there before Pinion.

use std::{fs, path::Path};

use pinion_proto::{
    bundle::certificates_to_pem,
    message::{Purge, Purged},
    report::PlacementReport,
    spec::{FileSpec, GuestPath, Layout, Part, PlacementSpec},
    stage::{Halt, Stage},
};
use tokio::{sync::broadcast::Receiver, time::timeout};

use super::guest::{CRT, DEADLINE, Guest, KEY, at_stage, issue, name, offset, plain, plain_guest, report, spec, until};
use crate::apply::Placements;

/// The placement `web` with a file of the issuer's roots at this path.
fn with_ca(certificate: &str, ca: &str) -> PlacementSpec {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let account = |number: u32| Some(number.to_string().parse().expect("an account"));
    let at = |path: String| FileSpec {
        path: Some(path.parse().expect("a path")),
        owner: account(uid),
        group: account(gid),
        ..FileSpec::default()
    };
    let files = [
        (Part::Fullchain, at(format!("/etc/ssl/{certificate}.crt"))),
        (Part::Key, at(format!("/etc/ssl/{certificate}.key"))),
        (Part::Ca, at(ca.to_owned())),
    ];
    PlacementSpec {
        recipe: None,
        files: files.into(),
        ..PlacementSpec { certificate: name(certificate), ..plain(Layout::Copy) }
    }
}

async fn answer(answers: &mut Receiver<Purged>) -> Purged {
    timeout(DEADLINE, answers.recv()).await.expect("an answer in time").expect("an answer")
}

async fn is_retired(placements: &Placements) {
    placements.desire(Vec::new());
    report(placements, "web", "retired", |report| report.retired).await;
}

async fn is_gone(placements: &Placements) -> Purged {
    until(placements, "purged", |reports| !reports.contains_key(&name("web"))).await;
    placements.purged(&name("web"))
}

/// What the guest's own people had in the places of `web`.
fn hand_made(guest: &Guest, days: i64) -> (String, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut parameters = rcgen::CertificateParams::new(["web.example".to_owned()]).expect("names");
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "Hand made");
    (parameters.not_before, parameters.not_after) = (offset(-10 * 86_400), offset(days * 86_400));
    let (crt, key) = (parameters.self_signed(&key).expect("a certificate").pem(), key.serialize_pem());
    fs::write(guest.at(CRT), &crt).expect("written");
    fs::write(guest.at(KEY), &key).expect("written");
    (crt, key)
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[tokio::test]
async fn a_purge_leaves_the_file_that_a_successor_has_by_now() {
    let guest = plain_guest();
    let placements = guest.start().await;
    issue(&guest, &placements, &with_ca("web", "/etc/ssl/ca.crt"), 1).await;
    at_stage(&placements, "web", 1, Stage::Reloaded).await;
    // It is renamed: the successor has the same file with the same content.
    let successor = with_ca("site", "/etc/ssl/ca.crt");
    placements.desire(Vec::new());
    report(&placements, "web", "retired", |report| report.retired).await;
    issue(&guest, &placements, &successor, 1).await;
    at_stage(&placements, "site", 1, Stage::Reloaded).await;
    placements.purge(Purge::all(name("web")));
    assert_eq!(is_gone(&placements).await, Purged::all(name("web")));
    assert!(is_there(&guest.at("etc/ssl/ca.crt")), "the successor's");
    assert!(!is_there(&guest.at("etc/ssl/web.crt")) && !is_there(&guest.at("etc/ssl/web.key")));
    placements.shutdown().await;
}

#[tokio::test]
async fn what_a_living_placement_left_behind_goes_and_nothing_else() {
    let guest = plain_guest();
    let placements = guest.start().await;
    let mut answers = placements.purge_answers();
    issue(&guest, &placements, &with_ca("web", "/etc/ssl/before.crt"), 1).await;
    at_stage(&placements, "web", 1, Stage::Reloaded).await;
    placements.desire(vec![with_ca("web", "/etc/ssl/after.crt")]);
    let left: GuestPath = "/etc/ssl/before.crt".parse().expect("a path");
    report(&placements, "web", "moved", |report| report.left_behind.contains(&left)).await;
    // A configuration names it: that is reported first.
    fs::write(guest.at("etc/service.conf"), "# a comment\nca = /etc/ssl/before.crt\n").expect("written");
    let purge = Purge { left_behind: true, ..Purge::all(name("web")) };
    placements.purge(purge.clone());
    let told = answer(&mut answers).await;
    assert_eq!((told.remains, told.named), (true, vec!["/etc/service.conf:2 names /etc/ssl/before.crt".into()]));
    assert!(is_there(&guest.at("etc/ssl/before.crt")));
    // Its other files may be named.
    fs::write(guest.at("etc/service.conf"), "ca = /etc/ssl/after.crt\n").expect("written");
    placements.purge(purge);
    assert_eq!(answer(&mut answers).await, Purged { remains: true, ..Purged::all(name("web")) });
    let report = report(&placements, "web", "removed", |report| report.left_behind.is_empty()).await;
    assert_eq!(report.stage, Stage::Reloaded);
    assert!(!is_there(&guest.at("etc/ssl/before.crt")) && is_there(&guest.at("etc/ssl/after.crt")));
    // All of it is refused while it is asked for.
    placements.purge(Purge::all(name("web")));
    placements.shutdown().await;
    assert!(is_there(&guest.at("etc/ssl/after.crt")));
}

#[tokio::test]
async fn what_was_never_installed_is_purged_at_once() {
    let guest = plain_guest();
    let placements = guest.start().await;
    for (what, path) in [
        ("where no directory is", "/etc/ssl/none/of/these"),
        ("where the guest allows nothing", "/root/web"),
        ("where files would be", "/etc/ssl/web"),
    ] {
        let at = |kind: &str| FileSpec {
            path: Some(format!("{path}.{kind}").parse().expect("a path")),
            ..FileSpec::default()
        };
        let files = [(Part::Fullchain, at("crt")), (Part::Key, at("key"))].into();
        let asked = PlacementSpec { recipe: None, files, purge: true, ..spec("web", "web") };
        placements.desire(vec![asked]);
        let seen = until(&placements, what, |reports| reports.is_empty()).await;
        assert!(seen.is_empty(), "{what}");
        placements.desire(Vec::new());
    }
    // And of what nobody here knows the controller hears that it is gone.
    let mut answers = placements.purge_answers();
    placements.purge(Purge::all(name("other")));
    assert_eq!(answer(&mut answers).await, Purged::all(name("other")));
    placements.shutdown().await;
}

#[tokio::test]
async fn files_that_a_configuration_names_stay_until_they_are_purged_by_force() {
    let guest = plain_guest();
    let placements = guest.start().await;
    let mut answers = placements.purge_answers();
    let web = plain(Layout::Symlink);
    issue(&guest, &placements, &web, 1).await;
    at_stage(&placements, "web", 1, Stage::Reloaded).await;
    fs::write(guest.at("etc/service.conf"), "cert /etc/ssl/web.example.crt\n").expect("written");
    let words = "/etc/service.conf:1 names /etc/ssl/web.example.crt";

    // By the manifest: it waits, and goes on when nothing names them.
    placements.desire(vec![PlacementSpec { purge: true, ..web.clone() }]);
    let held_up = |report: &PlacementReport| report.trouble.as_ref().is_some_and(|trouble| trouble.cause == words);
    let trouble = report(&placements, "web", "held up", held_up).await.trouble.expect("a trouble");
    assert!(trouble.halt == Halt::Blocked && trouble.remedy.contains("pinion purge --force web"), "{trouble}");
    assert!(guest.has_pair());

    // Asked by a person: nothing is removed, and the answer says why.
    is_retired(&placements).await;
    placements.purge(Purge::all(name("web")));
    assert_eq!(answer(&mut answers).await.named, [words]);
    let kept = report(&placements, "web", "still there", |report| report.retired).await;
    assert!(kept.held.is_some() && guest.has_pair());
    placements.purge(Purge { force: true, ..Purge::all(name("web")) });
    assert_eq!(is_gone(&placements).await, Purged::all(name("web")));
    assert!(!is_there(&guest.at(CRT)) && !is_there(&guest.at(KEY)));
    placements.shutdown().await;
}

#[tokio::test]
async fn what_was_there_before_is_told_of_kept_and_put_back() {
    for (days, restore, back) in [(20, true, true), (-1, true, false), (20, false, false)] {
        let guest = plain_guest();
        let (crt, key) = hand_made(&guest, days);
        let placements = guest.start().await;
        let web = plain(Layout::Symlink);
        placements.desire(vec![web.clone()]);
        let before = report(&placements, "web", "told", |report| !report.originals.is_empty()).await;
        let told: Vec<_> = before.originals.iter().map(|one| (one.path.to_string(), one.subject.clone())).collect();
        let paths = [CRT, KEY].map(|path| format!("/{path}"));
        assert_eq!(told, [(paths[0].clone(), "web.example".into()), (paths[1].clone(), String::new())]);
        assert!(
            before.originals.iter().all(|one| one.kept.is_none())
                && fs::read_to_string(guest.at(CRT)).expect("there") == crt
        );

        issue(&guest, &placements, &web, 1).await;
        let after = at_stage(&placements, "web", 1, Stage::Reloaded).await;
        assert!(after.originals.iter().all(|one| one.kept.is_some()), "{:?}", after.originals);
        placements.shutdown().await;
        let placements = guest.start().await;
        let again = at_stage(&placements, "web", 1, Stage::Reloaded).await;
        assert_eq!(again.originals, after.originals, "it outlives a restart");

        is_retired(&placements).await;
        placements.purge(Purge { restore, ..Purge::all(name("web")) });
        let purged = is_gone(&placements).await;
        let paths: Vec<GuestPath> = paths.iter().map(|path| path.parse().expect("a path")).collect();
        let kept = guest.at("var/lib/pinion-agent/replaced/1").join(CRT);
        if back {
            assert_eq!((purged.restored, purged.kept.len()), (paths, 0));
            assert_eq!(fs::read_to_string(guest.at(CRT)).expect("there"), crt);
            assert_eq!(fs::read_to_string(guest.at(KEY)).expect("there"), key);
            assert!(!is_there(&kept), "the copy is not needed any more");
        } else {
            assert_eq!((purged.restored.len(), purged.kept.len()), (0, 2), "{days} days");
            assert_eq!(purged.kept[0].as_str(), format!("/var/lib/pinion-agent/replaced/1/{CRT}"));
            assert!(!is_there(&guest.at(CRT)) && is_there(&kept));
        }
        placements.shutdown().await;
    }
}

#[tokio::test]
async fn a_private_key_and_a_store_of_another_kind_are_told_in_words() {
    let guest = plain_guest();
    fs::write(guest.at(CRT), certificates_to_pem([guest.authority.root.der()])).expect("written");
    fs::write(guest.at(KEY), "").expect("an empty file holds a place");
    let placements = guest.start().await;
    placements.desire(vec![plain(Layout::Copy)]);
    let told = report(&placements, "web", "told", |report| !report.originals.is_empty()).await;
    assert_eq!(told.originals.len(), 1);
    let words = told.originals[0].to_string();
    assert!(words.starts_with("a certificate of Test root by Test root, valid until "), "{words}");
    placements.shutdown().await;
}
