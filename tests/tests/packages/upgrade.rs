//! The host is upgraded and downgraded while agents in its guests are linked and renew: no client of a service notices.
//!
//! In each guest nginx has two certificates: `steady`, which nobody has a reason to touch, and `busy`, which is renewed again
//! and again by a lifetime that is nearly all renewal. Clients shake hands with both all the time, as ones that trust the
//! issuer's root alone.

use std::{
    collections::BTreeSet,
    io::Write as _,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use pinion_proto::stage::{Halt, Stage};
use pinion_tests::{
    lab::{GATEWAY_NAME, Role, Spec, booted::Booted, network::Network},
    look,
    outage::Client,
    program,
    status::StatusJson,
    wait::{self, PATIENCE},
};
use serde_json::json;

use crate::apt::{VERSION, apt_with};

const GUESTS: [(u32, &str); 2] = [(101, "10.0.0.101:443"), (102, "10.0.0.102:443")];

const STEADY: &str = "steady.internal.example";

/// Two guests are entered, one after the other, while everything else works too.
const LONG: Duration = Duration::from_secs(240);

#[test]
fn no_guest_notices_that_its_host_is_upgraded_and_downgraded() {
    let host = Booted::proxmox(Role::Debian12, guests()).expect("up");
    for (vmid, _) in GUESTS {
        add_steady(&host, vmid);
    }
    apt_with(&host, &["pinion"], "install", VERSION);
    let setup = ["pinion", "setup", "--yes", "--issuer", "embedded", "--advertise", "10.0.0.113:7443"];
    host.well(&setup).unwrap_or_else(|error| panic!("{error:#}\n{}", host.journal()));
    let placements = || GUESTS.map(|(guest, _)| json!({ "guest": guest, "recipe": "nginx" }));
    let manifest = json!({ "version": 1, "defaults": { "issuer": "embedded" }, "certificates": [
        { "name": "steady", "common_name": STEADY, "placements": placements() },
        { "name": "busy", "common_name": GATEWAY_NAME, "duration": "5m", "renew_before": "4m30s",
          "placements": placements() }] });
    host.write_manifest(&manifest).expect("written");
    wait_well(&host, "enrolled", VERSION, VERSION);

    let mut root = tempfile::NamedTempFile::new().expect("a file");
    root.write_all(host.well(&["pinion", "issuer", "root", "embedded"]).expect("a root").stdout.as_bytes())
        .expect("written");
    let serials = steady(&host.status().expect("a status"));
    let clients = clients(&host, root.path());
    let watch = Watch::start(&host, serials.clone());

    let next = program::next_version();
    for (what, version) in [("upgraded", next.as_str()), ("downgraded", VERSION)] {
        apt_with(&host, &["pinion"], "install", version);
        if version == next {
            doctor_says(&host, &format!("Agents of version {VERSION} run in "), "Pinion upgrades them by itself");
        }
        // An upgrade brings the agents along, a downgrade leaves them as they are.
        wait_well(&host, what, version, &next);
        wait_renewed(&host, what);
        assert!(watch.is_content(), "{what}: see above");
    }
    let told = host.well(&["pinion", "status"]).expect("a status").stdout;
    let note = format!("guest 101 ({next}) is newer than the controller");
    assert!(told.contains(&note) && told.contains("pinion guest enroll"), "{told}");
    doctor_says(&host, &format!("Agents of version {next} run in 101, 102."), "`pinion guest enroll GUEST`");

    // And the older one comes where a person asks for it.
    for (vmid, _) in GUESTS {
        host.well(&["pinion", "guest", "enroll", &vmid.to_string()]).unwrap_or_else(|error| panic!("{error:#}"));
    }
    wait_well(&host, "asked for the older agents", VERSION, VERSION);
    wait_renewed(&host, "with the older agents");
    let looks = watch.end();
    assert_eq!(steady(&host.status().expect("a status")), serials, "something was issued anew");
    for (name, client) in clients {
        let outage =
            client.end(&format!("packages upgraded {name}"), "the host is upgraded and downgraded").expect("ended");
        println!("{name}: {outage}");
        assert!(outage.max().is_zero(), "{name}: {outage}");
    }
    println!("the status was seen {looks} times");
}

/// Waits until the doctor has this to say, and this to do about it.
fn doctor_says(host: &Booted, words: &str, remedy: &str) {
    let told = wait::until(words, PATIENCE, || {
        let told = host.run(&["pinion", "doctor"]).map_err(|error| format!("{error:#}"))?;
        let said = told.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        if said.contains(words) && said.contains(remedy) { Ok(()) } else { Err(said) }
    });
    told.unwrap_or_else(|error| panic!("{error:#}"));
}

fn guests() -> Vec<Spec> {
    vec![Spec::gateway(), Spec::container(102, "gateway-2", Role::Gateway)]
}

/// Another server of nginx in this guest, with a pair that nobody trusts.
fn add_steady(host: &Booted, vmid: u32) {
    let line = format!(
        "cd /etc/nginx && cp -p ssl/{GATEWAY_NAME}.crt ssl/{STEADY}.crt && cp -p ssl/{GATEWAY_NAME}.key ssl/{STEADY}.key && \
         sed 's/{GATEWAY_NAME}/{STEADY}/' conf.d/gateway.conf >conf.d/steady.conf && systemctl reload nginx"
    );
    host.lab().sh(vmid, &line).expect("nginx takes it");
}

/// The serial numbers of the certificate that nobody has a reason to touch.
fn steady(status: &StatusJson) -> BTreeSet<String> {
    let placements = status.placements.iter().filter(|placement| placement.placement.starts_with("steady@"));
    placements.filter_map(|placement| placement.serial.clone()).collect()
}

/// Waits until a controller of this version has links to both guests' agents, of that one, and everything is served.
fn wait_well(host: &Booted, what: &str, controller: &str, agents: &str) {
    let well = host.wait_status("both guests to be linked and served", LONG, |status| {
        let is_linked = |(guest, _): (u32, &str)| {
            let guest = status.guest(&guest.to_string());
            guest.is_some_and(|guest| guest.linked && guest.agent_version.as_deref() == Some(agents))
        };
        let is_well = status.version == controller
            && GUESTS.into_iter().all(is_linked)
            && status.placements.len() == 4
            && status
                .placements
                .iter()
                .all(|placement| placement.stage == Stage::Served && placement.trouble.is_none());
        is_well.then_some(())
    });
    well.unwrap_or_else(|error| panic!("{what}: {error:#}"));
}

/// Waits until both have another certificate than now where it is renewed all the time.
fn wait_renewed(host: &Booted, what: &str) {
    let busy = |status: &StatusJson| -> Vec<_> {
        let placements = status.placements.iter().filter(|placement| placement.placement.starts_with("busy@"));
        placements.filter_map(|placement| placement.generation).collect()
    };
    let before = busy(&host.status().expect("a status"));
    let renewed = host.wait_status("both to be renewed", LONG, |status| {
        let now = busy(status);
        (now.len() == before.len() && now.iter().zip(&before).all(|(now, before)| now > before)).then_some(())
    });
    renewed.unwrap_or_else(|error| panic!("{what}: {error:#}"));
}

/// A client for each service, in the lab's network, which trusts this root alone.
fn clients(host: &Booted, root: &Path) -> Vec<(String, Client)> {
    let each = GUESTS.into_iter().flat_map(|(vmid, address)| [STEADY, GATEWAY_NAME].map(|name| (vmid, address, name)));
    let start = |(vmid, address, name): (u32, &str, &'static str)| {
        let (network, root) = (Network::of(host.lab()).expect("a network"), root.to_owned());
        let address: SocketAddr = address.parse().expect("an address");
        let mut is_inside = false;
        let shake = move || {
            if !is_inside {
                network.enter().expect("entered");
                is_inside = true;
            }
            let shown = look::served(address, name, &root);
            shown.inspect_err(|error| println!("{name} in {vmid}: {error:#}")).is_ok()
        };
        (format!("{name} in {vmid}"), Client::start_with(shake))
    };
    each.map(start).collect()
}

/// Asks for the status all the time: whenever it is answered, `steady` is served by the same certificates, and nothing else
/// is in trouble or without a certificate.
struct Watch {
    done: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Watch {
    fn start(host: &Booted, serials: BTreeSet<String>) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let mut command = host.command("pinion").expect("a command");
        command.args(["status", "--json"]);
        let thread = thread::spawn({
            let done = Arc::clone(&done);
            move || {
                let mut looks = 0;
                while !done.load(Ordering::Relaxed) {
                    let told = pinion_tests::process::run(&mut command, b"", PATIENCE).expect("it ends");
                    // While the controller restarts there is nobody who answers, and nobody who says something else.
                    let Ok(status) = serde_json::from_str::<StatusJson>(&told.stdout) else { continue };
                    for placement in &status.placements {
                        let is_steady = placement.placement.starts_with("steady@");
                        let least = if is_steady { Stage::Served } else { Stage::Installed };
                        // A renewal waits while the agent is being replaced.
                        let waits = placement.trouble.as_ref().map(|trouble| trouble.halt);
                        let is_well = waits.is_none() || (!is_steady && waits == Some(Halt::Waiting));
                        assert!(placement.stage >= least && is_well, "{placement:?}");
                    }
                    assert_eq!(steady(&status), serials, "issued anew");
                    looks += 1;
                }
                looks
            }
        });
        Self { done, thread }
    }

    fn is_content(&self) -> bool {
        !self.thread.is_finished()
    }

    /// How often it was answered.
    fn end(self) -> usize {
        let seen = wait::until("the watch to end", PATIENCE, || {
            self.done.store(true, Ordering::Relaxed);
            if self.thread.is_finished() { Ok(()) } else { Err("it still looks") }
        });
        seen.expect("ended");
        self.thread.join().expect("a placement left `served`")
    }
}
