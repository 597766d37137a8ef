//! What a person changes or asks for, and what comes of it.

use super::*;
use crate::admin::purge::AskPurge;
use pinion_proto::message::PurgeManner;

#[tokio::test]
async fn what_a_person_changes_reaches_linked_guests() {
    let disk = Disk::new();
    let controller = Running::start(&disk, TWO);
    let mut agent = controller.link("102", 1, vec![nothing("web")], 8).await;
    assert_eq!(agent.desired().await.len(), 1);
    assert_eq!(agent.address().await, "10.0.0.1:7443");
    controller.reachable.send_replace(reachable("10.0.0.2:7443"));
    assert_eq!(agent.address().await, "10.0.0.2:7443");
    // The manifest has nothing for guest 102 any more.
    controller.manifest.send_replace(in_force(WEB));
    assert_eq!(agent.desired().await, []);
    until("it is an event", || disk.says("A manifest with 1 certificates in 1 places is in force")).await;
    // The same manifest with a mistake in the file is no other one: only the mistake is sent, for those who wait.
    let mut mistaken = controller.manifest.borrow().clone();
    mistaken.problem = Some("line 3: a comma is missing".into());
    controller.manifest.send_replace(mistaken);
    let status = controller.status().await;
    assert_eq!(status.manifest.problem.as_deref(), Some("line 3: a comma is missing"));
    let sent = agent.queue.try_recv().expect("the mistake");
    assert!(
        matches!(&*sent, ToAgent::ManifestProblem(Some(problem)) if problem == "line 3: a comma is missing"),
        "{sent:?}"
    );
    assert!(agent.queue.try_recv().is_err(), "nothing else was sent");
    let names = [("gateway".to_owned(), 102.try_into().expect("a VMID"))];
    controller.inventory.send_replace(Arc::new(Inventory::from_names(names.into())));
    let status = controller.status().await;
    let named: Vec<_> = status.guests.iter().map(|guest| guest.name.as_deref()).collect();
    assert_eq!(named, [None, Some("gateway")], "the name is taken before the question is answered");
    controller.stop().await;
}

#[tokio::test]
async fn each_question_of_a_person_has_its_answer() {
    let disk = Disk::new();
    let controller = Running::start(&disk, WEB);
    let mut agent = controller.link("101", 1, vec![nothing("web")], 8).await;
    agent.desired().await;
    let at_once = |ask| controller.answer(Question::AtOnce(ask));
    let from_plan = |ask| controller.answer(Question::FromPlan(ask));
    let guest = guest("101");

    let freeze = AskFreeze { selection: Selection::default(), until: None, lift: false };
    let Answer::Frozen(frozen) = at_once(AtOnce::Freeze(freeze)).await else { panic!("frozen") };
    assert_eq!((frozen.freezes.len(), frozen.notes.len()), (1, 1), "{:?}", frozen.notes);
    let lift = AskFreeze { selection: Selection::default(), until: None, lift: true };
    let Answer::Frozen(frozen) = at_once(AtOnce::Freeze(lift)).await else { panic!("lifted") };
    assert!(frozen.freezes.is_empty());
    let unknown = Selection { names: vec!["other".into()], guest: None, more_guests: Vec::new() };
    let refused = at_once(AtOnce::Freeze(AskFreeze { selection: unknown, until: None, lift: false })).await;
    assert!(matches!(refused, Answer::NoSuchName(_)), "{refused:?}");

    let Answer::Plan(plan) = from_plan(FromPlan::Plan).await else { panic!("a plan") };
    assert_eq!((plan.steps.len(), plan.steps[0].action.as_str()), (1, "order"));
    let show = AskShow { name: "web@101".into(), from: 0, count: 10 };
    let Answer::Shown(shown) = from_plan(FromPlan::Show(show)).await else { panic!("shown") };
    assert_eq!((shown.total, shown.guest), (1, None));
    let purged =
        from_plan(FromPlan::Purge(AskPurge { names: vec!["web@101".into()], manner: PurgeManner::default() })).await;
    assert!(matches!(purged, Answer::Refused(_)), "it is in the manifest: {purged:?}");

    let woken = at_once(AtOnce::Wake(guest)).await;
    assert!(matches!(woken, Answer::Refused(_)), "there is no hypervisor: {woken:?}");
    let ended = at_once(AtOnce::NoteEnd(guest)).await;
    assert!(matches!(ended, Answer::NoSuchName(_)), "it was not destroyed: {ended:?}");
    let enrolled = controller.answer(Question::Waits(Waits::Enroll(guest))).await;
    assert!(matches!(enrolled, Answer::Refused(_)), "there is no hypervisor: {enrolled:?}");

    // A guest that is forgotten or evicted is linked no longer.
    assert_eq!(at_once(AtOnce::Forget(guest)).await, Answer::End);
    agent.ends().await;
    let mut agent = controller.link("101", 2, vec![nothing("web")], 8).await;
    agent.desired().await;
    let Answer::Evicted(lines) = at_once(AtOnce::Evict { guest, compromised: false }).await else { panic!("evicted") };
    assert!(lines.iter().any(|line| line.contains("`pinion guest enroll 101`")), "{lines:?}");
    agent.ends().await;
    controller.link("101", 3, vec![nothing("web")], 8).await.ends().await;
    assert_eq!(at_once(AtOnce::LetIn(guest)).await, Answer::End);
    let mut agent = controller.link("101", 4, vec![nothing("web")], 8).await;
    assert_eq!(agent.desired().await.len(), 1, "it is let in again");
    controller.stop().await;
}
