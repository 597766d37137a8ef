//! Roots: a store of them, and files of them beside a certificate.

use std::{collections::BTreeMap, path::PathBuf};

use pinion_proto::{
    bundle::{Fingerprint, RootCertificate, certificates_from_pem, certificates_to_pem},
    content::Content,
    spec::{FileSpec, Part, PlacementSpec},
    stage::{Halt, Stage},
};

use super::guest::{Authority, Guest, at_stage, issue, report, script, spec, until};

const STORE: &str = "etc/ssl/certs/ca-certificates.crt";
const FILES: &str = "usr/local/share/ca-certificates";

pub(super) fn roots(roots: &[RootCertificate]) -> PlacementSpec {
    PlacementSpec { content: Content::Roots, roots: roots.to_vec(), ..spec("roots", "ca-certificates") }
}

fn fingerprints(roots: &[RootCertificate]) -> Vec<Fingerprint> {
    roots.iter().map(RootCertificate::fingerprint).collect()
}

/// What a store is made of and by: the real one's directories, and a program that does the same with them.
pub(super) fn with_store(guest: &Guest, before: &str) {
    for directory in [FILES, "etc/ssl/certs"] {
        std::fs::create_dir_all(guest.at(directory)).expect("directory is made");
    }
    let (files, store) = (guest.at(FILES), guest.at(STORE));
    let body = format!(
        "{before}\necho run >> {calls}\ncat {files}/*.crt > {store}.new 2> {calls}.err\nmv {store}.new {store}",
        calls = guest.at("calls").display(),
        files = files.display(),
        store = store.display(),
    );
    script(&guest.at("usr/sbin/update-ca-certificates"), &body);
}

/// What the store's readers get, sorted.
pub(super) fn in_store(guest: &Guest) -> Vec<Fingerprint> {
    let text = String::from_utf8(guest.content(STORE).unwrap_or_default()).expect("text");
    let mut found: Vec<_> = certificates_from_pem(&text).expect("PEM").iter().map(|der| Fingerprint::of(der)).collect();
    found.sort_unstable();
    found
}

/// Which roots the files are of, sorted.
pub(super) fn in_files(guest: &Guest) -> Vec<Fingerprint> {
    let files = std::fs::read_dir(guest.at(FILES)).expect("listed").map(|entry| entry.expect("an entry").path());
    let one = |path: PathBuf| {
        // It may go in this moment.
        let pem = std::fs::read_to_string(&path).ok()?;
        Some(RootCertificate::from_pem(&pem).unwrap_or_else(|e| panic!("{}: {e}", path.display())).fingerprint())
    };
    let crt = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "crt");
    sorted(files.filter(crt).filter_map(one).collect())
}

fn sorted(mut roots: Vec<Fingerprint>) -> Vec<Fingerprint> {
    roots.sort_unstable();
    roots
}

pub(super) async fn served(placements: &crate::apply::Placements, wanted: &[RootCertificate]) {
    let wanted = fingerprints(wanted);
    report(placements, "roots", "served with these roots", |report| {
        report.stage == Stage::Served && report.trouble.is_none() && *report.roots == *wanted
    })
    .await;
}

#[tokio::test]
async fn a_root_is_in_the_store_before_its_forerunner_goes_and_all_go_when_they_are_purged() {
    let guest = Guest::new();
    with_store(&guest, "");
    let placements = guest.start().await;
    let (old, new) = (Authority::new().root, Authority::new().root);
    placements.desire(vec![roots(std::slice::from_ref(&old))]);
    served(&placements, std::slice::from_ref(&old)).await;
    assert_eq!(in_store(&guest), fingerprints(std::slice::from_ref(&old)));
    let both = [old.clone(), new.clone()];
    placements.desire(vec![roots(&both)]);
    served(&placements, &both).await;
    assert_eq!(in_store(&guest), sorted(fingerprints(&both)));
    placements.desire(vec![roots(std::slice::from_ref(&new))]);
    served(&placements, std::slice::from_ref(&new)).await;
    let nothing_left = |reports: &crate::apply::Reports| reports.values().all(|report| report.left_behind.is_empty());
    until(&placements, "rid of the old file", nothing_left).await;
    served(&placements, std::slice::from_ref(&new)).await;
    assert_eq!(in_store(&guest), fingerprints(std::slice::from_ref(&new)));
    assert_eq!(std::fs::read_dir(guest.at(FILES)).expect("listed").count(), 1);

    // Who cannot say which roots there are takes none away.
    placements.desire(vec![roots(&[])]);
    served(&placements, std::slice::from_ref(&new)).await;

    placements.desire(vec![PlacementSpec { purge: true, ..roots(std::slice::from_ref(&new)) }]);
    until(&placements, "gone", |reports| reports.is_empty()).await;
    assert_eq!((in_store(&guest), std::fs::read_dir(guest.at(FILES)).expect("listed").count()), (vec![], 0));
    placements.shutdown().await;
}

