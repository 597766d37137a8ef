//! `pinion discover` among real mail and database servers, which turn to TLS when they are asked to, and among listeners that
//! misbehave.
//!
//! Each server has the port that is registered for it, at an address of this process's own. The kernel's tables are those of
//! the machine, as far as they are of that address.

use std::{
    collections::BTreeSet,
    fs,
    io::{ErrorKind, Write as _},
    net::{SocketAddr, TcpListener},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pinion_proto::listeners::{TABLES, holders, listening};
use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::Host,
    port::Port,
    postgresql,
    process::Finished,
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

use super::{
    daemons::{self, give},
    several::place,
};

/// More than are asked.
const MANY: usize = 70;

/// Where the test may listen, and what must not be connected to there.
const LEFT_ALONE: [u16; 7] = [22, 502, 515, 631, 5900, 9100, 44818];

/// What a listener does with who connects.
#[derive(Clone, Copy)]
enum Manner {
    /// Neither reads nor writes.
    Hang,
    /// Sends zeros without end.
    Flood,
    /// Ends the connection.
    Close,
}

/// A listener that misbehaves; it ends with its value.
struct Listener {
    address: SocketAddr,
    /// How many connections were made to it, and how many bytes of it were taken.
    connections: Arc<AtomicUsize>,
    taken: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Listener {
    fn start(address: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind(address).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (connections, taken) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let is_over = Arc::<AtomicBool>::default();
        let seen = (connections.clone(), taken.clone(), is_over.clone());
        let accepting = thread::spawn(move || {
            let (connections, taken, is_over) = seen;
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept() {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                connections.fetch_add(1, Ordering::SeqCst);
                match manner {
                    Manner::Close => drop(stream),
                    Manner::Hang => held.push(stream),
                    Manner::Flood => {
                        while let Ok(written) = stream.write(&[0; 65536]) {
                            taken.fetch_add(written, Ordering::SeqCst);
                        }
                    }
                }
            }
        });
        Self { address, connections, taken, is_over, accepting: Some(accepting) }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes it.
        drop(std::net::TcpStream::connect(self.address));
        self.accepting.take().map(JoinHandle::join);
    }
}

/// A pair that nobody manages, for this name.
fn make_pair(guest: &Guest, name: &str, (certificate, key): daemons::Pair) {
    let pair = KeyPair::generate().expect("a key");
    let signed = CertificateParams::new(vec![name.to_owned()]).expect("a name").self_signed(&pair).expect("signed");
    guest.write(certificate, &signed.pem()).expect("written");
    guest.write(key, &pair.serialize_pem()).expect("written");
    fs::set_permissions(guest.path(key), fs::Permissions::from_mode(0o600)).expect("closed");
}

/// Shows the agent what the kernel says of this address, and the processes that listen there.
fn show(guest: &Guest, of: SocketAddr) {
    let SocketAddr::V4(of) = of else { panic!("{of}") };
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let ip = format!(" {:08X}:", u32::from_ne_bytes(of.ip().octets()));
    let lines: String = table.lines().filter(|line| line.contains(&ip)).map(|line| format!("{line}\n")).collect();
    guest.write("/proc/net/tcp", &lines).expect("written");
    let all = listening(&Path::new("/").join(TABLES[0])).expect("the kernel's table");
    let inodes: BTreeSet<u64> = all.iter().filter(|it| it.address.ip() == *of.ip()).map(|it| it.inode).collect();
    let own = std::process::id();
    for holder in holders(Path::new("/"), &inodes).into_values().filter(|holder| holder.pid != own) {
        let place = guest.path(&format!("/proc/{}", holder.pid));
        if !place.exists() {
            symlink(format!("/proc/{}", holder.pid), place).expect("a link");
        }
    }
}

fn allow_discovery(host: &Host, guest: &mut Guest) {
    let config = guest.read("/etc/pinion/agent.toml").expect("read");
    guest.write("/etc/pinion/agent.toml", &config.replace("[allow]\n", "[allow]\ndiscover = true\n")).expect("written");
    guest.restart().expect("started");
    guest.wait_linked(host).expect("linked");
}

#[test]
fn real_servers_are_asked_for_tls_and_listeners_that_misbehave_hold_nobody_up() {
    let (host, mut guest) = place(&GuestOptions::default());
    let [smtp, imap, pop3, database] =
        [25, 143, 110, 5432].map(|number| Port::registered(number).expect("a registered port"));
    let at = |port: u16| SocketAddr::new(smtp.address().ip(), port);
    let (mail, boxes) = (("/etc/ssl/mail.crt", "/etc/ssl/mail.key"), ("/etc/ssl/boxes.crt", "/etc/ssl/boxes.key"));
    let tables = ("/etc/postgresql/tls/db.internal.example.crt", "/etc/postgresql/tls/db.internal.example.key");
    make_pair(&guest, "mail.old.example", mail);
    make_pair(&guest, "boxes.old.example", boxes);
    make_pair(&guest, "tables.old.example", tables);
    give("postgres", &[&guest.path(tables.1)]).expect("given");
    let servers = [
        daemons::postfix(&guest, mail, &smtp).expect("Postfix is installed"),
        daemons::dovecot(&guest, boxes, &imap, &pop3).expect("Dovecot is installed"),
        postgresql::install(&guest, &database).expect("PostgreSQL is installed"),
    ];
    for server in &servers {
        server.start().unwrap_or_else(|error| panic!("{error:#}\n{}", server.log()));
    }
    let silent: Vec<TcpListener> = LEFT_ALONE.iter().map(|port| TcpListener::bind(at(*port)).expect("bound")).collect();
    let hang = Listener::start(at(7001), Manner::Hang);
    // One that sends before it is asked, where TLS comes at once and where a line comes first.
    let floods = [at(7002), at(587)].map(|address| Listener::start(address, Manner::Flood));
    show(&guest, smtp.address());
    allow_discovery(&host, &mut guest);

    let began = Instant::now();
    let told = host.pinion(&["discover", "--json"]).and_then(Finished::succeeded).expect("it is told");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let document: Value = serde_json::from_str(&told.stdout).expect("a document");
    let listeners = document[0]["examined"]["listeners"].as_array().expect("a list").clone();
    let of = |address: SocketAddr| {
        let found = listeners.iter().find(|it| it["address"] == address.to_string());
        found.cloned().unwrap_or_else(|| panic!("{address}: {document:#}"))
    };
    for (port, starttls, program, name) in [
        (&smtp, "smtp", "master", "mail.old.example"),
        (&imap, "imap", "dovecot", "boxes.old.example"),
        (&pop3, "pop3", "dovecot", "boxes.old.example"),
        (&database, "postgres", "postgres", "tables.old.example"),
    ] {
        let seen = of(port.address());
        let words = [&seen["starttls"], &seen["program"], &seen["shows"]["names"][0]];
        assert_eq!(words, [starttls, program, name], "{seen:#}");
        assert!(seen["shows"]["managed"].is_null() && seen["why_not"] == "", "{seen:#}");
    }
    for (listener, port) in silent.iter().zip(LEFT_ALONE) {
        let why = of(at(port))["why_not"].as_str().unwrap_or_default().to_owned();
        assert!(why.starts_with("never asked: "), "{port}: {why}");
        listener.set_nonblocking(true).expect("set");
        assert_eq!(listener.accept().expect_err("nobody has connected").kind(), ErrorKind::WouldBlock, "{port}");
    }
    assert_eq!((hang.connections(), &of(hang.address)["why_not"]), (1, &"no TLS".into()));
    for (flood, why_not) in floods.iter().zip(["no TLS", "no TLS by smtp"]) {
        assert_eq!((flood.connections(), &of(flood.address)["why_not"]), (1, &why_not.into()));
        // What the sockets of both ends hold, and little more.
        let taken = flood.taken.load(Ordering::SeqCst);
        assert!(taken < 16 * 1024 * 1024, "{taken} bytes");
    }
    planned(&host);

    // More listeners than are asked.
    drop((servers, silent, floods, hang));
    let many: Vec<Listener> = (0..MANY).map(|_| Listener::start(at(0), Manner::Close)).collect();
    show(&guest, smtp.address());
    let told = host.pinion(&["discover", "--json"]).and_then(Finished::succeeded).expect("it is told");
    let asked: usize = many.iter().map(Listener::connections).sum();
    assert_eq!(asked, 64, "{told}");
    assert_eq!(told.stdout.matches("not asked: only the first 64 are").count(), MANY - 64, "{told}");
}

/// What is printed to be pasted is taken as it is.
fn planned(host: &Host) {
    let pasted = host.pinion(&["discover", "--manifest"]).and_then(Finished::succeeded).expect("it is told");
    let file = host.root().join("pasted.json");
    fs::write(&file, &pasted.stdout).expect("written");
    let file = file.display().to_string();
    let checked = host.pinion(&["manifest", "check", &file]).expect("it runs");
    assert!(checked.code() == 0 && checked.stderr.is_empty(), "{checked}\n{pasted}");
    let planned = host.pinion(&["plan", &file, "--json"]).expect("it runs");
    assert!(planned.code() == 0 && planned.stderr.is_empty(), "{planned}\n{pasted}");
    let plan: Value = serde_json::from_str(&planned.stdout).expect("a plan");
    let steps = plan["steps"].as_array().expect("steps").iter();
    let steps: BTreeSet<_> = steps.map(|step| format!("{} {}", step["placement"], step["action"])).collect();
    let expected = ["boxes", "mail", "tables"].map(|name| format!("\"{name}@1001\" \"order\""));
    assert_eq!(steps, BTreeSet::from(expected), "{planned}");
    let manifest: Value = serde_json::from_str(&pasted.stdout).expect("JSON");
    let entries = manifest["certificates"].as_array().expect("a list").iter();
    let recipes: BTreeSet<_> = entries.map(|entry| entry["placements"][0]["recipe"].to_string()).collect();
    assert_eq!(recipes, BTreeSet::from(["dovecot", "postfix", "postgresql"].map(|it| format!("\"{it}\""))), "{pasted}");
}
