//! What Pinion does, shown in a minute: `cargo xtask demo` builds and runs this.
//!
//! Everything is real (controller, agents, services, certificates) and drives the command lines that an
//! operator has; only the hypervisor and the guests' root directories are temporary directories.
#![allow(clippy::print_stdout, reason = "a command line program")]

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context, Result, bail};
use pinion_proto::stage::Stage;
use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    interrupt, look,
    nginx::Nginx,
    program,
    status::PlacementJson,
    tls_server::TlsServer,
};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let mut show = Show { start: Instant::now(), served: 0 };
    // Everything that was started ends inside, when its value is dropped, whether this went well or not.
    let shown = interrupt::watch().context("watch for Ctrl-C").and_then(|()| show.run());
    let failed = match shown {
        Ok(()) => 0,
        Err(_) if interrupt::requested() => {
            println!("demo: interrupted; everything is stopped and removed");
            // As shells tell of Ctrl-C.
            return ExitCode::from(130);
        }
        Err(error) => {
            show.say("demo", &format!("this went wrong: {error:#}"));
            (PLACEMENTS.len() - show.served).max(1)
        }
    };
    println!("demo: {} placements served, {failed} failed", PLACEMENTS.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The two placements that are shown.
const PLACEMENTS: [&str; 2] = ["web@1001", "gateway@1002"];

struct Show {
    start: Instant,
    served: usize,
}

impl Show {
    fn run(&mut self) -> Result<()> {
        let mut first = Guest::prepare("1001", &GuestOptions::default())?;
        let mut second = Guest::prepare("1002", &GuestOptions::default())?;
        let web = Site::web(&first)?;
        let gateway = Site::gateway(&second)?;
        let certificates = json!([
            { "name": "web", "common_name": web.name, "placements": [web.placement] },
            { "name": "gateway", "common_name": gateway.name, "placements": [gateway.placement] },
        ]);
        let sites = [&web, &gateway];
        for site in sites {
            site.service.start_early()?;
            self.say(&site.guest, &format!("{} on {}: {}", site.service.what(), site.address, site.service.state()));
        }

        let mut host = Host::start(&HostOptions::embedded(&certificates))?;
        self.say("controller", &format!("`pinion serve` answers; agents dial {}", host.address()));
        self.say("controller", &format!("its /etc and /var are in {}", host.root().display()));
        self.say("controller", "the manifest asks for two certificates; the embedded CA signs them");
        for guest in [&mut first, &mut second] {
            self.join(&host, guest)?;
        }
        self.say("operator", "$ pinion ensure --until installed");
        host.ensure(&[], "installed")?;
        for site in sites {
            self.say(&site.guest, &format!("key made here, certificate installed: {}", site.fullchain.display()));
            site.service.start_late()?;
        }
        self.say("operator", "$ pinion ensure --until served");
        host.ensure(&[], "served")?;
        let issued = self.look_at(&host, &sites)?;
        self.served = issued.len();

        self.say("operator", "$ pinion ensure --renew --until served");
        host.renew(&[], "served")?;
        let renewed = self.look_at(&host, &sites)?;
        if issued.iter().zip(&renewed).any(|(old, new)| old == new) {
            bail!("a renewal left the certificate as it was");
        }

        self.say("operator", "stopping the controller and both agents");
        host.stop()?;
        first.stop()?;
        second.stop()?;
        for (site, serial) in sites.iter().zip(&renewed) {
            let leaf = look::wait_served(site.address, site.name, &site.ca, serial)?;
            self.say(&site.guest, &format!("nobody minds: still serving serial {}", short(leaf.serial())));
        }
        host.start_again()?;
        first.start()?;
        second.start()?;
        first.wait_linked(&host)?;
        second.wait_linked(&host)?;
        self.say("controller", "all started again, both links are up");
        host.ensure(&[], "served")?;
        if self.look_at(&host, &sites)? != renewed {
            bail!("a restart made new certificates");
        }
        self.say("controller", "nothing was issued anew: the same serials as before");
        Ok(())
    }

    fn join(&self, host: &Host, guest: &mut Guest) -> Result<()> {
        let name = guest.name().to_owned();
        self.say("operator", &format!("$ pinion token create --guest {name}   (good once, for 10 minutes)"));
        let token = host.token(&name)?;
        let who = format!("guest {name}");
        self.say(&who, "$ pinion-agent join   (the token comes on standard input)");
        guest.join_with(&token)?.succeeded()?;
        guest.start()?;
        guest.wait_linked(host)?;
        self.say(&who, "`pinion-agent run` has its identity and its link; its / is the directory");
        self.say(&who, &guest.root().display().to_string());
        Ok(())
    }

    /// What `pinion status` says, and what a client sees that trusts the CA; the serial numbers.
    fn look_at(&self, host: &Host, sites: &[&Site; 2]) -> Result<Vec<String>> {
        let status = host.status()?;
        let mut serials = Vec::new();
        for (site, name) in sites.iter().zip(PLACEMENTS) {
            let placement = status.placement(name).with_context(|| format!("{name} is not in the status"))?;
            if placement.stage != Stage::Served {
                bail!("{name} was served and is {} now: {:?}", placement.stage, placement.trouble);
            }
            let serial = placement.serial.clone().with_context(|| format!("{name} has no serial number"))?;
            self.say("controller", &told(placement, &serial));
            look::wait_served(site.address, site.name, &site.ca, &serial)?;
            let seen =
                format!("https://{} ({}) shows serial {} and is trusted", site.name, site.address, short(&serial));
            self.say("a client", &seen);
            serials.push(serial);
        }
        Ok(serials)
    }

    fn say(&self, who: &str, what: &str) {
        println!("{:>+7.2}s  {who:<10}  {what}", self.start.elapsed().as_secs_f64());
    }
}

fn told(placement: &PlacementJson, serial: &str) -> String {
    let until = placement.not_after.map_or_else(String::new, |at| format!(", valid until {at}"));
    let renew = placement.renew_at.map_or_else(String::new, |at| format!(", renewed at {at}"));
    format!("{} is {}: serial {}{until}{renew}", placement.placement, placement.stage, short(serial))
}

/// Enough of a serial number to tell two apart.
fn short(serial: &str) -> &str {
    serial.get(..12).unwrap_or(serial)
}

/// A service in a guest, and what is asked for it.
struct Site {
    guest: String,
    name: &'static str,
    address: SocketAddr,
    placement: Value,
    fullchain: PathBuf,
    ca: PathBuf,
    service: Service,
}

enum Service {
    Small(TlsServer),
    Nginx(Nginx),
}

impl Site {
    /// The small server of the harness, which cannot start before its certificate is there.
    fn web(guest: &Guest) -> Result<Self> {
        Self::small(guest, "web.internal.example")
    }

    /// nginx where the machine has it, as the shipped recipe wants it; else another small server.
    fn gateway(guest: &Guest) -> Result<Self> {
        let name = "gateway.internal.example";
        if program::found("nginx").is_err() {
            return Self::small(guest, name);
        }
        let (fullchain, key) = (format!("/etc/nginx/ssl/{name}.crt"), format!("/etc/nginx/ssl/{name}.key"));
        let ca = "/etc/nginx/ssl/root.crt";
        let nginx = Nginx::install(guest, &fullchain, &key)?;
        Nginx::place_snakeoil(guest, &fullchain, &key)?;
        let mut placement = nginx.placement(guest);
        placement["files"] = json!({ "ca": { "path": ca } });
        Ok(Self {
            guest: format!("guest {}", guest.name()),
            name,
            address: nginx.address(),
            placement,
            fullchain: guest.path(&fullchain),
            ca: guest.path(ca),
            service: Service::Nginx(nginx),
        })
    }

    fn small(guest: &Guest, name: &'static str) -> Result<Self> {
        let fullchain = format!("/etc/pinion/certs/{name}.crt");
        let server = TlsServer::install(guest, &fullchain, &format!("/etc/pinion/certs/{name}.key"))?;
        Ok(Self {
            guest: format!("guest {}", guest.name()),
            name,
            address: server.address(),
            placement: server.placement(guest, "reload"),
            fullchain: guest.path(&fullchain),
            ca: guest.path(&server.ca()),
            service: Service::Small(server),
        })
    }
}

impl Service {
    fn what(&self) -> &'static str {
        match self {
            Self::Small(_) => "a small TLS server",
            Self::Nginx(_) => "nginx",
        }
    }

    fn state(&self) -> &'static str {
        match self {
            Self::Small(_) => "cannot start yet, it has no certificate",
            Self::Nginx(_) => "runs with a self-signed pair that nobody trusts",
        }
    }

    fn start_early(&self) -> Result<()> {
        match self {
            Self::Small(_) => Ok(()),
            Self::Nginx(nginx) => nginx.unit().start(),
        }
    }

    fn start_late(&self) -> Result<()> {
        match self {
            Self::Small(server) => server.unit().start(),
            Self::Nginx(_) => Ok(()),
        }
    }
}
