//! An identity over a guest's life: stopped and started, rolled back, cloned, backed up, moved away, destroyed.
//!
//! One lab, and one story after the other: each begins where the one before has left the guests served.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use pinion_proto::stage::Stage;
use pinion_tests::{
    lab::{
        Lab, Spec,
        installation::{Installation, LONG, pinion, status, wait_for},
    },
    wait,
};
use serde_json::{Value, json};

/// A guest's agent is back, and its certificate served, within this: the promise after a rollback.
const BACK: Duration = Duration::from_secs(60);

fn manifest(more: &[Value]) -> Value {
    let gateway = json!({ "name": "gateway", "common_name": "nginx.internal.example",
                          "placements": [{ "guest": 101, "recipe": "nginx" }] });
    let docker = json!({ "name": "docker", "common_name": "docker.internal.example", "sans": ["10.0.0.102"],
                         "placements": [{ "guest": 1002, "recipe": "docker" }] });
    let mut certificates = vec![gateway, docker];
    certificates.extend_from_slice(more);
    json!({ "version": 1, "defaults": { "issuer": "embedded", "duration": "24h" }, "certificates": certificates })
}

/// What Proxmox calls before and after a start.
const HOOKSCRIPT: &str = "local:snippets/pinion-wake";

struct Story {
    lab: Lab,
    installation: Installation,
}

#[test]
fn a_guest_is_itself_through_all_of_its_life() {
    let lab = Lab::up(vec![Spec::gateway(), Spec::second_docker()]).expect("the lab comes up");
    let mut installation = Installation::install(&lab, &manifest(&[]), "").expect("installed");
    installation.start(&lab).expect("started");
    let mut story = Story { lab, installation };
    story.served("gateway@101", LONG);
    story.served("docker@1002", LONG);

    story.seen_from_the_network();
    story.stopped_and_started();
    story.rolled_back();
    story.machine_rolled_back();
    story.cloned();
    story.shown_by_two();
    story.backed_up();
    story.moved_away_and_back();
    story.destroyed();
    println!("{}", story.pinion("events").stdout);
}

impl Story {
    fn pinion(&self, line: &str) -> pinion_tests::process::Finished {
        pinion(&self.lab, line).expect("it runs")
    }

    fn events(&self) -> String {
        self.pinion("events --last 100000").stdout
    }

    /// Waits until a placement is served; its serial number.
    fn served(&self, placement: &str, max: Duration) -> String {
        wait_for(&self.lab, &self.installation, &format!("{placement} to be served"), max, |status| {
            let placement = status.placement(placement)?;
            let linked = status.is_linked(placement.placement.rsplit('@').next()?);
            (placement.stage == Stage::Served && placement.trouble.is_none() && linked)
                .then(|| placement.serial.clone())?
        })
        .expect("served")
    }

    /// The serial number that the gateway shows to the host.
    fn shown(&self) -> Option<String> {
        let shown = self.lab.run(&["openssl", "s_client", "-connect", "10.0.0.101:443"]).ok()?.stdout;
        let mut x509 = self.lab.command("openssl");
        x509.args(["x509", "-noout", "-serial"]);
        let told = pinion_tests::process::run(&mut x509, shown.as_bytes(), BACK).ok()?.stdout;
        Some(told.trim().strip_prefix("serial=")?.to_owned())
    }

    fn renew(&self, placement: &str) -> String {
        self.pinion(&format!("ensure {placement} --renew --timeout 60s")).succeeded().expect("renewed");
        self.served(placement, BACK)
    }

    fn seen_from_the_network(&self) {
        let serial = self.served("gateway@101", BACK);
        self.wait_shown(&serial);
    }

    fn stopped_and_started(&self) {
        self.lab.stop(1002).expect("stopped");
        let finished = self.pinion("ensure --until served --timeout 8s");
        assert_eq!(finished.code(), 3, "{finished}");
        assert!(finished.stderr.contains("docker@1002") && finished.stderr.contains("1002 is stopped"), "{finished}");
        let before = status(&self.lab).expect("a status").placement("docker@1002").expect("known").serial.clone();
        let hookscript = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/proxmox/pinion-wake");
        self.lab.install(&hookscript, "/var/lib/vz/snippets/pinion-wake").expect("installed");
        self.lab.configure(1002, "hookscript", Some(HOOKSCRIPT)).expect("set");
        self.lab.start_by_tool(1002).expect("started");
        assert!(self.events().contains("Guest 1002 is checked now"), "its hookscript wakes the controller");
        self.pinion("ensure --until served --timeout 60s").succeeded().expect("it comes by itself");
        assert_eq!(Some(self.served("docker@1002", BACK)), before, "and nothing was issued for it");
    }

