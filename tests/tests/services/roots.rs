//! A real step-ca gets another root while nginx and dockerd serve: nobody who trusts what Pinion gave fails.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use pinion_proto::bundle::Fingerprint;
use pinion_tests::{
    ca::StepCa,
    docker::Docker,
    guest::Guest,
    host::{Host, HostOptions, StepCaIssuer},
    look::{self, Refused},
    nginx::Nginx,
    wait::{self, PATIENCE},
};
use serde_json::json;

const NGINX: &str = "nginx.internal.example";
const DOCKER: &str = "docker.internal.example";
const STORE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The machine's own program on the guest's directories: it takes them as arguments.
fn install_store(guest: &Guest) {
    let path = |inside: &str| guest.path(inside).display().to_string();
    for directory in ["/usr/local/share/ca-certificates", "/etc/ssl/certs", "/usr/share/ca-certificates", "/hooks"] {
        fs::create_dir_all(guest.path(directory)).expect("a directory");
    }
    guest.write("etc/ca-certificates.conf", "").expect("written");
    let script = format!(
        "#!/bin/sh\nexec /usr/sbin/update-ca-certificates --certsconf {} --certsdir {} --localcertsdir {} \
         --etccertsdir {} --hooksdir {}\n",
        path("/etc/ca-certificates.conf"),
        path("/usr/share/ca-certificates"),
        path("/usr/local/share/ca-certificates"),
        path("/etc/ssl/certs"),
        path("/hooks"),
    );
    guest.write("usr/sbin/update-ca-certificates", &script).expect("written");
    let program = guest.path("/usr/sbin/update-ca-certificates");
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).expect("executable");
}

/// Somebody who shakes hands over and over.
struct Client {
    stop: Arc<AtomicBool>,
    handshakes: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<String>>,
}

impl Client {
    /// Until it is stopped; what it trusts, and who it is, is read anew each time.
    fn start(what: &'static str, ask: impl Fn() -> Result<(), Refused> + Send + 'static) -> Self {
        let (stop, handshakes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (stop.clone(), handshakes.clone());
        let thread = thread::spawn(move || {
            let mut failed = Vec::new();
            while !stopped.load(SeqCst) {
                match ask() {
                    Ok(()) => drop(counted.fetch_add(1, SeqCst)),
                    // A daemon that is being restarted is away; that is no failed handshake.
                    Err(Refused::Away(_)) => {}
                    Err(Refused::Distrusted(why)) => failed.push(format!("{what}: {why}")),
                }
                thread::sleep(Duration::from_millis(3));
            }
            failed
        });
        Self { stop, handshakes, thread }
    }

    fn count(&self) -> usize {
        self.handshakes.load(SeqCst)
    }

    fn end(self) {
        self.stop.store(true, SeqCst);
        let failed = self.thread.join().expect("the client ends");
        assert!(failed.is_empty(), "{} of them failed, the first: {:?}", failed.len(), failed.first());
    }
}

struct Site {
    // In the order in which they end: services before their guest, everything before the CA.
    nginx: Nginx,
    docker: Docker,
    guest: Guest,
    host: Host,
    ca: StepCa,
}

impl Site {
    fn served() -> Self {
        let ca = StepCa::start().expect("step-ca is installed");
        let issuer = StepCaIssuer { roots_every: Some(Duration::from_millis(200)), ..ca.issuer().expect("a root") };
        let host = Host::start(&HostOptions::step_ca(issuer, &json!([]))).expect("a host");
        let guest = Guest::join(&host, 1001).expect("a guest");
        install_store(&guest);
        let (certificate, key) = (format!("/etc/nginx/ssl/{NGINX}.crt"), format!("/etc/nginx/ssl/{NGINX}.key"));
        let nginx = Nginx::install(&guest, &certificate, &key).expect("nginx is installed");
        let docker = Docker::install(&guest, "/etc/docker/tls").expect("docker.io is installed");
        let site = Self { nginx, docker, guest, host, ca };
        site.host
            .write_manifest(&json!({ "version": 1, "defaults": { "issuer": "step-ca" }, "certificates": [
                { "name": "nginx", "common_name": NGINX, "placements": [site.nginx.placement(&site.guest)] },
                { "name": "docker", "common_name": DOCKER, "sans": ["127.0.0.1"],
                  "placements": [site.docker.placement(&site.guest)] },
                { "name": "client", "common_name": "client.internal.example", "placements": [{ "guest": 1001, "layout": "symlink", "files": {
                    "fullchain": { "path": "/etc/ssl/client/cert.pem" },
                    "key": { "path": "/etc/ssl/client/key.pem" },
                    "ca": { "path": "/etc/ssl/client/ca.pem" } } }] },
                { "name": "roots", "trust": true, "placements": [{ "guest": 1001, "recipe": "ca-certificates" }] },
            ]}))
            .expect("the manifest is written");
        site.host.ensure(&[], "installed").expect("everything is installed");
        site.nginx.unit().start().expect("nginx starts");
        site.docker.unit().start().expect("dockerd starts");
        site.host.ensure(&[], "served").expect("everything is served");
        site
    }

