//! What people read on a terminal.

use pinion_proto::{
    clock::Timestamp,
    exit::Exit,
    report::{Details, Notified},
    stage::{Halt, Stage, Trouble, Validity},
    table::Look,
};

use crate::{
    admin::presence::Presence,
    admin::protocol::{
        GuestStatus, IdentityStatus, IssuerReport, ManifestStatus, PlacementStatus, ProgressLine, ShownPage, Status,
    },
    cli::{check, ensure, events, guest, issuer, show, status},
    events::Event,
    inventory::GuestKind,
    issuer::IssuerCheck,
};

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

fn placement() -> PlacementStatus {
    PlacementStatus {
        placement: "docker@1001".into(),
        certificate: "docker".parse().expect("a name"),
        guest: Some("1001".parse().expect("a guest")),
        guest_name: Some("services".into()),
        stage: Stage::Served,
        goal: Stage::Served,
        validity: Some(Validity::Ok),
        due: false,
        generation: Some(3),
        incoming: None,
        serial: Some("0A".into()),
        names: Some(vec!["a.example".parse().expect("a name")].try_into().expect("names")),
        not_before: Some(NOW),
        not_after: Some(NOW),
        renew_at: Some(NOW),
        issuer: "step-ca".into(),
        roots: Vec::new(),
        retired: false,
        left_behind: Vec::new(),
        frozen: None,
        trouble: None,
        warning: None,
        recipe: None,
        key: None,
        root: None,
        window: None,
        openings: Vec::new(),
        notified: Notified::default(),
        details: None,
        watched: false,
        late_from: None,
        adopted: false,
        wanted: None,
        renewal: None,
    }
}

fn trouble(halt: Halt) -> Trouble {
    Trouble {
        halt,
        attempt: "reload nginx".into(),
        cause: "exit 1".into(),
        remedy: "look at its log".into(),
        retry_at: None,
    }
}

fn guest_status(linked: bool, since: Option<Timestamp>) -> GuestStatus {
    GuestStatus {
        guest: "1001".parse().expect("a guest"),
        name: Some("services".into()),
        linked,
        since,
        unlisted: 0,
        agent_version: Some("0.1.0".into()),
        presence: Presence::default(),
    }
}

fn whole(placements: Vec<PlacementStatus>, guests: Vec<GuestStatus>) -> Status {
    Status {
        version: "0".into(),
        manifest: ManifestStatus::default(),
        notes: Vec::new(),
        troubles: Vec::new(),
        freezes: Vec::new(),
        placements,
        guests,
        targets: Vec::new(),
        issuers: Vec::new(),
    }
}

/// The status at this moment, in a terminal of 80 columns.
fn words(status: &Status) -> String {
    status::words(status, Look { now: NOW, width: Some(80), is_coloured: false })
}

/// The stage's column of a placement.
fn stage(change: impl FnOnce(&mut PlacementStatus)) -> String {
    let mut placement = placement();
    change(&mut placement);
    let text = words(&whole(vec![placement], Vec::new()));
    let (head, row) = (text.lines().next().expect("a head"), text.lines().nth(1).expect("a row"));
    let (from, to) = (head.find("STAGE").expect("a column"), head.find("EXPIRES").expect("a column"));
    row[from..to].trim_end().to_owned()
}

#[test]
fn the_stage_says_what_stands_in_its_way() {
    assert_eq!(stage(|_| ()), "served");
    assert_eq!(stage(|p| p.trouble = Some(trouble(Halt::Waiting))), "served (waiting)");
    assert_eq!(stage(|p| (p.stage, p.trouble) = (Stage::Issued, Some(trouble(Halt::Blocked)))), "issued (blocked)");
    assert_eq!(stage(|p| (p.stage, p.goal) = (Stage::Reloaded, Stage::Reloaded)), "reloaded (not probed)");
    assert_eq!(stage(|p| (p.stage, p.goal) = (Stage::Installed, Stage::Reloaded)), "installed");
    assert_eq!(stage(|p| (p.retired, p.trouble) = (true, Some(trouble(Halt::Blocked)))), "retired");
    let freeze = serde_json::json!({ "since": NOW, "by": { "uid": 0, "name": "root" } });
    let freeze = serde_json::from_value(freeze).expect("a freeze");
    assert_eq!(stage(|p| p.frozen = Some(freeze)), "served (frozen)");
}