#[tokio::test]
async fn a_store_that_cannot_be_made_is_reported_and_made_later() {
    let guest = Guest::new();
    let placements = guest.start().await;
    let root = [Authority::new().root];
    placements.desire(vec![roots(&[])]);
    let none = report(&placements, "roots", "waiting", |report| report.trouble.is_some()).await;
    assert!(none.trouble.expect("a trouble").cause.contains("does not know them yet"));
    placements.desire(vec![roots(&root)]);
    let absent = report(&placements, "roots", "waiting", |report| {
        report.trouble.as_ref().is_some_and(|trouble| trouble.cause.contains("update-ca-certificates is not installed"))
    });
    assert_eq!(absent.await.stage, Stage::Installed);
    with_store(&guest, "echo no >&2; exit 1");
    let failing = report(&placements, "roots", "failing", |report| {
        report.trouble.as_ref().is_some_and(|trouble| trouble.halt == Halt::Blocked)
    });
    assert!(failing.await.trouble.expect("a trouble").cause.contains(": no"));
    with_store(&guest, "");
    served(&placements, &root).await;

    // Somebody's own program makes the store without it.
    std::fs::write(guest.at(STORE), "").expect("written");
    until(&placements, "in the store again", |_| in_store(&guest).len() == 1).await;
    placements.shutdown().await;
}

#[tokio::test]
async fn a_service_is_reloaded_once_for_other_roots_beside_an_unchanged_certificate() {
    for symlink in [false, true] {
        let mut guest = Guest::new();
        guest.allow_units(&["web"]);
        let mut service = guest.service("web").await;
        let placements = guest.start().await;
        let (old, new) = (guest.authority.root.clone(), Authority::new().root);
        let ca = FileSpec { path: Some("/etc/ssl/ca.crt".parse().expect("a path")), ..owned() };
        let mut web = PlacementSpec { files: BTreeMap::from([(Part::Ca, ca)]), ..spec("web", "web") };
        web.layout = symlink.then_some(pinion_proto::spec::Layout::Symlink);
        web.roots = vec![old.clone()];
        issue(&guest, &placements, &web, 1).await;
        at_stage(&placements, "web", 1, Stage::Served).await;
        assert_eq!(service.calls().len(), 1);

        // It does not take them at first, though it shows the certificate all the while.
        service.hook(&guest.config.hooks, "exit 1");
        let both = PlacementSpec { roots: vec![old.clone(), new.clone()], ..web.clone() };
        placements.desire(vec![both.clone()]);
        let told = report(&placements, "web", "held up", |report| report.trouble.is_some()).await;
        assert_eq!(told.stage, Stage::Installed, "{told:?}");
        assert_eq!(*told.roots, fingerprints(&web.roots)[..], "it still has the old one");
        placements.shutdown().await;
        service.hook(&guest.config.hooks, "");
        let before = service.calls().len();
        let placements = guest.start().await;
        let seen = report(&placements, "web", "served with both", |report| {
            report.stage == Stage::Served && *report.roots == fingerprints(&both.roots)[..]
        });
        assert_eq!(seen.await.held.expect("held").generation, 1);
        assert_eq!(service.calls().len(), before + 1);
        let text = certificates_to_pem(both.roots.iter().map(RootCertificate::der));
        assert_eq!(guest.content("etc/ssl/ca.crt").as_deref(), Some(text.as_bytes()));
        assert_eq!(target(&guest, "etc/ssl/ca.crt").is_some(), symlink);

        placements.desire(vec![PlacementSpec { purge: true, ..both }]);
        until(&placements, "gone", |reports| reports.is_empty()).await;
        assert!(guest.content("etc/ssl/ca.crt").is_none());
        placements.shutdown().await;
    }
}

fn owned() -> FileSpec {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let account = |number: u32| Some(number.to_string().parse().expect("an account"));
    FileSpec { owner: account(uid), group: account(gid), ..FileSpec::default() }
}

fn target(guest: &Guest, path: &str) -> Option<PathBuf> {
    std::fs::read_link(guest.at(path)).ok()
}