    /// Who asks nginx by the system's store, and dockerd by the files beside its own certificate.
    fn clients(&self) -> (Client, Client) {
        let (address, store) = (self.nginx.address(), self.guest.path(STORE));
        let web = Client::start("nginx", move || look::accepted(address, NGINX, &store, None));
        let (address, file) = (self.docker.address(), self.guest.path("/etc/ssl/client/cert.pem"));
        let daemon = Client::start("dockerd", move || {
            // One generation, as who wants a whole one reads it.
            let real = fs::canonicalize(&file).map_err(|e| Refused::Away(e.to_string()))?;
            let pair = real.parent().ok_or_else(|| Refused::Away("no directory".into()))?;
            look::accepted(address, DOCKER, &pair.join("ca.pem"), Some(pair))
        });
        (web, daemon)
    }

    /// Waits until both have shaken hands some more times.
    fn asked_more(clients: &(Client, Client)) {
        for client in [&clients.0, &clients.1] {
            let before = client.count();
            wait::until("the clients to have asked", PATIENCE, || {
                let more = client.count() - before;
                if more > 10 { Ok(()) } else { Err(format!("{more} handshakes")) }
            })
            .expect("they ask");
        }
    }

    fn wait_roots(&self, placement: &str, wanted: &[Fingerprint]) {
        wait::until(&format!("{placement} to have {wanted:?}"), PATIENCE, || {
            let status = self.host.status().map_err(|e| format!("{e:#}"))?;
            let found = status.placement(placement).ok_or("it is not there")?;
            let there = found.trouble.is_none() && Some(found.stage) >= found.goal;
            let has = found.roots.len() == wanted.len() && wanted.iter().all(|root| found.roots.contains(root));
            if there && has { Ok(()) } else { Err(format!("{:?} {:?} {:?}", found.stage, found.roots, found.trouble)) }
        })
        .expect("it has them");
    }

    fn certificates_in(&self, file: &Path) -> Vec<Fingerprint> {
        let pem = fs::read_to_string(file).expect("it can be read");
        let certificates = pinion_proto::bundle::certificates_from_pem(&pem).expect("PEM");
        certificates.iter().map(|der| Fingerprint::of(der)).collect()
    }

