//! Services that are disturbed, one after the other.

use pinion_proto::{report::Found, spec::AdoptionDecision};

use super::{super::turns::MAX_TURN, *};

/// Three dockerds of one certificate, all due, and what is done with their turns from plan to plan.
struct Swarm {
    world: World,
    manifest: Manifest,
}

const THREE: &str = r#"{"version": 1, "certificates": [{"name": "docker", "common_name": "a.example", "placements": [
    {"guest": 101, "recipe": "docker"}, {"guest": 102, "recipe": "docker"}, {"guest": 103, "recipe": "docker"}]}]}"#;

impl Swarm {
    fn new(text: &str) -> Self {
        let (world, manifest) = (World::empty(), manifest(text));
        let mut swarm = Self { world, manifest };
        for guest in [101, 102, 103] {
            swarm.serves(guest, 3, 21);
        }
        swarm
    }

    /// A guest's service shows a generation, whose 30 days began so many days ago.
    fn serves(&mut self, guest: u32, generation: u64, days: u64) {
        let from = self.world.now - seconds(days * DAY);
        let leaf = leaf(&self.world.key, &["a.example"], from, from + seconds(30 * DAY));
        let guest = Guest::Vmid(guest.try_into().expect("a VMID"));
        self.world.reports.link_up(guest, self.world.now);
        self.world.reports.report(guest, holding("docker", generation, leaf), self.world.now);
    }

    /// A guest holds nothing of Pinion's, and has found this.
    fn holds_nothing(&mut self, guest: u32, found: Option<Found>) {
        let guest = Guest::Vmid(guest.try_into().expect("a VMID"));
        self.world.reports.hello(guest, Vec::new(), self.world.now);
        let mut report = PlacementReport::nothing("docker".parse().expect("a name"));
        report.found = found.map(Box::new);
        self.world.reports.report(guest, report, self.world.now);
    }

    /// Plans as the loop does; the guests of which something is ordered.
    fn ordered(&mut self) -> Vec<String> {
        loop {
            let plan = plan(&self.manifest, &self.world.inventory, &self.world.reports, self.world.now);
            let turns: Vec<_> =
                plan.placements.iter().map(|planned| (planned.id().expect("known"), planned.turn)).collect();
            let ordered =
                plan.placements.iter().filter(|planned| planned.ordered.is_some()).map(Planned::label).collect();
            for (id, turn) in &turns {
                self.world.reports.note_turn(id, *turn, self.world.now);
            }
            if turns.iter().all(|(_, turn)| *turn != Turn::Ends) {
                return ordered;
            }
        }
    }

    fn waits(&self, at: usize) -> Trouble {
        let plan = plan(&self.manifest, &self.world.inventory, &self.world.reports, self.world.now);
        match &plan.placements.get(at).expect("a placement").decision {
            Decision::Wait(trouble) => trouble.clone(),
            other => panic!("does not wait: {other}"),
        }
    }
}

#[test]
fn the_next_one_is_renewed_when_the_one_before_is_served() {
    let mut swarm = Swarm::new(THREE);
    // Also in the plan in which the first begins.
    assert_eq!(swarm.waits(1).retry_at, Some(swarm.world.now + MAX_TURN));
    for guest in [101, 102, 103] {
        let only = vec![format!("docker@{guest}")];
        assert_eq!(swarm.ordered(), only);
        assert_eq!(swarm.ordered(), only, "also at the next look");
        swarm.serves(guest, 4, 0);
    }
    assert_eq!(swarm.ordered(), Vec::<String>::new());
}

#[test]
fn a_renewal_that_is_asked_for_of_all_is_one_after_the_other_too_and_says_so() {
    let mut swarm = Swarm::new(THREE);
    for guest in [101, 102, 103] {
        swarm.serves(guest, 3, 1);
        swarm.world.reports.request_renewal(&id(&format!("docker@{guest}")));
    }
    assert_eq!(swarm.ordered().len(), 1);
    let trouble = swarm.waits(1);
    assert!(trouble.cause.contains("docker@101") && trouble.halt == Halt::Waiting, "{trouble}");
    assert_eq!(trouble.retry_at, Some(swarm.world.now + MAX_TURN));
}

#[test]
fn one_that_is_never_served_holds_up_the_others_for_a_while_only() {
    let mut swarm = Swarm::new(THREE);
    assert_eq!(swarm.ordered(), ["docker@101"]);
    let plan = plan(&swarm.manifest, &swarm.world.inventory, &swarm.world.reports, swarm.world.now);
    assert_eq!(plan.wake_at, Some(swarm.world.now + MAX_TURN));
    swarm.world.pass(MAX_TURN.as_secs());
    assert_eq!(swarm.ordered(), ["docker@101", "docker@102"]);
    swarm.serves(102, 4, 0);
    assert_eq!(swarm.ordered(), ["docker@101", "docker@103"]);
}

