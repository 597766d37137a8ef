//! The power goes at every operation of an adoption: the pair that was there stays byte for byte, and is adopted afterwards.

use std::fs;

use pinion_proto::{
    bundle::certificates_to_pem,
    spec::{AdoptionDecision, FileSpec, Layout, Part, PlacementSpec},
    stage::Stage,
};

use super::{
    adopting::{CA, Planted, adoption},
    guest::{CRT, KEY, at_stage, count, ordered, plain, plain_guest, report, until},
    power_cuts::Disk,
};
use crate::install::tests::forgetful::Loss;

#[tokio::test]
async fn a_power_cut_in_an_adoption_leaves_the_pair_as_it_was() {
    for (layout, loss) in [(Layout::Copy, Loss::Nothing), (Layout::Symlink, Loss::Everything)] {
        let mut cut = 0;
        while !adopted(layout, loss, cut).await {
            cut += 1;
        }
        count("cuts", &format!("an adoption, {layout}, lost {loss:?}"), cut);
        assert!(cut > 10, "an adoption has more operations than {cut}");
    }
}

/// An adoption whose power goes after so many operations; true when it came to its end before.
async fn adopted(layout: Layout, loss: Loss, cut: usize) -> bool {
    let mut guest = plain_guest();
    let planted = Planted::good(&guest);
    planted.put(&guest);
    let files = || [CRT, KEY].map(|path| fs::read(guest.at(path)).expect("it is there"));
    let before = files();
    let ca = FileSpec { path: Some("/etc/ssl/ca.crt".parse().expect("a path")), ..FileSpec::default() };
    let web = PlacementSpec {
        roots: vec![guest.authority.root.clone()],
        adoption: adoption(AdoptionDecision::Adopt(planted.leaf())),
        files: [(Part::Ca, ca)].into(),
        ..ordered(&plain(layout), 1)
    };
    let disk = Disk::new(&mut guest);
    let placements = guest.start().await;
    disk.cut_after(cut);
    placements.desire(vec![web.clone()]);
    let ended = report(&placements, "web", "adopted or in trouble", |report| {
        report.trouble.is_some() || report.held.as_ref().is_some_and(|held| held.adopted)
    });
    let ended = ended.await;
    let survived = disk.lose(&placements, loss).await && ended.trouble.is_none();
    let files = || [CRT, KEY].map(|path| fs::read(guest.at(path)).expect("it is there"));
    assert_eq!(files(), before, "{layout}, {loss:?}, cut at {cut}");
    let root = certificates_to_pem([guest.authority.root.der()]).into_bytes();
    let placements = disk.back(&mut guest).await;
    placements.desire(vec![web]);
    let report = at_stage(&placements, "web", 1, Stage::Reloaded).await;
    assert!(report.held.expect("held").adopted, "{layout}, {loss:?}, cut at {cut}");
    until(&placements, "with its root", |_| guest.content(CA).as_ref() == Some(&root)).await;
    assert_eq!([CRT, KEY].map(|path| guest.content(path).expect("it is there")), before, "cut at {cut}");
    assert_eq!(report.originals.len(), 2);
    placements.shutdown().await;
    survived
}