    fn store(&self) -> PathBuf {
        self.guest.path(STORE)
    }
}

#[test]
fn a_root_is_replaced_and_no_client_that_trusts_what_it_was_given_fails() {
    let mut site = Site::served();
    let old = site.ca.fingerprint().expect("a root");
    site.wait_roots("roots@1001", &[old]);
    assert_eq!(site.certificates_in(&site.store()), [old]);
    let clients = site.clients();
    Site::asked_more(&clients);

    let new = site.ca.announce_new_root().expect("a new root");
    let serials = |site: &Site| {
        let status = site.host.status().expect("a status");
        ["nginx@1001", "docker@1001", "client@1001"].map(|name| status.placement(name).expect("there").serial.clone())
    };
    let before = serials(&site);
    for placement in ["roots@1001", "docker@1001", "client@1001"] {
        site.wait_roots(placement, &[old, new]);
    }
    assert_eq!(serials(&site), before, "roots come without a new certificate");
    assert_eq!(site.certificates_in(&site.store()).len(), 2);
    Site::asked_more(&clients);

    site.ca.sign_under_new_root().expect("it signs under the new root");
    let finished = site.host.pinion(&["ensure", "--renew", "--until", "served"]).expect("pinion runs");
    finished.succeeded().expect("everything is renewed under the new root");
    assert!(serials(&site).iter().zip(&before).all(|(now, before)| now != before));
    Site::asked_more(&clients);

    site.ca.give_up_old_root().expect("it has the new root alone");
    for placement in ["roots@1001", "docker@1001", "client@1001"] {
        site.wait_roots(placement, &[new]);
    }
    assert_eq!(site.certificates_in(&site.store()), [new]);
    let finished = site.host.pinion(&["ensure", "--renew", "--until", "served"]).expect("pinion runs");
    finished.succeeded().expect("the CA is known by its new root");
    Site::asked_more(&clients);
    clients.0.end();
    clients.1.end();

    let events = site.host.pinion(&["events"]).expect("pinion runs").succeeded().expect("events").stdout;
    for words in [
        format!("step-ca has a new root {new}"),
        format!("step-ca signs under root {new} from now on"),
        format!("step-ca no longer uses root {old}"),
    ] {
        assert!(events.contains(&words), "{words} in\n{events}");
    }
    let check = site.host.pinion(&["issuer", "check"]).expect("pinion runs");
    assert!(
        check.to_string().contains(&format!("set `fingerprint` of [issuers.step-ca] in controller.toml to {new}")),
        "{check}"
    );
}

#[test]
fn nothing_is_signed_under_a_new_root_while_a_guest_has_not_got_it() {
    let mut site = Site::served();
    let old = site.ca.fingerprint().expect("a root");
    // The guest's store cannot be made for now.
    let program = site.guest.path("/usr/sbin/update-ca-certificates");
    let whole = fs::read(&program).expect("the program");
    fs::write(&program, "#!/bin/sh\necho 'no space' >&2\nexit 1\n").expect("written");
    let new = site.ca.announce_new_root().expect("a new root");
    site.wait_roots("client@1001", &[old, new]);
    site.ca.sign_under_new_root().expect("it signs under the new root");
    let before = look::served(site.nginx.address(), NGINX, &site.ca.root_file()).expect("served");
    let renewal = site.host.pinion(&["ensure", "nginx", "--renew", "--until", "served", "--timeout", "3s"]);
    let renewal = renewal.expect("pinion runs");
    let plan = wait::until("the plan to say what is waited for", PATIENCE, || {
        let plan = site.host.pinion(&["plan"]).map_err(|e| format!("{e:#}"))?.stdout;
        if plan.contains("Pinion orders nothing before that root is at") { Ok(plan) } else { Err(plan) }
    });
    let plan = plan.expect("a plan");
    let now = look::served(site.nginx.address(), NGINX, &site.ca.root_file()).expect("the old one is served");
    assert_eq!(now, before, "{renewal}\n{plan}");
    assert_eq!(renewal.code(), 3, "{renewal}");
    for words in [format!("step-ca signs under the new root {new}"), "roots@1001".to_owned()] {
        assert!(plan.contains(&words), "{words} in\n{plan}");
    }

    fs::write(&program, whole).expect("written");
    site.host.ensure(&["nginx"], "served").expect("it continues by itself");
    let root = site.ca.new_root().expect("the new root");
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), pinion_proto::bundle::certificates_to_pem([root.der()])).expect("written");
    // An old worker of nginx may take a connection for a moment after the reload.
    let served = wait::until("nginx to serve under the new root", PATIENCE, || {
        look::served(site.nginx.address(), NGINX, file.path()).map(drop).map_err(|e| format!("{e:#}"))
    });
    served.expect("served under the new root");
}
