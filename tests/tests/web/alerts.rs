//! Each alert fires when its cause is there, and resolves when that is gone: the real Prometheus on real programs.
//!
//! The rules are the shipped ones without their waiting times, and with a minute in place of a day where they look back. Real
//! programs on one machine have one clock, so the CA whose clock is ahead is one that answers as it is told.
#![allow(clippy::print_stdout, reason = "what fires is the story, shown with --nocapture")]

use std::{fs, time::Duration};

use pinion_proto::{
    clock::{Clock as _, SystemClock},
    stage::Stage,
};
use pinion_tests::{
    ca::{HostileCa, PASSWORD, StepCa},
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    prometheus::Prometheus,
    status::PlacementJson,
    tls_server::TlsServer,
    wait,
};
use serde_json::{Value, json};

use crate::monitoring;

/// What a loaded machine needs, and the certificate's minute.
pub(crate) const MAX: Duration = Duration::from_secs(120);

/// The shipped rules, with nothing to wait for.
pub(crate) fn rules() -> String {
    let text = monitoring::read("pinion.rules.yml").replace("_total[1d]", "_total[1m]");
    let lines = text.lines().filter(|line| !line.trim().starts_with("for: "));
    lines.map(|line| format!("{line}\n")).collect()
}

/// A host with a step-ca, and a guest whose service is served.
struct Story {
    prometheus: Prometheus,
    server: TlsServer,
    guest: Guest,
    host: Host,
}

impl Story {
    /// `issuers` are more of them, as controller.toml has them.
    fn begin(ca: &StepCa, issuers: &str) -> Self {
        let mut guest = Guest::prepare("1001", &GuestOptions::default()).expect("a guest");
        let server = TlsServer::install(&guest, "/etc/ssl/web/web.crt", "/etc/ssl/web/web.key").expect("a server");
        let options = HostOptions {
            web: Some(String::new()),
            ..HostOptions::step_ca(ca.issuer().expect("an issuer"), &json!([]))
        };
        let mut host = Host::prepare(&options).expect("a host");
        host.configure(issuers).expect("configured");
        host.start_again().expect("started");
        guest.join_with(&host.token("1001").expect("a token")).and_then(|it| it.succeeded()).expect("joined");
        guest.start().expect("started");
        guest.wait_linked(&host).expect("linked");
        let prometheus = Prometheus::start(&host, &rules()).expect("Prometheus starts");
        let story = Self { prometheus, server, guest, host };
        story.write(&[story.web("reload")]);
        story.host.ensure(&["web"], "installed").expect("installed");
        story.server.unit().start().expect("started");
        story.host.ensure(&["web"], "served").expect("served");
        story
    }

    fn web(&self, tell: &str) -> Value {
        json!({ "name": "web", "common_name": "web.internal.example", "duration": "30d", "renew_before": "29d",
                "placements": [self.server.placement(&self.guest, tell)] })
    }

    fn write(&self, certificates: &[Value]) {
        let manifest = json!({ "version": 1, "defaults": { "issuer": "step-ca" }, "certificates": certificates });
        self.host.write_manifest(&manifest).expect("the manifest is written");
    }

    async fn fires(&self, alert: &str, label: (&str, &str)) {
        let fired = self.prometheus.wait_fired(alert, label, MAX).await;
        let fired = fired.unwrap_or_else(|error| panic!("{error:#}\n{}", self.host.log_tail()));
        for annotation in ["summary", "remedy"] {
            let text = fired["annotations"][annotation].as_str().unwrap_or_default();
            assert!(!text.is_empty() && !text.contains("error") && !text.contains("{{"), "{fired}");
        }
        println!("{alert} fires: {}", fired["annotations"]["summary"]);
    }

    async fn resolve(&self, alerts: &[&str]) {
        let resolved = self.prometheus.wait_resolved(alerts, MAX).await;
        resolved.unwrap_or_else(|error| panic!("{error:#}\n{}", self.host.log_tail()));
        println!("{} resolved", alerts.join(", "));
    }

    /// One with a file that the guest does not allow.
    fn forbidden(&self) -> Value {
        json!({ "name": "shadow", "common_name": "shadow.internal.example", "placements": [{ "guest": 1001, "files": {
            "cert": { "path": "/etc/ssl/shadow.crt" }, "key": { "path": "/etc/shadow" } } }] })
    }
}

