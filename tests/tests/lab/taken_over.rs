//! A host of the old scripts becomes Pinion's: their manifest is imported, and what they have installed is adopted.

use std::{collections::BTreeMap, fs, path::PathBuf};

use pinion_proto::stage::Stage;
use pinion_tests::{
    lab::{
        Lab, Spec,
        installation::{Installation, LONG, pinion, status, wait_for},
        whole,
    },
    process::Finished,
    status::{PlacementJson, StatusJson},
    steps, wait,
};
use serde_json::{Value, json};

use crate::feature_scripts::manager;

/// Where the administrator works; `/root` is the machine's own.
const HOME: &str = "/var/tmp/migration";

/// What is adopted: all that the old scripts have installed in guests, but for the secrets of a Swarm.
const ADOPTED: [&str; 8] = [
    "docker@1001",
    "docker@1002",
    "nginx-client@101",
    "nginx@101",
    "portainer-agent@1002",
    "traefik-client@102",
    "traefik@102",
    "vllm@801",
];

/// Whoever would notice: the service, and the command that prints another line once it was restarted or reloaded.
const WATCHED: [(u32, &str); 6] = [
    (101, "systemctl show --property MainPID nginx && pgrep --parent $(cat /run/nginx.pid) | sort"),
    (102, "systemctl show --property MainPID traefik"),
    (801, "systemctl show --property MainPID vllm"),
    (1001, "systemctl show --property MainPID docker"),
    (1002, "systemctl show --property MainPID docker"),
    (1002, "docker inspect --format '{{.State.StartedAt}}' portainer_agent"),
];

#[test]
fn an_imported_manifest_adopts_what_the_old_scripts_have_installed() {
    let guests = Spec::whole().into_iter().filter(|guest| guest.vmid != 107).collect();
    let lab = Lab::up(guests).expect("the lab comes up");
    whole::set_up(&lab).unwrap_or_else(|error| panic!("{error:#}"));
    start_portainer_agent(&lab);
    let old: Vec<Value> = serde_json::from_slice(&fs::read(old_manifest()).expect("it is there")).expect("JSON");
    for entry in &old {
        install_as_the_old_scripts(&lab, entry);
    }
    for (guest, unit) in [(102, "traefik"), (1001, "docker"), (1002, "docker")] {
        lab.sh(guest, &format!("systemctl restart {unit}")).expect("it restarts");
    }

    let nothing = json!({ "version": 1, "certificates": [] });
    let mut installation = Installation::install(&lab, &nothing, "").expect("installed");
    installation.start(&lab).expect("it starts");
    let report = import(&lab);
    type_section(&lab, "2. Try it side by side");
    allow(&lab, &report);
    let (serials, watched, signed, files) = (installed(&lab), watched(&lab), signed(&lab), files(&lab));
    type_section(&lab, "4. Switch");
    let reached = |status: &StatusJson| all_reached(status).then(|| status.clone());
    let status = wait_for(&lab, &installation, "everything to be reached", LONG, reached)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", told(&lab, "pinion plan")));

    let events = told(&lab, "pinion events");
    for name in ADOPTED {
        let placement = status.placement(name).unwrap_or_else(|| panic!("{name} is there"));
        assert_eq!(placement.serial.as_ref(), serials.get(name), "{name} has another certificate\n{events}");
    }
    let adopted = events.lines().filter(|line| line.contains("took over the certificate that was there")).count();
    assert_eq!(adopted, ADOPTED.len(), "{events}");
    // The Swarm's first version is made by Pinion; nothing else is signed.
    assert_eq!(self::signed(&lab) - signed, 1, "{events}");
    assert_eq!(self::watched(&lab), watched, "a service was restarted or reloaded");
    assert_eq!(self::files(&lab), files, "a file was changed");

    let plan = told(&lab, "pinion plan");
    assert!(plan.lines().skip(1).filter(|line| line.contains('@')).all(|line| line.contains(" keep ")), "{plan}");
    // From now on they are as all others.
    told(&lab, "pinion ensure nginx@101 --renew --until served");
    let renewed = self::status(&lab).expect("a status");
    assert_ne!(renewed.placement("nginx@101").expect("it is there").serial.as_ref(), serials.get("nginx@101"));
    assert_eq!(self::signed(&lab) - signed, 2);
    obeys_the_old_scripts_name(&lab);
}

