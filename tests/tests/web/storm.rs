//! While two hundred certificates are renewed at once, metrics, page, status and the guest's files agree at any moment.
//!
//! Two answers are never of the same moment. But a certificate's end only moves forward here, so what lies between two looks at
//! the metrics is bounded by both; and whatever the metrics say must have been installed before they said it.
#![allow(clippy::print_stdout, reason = "how often it looked, shown with --nocapture")]

use std::{collections::BTreeMap, fs, path::Path, process::Stdio, time::Duration};

use pinion_proto::clock::Timestamp;
use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
    wait,
};
use serde_json::json;
use x509_parser::pem::Pem;

use crate::client::Visitor;

const PLACEMENTS: usize = 200;

/// Each lasts for a few looks; where looks are slow and storms are not, there are some more.
const ROUNDS: usize = 6;
const MAX_ROUNDS: usize = 60;

/// So many looks at least are to be in the middle of a storm.
const HALFWAY: usize = 3;

/// A loaded machine signs and writes two hundred in far less.
const MAX: Duration = Duration::from_secs(120);

/// When each certificate ends (Unix time), by its name.
type Ends = BTreeMap<String, i64>;

fn certificates() -> serde_json::Value {
    let certificate = |n| {
        json!({ "name": format!("c{n:03}"), "common_name": format!("c{n:03}.internal.example"), "placements": [{
            "guest": 1001, "reload": "nothing", "files": {
                "cert": { "path": format!("/etc/ssl/c{n:03}.crt") }, "key": { "path": format!("/etc/ssl/c{n:03}.key") } },
        }] })
    };
    (0..PLACEMENTS).map(certificate).collect()
}

/// As the metrics say.
async fn measured(visitor: &Visitor) -> Ends {
    let text = visitor.get("/metrics").await.body;
    let lines = text.lines().filter_map(|line| {
        let rest = line.strip_prefix("pinion_certificate_expiration_timestamp_seconds{certificate=\"")?;
        let (name, rest) = rest.split_once('"')?;
        Some((name.to_owned(), rest.rsplit(' ').next()?.parse().ok()?))
    });
    lines.collect()
}

/// As the page shows them.
async fn shown(visitor: &Visitor) -> Ends {
    let page = visitor.get("/placements").await.body;
    let rows = page.split("<tr>").filter_map(|row| {
        let (before, _) = row.split_once("@1001</a>")?;
        let end = row.split_once("datetime=\"")?.1.split('"').next()?;
        Some((before.rsplit('>').next()?.to_owned(), end.parse::<Timestamp>().ok()?.unix()))
    });
    rows.collect()
}

/// As `pinion status` says.
fn told(host: &Host) -> Ends {
    let status = host.status().expect("the controller answers");
    let ends = status
        .placements
        .iter()
        .filter_map(|it| Some((it.placement.strip_suffix("@1001")?.to_owned(), it.not_after?.unix())));
    ends.collect()
}

/// As the guest's files are.
fn installed(guest: &Guest) -> Ends {
    let end = |path: &Path| {
        let bytes = fs::read(path).expect("a certificate, whole at any moment");
        let pem = Pem::iter_from_buffer(&bytes).next().expect("a certificate").expect("PEM");
        pem.parse_x509().expect("a certificate").validity().not_after.timestamp()
    };
    let name = |n| format!("c{n:03}");
    (0..PLACEMENTS).map(|n| (name(n), end(&guest.path(&format!("/etc/ssl/{}.crt", name(n)))))).collect()
}

/// The first that is not earlier than or as early as the other.
fn assert_not_later(what: &str, earlier: &Ends, later: &Ends) {
    assert_eq!((earlier.len(), later.len()), (PLACEMENTS, PLACEMENTS), "{what}");
    for (name, end) in earlier {
        assert!(later.get(name).is_some_and(|other| end <= other), "{what}: {name} {end} {:?}", later.get(name));
    }
}

/// Looks everywhere, once; what the metrics said last.
async fn look(host: &Host, guest: &Guest, visitor: &Visitor) -> Ends {
    let first = measured(visitor).await;
    assert_not_later("the metrics say what is not installed", &first, &installed(guest));
    let status = told(host);
    let second = measured(visitor).await;
    assert_not_later("the status is behind the metrics", &first, &status);
    assert_not_later("the metrics are behind the status", &status, &second);
    let page = shown(visitor).await;
    let third = measured(visitor).await;
    assert_not_later("the page is behind the metrics", &second, &page);
    assert_not_later("the metrics are behind the page", &page, &third);
    third
}

#[tokio::test]
async fn metrics_page_status_and_files_agree_while_everything_is_renewed() {
    let options =
        HostOptions { web: Some("metrics_from = [\"127.0.0.1\"]".to_owned()), ..HostOptions::embedded(&json!([])) };
    let host = Host::start(&options).expect("a host");
    let guest = Guest::join(&host, 1001).expect("a guest");
    host.write_manifest(&pinion_tests::site::manifest(certificates())).expect("written");
    let all = host.pinion(&["ensure", "--timeout", "400s"]).expect("pinion runs");
    assert_eq!(all.code(), 0, "{all}");
    let visitor = Visitor::signed_in(&host, &[]).await;
    let before = installed(&guest);
    assert_eq!(measured(&visitor).await, before);

    let (mut rounds, mut looks, mut halfway) = (0, 0, 0);
    while rounds < ROUNDS || (halfway < HALFWAY && rounds < MAX_ROUNDS) {
        rounds += 1;
        let old = installed(&guest);
        let said = tempfile::NamedTempFile::new().expect("a file");
        let mut renewal = host.command(&["ensure", "--renew", "--timeout", "400s"]).expect("built");
        renewal.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.reopen().expect("opened"));
        let mut renewal = renewal.spawn().expect("started");
        while renewal.try_wait().expect("it is a child").is_none() {
            let last = look(&host, &guest, &visitor).await;
            let renewed = last.iter().filter(|(name, end)| old.get(*name).is_some_and(|old| old < end)).count();
            looks += 1;
            halfway += usize::from((1..PLACEMENTS).contains(&renewed));
        }
        let said = || fs::read_to_string(said.path()).unwrap_or_default();
        assert!(renewal.wait().expect("ended").success(), "everything is renewed: {}", said());
    }
    println!("{looks} looks during {rounds} storms, {halfway} of them with a part renewed");
    assert!(halfway >= HALFWAY, "{looks} looks, and {halfway} in the middle of a storm");
    wait::until_async("the same everywhere", MAX, || async {
        let files = installed(&guest);
        let all = [measured(&visitor).await, told(&host), shown(&visitor).await];
        if all.iter().all(|one| *one == files) { Ok(()) } else { Err("they differ") }
    })
    .await
    .expect("they agree");
    assert!(installed(&guest).iter().all(|(name, end)| before.get(name).is_some_and(|old| old < end)), "all are new");
}