fn is_served(placement: &PlacementJson) -> bool {
    placement.stage == Stage::Served && placement.trouble.is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_in_a_guest_fires_and_resolves_its_alerts() {
    let ca = StepCa::start().expect("a CA");
    let mut story = Story::begin(&ca, "");
    story.prometheus.wait_up().await.expect("scraped");
    story.resolve(&["PinionPlacementStuck", "PinionControllerGone", "PinionGuestSilent"]).await;

    // The guest does not allow a file; the manifest is corrected.
    story.write(&[story.web("reload"), story.forbidden()]);
    story.fires("PinionPlacementBlocked", ("certificate", "shadow")).await;
    story.write(&[story.web("reload")]);
    story.resolve(&["PinionPlacementBlocked"]).await;

    // The service ends, and is started again.
    story.server.unit().stop().expect("stopped");
    story.host.pinion(&["ensure", "web", "--renew", "--timeout", "100ms"]).expect("pinion runs");
    story.fires("PinionPlacementStuck", ("certificate", "web")).await;
    story.server.unit().start().expect("started");
    story.resolve(&["PinionPlacementStuck"]).await;

    // It is restarted more often than it should be, until nobody asks for that any more.
    story.write(&[story.web("restart")]);
    for _ in 0..8 {
        story.host.renew(&["web"], "served").expect("renewed");
    }
    story.fires("PinionServiceRestartedTooOften", ("certificate", "web")).await;

    // The agent ends while something is due.
    story.guest.stop().expect("stopped");
    story.host.pinion(&["ensure", "web", "--renew", "--timeout", "100ms"]).expect("pinion runs");
    story.fires("PinionGuestSilent", ("guest", "1001")).await;
    story.guest.start().expect("started");
    story.resolve(&["PinionGuestSilent"]).await;

    // Two machines start with one identity, in turns.
    for (boot, is_let_in) in [("one", true), ("other", true), ("one", false)] {
        story.guest.stop().expect("stopped");
        let is_gone = || story.host.status().is_ok_and(|status| !status.is_linked("1001"));
        wait::until("its link to end", MAX, || if is_gone() { Ok(()) } else { Err("linked") }).expect("ended");
        story.guest.write("/proc/sys/kernel/random/boot_id", boot).expect("written");
        story
            .guest
            .write("/proc/1/stat", "1 (init) S 0 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 71 1 2\n")
            .expect("written");
        story.guest.start().expect("started");
        if is_let_in {
            story.guest.wait_linked(&story.host).expect("linked");
        }
    }
    story.fires("PinionIdentityLocked", ("guest", "1001")).await;
    story.host.pinion(&["guest", "unlock", "1001"]).and_then(|it| it.succeeded()).expect("unlocked");
    story.resolve(&["PinionIdentityLocked"]).await;
    story.resolve(&["PinionServiceRestartedTooOften"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_issuer_and_controller_fires_and_resolves_their_alerts() {
    let mut ca = StepCa::start().expect("a CA");
    let far = HostileCa::start_signing().await.expect("another CA");
    let password = tempfile::NamedTempFile::new().expect("a file");
    fs::write(password.path(), PASSWORD).expect("written");
    let issuer = format!(
        "\n[issuers.far]\ntype = \"step-ca\"\nurl = \"{}\"\nfingerprint = \"{}\"\nprovisioner = \"admin\"\n\
         password_file = \"{}\"\n",
        far.url(),
        far.fingerprint(),
        password.path().display()
    );
    let mut story = Story::begin(&ca, &issuer);
    story.prometheus.wait_up().await.expect("scraped");

    // A CA whose clock is ahead, until it is set.
    far.set_ahead(90);
    story.write(&[
        story.web("reload"),
        json!({ "name": "far", "common_name": "far.internal.example", "issuer": "far", "placements": [] }),
    ]);
    story.fires("PinionClockOff", ("issuer", "far")).await;
    far.set_ahead(0);
    story.host.pinion(&["issuer", "check"]).and_then(|it| it.succeeded()).expect("all of them can sign");
    story.resolve(&["PinionClockOff"]).await;

    // A manifest with a mistake.
    story.host.write_manifest(&json!({ "version": 1, "certificates": 7 })).expect("written");
    story.fires("PinionManifestRejected", ("", "")).await;
    story.write(&[story.web("reload")]);
    story.resolve(&["PinionManifestRejected"]).await;

    // The CA ends, is missed, and comes back.
    ca.stop();
    story.host.pinion(&["ensure", "web", "--renew", "--timeout", "100ms"]).expect("pinion runs");
    story.fires("PinionIssuerDown", ("issuer", "step-ca")).await;
    ca.restart().expect("it is back");
    story.resolve(&["PinionIssuerDown"]).await;

    // The controller ends, and is started again.
    story.host.stop().expect("stopped");
    story.fires("PinionControllerGone", ("job", "pinion")).await;
    // Where its log of events should be is a directory, until somebody puts that right.
    let log = story.host.root().join("var/lib/pinion/local/events.jsonl");
    let aside = log.with_extension("aside");
    fs::rename(&log, &aside).and_then(|()| fs::create_dir(&log)).expect("in its place");
    story.host.start_again().expect("started");
    story.resolve(&["PinionControllerGone"]).await;
    story.fires("PinionHostTrouble", ("job", "pinion")).await;
    fs::remove_dir(&log).and_then(|()| fs::rename(&aside, &log)).expect("put right");
    story.resolve(&["PinionHostTrouble"]).await;

    // An intermediate that ends in a minute, and with it what it signs, until it is renewed.
    ca.renew_intermediate("-1m", "40s").expect("it ends soon");
    // It is served, and another renewal is due and blocked at once.
    let ends = |placement: &PlacementJson| placement.not_after.map(|end| end.since(SystemClock.now()));
    story.host.pinion(&["ensure", "web", "--renew", "--timeout", "20s"]).expect("pinion runs");
    story.host.wait_placement("web@1001", |it| ends(it).is_some_and(|left| left < MAX)).expect("signed under it");
    // The manifest's change has the issuer looked at.
    story.write(&[
        story.web("reload"),
        json!({ "name": "other", "common_name": "other.internal.example", "placements": [] }),
    ]);
    story.fires("PinionAuthorityExpiring", ("issuer", "step-ca")).await;
    story.fires("PinionCertificateExpiring", ("certificate", "web")).await;
    story.fires("PinionCertificateExpired", ("certificate", "web")).await;
    ca.renew_intermediate("-1m", "87600h").expect("it is renewed");
    story.host.ensure(&["web"], "served").expect("signed under the new one");
    story.write(&[story.web("reload")]);
    let gone = ["PinionCertificateExpired", "PinionCertificateExpiring", "PinionAuthorityExpiring"];
    story.resolve(&gone).await;
    story.host.wait_placement("web@1001", is_served).expect("all is well");
}
