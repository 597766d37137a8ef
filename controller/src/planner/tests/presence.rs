//! What Proxmox says of a guest decides what is said about its placements, and no more than that.

use pinion_proto::stage::Halt;

use super::*;
use crate::inventory::{GuestInfo, GuestKind, Node};

impl World {
    /// Proxmox tells of guest 101 alone.
    fn knowing(mut self, info: GuestInfo) -> Self {
        let Guest::Vmid(vmid) = id("web@101").guest else { panic!("a guest") };
        let info = GuestInfo { kind: Some(GuestKind::Lxc), ..info };
        self.inventory = Inventory::complete([(vmid, info)].into(), &BTreeMap::new());
        self
    }

    fn knowing_none(mut self) -> Self {
        self.inventory = Inventory::complete(BTreeMap::new(), &BTreeMap::new());
        self
    }

    fn away(mut self) -> Self {
        self.reports.link_down(id("web@101").guest, self.now);
        self
    }

    fn due_now(mut self) -> Self {
        self.report(self.due());
        self
    }

    #[track_caller]
    fn blocks(&self, manifest: &Manifest) -> Trouble {
        match self.one(manifest).decision {
            Decision::Block(trouble) => trouble,
            other => panic!("is not blocked: {other}"),
        }
    }
}

fn stopped() -> GuestInfo {
    GuestInfo { running: Some(false), ..GuestInfo::default() }
}

fn elsewhere() -> GuestInfo {
    GuestInfo { node: Node::Elsewhere("pve2".into()), running: Some(true), ..GuestInfo::default() }
}

fn locked(lock: &str) -> GuestInfo {
    GuestInfo { lock: Some(lock.to_owned()), running: Some(true), ..GuestInfo::default() }
}

fn template() -> GuestInfo {
    GuestInfo { template: true, running: Some(false), ..GuestInfo::default() }
}

/// What holds up an unlinked guest's placement must be said with its cause and remedy.
#[track_caller]
fn says(trouble: &Trouble, halt: Halt, cause: &str, remedy: &str) {
    assert_eq!((trouble.halt, trouble.cause.as_str()), (halt, cause));
    assert!(trouble.remedy.contains(remedy), "{trouble}");
    assert_eq!(trouble.retry_at, None, "an event is awaited");
}

#[test]
fn a_guest_that_is_not_linked_says_why_with_a_remedy() {
    let manifest = web("", "");
    for world in [World::empty, || World::healthy().due_now().away()] {
        let waits = |info| world().knowing(info).waits(&manifest);
        says(&waits(stopped()), Halt::Waiting, "guest 101 is stopped", "start it");
        says(&waits(elsewhere()), Halt::Waiting, "guest 101 is on node pve2", "when it returns");
        for lock in ["backup", "snapshot", "migrate", "rollback", "something-new"] {
            let cause = format!("Proxmox has guest 101 locked: {lock}");
            says(&waits(locked(lock)), Halt::Waiting, &cause, "pct unlock 101");
        }
        let template = world().knowing(template()).blocks(&manifest);
        says(&template, Halt::Blocked, "guest 101 is a template, which never runs", "manifest");
        let none = world().knowing_none().blocks(&manifest);
        says(&none, Halt::Blocked, "no guest 101 on this cluster", "correct the manifest");
        // One that runs, or of which nobody has said, is as it was without Proxmox.
        for running in [Some(true), None] {
            let info = GuestInfo { running, ..GuestInfo::default() };
            let (known, unknown) = (world().knowing(info).waits(&manifest), world().waits(&manifest));
            assert_eq!((known.halt, known.cause), (unknown.halt, unknown.cause));
        }
    }
}

#[test]
fn where_nothing_is_to_be_done_nothing_is_said() {
    let manifest = web("", "");
    for info in [stopped(), elsewhere(), locked("backup"), template()] {
        World::healthy().away().knowing(info).keeps(&manifest);
    }
    World::healthy().away().knowing_none().keeps(&manifest);
}

#[test]
fn an_agent_that_is_linked_knows_better_what_runs() {
    let manifest = web("", "");
    for info in [stopped(), locked("snapshot"), locked("migrate"), template()] {
        World::healthy().due_now().knowing(info).order(&manifest);
    }
    World::healthy().due_now().knowing_none().order(&manifest);
}

#[test]
fn nothing_is_ordered_from_a_linked_guest_of_another_node_or_in_a_backup() {
    let manifest = web("", "");
    for info in [elsewhere(), locked("backup")] {
        let mut world = World::healthy().knowing(info.clone());
        let request = request(&world.key, &["a.example"]);
        world.report(with_incoming(world.due(), 4, request));
        let planned = world.one(&manifest);
        assert!(matches!(planned.decision, Decision::Wait(_)), "{}", planned.decision);
        // The request of a guest in a backup stays good; another node's controller gives its own orders.
        assert_eq!(planned.ordered, info.is_backed_up().then_some(4));
        assert!(world.inventory.hands_off(id("web@101").guest));
    }
}

#[test]
fn files_of_a_guest_that_does_not_exist_need_no_removal() {
    let manifest = web("", r#", "purge": true"#);
    World::empty().knowing_none().keeps(&manifest);
    let waits = World::empty().knowing(stopped()).waits(&manifest);
    assert_eq!(waits.cause, "guest 101 is stopped");
}

#[test]
fn a_guest_that_proxmox_reaches_is_enrolled_by_one_command() {
    let running = || GuestInfo { running: Some(true), ..GuestInfo::default() };
    let never = World::empty().knowing(running()).waits(&web("", ""));
    assert_eq!(never.cause, "no agent of guest 101 has linked yet");
    assert!(never.remedy.starts_with("run `pinion guest enroll 101`"), "{}", never.remedy);
    assert!(never.remedy.contains("pinion token create --guest 101"), "{}", never.remedy);
    let away = World::empty().due_now().away().knowing(running()).waits(&web("", ""));
    assert!(away.remedy.contains("`pinion guest enroll 101`"), "{}", away.remedy);
    let unknown = World::empty().waits(&web("", ""));
    assert!(!unknown.remedy.contains("enroll"), "{}", unknown.remedy);
}

#[test]
fn the_host_itself_is_no_guest() {
    let manifest = manifest(
        r#"{"version": 1, "certificates": [{"name": "web", "common_name": "a.example",
            "placements": [{"host": true, "recipe": "nginx"}]}]}"#,
    );
    let cause = World::empty().knowing_none().waits(&manifest).cause;
    assert_eq!(cause, "no agent on the host has linked yet");
}