/// What still calls the old script disturbs nobody, and has all of them renewed where it says so. A guest that does not run
/// is named, and is no failure.
fn obeys_the_old_scripts_name(lab: &Lab) {
    let before = (signed(lab), watched(lab), files(lab));
    for _ in 0..2 {
        let forced = manager(lab, "--force").succeeded().expect("everything is installed");
        assert!(!forced.stderr.contains("its certificates are installed when"), "every guest runs: {forced}");
    }
    assert_eq!((signed(lab), watched(lab), files(lab)), before, "nothing was issued, written, restarted or reloaded");

    lab.stop(801).expect("stopped");
    wait::until("guest 801 to be seen stopped", LONG, || {
        let listed = told(lab, "pinion guest list --json");
        let guests: Vec<Value> = serde_json::from_str(&listed).map_err(|error| error.to_string())?;
        let is_stopped = guests.iter().any(|guest| guest["guest"] == "801" && guest["running"] == false);
        if is_stopped { Ok(()) } else { Err(listed) }
    })
    .expect("it is");
    let serials = |status: StatusJson| -> BTreeMap<String, Option<String>> {
        status.placements.into_iter().map(|placement| (placement.placement, placement.serial)).collect()
    };
    let before = serials(status(lab).expect("a status"));
    let reissued = manager(lab, "--reissue").succeeded().expect("new ones are installed");
    assert!(reissued.stderr.contains("guest 801 is stopped"), "{reissued}");
    let after = serials(status(lab).expect("a status"));
    for (placement, serial) in &before {
        assert_eq!(after[placement] == *serial, placement == "vllm@801", "{placement}: {after:?}");
    }
    told(lab, "pinion ensure nginx docker --until served --timeout 2m");
}

fn old_manifest() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../packaging/phoenix/certificate-manifest.json")
}

fn text<'e>(entry: &'e Value, field: &str) -> &'e str {
    entry[field].as_str().unwrap_or_default()
}

/// A container of the name that the old manifest has.
fn start_portainer_agent(lab: &Lab) {
    let line = "mkdir -p /opt/portainer-agent/certs && cd /opt/portainer-agent/certs \
                && cp /etc/docker/tls/cert.pem /etc/docker/tls/key.pem . \
                && docker run --detach --restart always --name portainer_agent --network host \
                   --volume /opt/portainer-agent/certs:/certs:ro --volume /usr:/usr:ro \
                   pinion-lab:1 /usr/local/bin/tls-server --listen 0.0.0.0:9001 \
                   --fullchain /certs/cert.pem --key /certs/key.pem";
    lab.sh(1002, line).expect("it starts");
    lab.sh(801, "useradd --system vllm").expect("the service's user");
}

/// What the old script does for an entry: a certificate of thirty days, brought into the guest, and its command there.
fn install_as_the_old_scripts(lab: &Lab, entry: &Value) {
    let Some(guest) = entry["guest_id"].as_u64().and_then(|guest| u32::try_from(guest).ok()) else { return };
    let name = text(entry, "common_name");
    let mut sans = vec![name.to_owned()];
    for san in entry["sans"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !sans.iter().any(|known| known == san) {
            sans.push(san.to_owned());
        }
    }
    let sans: String = sans.iter().map(|san| format!(" --san '{san}'")).collect();
    let sign = format!(
        "cd /root && STEPPATH=/etc/step-ca HOME=/root step ca certificate '{name}' cert.pem key.pem --force{sans} \
         --not-after 720h --provisioner admin --provisioner-password-file /etc/step-ca/password \
         --ca-url https://10.0.0.103:9000 --root /etc/step-ca/certs/root_ca.crt"
    );
    lab.sh(103, &sign).expect("step-ca signs");
    for (from, to, mode) in [
        ("/root/cert.pem", "/tmp/cert.pem", 0o644),
        ("/root/key.pem", "/tmp/key.pem", 0o600),
        ("/etc/step-ca/certs/root_ca.crt", "/tmp/ca.pem", 0o644),
    ] {
        let content = lab.read(103, from).expect("it is there");
        lab.write(guest, to, mode, content.as_bytes()).expect("it is brought into the guest");
    }
    let command = text(entry, "post_renewal_command");
    // Nobody listens where one of them reports to, and the Swarm's first secrets are in use.
    let is_whole = !command.contains("curl") && !command.contains("docker secret");
    let ran = lab.run(&["bash", "-c", command]).expect("it runs");
    assert!(!is_whole || ran.code() == 0, "{command}: {ran}");
}

/// Types what docs/migration.md has below a heading, in the directory of an administrator.
fn type_section(lab: &Lab, heading: &str) {
    fs::create_dir_all(lab.path(HOME)).expect("a directory");
    for line in steps::commands("migration.md", heading).expect("commands") {
        // The lab has no cron.
        if line.starts_with("crontab ") {
            continue;
        }
        let typed = lab.run(&["sh", "-c", &format!("cd {HOME} && {line}")]).and_then(Finished::succeeded);
        typed.unwrap_or_else(|error| panic!("{heading}: {line}: {error:#}"));
    }
}