    /// The number of what is installed.
    fn generation(&self, placement: &str) -> u64 {
        let status = status(&self.lab).expect("a status");
        status.placement(placement).and_then(|placement| placement.generation).expect("something is installed")
    }

    /// How many events with these words there are.
    fn told(&self, words: &str) -> usize {
        self.events().lines().filter(|line| line.contains(words)).count()
    }

    /// Waits for an event with these words, beyond so many of before; the line.
    fn wait_told(&self, words: &str, before: usize) -> String {
        wait::until(&format!("an event with `{words}`"), BACK, || {
            let events = self.events();
            let line = events.lines().filter(|line| line.contains(words)).nth(before).map(str::to_owned);
            line.ok_or(events)
        })
        .expect("it is told")
    }

    /// Waits until the gateway shows this: for a moment after a reload nginx's old workers take connections too.
    fn wait_shown(&self, serial: &str) {
        wait::until("the gateway to show it", BACK, || match self.shown() {
            Some(shown) if shown == serial => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .expect("what is shown is what status says");
    }

    fn rolled_back(&self) {
        self.lab.snapshot(101, "before").expect("a snapshot");
        // The identity is the same: what the guest shows after the rollback is good as far as its serial number goes.
        let renewals = [self.renew("gateway@101"), self.renew("gateway@101")];
        self.wait_shown(renewals.last().expect("two"));
        let (highest, others) = (self.generation("gateway@101"), self.told("Guest 1002"));
        let began = Instant::now();
        self.lab.rollback(101, "before").expect("rolled back");
        self.lab.start(101).expect("started");
        self.wait_told("Guest 101 was rolled back to a snapshot", 0);
        self.wait_told("Guest 101 joined with identity number", 1);
        let serial = wait_for(&self.lab, &self.installation, "what was there to be replaced", BACK, |status| {
            let placement = status.placement("gateway@101")?;
            let newer = placement.generation > Some(highest) && placement.stage == Stage::Served;
            (newer && placement.trouble.is_none() && status.is_linked("101")).then(|| placement.serial.clone())?
        })
        .expect("a generation above all that there were");
        assert!(!renewals.contains(&serial), "{serial} is of before");
        println!("served again {:.1} s after the rollback", began.elapsed().as_secs_f64());
        self.wait_shown(&serial);
        assert_eq!(self.told("Guest 1002"), others, "no other guest is concerned");
    }

    /// Nothing was renewed since the snapshot, so nothing in the guest tells; Proxmox does.
    fn machine_rolled_back(&self) {
        let serial = self.served("docker@1002", BACK);
        let joins = self.told("Guest 1002 joined with identity number");
        self.lab.snapshot(1002, "before").expect("a snapshot");
        self.lab.rollback(1002, "before").expect("rolled back");
        self.lab.start(1002).expect("started");
        self.wait_told("guest 1002 has another vmgenid than at its last link", 0);
        self.wait_told("Guest 1002 joined with identity number", joins);
        assert_eq!(self.served("docker@1002", BACK), serial, "what it holds is the newest, and is kept");
    }

    /// The network cards say nothing: Proxmox does not list any.
    fn hide_cards(&self, vmid: u32) {
        let conf = self.lab.conf(vmid).expect("a configuration");
        for key in ["net0", "net1"] {
            let Some(net) = conf.current.get(key) else { continue };
            let hidden: Vec<_> = net.split(',').filter(|part| !part.starts_with("hwaddr=")).collect();
            self.lab.configure(vmid, key, Some(&hidden.join(","))).expect("changed");
        }
    }

    fn shown_by_two(&mut self) {
        let serial = self.served("gateway@101", BACK);
        let conf = self.lab.conf(101).expect("a configuration");
        self.hide_cards(101);
        self.lab.clone_guest(101, 106, "gateway-twin", "10.0.0.106/24").expect("cloned");
        self.hide_cards(106);
        let (joins, others) = (self.told("Guest 101 joined with identity number"), self.told("Guest 1002"));
        self.lab.start(106).expect("started");
        let line = self.wait_told("two machines use the identity of guest 101 in turns", 0);
        assert!(line.contains("10.0.0.101") && line.contains("10.0.0.106") && line.contains("is now locked"), "{line}");
        // What comes through the channel of 101 is 101: it joins anew, and the other is out.
        self.wait_told("Guest 101 joined with identity number", joins);
        assert_eq!(self.served("gateway@101", BACK), serial, "what it holds is as it was");
        self.wait_told("guest 101 has joined again since", 0);
        assert_eq!(self.served("gateway@101", BACK), serial, "and stays so while the other goes on dialling");
        assert_eq!(self.told("Guest 1002"), others, "no other guest is concerned");
        self.lab.destroy(106).expect("destroyed");
        for key in ["net0", "net1"] {
            self.lab.configure(101, key, conf.current.get(key)).expect("as it was");
        }
    }

    fn cloned(&mut self) {
        let serial = self.served("gateway@101", BACK);
        self.lab.configure(101, "hookscript", Some(HOOKSCRIPT)).expect("set");
        self.lab.clone_guest(101, 105, "gateway-copy", "10.0.0.105/24").expect("cloned");
        self.lab.start_by_tool(105).expect("started");
        self.wait_told("Guest 105 is checked now", 0);
        wait::until("the copy to be sent away", BACK, || {
            let events = self.events();
            if events.contains("guest 105 used the identity of guest 101") { Ok(()) } else { Err(events) }
        })
        .expect("the copy is told apart");
        assert_eq!(self.served("gateway@101", BACK), serial, "the original is undisturbed");
        assert!(!self.events().contains("is now locked"));

        // Named by the manifest, it joins as itself and gets a certificate of its own.
        let copy = json!({ "name": "copy", "common_name": "copy.internal.example",
                           "placements": [{ "guest": "gateway-copy", "files": {
                               "fullchain": { "path": "/etc/ssl/copy/fullchain.pem" },
                               "key": { "path": "/etc/ssl/copy/key.pem", "mode": "0600" } } }] });
        self.installation.write_manifest(&self.lab, &manifest(&[copy])).expect("written");
        wait_for(&self.lab, &self.installation, "the copy's own certificate", BACK, |status| {
            status.placement("copy@105").filter(|copy| copy.stage == Stage::Reloaded).map(drop)
        })
        .expect("it joins as itself");
        assert_eq!(self.served("gateway@101", BACK), serial);
        self.installation.write_manifest(&self.lab, &manifest(&[])).expect("written");
        self.lab.destroy(105).expect("destroyed");
    }

    fn backed_up(&self) {
        let serial = self.served("docker@1002", BACK);
        self.lab.lock(1002, Some("backup")).expect("locked");
        wait_for(&self.lab, &self.installation, "the lock to be known", BACK, |status| {
            status.guests.iter().find(|guest| guest.guest.to_string() == "1002")?.lock.as_ref().map(drop)
        })
        .expect("known");
        let finished = self.pinion("ensure docker@1002 --renew --timeout 5s");
        assert_eq!(finished.code(), 3, "{finished}");
        assert!(finished.stderr.contains("backup"), "{finished}");
        let now = status(&self.lab).expect("a status").placement("docker@1002").expect("known").serial.clone();
        assert_eq!(now.as_ref(), Some(&serial), "nothing is pushed meanwhile");
        self.lab.lock(1002, None).expect("unlocked");
        wait_for(&self.lab, &self.installation, "the renewal after the backup", LONG, |status| {
            status.placement("docker@1002")?.serial.clone().filter(|now| *now != serial)
        })
        .expect("it continues by itself");
        self.served("docker@1002", LONG);
    }

    fn moved_away_and_back(&mut self) {
        let serial = self.served("docker@1002", BACK);
        self.lab.migrate_away(1002).expect("moved");
        wait_for(&self.lab, &self.installation, "the other node to be known", BACK, |status| {
            status.guests.iter().find(|guest| guest.guest.to_string() == "1002")?.node.as_ref().map(drop)
        })
        .expect("known");
        let placement = status(&self.lab).expect("a status").placement("docker@1002").expect("known").clone();
        assert!(placement.trouble.is_none_or(|trouble| trouble.halt == pinion_proto::stage::Halt::Waiting));
        self.lab.migrate_back(1002).expect("moved back");
        assert_eq!(self.served("docker@1002", LONG), serial, "taken back as it was");
    }

    fn destroyed(&mut self) {
        self.lab.destroy(1002).expect("destroyed");
        wait_for(&self.lab, &self.installation, "the end of 1002 to be told", BACK, |status| {
            let told = status.placement("docker@1002")?.trouble.as_ref()?.to_string();
            told.contains("1002 was destroyed").then_some(())
        })
        .expect("told");
        assert!(self.events().contains("1002 was destroyed"));
        self.pinion("guest forget 1002").succeeded().expect("acknowledged");

        // The same number again is a new guest, which gets everything anew.
        self.lab.create(Spec::second_docker()).expect("made anew");
        self.lab.start(1002).expect("started");
        self.served("docker@1002", LONG);
    }
}