#[test]
fn what_is_wrong_with_the_host_comes_first_and_with_a_placement_below_the_table() {
    let mut placement = placement();
    (placement.trouble, placement.warning) = (Some(trouble(Halt::Blocked)), Some("not allowed any more".into()));
    placement.left_behind = vec!["/etc/old.pem".into(), "/etc/older.pem".into()];
    let mut all = whole(vec![placement], Vec::new());
    all.notes = vec!["the manifest is damaged".into()];
    all.troubles = vec![trouble(Halt::Waiting)];
    let text = words(&all);
    let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words}: {text}"));
    assert!(at("note: the manifest is damaged") < at("host: waiting: reload nginx: exit 1; look at its log"));
    assert!(at("host: ") < at("PLACEMENT"));
    assert!(at("PLACEMENT") < at("\ndocker@1001: blocked: reload nginx"));
    assert!(at("docker@1001: warning: not allowed any more") > 0);
    assert!(text.contains("until you purge them: /etc/old.pem, /etc/older.pem"), "{text}");
}

#[test]
fn a_check_is_as_bad_as_the_worst_and_says_everything_in_one_line() {
    type Change = fn(&mut Status);
    let held_up = |halt, due| PlacementStatus { trouble: Some(trouble(halt)), due, ..placement() };
    let expired = PlacementStatus { validity: Some(Validity::Expired), ..placement() };
    let retired = PlacementStatus { retired: true, validity: Some(Validity::Expired), ..placement() };
    let broken: Change = |status| status.manifest.problem = Some("\n/etc/m.json:3:5: not a name\nmore".into());
    let host_waits: Change = |status| status.troubles = vec![trouble(Halt::Waiting)];
    let host_blocked: Change = |status| status.troubles = vec![trouble(Halt::Blocked)];
    let nothing: Change = |_| ();
    for (what, placements, change, exit, words) in [
        ("all is well", vec![placement()], nothing, Exit::Reached, "1 of 1 placement good"),
        ("nothing at all", vec![], nothing, Exit::Reached, "0 of 0 placements good"),
        ("what waits is not due", vec![held_up(Halt::Waiting, false)], nothing, Exit::Reached, "1 of 1 placement good"),
        ("it is due", vec![held_up(Halt::Waiting, true)], nothing, Exit::TimedOut, "1 waiting (docker@1001), 0 of 1"),
        ("the host waits", vec![placement()], host_waits, Exit::TimedOut, "good; host: waiting: reload nginx"),
        ("the manifest is broken", vec![held_up(Halt::Waiting, true)], broken, Exit::Usage, "m.json:3:5: not a name"),
        ("the host is blocked", vec![placement()], host_blocked, Exit::Blocked, "host: blocked: reload nginx"),
        ("one is blocked", vec![held_up(Halt::Blocked, false), placement()], broken, Exit::Blocked, "1 blocked"),
        ("one is expired", vec![expired, placement()], broken, Exit::Blocked, "1 expired (docker@1001), 1 of 2"),
        ("nobody asks for it", vec![retired], nothing, Exit::Reached, "0 of 0"),
    ] {
        let mut status = whole(placements, Vec::new());
        change(&mut status);
        let (found, text) = check::verdict(&status);
        assert_eq!(found, exit, "{what}: {text}");
        assert!(text.contains(words) && !text.contains('\n'), "{what}: {text}");
    }
}

#[test]
fn more_names_than_one_are_counted() {
    let mut one = placement();
    let names = ["a.example", "b.example", "c.example", "d.example", "e.example"];
    let names: Vec<_> = names.iter().map(|name| name.parse().expect("a name")).collect();
    one.names = Some(names.clone().try_into().expect("names"));
    let text = words(&whole(vec![one.clone()], Vec::new()));
    assert!(text.contains("a.example +4\n"), "{text}");
    let all = whole(vec![one.clone()], Vec::new());
    let wide = status::words(&all, Look { now: NOW, width: None, is_coloured: false });
    assert!(wide.contains("c.example, d.example, e.example  0A\n"), "{wide}");
    one.names = Some(names[..3].to_vec().try_into().expect("names"));
    assert!(words(&whole(vec![one.clone()], Vec::new())).contains("a.example +2\n"));
    one.names = Some(names[..1].to_vec().try_into().expect("names"));
    assert!(words(&whole(vec![one], Vec::new())).contains("a.example\n"));
}

