//! The way out: the agent leaves a guest through the channel, its certificates stay, and the service serves on.

use pinion_proto::stage::Stage;
use pinion_tests::{
    lab::{
        Init, Lab, Spec,
        installation::{Installation, LONG, pinion, status, wait_for},
    },
    process::Finished,
};
use serde_json::{Value, json};

/// Each guest, how its services are started, and where its certificate is.
const GUESTS: [u32; 4] = [101, 104, 105, 1001];

/// What the agent has in a guest for itself.
const AGENTS: [&str; 9] = [
    "/usr/bin/pinion-agent",
    "/usr/bin/pinion-agent.previous",
    "/etc/systemd/system/pinion-agent.service",
    "/etc/init.d/pinion-agent",
    "/etc/pinion/agent.toml",
    "/etc/pinion/start-agent",
    "/run/pinion-agent",
    "/var/lib/pinion-agent/identity.json",
    "/var/lib/pinion-agent/placements",
];

fn manifest() -> Value {
    let files = json!({
        "fullchain": { "path": "/etc/ssl/app/app.crt" },
        "key": { "path": "/etc/ssl/app/app.key", "mode": "0600" } });
    json!({ "version": 1, "defaults": { "issuer": "embedded", "duration": "24h" }, "certificates": [
        { "name": "web", "common_name": "nginx.internal.example", "placements": [
            { "guest": 101, "recipe": "nginx" }, { "guest": 104, "recipe": "nginx" }, { "guest": 105, "recipe": "nginx" }] },
        { "name": "app", "common_name": "app.internal.example", "placements": [{ "guest": 1001, "files": files }] },
    ] })
}

fn placement(vmid: u32) -> String {
    if vmid == 1001 { "app@1001".into() } else { format!("web@{vmid}") }
}

/// Waits until all have what they are to have; the serial number of each.
fn served(lab: &Lab, installation: &Installation) -> Vec<String> {
    wait_for(lab, installation, "all to be linked and served", LONG, |status| {
        let one = |vmid: u32| {
            let found = status.placement(&placement(vmid))?;
            let goal = if vmid == 1001 { Stage::Reloaded } else { Stage::Served };
            found.serial.clone().filter(|_| found.stage == goal && status.is_linked(&vmid.to_string()))
        };
        GUESTS.into_iter().map(one).collect()
    })
    .expect("they are served")
}

/// The serial number that a guest's nginx shows now, or that its file has.
fn shown(lab: &Lab, vmid: u32) -> String {
    let line = if vmid == 1001 {
        "openssl x509 -in /etc/ssl/app/app.crt -noout -serial && openssl pkey -in /etc/ssl/app/app.key -noout"
    } else {
        "openssl s_client -connect 127.0.0.1:443 -servername nginx.internal.example </dev/null 2>/dev/null | openssl x509 \
         -noout -serial"
    };
    let said = lab.sh(vmid, line).expect("it shows one");
    said.trim().trim_start_matches("serial=").to_owned()
}

fn has_no_agent(lab: &Lab, vmid: u32) {
    for path in AGENTS {
        let found = lab.exec(vmid, &["ls", "-A", path]).expect("it runs");
        assert_ne!(found.code(), 0, "{path} is in guest {vmid}: {found}");
    }
    let agents = lab.exec(vmid, &["sh", "-c", "grep -lx pinion-agent /proc/[0-9]*/comm"]).expect("it runs").stdout;
    assert_eq!(agents, "", "an agent runs in guest {vmid}");
}

fn evict(lab: &Lab, vmid: u32) -> Finished {
    pinion(lab, &format!("guest evict {vmid}")).expect("it runs")
}

#[test]
fn the_agent_leaves_its_guests_and_their_services_serve_on() {
    let lab = Lab::up(vec![
        Spec::gateway(),
        Spec::without_systemd(104, "openrc", Init::OpenRc),
        Spec::without_systemd(105, "script", Init::Script),
        Spec::first_docker(),
    ])
    .expect("the lab comes up");
    let mut installation = Installation::install(&lab, &manifest(), "").expect("installed");
    installation.start(&lab).expect("started");
    let serials = served(&lab, &installation);

    for (vmid, serial) in GUESTS.into_iter().zip(&serials) {
        let told = evict(&lab, vmid);
        assert!(told.code() == 0 && told.stdout.contains("are removed from guest"), "{vmid}: {told}");
        has_no_agent(&lab, vmid);
        assert_eq!(shown(&lab, vmid), *serial, "{vmid}");
        // What nginx had before Pinion is its administrator's.
        let is_kept = told.stdout.contains("these stay there, too: /var/lib/pinion-agent/replaced");
        let replaced = lab.exec(vmid, &["test", "-d", "/var/lib/pinion-agent/replaced"]).expect("it runs");
        assert_eq!(is_kept, replaced.code() == 0, "{vmid}: {told}");
    }
    // The links into the generations' directory lead where they did.
    lab.exec(101, &["nginx", "-t"]).and_then(Finished::succeeded).expect("nginx accepts its files");
    lab.exec(101, &["systemctl", "restart", "nginx"]).and_then(Finished::succeeded).expect("nginx starts with them");
    assert_eq!(shown(&lab, 101), serials[0]);
    assert!(lab.exec(101, &["sh", "-c", "ls -d /etc/nginx/ssl/.pinion/web/current"]).expect("it runs").code() == 0);

    // Again, and where the guest cannot be reached.
    let again = evict(&lab, 101);
    assert!(again.code() == 0 && again.stdout.contains("there is no agent in guest 101"), "{again}");
    let events = pinion(&lab, "events --last 200").expect("it runs").stdout;
    assert!(events.contains("The agent was removed from guest 101"), "{events}");
    assert!(!status(&lab).expect("a status").is_linked("101"), "Pinion does not bring it in again by itself");

    // Let in again, it takes its files over.
    for vmid in GUESTS {
        let line = format!("guest enroll {vmid} --timeout 100s");
        pinion(&lab, &line).and_then(Finished::succeeded).expect("enrolled again");
    }
    let serials = served(&lab, &installation);

    lab.stop(101).expect("stopped");
    let told = evict(&lab, 101);
    assert!(
        told.code() == 4 && told.stderr.contains("start the guest, then run `pinion guest evict 101` again"),
        "{told}"
    );
    assert!(told.stdout.contains("what remains in guest 101: /usr/bin/pinion-agent"), "{told}");
    let left = pinion(&lab, "uninstall").expect("it runs");
    assert!(left.code() == 2 && left.stderr.contains("--yes"), "{left}");
    let left = pinion(&lab, "uninstall --yes").expect("it runs");
    assert!(left.code() == 4 && left.stdout.contains("the agent is out of 3 of 4 guests"), "{left}");
    lab.start(101).expect("started");
    let left = pinion(&lab, "uninstall --yes").expect("it runs");
    assert!(left.code() == 0 && left.stdout.contains("the agent is out of 4 of 4 guests"), "{left}");
    assert!(left.stdout.contains("apt purge pinion") && left.stdout.contains("/var/lib/pinion"), "{left}");
    for (vmid, serial) in GUESTS.into_iter().zip(&serials) {
        has_no_agent(&lab, vmid);
        assert_eq!(shown(&lab, vmid), *serial, "{vmid}");
    }
}
