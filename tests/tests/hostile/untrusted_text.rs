//! A guest's words, on the operator's screen, in the events, in the log and in JSON: one printable line each, and few.

use pinion_proto::{
    printable::{Shown, is_printable},
    wire::pb,
};
use pinion_tests::{
    host::{Host, HostOptions},
    wait::{self, PATIENCE},
};

use super::rogue_agent::Rogue;

/// What would forge a line, clear a screen, and turn or hide words.
const EVIL: &str = "x\n2001-01-01T00:00:00Z  served  all is well\r\u{1b}[2J\u{85}\u{202e}a\u{2066}\u{2069}\u{2028}\u{2029}\u{200b}\u{200f}\u{feff}\u{61c}";

/// More placements than the manifest names.
const INVENTED: usize = 300;

fn output(host: &Host, arguments: &[&str]) -> String {
    let finished = host.pinion(arguments).expect("an answer");
    for line in finished.stdout.lines().chain(finished.stderr.lines()) {
        assert!(line.chars().all(is_printable), "{arguments:?}: {line:?}");
        assert!(!line.starts_with("2001-"), "{arguments:?}: {line:?}");
    }
    finished.stdout
}

fn report(n: usize) -> pb::PlacementReport {
    let trouble = pb::Trouble { attempt: EVIL.into(), cause: EVIL.into(), remedy: EVIL.into(), ..Default::default() };
    pb::PlacementReport {
        certificate: format!("c{n}"),
        stage: "pending".into(),
        goal: "served".into(),
        trouble: Some(trouble),
        left_behind: vec!["/etc/ssl/\u{202e}evil\u{2028}".into(); 16],
        ..Default::default()
    }
}

fn say(message: pb::to_controller::Message) -> pb::ToController {
    pb::ToController { message: Some(message) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_words_are_one_printable_line_wherever_they_are_read() {
    let mut host = Host::start(&HostOptions::default()).expect("a host");
    let rogue = Rogue::join(&host, "2000").await;
    let wire = rogue.link().await;
    for n in 0..INVENTED {
        assert!(wire.say_raw(say(pb::to_controller::Message::Report(report(n)))).await, "within the limits");
    }
    wait::until("all that it says", PATIENCE, || {
        let shown = output(&host, &["show", "2000", "--json"]);
        if shown.contains(&format!("\"total\":{INVENTED}")) { Ok(()) } else { Err(shown) }
    })
    .expect("heard");

    // A list of everything is short, and says how much it leaves out.
    let status = output(&host, &["status"]);
    assert!(status.contains(&format!("guest 2000: {} more placements", INVENTED - 16)), "{status}");
    assert!(status.len() < 100_000, "{} bytes", status.len());
    assert!(status.contains(&Shown(EVIL).to_string()), "escaped, and there: {status}");
    let json = output(&host, &["status", "--json"]);
    assert!(json.len() < 100_000, "{} bytes", json.len());
    let document = host.status().expect("a document");
    assert_eq!(document.placements.len(), 16);

    // One guest is shown whole, page by page.
    let page = output(&host, &["show", "2000"]);
    assert!(
        page.contains(&format!("placements 1 to 20 of {INVENTED}; for the next ones run: pinion show 2000 --from 20")),
        "{page}"
    );
    let page = output(&host, &["show", "2000", "--from", "295"]);
    assert!(page.ends_with(&format!("placements 296 to {INVENTED} of {INVENTED}\n")), "{page}");
    let one = output(&host, &["show", "c7@2000"]);
    assert!(one.starts_with("c7@2000\n") && one.contains("trouble"), "{one}");
    assert_eq!(host.pinion(&["show", "nobody"]).expect("an answer").code(), 6);
    output(&host, &["plan"]);
    output(&host, &["guest", "list"]);

    // What happened is told in as many lines as things happened.
    let left = vec!["/etc/ssl/\u{202e}evil\u{2028}2001-01-01".into()];
    let purged = pb::Purged { certificate: "c1".into(), left, ..pb::Purged::default() };
    assert!(wire.say_raw(say(pb::to_controller::Message::Purged(purged))).await, "within the limits");
    wait::until("the event", PATIENCE, || {
        let events = output(&host, &["events"]);
        if events.contains("/etc/ssl/\\u{202e}evil\\u{2028}2001-01-01") { Ok(()) } else { Err(events) }
    })
    .expect("told");
    output(&host, &["events", "--json"]);
    let log = host.controller().expect("it runs").log();
    for line in log.lines() {
        assert!(line.chars().all(is_printable) && !line.starts_with("2001-"), "{line:?}");
    }
}