#[test]
fn a_guest_is_linked_away_or_never_seen() {
    let shown = |guest| words(&whole(Vec::new(), vec![guest]));
    let before = |seconds: i64| Some(Timestamp::from_unix(NOW.unix() - seconds));
    assert!(shown(guest_status(true, before(3 * 3600))).contains("linked for 3h\n"));
    assert!(shown(guest_status(false, before(90))).contains("away for 90s\n"));
    let without = shown(guest_status(false, None));
    assert!(without.contains("`pinion token create --guest 1001`") && !without.contains("KIND"), "{without}");
    let mut known = guest_status(false, None);
    (known.presence.kind, known.presence.running) = (Some(GuestKind::Lxc), Some(true));
    known.unlisted = 4;
    let text = shown(known);
    assert!(text.contains("`pinion guest enroll 1001`") && text.contains("KIND"), "{text}");
    assert!(text.contains("guest 1001: 4 more placements") && text.contains("`pinion show 1001`"), "{text}");
}

#[test]
fn a_page_says_which_part_it_is_and_how_to_get_the_next() {
    let page = |from, total| {
        show::words("docker", &ShownPage { guest: None, from, total, placements: vec![placement(), placement()] })
    };
    assert!(!page(0, 2).contains("of 2"));
    assert!(page(0, 5).ends_with("placements 1 to 2 of 5; for the next ones run: pinion show docker --from 2\n"));
    assert!(page(3, 5).ends_with("placements 4 to 5 of 5\n"));
}