#[test]
fn nothing_ends_over_it_and_what_disturbs_nobody_does_not_wait() {
    let mut swarm = Swarm::new(THREE);
    swarm.serves(102, 3, 26);
    swarm.serves(103, 3, 27);
    assert_eq!(swarm.ordered(), ["docker@102", "docker@103"], "they are in the last sixth of their lives");
    let nginx = THREE.replace("\"recipe\": \"docker\"", "\"recipe\": \"nginx\"");
    assert_eq!(Swarm::new(&nginx).ordered().len(), 3);
    let mut first = Swarm::new(THREE);
    for guest in [101, 102, 103] {
        let guest = Guest::Vmid(guest.try_into().expect("a VMID"));
        first.world.reports.hello(guest, Vec::new(), first.world.now);
    }
    assert_eq!(first.ordered().len(), 3, "a first installation disturbs nobody");
}

#[test]
fn what_a_guest_has_found_and_is_not_adopted_is_replaced_in_its_turn() {
    let mut swarm = Swarm::new(THREE);
    for guest in [101, 102, 103] {
        swarm.holds_nothing(guest, Some(Found::Unfit("the key is readable by others".to_owned())));
    }
    assert_eq!(swarm.ordered(), ["docker@101"]);
    let told = |swarm: &Swarm| {
        let plan = plan(&swarm.manifest, &swarm.world.inventory, &swarm.world.reports, swarm.world.now);
        plan.placements.iter().map(|planned| planned.adoption).collect::<Vec<_>>()
    };
    let (replace, undecided) = (Some(AdoptionDecision::Replace), Some(AdoptionDecision::Undecided));
    assert_eq!(told(&swarm), [replace, undecided, undecided], "who waits keeps looking at what is there");
    swarm.holds_nothing(101, None);
    assert_eq!(swarm.ordered(), ["docker@101"], "also while the first replaces what was there");
    swarm.serves(101, 4, 0);
    assert_eq!(swarm.ordered(), ["docker@102"]);
    swarm.serves(102, 4, 0);
    assert_eq!(swarm.ordered(), ["docker@103"]);
}

#[test]
fn placements_of_one_recipe_take_turns_whatever_their_certificates() {
    let two = r#"{"version": 1, "certificates": [
        {"name": "docker", "common_name": "a.example", "placements": [{"guest": 101, "recipe": "own"}]},
        {"name": "other", "common_name": "a.example", "placements": [{"guest": 102, "recipe": "own"}]}]}"#;
    let mut world = World::empty();
    let manifest = manifest(two);
    for (label, disruptive) in [("docker@101", true), ("other@102", true)] {
        let id = id(label);
        let mut report = world.due();
        (report.certificate, report.disruptive) = (id.certificate.clone(), disruptive);
        world.reports.link_up(id.guest, world.now);
        world.reports.report(id.guest, report, world.now);
    }
    let plan = world.plan(&manifest);
    assert_eq!(plan.orders().len(), 1, "a guest says what its own recipe does");
}

#[test]
fn windows_of_services_that_are_disturbed_together_open_one_after_the_other() {
    let window =
        r#""recipe": "docker", "window": {"days": ["sat"], "from": "02:00", "to": "04:00", "time_zone": "UTC"}"#;
    let swarm = Swarm::new(&THREE.replace("\"recipe\": \"docker\"", window));
    let plan = plan(&swarm.manifest, &swarm.world.inventory, &swarm.world.reports, swarm.world.now);
    let opens: Vec<_> = plan
        .placements
        .iter()
        .map(|planned| planned.window.as_ref().and_then(|window| window.first()).expect("an opening").opens)
        .collect();
    let first = at("2026-07-04T02:00:00Z");
    assert_eq!(opens, [first, first + MAX_TURN, first + MAX_TURN * 2]);
}

/// What a guest says that has generation 3 in use, since 21 days.
fn held(swarm: &Swarm, change: impl FnOnce(&mut PlacementReport)) -> PlacementReport {
    let from = swarm.world.now - seconds(21 * DAY);
    let mut report = holding("docker", 3, leaf(&swarm.world.key, &["a.example"], from, from + seconds(30 * DAY)));
    change(&mut report);
    report
}