/// Imports the old manifest where the document has it, and edits the new one as its report asks; the report.
fn import(lab: &Lab) -> String {
    let old = lab.path("/usr/local/phoenix_hypervisor/etc");
    fs::create_dir_all(&old).expect("a directory");
    fs::copy(old_manifest(), old.join("certificate-manifest.json")).expect("copied");
    type_section(lab, "1. Import");
    let home = lab.path(HOME);
    let report = fs::read_to_string(home.join("report.txt")).expect("a report");
    assert!(report.contains("10 entries became"), "{report}");
    let new = home.join("new.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&new).expect("a manifest")).expect("JSON");
    edit(&mut manifest);
    fs::write(new, format!("{manifest:#}\n")).expect("written");
    report
}

/// Does what the report asks for.
fn edit(manifest: &mut Value) {
    let certificates = manifest["certificates"].as_array_mut().expect("certificates");
    // Of the host, where no agent is.
    certificates.retain(|certificate| certificate["name"] != "archive");
    for certificate in certificates {
        let probe = match text(certificate, "name") {
            "vllm" => Some("127.0.0.1:8000"),
            "portainer-agent" => Some("127.0.0.1:9001"),
            _ => None,
        };
        for placement in certificate["placements"].as_array_mut().expect("placements") {
            if let Some(connect) = probe {
                placement["probe"] = json!({ "connect": connect });
            }
            // Reviewed, and not needed any more.
            if let Some(reloads) = placement.get_mut("reload").and_then(Value::as_array_mut) {
                reloads.retain(|reload| reload.get("hook").is_none());
            }
        }
    }
}

/// Writes what the report says of each guest's agent.toml.
fn allow(lab: &Lab, report: &str) {
    let mut lines = report.lines();
    while let Some(line) = lines.next() {
        let Some(guest) = line.strip_suffix(": its /etc/pinion/agent.toml needs, under [allow]:") else { continue };
        let allowed: Vec<&str> = lines.by_ref().map_while(|line| line.strip_prefix("  ")).collect();
        // None is on the host.
        let Some(guest) = guest.strip_prefix("guest ") else { continue };
        let text = format!("restarts_per_hour = 100\n[allow]\n{}\n", allowed.join("\n"));
        lab.write(guest.parse().expect("a VMID"), "/etc/pinion/agent.toml", 0o644, text.as_bytes()).expect("written");
    }
}

fn all_reached(status: &StatusJson) -> bool {
    let reached = |placement: &PlacementJson| {
        placement.goal == Some(placement.stage) && placement.trouble.is_none() && placement.stage >= Stage::Reloaded
    };
    status.placements.len() == ADOPTED.len() + 1 && status.placements.iter().all(reached)
}

/// The serial number of what the old scripts have installed for each placement, as Pinion writes it.
fn installed(lab: &Lab) -> BTreeMap<&'static str, String> {
    let places = [
        ("nginx@101", 101, "/etc/nginx/ssl/nginx.internal.example.crt"),
        ("nginx-client@101", 101, "/etc/nginx/ssl/nginx-client.crt"),
        ("traefik@102", 102, "/etc/traefik/certs/traefik.internal.example.crt"),
        ("traefik-client@102", 102, "/etc/traefik/certs/client-cert.pem"),
        ("docker@1001", 1001, "/etc/docker/tls/cert.pem"),
        ("docker@1002", 1002, "/etc/docker/tls/cert.pem"),
        ("portainer-agent@1002", 1002, "/opt/portainer-agent/certs/cert.pem"),
        ("vllm@801", 801, "/etc/ssl/vllm/vllm.crt"),
    ];
    let serial = |(name, guest, path)| {
        let text = lab.read(guest, path).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        (name, pinion_tests::openssl::serial(&text).expect("a certificate"))
    };
    places.map(serial).into_iter().collect()
}

/// What shows that a service was restarted or reloaded.
fn watched(lab: &Lab) -> Vec<String> {
    WATCHED.iter().map(|(guest, line)| lab.sh(*guest, line).expect("it runs")).collect()
}

/// Every file of the adopted placements: content, owner, mode, and when it was last changed.
fn files(lab: &Lab) -> Vec<String> {
    let list = |guest, directory: &str| {
        let line = format!(
            "find {directory} -maxdepth 1 -printf '%p %y %u:%g %m %C@\n' | sort; \
             find {directory} -maxdepth 1 -type f -exec sha256sum {{}} + | sort"
        );
        lab.sh(guest, &line).expect("it is listed")
    };
    [
        (101, "/etc/nginx/ssl"),
        (102, "/etc/traefik/certs"),
        (801, "/etc/ssl/vllm"),
        (1001, "/etc/docker/tls"),
        (1002, "/etc/docker/tls /opt/portainer-agent/certs"),
    ]
    .map(|(guest, directory)| list(guest, directory))
    .to_vec()
}

/// How many certificates step-ca has signed, by its own log.
fn signed(lab: &Lab) -> usize {
    let log = lab.sh(103, "journalctl --unit step-ca --output cat").expect("a journal");
    log.lines().filter(|line| line.contains("path=/1.0/sign") && line.contains("status=201")).count()
}

fn told(lab: &Lab, line: &str) -> String {
    pinion(lab, line.strip_prefix("pinion ").unwrap_or(line)).expect("it runs").stdout
}
