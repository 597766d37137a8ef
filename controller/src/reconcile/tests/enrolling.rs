//! Guests that the hypervisor brings in: what is told of it, and who waits for it.

use super::*;
use crate::{
    channel::client::Client,
    config::{Enroll, Proxmox},
    inventory::{GuestInfo, GuestKind},
    link::Turned,
};

/// What enrolling needs; the root process is at `socket`, if it is there.
fn tools(disk: &Disk, enroll: Enroll) -> (Tools, std::path::PathBuf) {
    let socket = disk._directory.path().join("channel.sock");
    let proxmox = Proxmox { enroll, tag: "pinion".into(), node: "pve1".into(), directory: "/etc/pve".into() };
    let tools = Tools {
        channel: Client::new(&socket),
        identities: disk.resources.identities.clone(),
        advertise: watch::channel(reachable("10.0.0.1:7443")).1,
        proxmox,
    };
    (tools, socket)
}

fn guest_101() -> Arc<Inventory> {
    let info = GuestInfo { kind: Some(GuestKind::Lxc), running: Some(true), ..GuestInfo::default() };
    let guests = [(101.try_into().expect("a VMID"), info)];
    Arc::new(Inventory::complete(guests.into(), &Default::default()))
}

/// The end of enrolling, for the person who asked.
async fn not_enrolled(answers: &mut mpsc::Receiver<Answer>) -> Trouble {
    loop {
        match timeout(DEADLINE, answers.recv()).await.expect("in time").expect("an answer") {
            Answer::Step(_) => continue,
            Answer::NotEnrolled(trouble) => return trouble,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_keeps_a_guest_from_being_brought_in_is_told_with_its_placements() {
    let disk = Disk::new();
    let (tools, _) = tools(&disk, Enroll::Manifest);
    let controller = Running::start_with(&disk, WEB, Some(tools));
    controller.inventory.send_replace(guest_101());
    // By itself, as the manifest names it: there is no root process.
    until("it is an event", || disk.says("enrol guest 101")).await;
    let by_itself = controller.status().await.placements[0].trouble.clone().expect("a trouble");
    assert_eq!(by_itself.attempt, "renew web@101");
    let mut answers = controller.ask(Question::Waits(Waits::Enroll(guest("101")))).await;
    let trouble = not_enrolled(&mut answers).await;
    assert_eq!(trouble.cause, by_itself.cause);
    assert!(disk.says("requested by root"), "{:?}", disk.events());
    assert_eq!(controller.answer(Question::AtOnce(AtOnce::Wake(guest("101")))).await, Answer::End);
    let host = controller.answer(Question::Waits(Waits::Enroll(guest("host")))).await;
    assert!(matches!(&host, Answer::Refused(text) if text.contains("needs no hypervisor")), "{host:?}");
    let host = controller.answer(Question::AtOnce(AtOnce::Wake(guest("host")))).await;
    assert!(matches!(host, Answer::Refused(_)), "{host:?}");
    controller.stop().await;
}

#[tokio::test]
async fn who_waits_for_a_guest_that_is_evicted_is_told_so() {
    let disk = Disk::new();
    let (tools, socket) = tools(&disk, Enroll::Never);
    // The root process never answers.
    let _silent = tokio::net::UnixListener::bind(&socket).expect("a socket");
    let controller = Running::start_with(&disk, WEB, Some(tools));
    controller.inventory.send_replace(guest_101());
    let mut answers = controller.ask(Question::Waits(Waits::Enroll(guest("101")))).await;
    let evict = AtOnce::Evict { guest: guest("101"), compromised: false };
    assert!(matches!(controller.answer(Question::AtOnce(evict)).await, Answer::Evicted(_)));
    assert_eq!(not_enrolled(&mut answers).await.cause, "guest 101 was evicted");
    controller.stop().await;
}

#[tokio::test]
async fn a_guest_whose_identity_is_refused_is_brought_in_or_says_how() {
    for (enroll, by_itself) in [(Enroll::Manifest, true), (Enroll::Never, false)] {
        let disk = Disk::new();
        let (tools, socket) = tools(&disk, enroll);
        let _silent = tokio::net::UnixListener::bind(&socket).expect("a socket");
        let controller = Running::start_with(&disk, WEB, Some(tools));
        controller.inventory.send_replace(guest_101());
        let input = LinkInput::TurnedAway { guest: guest("101"), refused: Turned::Newer };
        controller.links.send(input).await.expect("it runs");
        // Links and questions are two queues: the note says when the first has been taken.
        let trouble = loop {
            let status = controller.status().await;
            if status.notes.iter().any(|note| note.starts_with("1 guest (101) has an identity newer")) {
                break status.placements[0].trouble.clone().expect("a trouble");
            }
        };
        assert_eq!(trouble.attempt, "link guest 101 for web@101");
        assert_eq!(trouble.halt == Halt::Waiting, by_itself, "{trouble}");
        controller.stop().await;
    }
}
