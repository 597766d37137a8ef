//! A whole installation, with every shipped recipe at work at once: all of it is renewed by one command.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use pinion_proto::stage::Stage;
use pinion_tests::{
    lab::{
        Lab, Spec,
        installation::{LONG, status, wait_for},
        whole::{self, Whole},
    },
    status::{PlacementJson, StatusJson},
};

/// Placements of the manifest.
const ALL: usize = 18;

/// Who looks (a guest, or 0 for the host), at what, in which way, and whose certificate is to be seen.
const SEEN: [(u32, &str, &str, &str); 12] = [
    (0, "10.0.0.101:443", "-servername nginx.internal.example", "gateway@101"),
    (0, "10.0.0.122:443", "-servername traefik.internal.example", "traefik@102"),
    (0, "10.0.0.107:443", "", "haproxy@107"),
    (0, "10.0.0.107:8443", "-servername caddy.internal.example", "caddy@107"),
    (107, "127.0.0.1:5432", "-starttls postgres", "postgresql@107"),
    (0, "10.0.0.81:8000", "", "vllm@801"),
    (0, "10.0.0.111:2376", "", "docker@1001"),
    (0, "10.0.0.102:2376", "", "docker@1002"),
    (0, "10.0.0.111:9443", "", "portainer@1001"),
    (0, "10.0.0.102:9443", "", "portainer-agent@1002"),
    (0, "10.0.0.102:8444", "", "web@1002"),
    (0, "10.0.0.13:8006", "", "pve@host"),
];

#[test]
fn every_recipe_at_once_is_renewed_by_one_command() {
    let lab = Lab::up(Spec::whole()).expect("the lab comes up");
    whole::set_up(&lab).unwrap_or_else(|error| panic!("{error:#}"));
    let began = Instant::now();
    let pinion = Whole::start(&lab).unwrap_or_else(|error| panic!("{error:#}"));
    let reached = |status: &StatusJson| all_reached(status).then(|| status.clone());
    let before = wait_for(&lab, &pinion.installation, "everything to be reached", LONG, reached)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", pinion.log()));
    let first = began.elapsed();

    let renewed = timed(&lab, &["ensure", "--renew", "--until", "served"]);
    let after = status(&lab).expect("a status");
    assert!(all_reached(&after), "{after:?}");
    let (before, serials) = (serials(&before), serials(&after));
    assert_eq!(before.len(), ALL);
    for (placement, serial) in &before {
        assert_ne!(serials.get(placement), Some(serial), "{placement} was to be renewed");
    }
    for (looks, at, how, placement) in SEEN {
        let line = format!("openssl s_client -connect {at} {how} </dev/null 2>/dev/null | openssl x509 -noout -serial");
        let seen = if looks == 0 { on_host(&lab, &line) } else { lab.sh(looks, &line).expect("openssl looks") };
        assert_eq!(seen.trim(), format!("serial={}", serials[placement]), "{placement}");
    }
    let shown = at_work(&lab);

    let text = format!(
        "Seven guests and the host. Up from its cache, the lab took {:.0} s; from an empty controller to all {ALL} placements reached, \
         {:.0} s, most of it for bringing 6 MiB into two VMs through the guest agent. Then one command, all of it at once:\n\n\
         ```console\npve1# pinion ensure --renew --until served 2>&1 | tail -n 1\n{ALL} of {ALL} reached\n\n{}{shown}```\n\n\
         From the order to the goal, as `pinion ensure` told it, {:.1} s in all:\n\n{}",
        lab.took().as_secs_f64(),
        first.as_secs_f64(),
        typed(&lab, "pinion status"),
        renewed.took.as_secs_f64(),
        table(&after, &renewed),
    );
    println!("{text}");
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/lab-whole.md");
    fs::write(&target, text).unwrap_or_else(|error| panic!("write {}: {error}", target.display()));
}

fn all_reached(status: &StatusJson) -> bool {
    let reached = |placement: &PlacementJson| placement.goal == Some(placement.stage) && placement.trouble.is_none();
    status.placements.len() == ALL && status.placements.iter().all(reached)
}

