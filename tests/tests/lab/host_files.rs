//! The web interface's certificate on the host itself, in `/etc/pve/local`, while `/etc/pve` goes, dies, cannot be written,
//! and comes back: nothing is made where it was, so that it can come back.

use std::fs;

use pinion_proto::stage::{Halt, Stage};
use pinion_tests::{
    lab::{
        Lab,
        installation::{LONG, pinion, status, wait_for},
        whole::Whole,
    },
    status::PlacementJson,
};
use serde_json::json;

const PLACEMENT: &str = "pve@host";

struct Host {
    whole: Whole,
    lab: Lab,
}

impl Host {
    fn begin() -> Self {
        let lab = Lab::up(Vec::new()).expect("the lab comes up");
        let manifest = json!({ "version": 1, "defaults": { "issuer": "embedded", "duration": "24h" }, "certificates": [
            { "name": "pve", "common_name": "pve1.internal.example",
              "placements": [{ "host": true, "recipe": "pveproxy" }] } ] });
        let whole = Whole::start_with(&lab, &manifest).unwrap_or_else(|error| panic!("{error:#}"));
        Self { whole, lab }
    }

    /// Waits until another certificate than this is served, and nothing is wrong.
    fn served(&self, before: Option<&str>) -> String {
        let is_served = |placement: &PlacementJson| {
            placement.stage == Stage::Served && placement.trouble.is_none() && placement.serial.as_deref() != before
        };
        let served = wait_for(&self.lab, &self.whole.installation, "the web interface to serve it", LONG, |status| {
            status.placement(PLACEMENT).filter(|placement| is_served(placement))?.serial.clone()
        });
        served.unwrap_or_else(|error| panic!("{error:#}\n{}", self.whole.log()))
    }

    /// A renewal is asked for; what comes of it is seen later.
    fn renew(&self) {
        pinion(&self.lab, "ensure pve --renew --until served --timeout 1s").expect("it runs");
    }

    /// Waits until the placement waits, with words that say for what.
    fn waits(&self, words: &[&str]) {
        let waits = wait_for(&self.lab, &self.whole.installation, &format!("a wait for {words:?}"), LONG, |status| {
            let trouble = status.placement(PLACEMENT)?.trouble.clone()?;
            let text = trouble.to_string();
            (trouble.halt == Halt::Waiting && words.iter().all(|word| text.contains(word))).then_some(())
        });
        waits.unwrap_or_else(|error| panic!("{error:#}\n{}", self.whole.log()));
    }

    /// The certificate that the web interface shows.
    fn shown(&self) -> String {
        let finished = self
            .lab
            .run(&["sh", "-c", "openssl s_client -connect 10.0.0.13:8006 </dev/null 2>/dev/null | openssl x509"])
            .and_then(pinion_tests::process::Finished::succeeded)
            .expect("it answers");
        pinion_tests::openssl::serial(&finished.stdout).expect("a certificate")
    }

    /// What is at the mount point itself.
    fn at_the_mount_point(&self) -> Vec<String> {
        let entries = fs::read_dir(self.lab.path("/etc/pve")).expect("listed");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }
}

#[test]
fn nothing_is_made_where_pmxcfs_is_to_be_mounted() {
    let mut host = Host::begin();
    let first = host.served(None);
    assert_eq!(host.shown(), first);

    // Stopped: an agent that runs, one that starts, and a renewal that is asked for all leave the directory alone.
    host.lab.stop_pve_cluster().expect("stopped");
    host.renew();
    host.waits(&["/etc/pve is not mounted", "systemctl start pve-cluster"]);
    host.whole.restart_agent(&host.lab).expect("restarted");
    host.waits(&["/etc/pve is not mounted"]);
    assert_eq!(host.at_the_mount_point(), Vec::<String>::new());
    assert_eq!(host.shown(), first, "what is served stays");
    host.lab.start_pve_cluster().expect("it can be mounted: the directory is empty");
    let second = host.served(Some(&first));
    assert_eq!(host.shown(), second);

    // Killed: a mount that answers nobody.
    host.lab.kill_pve_cluster().expect("killed");
    host.renew();
    host.waits(&["/etc/pve"]);
    host.whole.restart_agent(&host.lab).expect("restarted");
    host.waits(&["/etc/pve"]);
    host.lab.start_pve_cluster().expect("it can be mounted again");
    let third = host.served(Some(&second));

    // Without quorum: read, and not written.
    host.lab.set_quorate(false).expect("no quorum");
    host.renew();
    host.waits(&["/etc/pve/", "Permission denied", "quorum"]);
    assert_eq!(host.shown(), third);
    host.lab.set_quorate(true).expect("quorum");
    let fourth = host.served(Some(&third));

    // Cut off: what writes hangs for 8 s, fails, and is refused from then on.
    host.lab.cut_off().expect("cut off");
    host.renew();
    host.waits(&["/etc/pve/", "quorum"]);
    assert_eq!(host.shown(), fourth);
    host.lab.set_quorate(true).expect("healed");
    let fifth = host.served(Some(&fourth));
    assert_eq!(host.shown(), fifth);
    let now = status(&host.lab).expect("it answers");
    assert!(now.is_linked("host"), "{now:?}");
    let left: Vec<_> = fs::read_dir(host.lab.path("/etc/pve/local")).expect("listed").collect();
    let names: Vec<_> = left.into_iter().map(|entry| entry.expect("an entry").file_name()).collect();
    let known = ["lxc", "openvz", "priv", "qemu-server", "pveproxy-ssl.key", "pveproxy-ssl.pem"];
    assert!(names.iter().all(|name| known.iter().any(|known| name == known)), "nothing else is left: {names:?}");
}
