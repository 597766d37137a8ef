//! The table in 80 columns: one expired, one blocked, one waiting, twenty good. `docs/troubleshooting.md` has it.

use pinion_proto::stage::{Trouble, Validity};

use super::*;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp::from_unix(NOW.unix() + seconds))
}

fn placement(number: u32) -> PlacementStatus {
    let name = format!("web{number}");
    let document = serde_json::json!({
        "placement": format!("{name}@{}", 100 + number), "certificate": name, "guest": (100 + number).to_string(),
        "guest_name": null, "stage": "served", "goal": "served", "validity": "ok", "generation": 3, "incoming": null,
        "serial": "0A1B2C", "names": [format!("{name}.lan.example")], "not_before": null,
        "not_after": at(29 * DAY), "renew_at": at(19 * DAY), "issuer": "step-ca", "retired": false,
        "left_behind": [], "trouble": null,
    });
    serde_json::from_value(document).expect("a placement")
}

fn held_up(halt: Halt) -> Option<Trouble> {
    let (attempt, cause) = ("reload nginx.service".to_owned(), "exit status: 1".to_owned());
    Some(Trouble { halt, attempt, cause, remedy: String::new(), retry_at: None })
}

/// As in an installation: what is wrong is somewhere in the middle.
fn all() -> Vec<PlacementStatus> {
    let mut all: Vec<_> = (1..=23).map(placement).collect();
    (all[11].validity, all[11].trouble) = (Some(Validity::Expiring), held_up(Halt::Waiting));
    (all[11].not_after, all[11].renew_at) = (at(5 * DAY), at(-5 * DAY));
    (all[15].stage, all[15].trouble) = (Stage::Installed, held_up(Halt::Blocked));
    (all[19].validity, all[19].trouble) = (Some(Validity::Expired), held_up(Halt::Waiting));
    (all[19].not_after, all[19].renew_at) = (at(-3 * HOUR), at(-10 * DAY));
    all
}

fn drawn(placements: &[PlacementStatus], width: Option<usize>, is_coloured: bool) -> String {
    table(&worst_first(placements), Look { now: NOW, width, is_coloured })
}

#[test]
fn the_worst_come_first_in_80_columns() {
    let text = drawn(&all(), Some(80), false);
    let expected = "\
VALIDITY  PLACEMENT  STAGE                EXPIRES  RENEWS  NAMES
expired   web20@120  served (waiting)     3h ago   due     web20.lan.example
ok        web16@116  installed (blocked)  in 29d   in 19d  web16.lan.example
expiring  web12@112  served (waiting)     in 5d    due     web12.lan.example
ok        web1@101   served               in 29d   in 19d  web1.lan.example
";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(text.lines().count(), 24);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let documented = include_str!("../../../../docs/troubleshooting.md");
    let indented: String = text.lines().map(|line| format!("    {line}\n")).collect();
    assert!(documented.contains(&indented), "docs/troubleshooting.md has another table than this:\n{indented}");
}

#[test]
fn what_is_long_is_cut_and_every_column_is_there_when_it_may_be_wide() {
    let mut one = placement(1);
    one.placement = format!("{}@1001", "a".repeat(63));
    let names = ["a", "b", "c", "d", "e"].map(|name| format!("{name}.a-long-name.internal.example"));
    one.names = Some(serde_json::from_value(serde_json::json!(names)).expect("names"));
    one.trouble = held_up(Halt::Blocked);
    let narrow = drawn(std::slice::from_ref(&one), Some(80), false);
    assert!(narrow.lines().all(|line| line.chars().count() <= 80) && narrow.contains('…'), "{narrow}");
    assert!(!narrow.contains("0A1B2C"), "{narrow}");
    let wide = drawn(std::slice::from_ref(&one), None, false);
    assert!(wide.contains(&one.placement) && wide.contains("e.a-long-name.internal.example  0A1B2C"), "{wide}");
    assert!(wide.contains(&one.not_after.expect("an end").to_string()), "{wide}");
    let wider = drawn(std::slice::from_ref(&one), Some(120), false);
    assert!(wider.lines().all(|line| line.chars().count() <= 120), "{wider}");
    assert!(wider.lines().any(|line| line.chars().count() > 100), "{wider}");
}

#[test]
fn colour_is_for_what_is_wrong_and_moves_nothing() {
    let plain = drawn(&all(), Some(80), false);
    assert!(!plain.contains('\x1b'), "{plain}");
    let coloured = drawn(&all(), Some(80), true);
    let lines: Vec<_> = coloured.lines().collect();
    for (line, code) in [(1, "\x1b[1;31m"), (2, "\x1b[31m"), (3, "\x1b[33m")] {
        assert_eq!((lines[line].starts_with(code), lines[line].matches(code).count()), (true, 3), "{coloured}");
    }
    assert!(lines[4..].iter().chain(&lines[..1]).all(|line| !line.contains('\x1b')), "{coloured}");
    let mut stripped = coloured.clone();
    for code in ["\x1b[1;31m", "\x1b[31m", "\x1b[33m", "\x1b[0m"] {
        stripped = stripped.replace(code, "");
    }
    assert_eq!(stripped, plain);
}

#[test]
fn what_nobody_asks_for_is_last_however_bad_it_is() {
    let mut all = all();
    (all[0].retired, all[0].validity) = (true, Some(Validity::Expired));
    let text = drawn(&all, Some(80), false);
    assert!(text.lines().last().is_some_and(|line| line.starts_with("expired   web1@101   retired")), "{text}");
}