#[test]
fn a_turn_lasts_while_the_guest_installs_and_until_its_service_shows_it() {
    let mut swarm = Swarm::new(THREE);
    assert_eq!(swarm.ordered(), ["docker@101"]);
    let guest = id("docker@101").guest;
    let installing = with_incoming(held(&swarm, |_| {}), 4, Progress::Delivered);
    swarm.world.reports.report(guest, installing, swarm.world.now);
    assert_eq!(swarm.ordered(), ["docker@101"], "the old one is still served");
    swarm.serves(101, 4, 0);
    let mut installed = holding("docker", 4, leaf(&key(), &["a.example"], at(NOW), at(NOW) + seconds(30 * DAY)));
    installed.stage = Stage::Installed;
    swarm.world.reports.report(guest, installed, swarm.world.now);
    swarm.world.reports.note_turn(&id("docker@101"), Turn::Begins, swarm.world.now);
    assert_eq!(swarm.ordered(), Vec::<String>::new(), "the files are there, and the service is not at its goal");
}

#[test]
fn what_was_under_way_before_the_controller_started_has_its_turn() {
    for (what, under_way, change) in [
        ("settled", false, (|_| {}) as fn(&mut PlacementReport)),
        ("installed", true, |report| report.stage = Stage::Installed),
        ("in trouble", false, |report| {
            report.stage = Stage::Installed;
            report.trouble = Some(Trouble {
                halt: Halt::Waiting,
                attempt: String::new(),
                cause: String::new(),
                remedy: String::new(),
                retry_at: None,
            });
        }),
    ] {
        let mut swarm = Swarm::new(THREE);
        let fresh = leaf(&key(), &["a.example"], at(NOW), at(NOW) + seconds(30 * DAY));
        let mut report = holding("docker", 4, fresh);
        change(&mut report);
        swarm.world.reports.report(id("docker@101").guest, report, swarm.world.now);
        let others = if under_way { vec![] } else { vec!["docker@102".to_owned()] };
        assert_eq!(swarm.ordered(), others, "{what}");
        if under_way {
            assert_eq!(swarm.waits(1).retry_at, Some(swarm.world.now + MAX_TURN), "{what}");
        }
    }
    // A newer one is on its way to the guest, which still shows the old one.
    let mut swarm = Swarm::new(THREE);
    let installing = with_incoming(held(&swarm, |_| {}), 4, Progress::Delivered);
    swarm.world.reports.report(id("docker@101").guest, installing, swarm.world.now);
    assert_eq!(swarm.ordered(), ["docker@101"]);
}

#[test]
fn of_two_that_have_a_turn_the_later_end_is_waited_for() {
    for [first, second] in [[0, 60], [60, 0]] {
        let mut swarm = Swarm::new(THREE);
        for (guest, began) in [("docker@101", first), ("docker@102", second)] {
            swarm.world.reports.note_turn(&id(guest), Turn::Begins, at(NOW) + seconds(began));
        }
        swarm.world.pass(60);
        let trouble = swarm.waits(2);
        assert_eq!(trouble.retry_at, Some(at(NOW) + seconds(60) + MAX_TURN), "{trouble}");
        let label = if first > second { "docker@101" } else { "docker@102" };
        assert!(trouble.cause.contains(label) && trouble.attempt == "renew docker@103", "{trouble}");
    }
}

#[test]
fn one_that_is_to_be_purged_holds_up_nobody() {
    let purge = THREE.replacen(r#""recipe": "docker""#, r#""recipe": "docker", "purge": true"#, 1);
    let mut swarm = Swarm::new(&purge);
    swarm.world.reports.note_turn(&id("docker@101"), Turn::Begins, swarm.world.now);
    assert_eq!(swarm.ordered(), ["docker@102"]);
}

#[test]
fn a_short_window_is_shared_by_those_that_have_one() {
    let window =
        r#""recipe": "docker", "window": {"days": ["sat"], "from": "02:00", "to": "02:10", "time_zone": "UTC"}"#;
    let opens = |text: &str| {
        let swarm = Swarm::new(text);
        let plan = plan(&swarm.manifest, &swarm.world.inventory, &swarm.world.reports, swarm.world.now);
        let first =
            |planned: &Planned<'_>| Some(planned.window.as_ref()?.first()?.opens.since(at("2026-07-04T02:00:00Z")));
        plan.placements.iter().map(first).collect::<Vec<_>>()
    };
    let docker = r#""recipe": "docker""#;
    let all = THREE.replace(docker, window);
    assert_eq!(opens(&all), [0, 200, 400].map(|after| Some(seconds(after))));
    // The first has none, and takes no part.
    assert_eq!(opens(&all.replacen(window, docker, 1)), [None, Some(seconds(0)), Some(seconds(300))]);
    // What disturbs nobody opens when it is said.
    assert_eq!(opens(&all.replace(docker, r#""recipe": "nginx""#)), [Some(seconds(0)); 3]);
}
