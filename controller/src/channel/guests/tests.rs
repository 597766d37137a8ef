//! Files that hang hold up nobody; what is told stays within the length of an answer.

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::inventory::GuestKind;

fn vmid(number: u32) -> Vmid {
    Vmid::try_from(number).expect("a VMID")
}

#[tokio::test]
async fn files_that_do_not_answer_are_told_and_what_runs_is_seen_all_the_same() {
    let root = tempfile::tempdir().expect("a directory");
    let pve = root.path().join("etc/pve");
    std::fs::create_dir_all(pve.join("nodes/pve1/lxc")).expect("made");
    std::fs::write(pve.join("nodes/pve1/lxc/101.conf"), "hostname: gateway\n").expect("written");
    let list = r#"{"version":1,"ids":{"101":{"node":"pve1","type":"lxc","version":1}}}"#;
    std::fs::write(pve.join(".vmlist"), list).expect("written");
    let mut looker = Looker::new(pve.clone(), "pve1".into());
    looker.look().await;
    assert_eq!((looker.seen.guests.as_ref().map(BTreeMap::len), &looker.seen.problem), (Some(1), &None));

    // Opening a pipe for reading waits for a writer, as reading from a pmxcfs that hangs waits for an answer.
    let version = pve.join(".version");
    mknodat(CWD, &version, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    let began = Instant::now();
    looker.look().await;
    assert!(began.elapsed() < HANGS_AFTER * 4, "{:?}", began.elapsed());
    let problem = looker.seen.problem.clone().expect("told");
    assert!(problem.cause.contains("does not answer"), "{problem:?}");
    assert_eq!(looker.seen.guests.as_ref().map(BTreeMap::len), Some(1), "as they were known");
    for _ in 0..50 {
        looker.look().await;
    }
    assert!(began.elapsed() < HANGS_AFTER * 8, "nobody waits for it again: {:?}", began.elapsed());
    let runs = known(&looker.seen, Running::below(root.path()).look().map_err(|error| error.to_string()));
    assert_eq!(runs.guest(vmid(101)).expect("known").and_then(|info| info.running), Some(false));

    // It answers again: the writer comes and goes.
    std::fs::write(&version, "{\"starttime\":1,\"vmlist\":1}").expect("written");
    std::fs::remove_file(&version).expect("removed");
    let over = timeout(Duration::from_secs(60), async {
        while looker.seen.problem.is_some() {
            looker.look().await;
        }
    });
    over.await.expect("it is over when it answers");
}

#[test]
fn what_is_longer_than_an_answer_is_told_and_not_sent() {
    let long = GuestInfo { tags: vec!["x".repeat(255); 64], kind: Some(GuestKind::Lxc), ..GuestInfo::default() };
    let guests = (1000..3000).map(|number| (vmid(number), long.clone())).collect();
    let known = known(&Seen { guests: Some(guests), problem: None }, Ok(RunningGuests::default()));
    assert_eq!(known.listing.guests, None);
    let problem = known.listing.problem.as_ref().expect("told");
    assert!(problem.cause.contains("longer than") && problem.remedy.contains("tags"), "{problem:?}");
    assert!(known.guest(vmid(1000)).expect("known here").is_some(), "other verbs know where each is");

    let usual = GuestInfo { name: Some("a-usual-name".into()), tags: vec!["web".into()], ..GuestInfo::default() };
    let guests = (1000..21_000).map(|number| (vmid(number), usual.clone())).collect();
    let known = super::known(&Seen { guests: Some(guests), problem: None }, Ok(RunningGuests::default()));
    assert_eq!(known.listing.guests.as_ref().map(Vec::len), Some(20_000));
}
