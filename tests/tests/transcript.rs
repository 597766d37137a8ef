//! Makes `docs/transcript.md`: what an operator types, and what real programs answer.
//!
//! Each line is run by a shell just as it is shown; only `pinion` stands for `pinion --root DIRECTORY`.
//! The text lands in `target/transcript.md` and `target/transcript-status.md`. These two and then `target/lab-reload.md`,
//! which the lab's `reload_fails` leaves, are the new one in `docs/`.

use std::{fs, path::Path, process::Command};

use pinion_tests::{
    ca::StepCa,
    docker::Docker,
    guest::Guest,
    host::{Host, HostOptions},
    nginx::Nginx,
    process::run,
    program, site,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

const NGINX: &str = "nginx.internal.example";
const DOCKER: &str = "docker.internal.example";

/// A shell in a directory of its own, and what was said so far.
struct Shell {
    directory: tempfile::TempDir,
    text: String,
}

impl Shell {
    fn new(host: &Host) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let pinion = program::own("pinion").expect("pinion is built");
        let wrapper = format!("#!/bin/sh\nexec {} --root {} \"$@\"\n", pinion.display(), host.root().display());
        executable(&directory.path().join("pinion"), &wrapper);
        Self { directory, text: String::new() }
    }

    /// Runs a line, and writes it and its output down.
    fn run(&mut self, line: &str) -> String {
        let mut command = Command::new("sh");
        let own = [self.directory.path(), program::found("step-ca").expect("step-ca").parent().expect("a directory")]
            .map(|path| path.display().to_string())
            .join(":");
        let path = format!("{own}:{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        command.env("PATH", path).env("DOCKER_CONFIG", self.directory.path());
        command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT").current_dir(self.directory.path());
        // As on a terminal, where both outputs come in their order.
        let finished = run(command.args(["-c", &format!("exec 2>&1\n{line}")]), b"", PATIENCE);
        let finished = finished.and_then(|finished| finished.succeeded()).expect(line);
        let lines: Vec<_> = finished.stdout.lines().map(str::trim_end).collect();
        let output = lines.join("\n");
        self.text += &format!("$ {line}\n{output}\n\n");
        output
    }

    /// What was said since the last time, as a block of Markdown.
    fn block(&mut self) -> String {
        format!("```console\n{}\n```\n", std::mem::take(&mut self.text).trim_end())
    }
}

fn executable(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("executable");
}

/// `VERSION` of `words VERSION words`, as far as it begins with a digit.
fn version(text: &str) -> &str {
    let word = text.split([' ', '/', ',', '\n']).find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    word.expect("a program tells its version")
}

/// step-ca's version; one that was built with `go install` knows it only as its module's, which Go keeps in the
/// program (`go version -m`).
fn step_ca_version() -> String {
    const MODULE: &[u8] = b"mod\tgithub.com/smallstep/certificates\tv";
    let program = fs::read(program::found("step-ca").expect("step-ca is installed")).expect("it can be read");
    let start = program.windows(MODULE.len()).position(|window| window == MODULE).expect("it is a Go program");
    let rest = &program[start + MODULE.len()..];
    rest.iter().take_while(|byte| !byte.is_ascii_whitespace()).map(|byte| char::from(*byte)).collect()
}

#[test]
fn what_status_says_openssl_and_docker_see() {
    let ca = StepCa::start().expect("step-ca is installed");
    let mut options = HostOptions::step_ca(ca.issuer().expect("a root"), &json!([]));
    options.guests = [("gateway".to_owned(), 101), ("docker-1".to_owned(), 1001)].into();
    let host = Host::start(&options).expect("a host");
    let (gateway, guest) = (Guest::join(&host, 101).expect("a guest"), Guest::join(&host, 1001).expect("a guest"));
    let (certificate, key) = (format!("/etc/nginx/ssl/{NGINX}.crt"), format!("/etc/nginx/ssl/{NGINX}.key"));
    let nginx = Nginx::install(&gateway, &certificate, &key).expect("nginx is installed");
    let docker = Docker::install(&guest, "/etc/docker/tls").expect("docker.io is installed");
    let client = json!({ "guest": 1001, "files": {
        "fullchain": { "path": "/etc/ssl/client/cert.pem" }, "key": { "path": "/etc/ssl/client/key.pem" },
        "ca": { "path": "/etc/ssl/client/ca.pem" } } });
    let manifest = json!({ "version": 1, "defaults": { "issuer": "step-ca" }, "certificates": [
        { "name": "gateway", "common_name": NGINX, "placements": [nginx.placement(&gateway)] },
        { "name": "docker", "common_name": DOCKER, "sans": ["127.0.0.1"], "placements": [docker.placement(&guest)] },
        { "name": "docker-client", "common_name": "client.internal.example", "placements": [client] },
    ]});
    host.write_manifest(&manifest).expect("written");
    host.ensure(&[], "installed").expect("installed");
    nginx.unit().start().expect("nginx starts");
    docker.unit().start().expect("dockerd starts");
    host.ensure(&[], "served").expect("served");

    let mut shell = Shell::new(&host);
    fs::copy(ca.root_file(), shell.directory.path().join("root_ca.crt")).expect("copied");
    std::os::unix::fs::symlink(guest.path("/etc/ssl/client"), shell.directory.path().join("client")).expect("linked");

    let date = shell.run("date -u +%F");
    let versions = ["nginx -v", "dockerd --version", "docker --version", "openssl version"].map(|line| shell.run(line));
    let [nginx_version, dockerd, docker_cli, openssl] = versions.each_ref().map(|text| version(text));
    let step_ca = step_ca_version();
    let head = format!(
        "# A transcript\n\n\
         Made on {date} with step-ca {step_ca}, nginx {nginx_version}, dockerd {dockerd}, docker {docker_cli} and openssl {openssl}, by\n\
         `cargo test -p pinion-tests --test transcript`, which runs these very lines and leaves what they print in\n\
         `target/transcript.md`. All programs are real. `pinion` was called with `--root DIRECTORY`, as every test does,\n\
         and the two guests are directories, each with an agent of its own; nginx is in one, dockerd in the other.\n\
         `client/` is where Pinion keeps a client's certificate for dockerd, `root_ca.crt` is step-ca's root.\n\n"
    );
    shell.text.clear();
    let before = shell.run("pinion status --wide");
    let status = shell.block();
    shell.run("pinion ensure --renew --until served");
    let after = shell.run("pinion status --wide");
    let renewed = shell.block();
    let mut serials = Vec::new();
    for (name, address) in [(NGINX, nginx.address()), (DOCKER, docker.address())] {
        let verdict = shell.run(&format!(
            "openssl s_client -connect {address} -servername {name} -verify_hostname {name} \\\n    \
             -CAfile root_ca.crt </dev/null 2>/dev/null | tee seen.txt | grep -m 2 ^Verif"
        ));
        assert!(verdict.contains("Verification: OK"), "{verdict}");
        let seen = shell.run("openssl x509 -noout -subject -serial -enddate -in seen.txt");
        let serial = seen.lines().find_map(|line| line.strip_prefix("serial=")).expect("openssl prints it").to_owned();
        assert!(after.contains(&serial) && !before.contains(&serial), "{serial} in\n{after}");
        serials.push(serial);
    }
    let looked = shell.block();
    let answer = shell.run(&format!(
        "docker --tlsverify --tlscacert client/ca.pem --tlscert client/cert.pem --tlskey client/key.pem \\\n    \
         -H tcp://{} version",
        docker.address()
    ));
    assert!(answer.contains("Server"), "{answer}");
    let docker_block = shell.block();

    let text = format!(
        "{head}## Before\n\n{status}\n## A renewal, to the end\n\n{renewed}\n\
         ## What the services show\n\nThe serial numbers are those of `pinion status --wide`, and the chain verifies under step-ca's root.\n\n\
         {looked}\n## What docker says to it\n\n{docker_block}"
    );
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in target/");
    fs::write(target.join("transcript.md"), text).expect("the transcript is written");
}

/// A placement whose files are all there is to it.
fn files_alone(name: &str, directory: &str, issuer: &str) -> Value {
    json!({ "name": name, "common_name": format!("{name}.internal.example"), "issuer": issuer, "placements": [{ "guest": 101,
        "files": { "fullchain": { "path": format!("{directory}/{name}.crt") },
                   "key": { "path": format!("{directory}/{name}.key") } } }] })
}

#[test]
fn what_status_says_of_many_and_what_one_placement_and_a_recipe_are() {
    let mut ca = StepCa::start().expect("step-ca is installed");
    let mut options = HostOptions::step_ca(ca.issuer().expect("a root"), &json!([]));
    options.guests = [("gateway".to_owned(), 101)].into();
    let host = Host::start(&options).expect("a host");
    let gateway = Guest::join(&host, 101).expect("a guest");
    let (certificate, key) = (format!("/etc/nginx/ssl/{NGINX}.crt"), format!("/etc/nginx/ssl/{NGINX}.key"));
    let nginx = Nginx::install(&gateway, &certificate, &key).expect("nginx is installed");
    let mut all: Vec<Value> =
        (1..20).map(|number| files_alone(&format!("app-{number:02}"), "/etc/ssl/apps", "embedded")).collect();
    all.push(json!({ "name": "gateway", "common_name": NGINX, "placements": [nginx.placement(&gateway)] }));
    host.write_manifest(&site::manifest(json!(all))).expect("written");
    host.ensure(&[], "installed").expect("installed");
    nginx.unit().start().expect("nginx starts");
    host.ensure(&["gateway"], "served").expect("served");
    // One whose CA ends in a moment, one whose service's package is not there yet, and one that the guest does not allow.
    ca.renew_intermediate("0s", "20s").expect("it ends soon");
    all.push(files_alone("old", "/etc/ssl/old", "step-ca"));
    all.push(json!({ "name": "mqtt", "common_name": "mqtt.internal.example",
        "placements": [{ "guest": 101, "recipe": "mosquitto" }] }));
    all.push(files_alone("vault", "/srv/vault", "embedded"));
    host.write_manifest(&site::manifest(json!(all))).expect("written");
    let told = wait::until("one to expire, one to be blocked and one to wait", 2 * PATIENCE, || {
        let told = host.pinion(&["status"]).map_err(|error| format!("{error:#}"))?.stdout;
        let row = |words: [&str; 2]| told.lines().any(|line| words.iter().all(|word| line.contains(word)));
        let all = row(["expired", "old@101"]) && row(["vault@101", "(blocked)"]) && row(["mqtt@101", "(waiting)"]);
        if all { Ok(told) } else { Err(told) }
    });
    let told = told.unwrap_or_else(|error| panic!("{error:#}"));
    let table = told.lines().take_while(|line| !line.is_empty());
    assert!(table.clone().count() == 24 && table.clone().all(|line| line.chars().count() <= 80), "{told}");

    let mut shell = Shell::new(&host);
    let agent = program::own("pinion-agent").expect("pinion-agent is built");
    let wrapper = format!("#!/bin/sh\nexec {} --root {} \"$@\"\n", agent.display(), gateway.root().display());
    executable(&shell.directory.path().join("pinion-agent"), &wrapper);
    shell.run("pinion status");
    let status = shell.block();
    shell.run("pinion show gateway");
    let shown = shell.block();
    shell.run(&format!("pinion-agent recipe show nginx --common-name {NGINX}"));
    let recipe = shell.block();
    let text = format!(
        "\n## Many placements\n\n\
         By the same tests, which leave it in `target/transcript-status.md`: another host, with one guest. One certificate\n\
         has expired with its CA, one is at a path that the guest does not allow, and one waits for the group of its\n\
         service; twenty are as they should be.\n\n{status}\n## One placement\n\n{shown}\n## A recipe\n\n{recipe}"
    );
    let text = text.replace(&gateway.root().display().to_string(), "");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in target/");
    fs::write(target.join("transcript-status.md"), text).expect("the transcript is written");
}