#[test]
fn a_placement_is_shown_whole() {
    let mut one = placement();
    (one.incoming, one.trouble) = (Some(4), Some(trouble(Halt::Waiting)));
    one.left_behind = vec!["/etc/old.pem".into()];
    let shown = ShownPage { guest: Some(guest_status(true, Some(NOW))), from: 0, total: 1, placements: vec![one] };
    let text = show::words("1001", &shown);
    for line in [
        "guest 1001\n",
        "  agent        0.1.0\n",
        &format!("  link         linked since {NOW}\n"),
        "\ndocker@1001\n",
        "  guest        services\n",
        "  stage        served\n",
        "  goal         served\n",
        "  generation   3\n",
        "  incoming     4\n",
        "  serial       0A\n",
        "  names        a.example\n",
        &format!("  valid until  {NOW}\n"),
        &format!("  renews       {NOW}\n"),
        "  issuer       step-ca\n",
        "  left behind  /etc/old.pem\n",
        "  trouble      waiting: reload nginx: exit 1; look at its log\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn what_its_guest_says_of_a_placement_is_shown_too() {
    let lines = |lines: &[&str]| lines.iter().map(ToString::to_string).collect();
    let details = Details {
        files: lines(&[
            "fullchain /etc/nginx/ssl/a.crt (0644, root:root)",
            "key /etc/nginx/ssl/a.key (0600, root:root)",
        ]),
        services: lines(&["reload nginx.service"]),
        probes: lines(&["127.0.0.1:443 as a.example"]),
        chain: lines(&["CN=Intermediate, until 2030-01-01T00:00:00Z", "CN=Root, until 2040-01-01T00:00:00Z"]),
    };
    let mut placement = placement();
    placement.details = Some(Box::new(details));
    (placement.recipe, placement.key) = (Some("nginx".into()), Some("ecdsa-p256".into()));
    placement.root = Some(pinion_proto::bundle::Fingerprint::of(b"root"));
    placement.window = Some(format!("closed until {NOW}"));
    let page = |placement| ShownPage { guest: None, from: 0, total: 1, placements: vec![placement] };
    let text = show::words("docker@1001", &page(placement.clone()));
    for line in [
        "  issuer       step-ca\n",
        "  chain        CN=Intermediate, until 2030-01-01T00:00:00Z\n",
        "  chain        CN=Root, until 2040-01-01T00:00:00Z\n",
        "  key          ecdsa-p256\n",
        "  recipe       nginx\n",
        "  file         fullchain /etc/nginx/ssl/a.crt (0644, root:root)\n",
        "  file         key /etc/nginx/ssl/a.key (0600, root:root)\n",
        "  service      reload nginx.service\n",
        "  served       this certificate, at 127.0.0.1:443 as a.example\n",
        &format!("  window       closed until {NOW}\n"),
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    placement.stage = Stage::Reloaded;
    let text = show::words("docker@1001", &page(placement.clone()));
    assert!(text.contains("  served       not this certificate yet, at 127.0.0.1:443"), "{text}");
    placement.details = None;
    let text = show::words("docker@1001", &page(placement));
    assert!(text.contains("  served       not probed\n"), "{text}");
}

#[test]
fn progress_is_said_once_for_the_same_trouble() {
    let line = |reached, trouble: Option<Trouble>, serial: Option<&str>| ProgressLine {
        placement: "docker@1001".into(),
        stage: Stage::Installed,
        serial: serial.map(ToOwned::to_owned),
        reached,
        trouble,
        now: "reloading".into(),
    };
    assert_eq!(ensure::reached(&line(true, None, Some("0A"))), "installed (serial 0A)");
    assert_eq!(ensure::reached(&line(true, None, None)), "installed");
    assert_eq!(ensure::why(&line(false, None, None)), "installed: reloading");
    let held = |retry: i64| {
        let trouble = Trouble { retry_at: Some(Timestamp::from_unix(retry)), ..trouble(Halt::Waiting) };
        line(false, Some(trouble), None)
    };
    assert!(ensure::why(&held(1)).starts_with("installed: waiting: reload nginx: exit 1"));
    assert_eq!(ensure::news(&held(1)), ensure::news(&held(2)), "another try is no news");
    assert_ne!(ensure::news(&held(1)), ensure::news(&line(false, Some(trouble(Halt::Blocked)), None)));
    assert_eq!(ensure::news(&line(true, Some(trouble(Halt::Blocked)), None)), None);
    assert!(line(false, Some(trouble(Halt::Blocked)), None).is_blocked());
    assert!(!held(1).is_blocked() && !line(true, Some(trouble(Halt::Blocked)), None).is_blocked());
}

#[test]
fn an_event_is_one_line() {
    let event = serde_json::json!({ "at": NOW, "kind": "token", "text": "a token\nwas made" });
    let mut event: Event = serde_json::from_value(event).expect("an event");
    let line = events::line(&event);
    assert!(line.starts_with(&format!("{NOW}  ")) && line.contains("a token") && !line.contains('\n'), "{line}");
    event.serial = Some("0A".into());
    assert!(events::line(&event).ends_with(" (serial 0A)"));
}

#[test]
fn a_guest_without_an_identity_says_so() {
    let mut identity = IdentityStatus {
        guest: "101".parse().expect("a guest"),
        name: None,
        presence: Presence::default(),
        generation: 0,
        joined_at: None,
        issued_at: None,
        hostname: String::new(),
        locked: None,
    };
    assert_eq!(guest::row(identity.clone())[6], "none");
    (identity.generation, identity.locked) = (3, Some("two of it".into()));
    let row = guest::row(identity);
    assert_eq!((row[0].as_str(), row[6].as_str(), row[8].as_str()), ("101", "number 3", "two of it"));
}

#[test]
fn an_issuers_check_says_what_it_allows_and_what_was_shortened() {
    let check: IssuerCheck = serde_json::from_value(serde_json::json!({
        "name": "step-ca", "kind": "step-ca", "address": "10.0.0.5:443", "root": format!("{}", pinion_proto::bundle::Fingerprint::of(b"root")),
        "provisioner": "pinion", "clock_difference": -7, "shortened": { "secs": 2_592_000, "nanos": 0 },
        "durations": { "min": { "secs": 300, "nanos": 0 }, "default": "1d",
                       "max": { "secs": 86_400, "nanos": 0 } },
        "revokes_replaced": true, "warnings": ["the clock differs"],
    }))
    .expect("a check");
    let report = IssuerReport {
        name: "step-ca".into(),
        check: Some(check),
        trouble: Some(trouble(Halt::Waiting)),
        took: std::time::Duration::from_millis(12),
    };
    let text = issuer::words(&report);
    for line in [
        "step-ca\n  waiting: reload nginx",
        "reached at   10.0.0.5:443 in 12ms\n",
        "provisioner  pinion\n",
        "durations    at least 5m, usually 1d, at most 1d\n",
        "clock        -7 s from this host's\n",
        "shortened    30d was asked for\n",
        "replaced     certificates are revoked\n",
        "warning      the clock differs\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}