fn serials(status: &StatusJson) -> BTreeMap<String, String> {
    let held = |placement: &PlacementJson| Some((placement.placement.clone(), placement.serial.clone()?));
    status.placements.iter().filter_map(held).collect()
}

/// That the clients' pairs are good for something: dockerd lets nobody in without one that step-ca has signed.
fn at_work(lab: &Lab) -> String {
    let ping = "curl --silent --insecure https://10.0.0.101/_ping";
    assert_eq!(on_host(lab, ping), "OK", "nginx has shown its pair to 1001's dockerd");
    let context = "docker --context docker-context version --format '{{.Server.Version}}'";
    let version = lab.sh(1001, &format!("HOME=/root {context}")).expect("docker is let in with the context's pair");
    let client = "docker --tlsverify -H tcp://10.0.0.102:2376 ps --format '{{.Names}}'";
    let containers = lab.sh(1001, &format!("HOME=/root {client}")).expect("docker is let in with its own pair");
    assert!(containers.contains("portainer") && containers.contains("web"), "{containers}");
    let journal = "journalctl --unit traefik --output cat --grep 'Provider connection established' \
                   --since \"$(systemctl show --property ActiveEnterTimestamp --value traefik)\" \
                   | sed 's/.*> //' | tail -n 1";
    let traefik = lab.sh(102, journal).expect("a journal");
    assert!(traefik.contains("established with docker"), "Traefik is let in since its restart: {traefik:?}");
    format!(
        "pve1# {ping}\nOK\n\n1001# {context}\n{version}\n1001# {client}\n{containers}\n\
         102# journalctl --unit traefik --output cat --grep 'Provider connection established' | tail -n 1\n{traefik}"
    )
}

fn on_host(lab: &Lab, line: &str) -> String {
    lab.run(&["sh", "-c", line]).expect("it runs").succeeded().expect(line).stdout
}

fn typed(lab: &Lab, line: &str) -> String {
    format!("pve1# {line}\n{}\n\n", on_host(lab, line).trim_end())
}

/// What `pinion ensure` told.
struct Renewed {
    /// When each placement was at its goal.
    reached: BTreeMap<String, Duration>,
    took: Duration,
}

fn timed(lab: &Lab, words: &[&str]) -> Renewed {
    let began = Instant::now();
    let mut command = lab.command("pinion");
    let mut child = command.args(words).stderr(Stdio::piped()).stdin(Stdio::null()).spawn().expect("it starts");
    let (mut reached, mut text) = (BTreeMap::new(), String::new());
    for line in BufReader::new(child.stderr.take().expect("a pipe")).lines() {
        let line = line.expect("text");
        text += &format!("+{:.2}s {line}\n", began.elapsed().as_secs_f64());
        if let Some((placement, _)) = line.split_once(": ").filter(|(_, rest)| rest.contains("(serial ")) {
            reached.insert(placement.to_owned(), began.elapsed());
        }
    }
    assert!(child.wait().expect("it ends").success(), "{text}");
    println!("{text}");
    Renewed { reached, took: began.elapsed() }
}

fn table(status: &StatusJson, renewed: &Renewed) -> String {
    let manifest = whole::manifest();
    let recipe = |name: &str, guest: &str| {
        let certificates = manifest["certificates"].as_array().expect("certificates");
        let certificate = certificates.iter().find(|certificate| certificate["name"] == name).expect("it is there");
        let placements = certificate["placements"].as_array().expect("placements");
        let placement = placements.iter().find(|placement| placement["guest"].as_u64() == guest.parse().ok());
        placement.unwrap_or(&placements[0])["recipe"].as_str().expect("a recipe").to_owned()
    };
    let row = |placement: &PlacementJson| {
        let (name, guest) = placement.placement.split_once('@').expect("a placement is a name and a guest");
        let goal = if placement.stage == Stage::Served { "served" } else { "reloaded" };
        let took = renewed.reached[&placement.placement].as_secs_f64();
        format!("| `{}` | {} | {goal} | {took:.2} s |\n", recipe(name, guest), placement.placement)
    };
    let rows: String = status.placements.iter().map(row).collect();
    format!("| recipe | placement | goal | after |\n|---|---|---|---|\n{rows}")
}
