//! The root process as the system sees it: what is visible of a token while it is brought in, who is let in, and how it
//! ends. The tools are shell scripts, guests are directories; `pinion channel` is the real one.

use std::{
    env,
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Write},
    os::unix::{
        fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
        net::UnixStream,
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use pinion_controller::{
    channel::{
        client::Client,
        protocol::{Failure, Secret, Target},
    },
    inventory::GuestKind,
};
use pinion_proto::{bundle::RootCertificate, id::Guest, message::JoinSecret, token::JoinToken};
use pinion_tests::{
    host::{Host, HostOptions},
    process::{self, Process},
    wait::{self, PATIENCE},
};
use rustix::{
    fs::OFlags,
    process::{Signal, geteuid},
};
use zeroize::Zeroizing;

/// A host with `pinion channel`.
struct Channel {
    process: Process,
    host: Host,
}

impl Channel {
    /// One that answers this user besides root.
    fn start(user: u32) -> Self {
        let host = Host::prepare(&HostOptions::default()).expect("a host's directory");
        let tools = host.root().join("tools");
        fs::create_dir_all(tools.join("guests")).expect("made");
        for tool in ["pct", "qm"] {
            let script = include_str!("../../../controller/src/channel/tests/hypervisor.sh");
            fs::write(tools.join(tool), script).expect("written");
            fs::set_permissions(tools.join(tool), fs::Permissions::from_mode(0o755)).expect("executable");
        }
        let settings = format!("\n[channel]\nuser = \"{user}\"\ntools = \"{}\"\n", tools.display());
        host.configure(&settings).expect("written");
        Self { process: host.start_channel().expect("it listens"), host }
    }

    fn socket(&self) -> PathBuf {
        self.host.root().join("run/pinion-channel/channel.sock")
    }

    fn tools(&self) -> PathBuf {
        self.host.root().join("tools")
    }

    /// A guest whose agent waits, when it is to join, until it is let go.
    fn guest_that_waits(&self, number: u32, kind: GuestKind) -> (Target, PathBuf) {
        let directory = self.tools().join("guests").join(number.to_string());
        fs::create_dir_all(directory.join("usr/bin")).expect("made");
        fs::create_dir_all(directory.join("var/lib/pinion-agent")).expect("made");
        fs::write(directory.join("usr/bin/pinion-agent"), "an agent").expect("written");
        process::run(Command::new("mkfifo").arg(directory.join("hold")), b"", PATIENCE)
            .and_then(process::Finished::succeeded)
            .expect("a named pipe");
        (Target { vmid: number.try_into().expect("a VMID"), kind }, directory)
    }

    /// Lets the agent join, in a thread of its own; returns once the agent has been called.
    fn join(&self, guest: Target, token: &Secret) -> thread::JoinHandle<Result<(), Failure>> {
        let (client, token) = (Client::new(&self.socket()), token.clone());
        let joining = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(client.join(guest, token))
        });
        let calls = self.tools().join("calls");
        let wanted = format!("{} ", guest.vmid);
        let called = wait::until("the agent to be called", PATIENCE, || {
            let calls = fs::read_to_string(&calls).unwrap_or_default();
            if calls.lines().any(|line| line.contains(&wanted) && line.contains("/pinion-agent join")) {
                Ok(())
            } else {
                Err(calls)
            }
        });
        called.expect("it is called");
        joining
    }
}

/// Opening the pipe for writing is what the waiting agent waits for.
fn let_go(guest: &Path) {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag");
    // Without a reader it is refused, where a plain opening would wait for ever.
    let opened = wait::until("the agent to wait", PATIENCE, || {
        OpenOptions::new().write(true).custom_flags(flags).open(guest.join("hold"))
    });
    opened.and_then(|mut pipe| Ok(pipe.write_all(b"go\n")?)).expect("somebody waits");
}

fn token(guest: Target) -> Secret {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).expect("a root");
    let token = JoinToken {
        guest: Guest::Vmid(guest.vmid),
        secret: JoinSecret(Zeroizing::new([42; 32])),
        root: RootCertificate::parse(root.der()).expect("a root"),
        controllers: vec!["127.0.0.1:7443".parse().expect("an address")],
    };
    Secret::new(token.to_text().expect("a token"))
}

/// Every process whose arguments or environment hold the text.
fn processes_with(text: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let holds = |path: &PathBuf| {
        let read = |name| fs::read(path.join(name)).unwrap_or_default();
        let all = [read("cmdline"), read("environ")].concat();
        String::from_utf8_lossy(&all).contains(text)
    };
    processes
        .filter(|path| path.join("cmdline").exists())
        .filter(holds)
        .map(|path| path.display().to_string())
        .collect()
}

/// Every regular file below the directory that holds the text.
fn files_with(text: &str, directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let kind = fs::symlink_metadata(&path).expect("it is there").file_type();
        if kind.is_dir() {
            found.extend(files_with(text, &path));
        } else if kind.is_file() && String::from_utf8_lossy(&fs::read(&path).expect("readable")).contains(text) {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_token_is_seen_nowhere_while_it_is_brought_in() {
    let channel = Channel::start(geteuid().as_raw());
    for (number, kind) in [(101, GuestKind::Lxc), (1001, GuestKind::Qemu)] {
        let (guest, directory) = channel.guest_that_waits(number, kind);
        let token = token(guest);
        let joining = channel.join(guest, &token);
        assert_eq!(processes_with(token.reveal()), Vec::<String>::new(), "{guest}");
        assert_eq!(files_with(token.reveal(), channel.host.root()), Vec::<PathBuf>::new(), "{guest}");
        let_go(&directory);
        joining.join().expect("no panic").expect("joined");
        // It did arrive: the guest of this test keeps what it was given.
        assert_eq!(files_with(token.reveal(), channel.host.root()), [directory.join("token")]);
    }
    let log = channel.process.log();
    assert!(log.contains("verb=\"join\"") && log.contains("uid=") && !log.contains("pinion-join-1"), "{log}");
}

#[test]
fn what_is_under_way_is_finished_before_it_ends() {
    let mut channel = Channel::start(geteuid().as_raw());
    let (guest, directory) = channel.guest_that_waits(101, GuestKind::Lxc);
    let joining = channel.join(guest, &token(guest));
    channel.process.signal(Signal::TERM).expect("it runs");
    let socket = channel.socket();
    let closed =
        wait::until("the socket to close", PATIENCE, || if socket.exists() { Err("it is there") } else { Ok(()) });
    closed.expect("nobody else is let in");
    let_go(&directory);
    joining.join().expect("no panic").expect("joined");
    assert_eq!(channel.process.wait_end(PATIENCE).expect("it ends").code(), Some(0), "{}", channel.process.log_tail());
}

#[test]
fn a_guest_has_one_call_at_a_time_and_others_do_not_wait_for_it() {
    let channel = Channel::start(geteuid().as_raw());
    let (guest, directory) = channel.guest_that_waits(101, GuestKind::Lxc);
    let (other, other_directory) = channel.guest_that_waits(102, GuestKind::Lxc);
    for directory in [&directory, &other_directory] {
        fs::write(directory.join("machine"), "x86_64\n").expect("written");
    }
    let joining = channel.join(guest, &token(guest));
    let client = Client::new(&channel.socket());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (first, second) = runtime.block_on(async {
        let waiting = async {
            let looked = client.look(guest).await;
            (looked, fs::read_to_string(channel.tools().join("calls")).expect("calls"))
        };
        let free = async {
            let looked = client.look(other).await;
            let calls = fs::read_to_string(channel.tools().join("calls")).expect("calls");
            let_go(&directory);
            (looked, calls)
        };
        tokio::join!(waiting, free)
    });
    second.0.expect("it does not wait");
    assert_eq!(second.1.lines().filter(|line| line.starts_with("pct exec 101 ")).count(), 1, "{}", second.1);
    assert!(first.0.expect("its turn comes").agent.expect("an agent").joined);
    joining.join().expect("no panic").expect("joined");
}

/// A user without any rights.
const NOBODY: u32 = 65534;

/// Where [`calls_as_another_user`] finds the socket.
const SOCKET: &str = "PINION_TEST_CHANNEL";

#[test]
fn only_root_and_one_user_are_let_in() {
    if !geteuid().is_root() {
        // Nobody else can be become.
        return;
    }
    for (user, expected) in [(NOBODY, "container 999 is not on this node"), (NOBODY - 1, "\"cause\":\"refused\"")] {
        let channel = Channel::start(user);
        let socket = channel.socket();
        // It answers a moment before it is given away; nobody but root can open it until then.
        let owned = wait::until("the socket to be its user's alone", PATIENCE, || {
            let metadata = fs::metadata(&socket).map_err(|e| e.to_string())?;
            let found = (metadata.uid(), metadata.mode() & 0o777);
            if found == (user, 0o600) { Ok(()) } else { Err(format!("{found:?}")) }
        });
        owned.expect("given away");
        // Even where the file lets everyone in.
        for (path, mode) in [(channel.host.root(), 0o755), (socket.as_path(), 0o777)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
        }
        let mut caller = Command::new(env::current_exe().expect("this test"));
        caller
            .args(["--exact", "channel::calls_as_another_user", "--nocapture"])
            .env(SOCKET, &socket)
            .uid(NOBODY)
            .gid(NOBODY);
        let called = process::run(&mut caller, b"", PATIENCE).expect("it runs").succeeded().expect("it ends well");
        assert!(called.stdout.contains(expected), "{called}");
        if user != NOBODY {
            assert!(channel.process.log().contains(&format!("uid={NOBODY}")), "{}", channel.process.log());
            assert!(!channel.tools().join("calls").exists(), "a tool was started");
        }
    }
}

/// Run by [`only_root_and_one_user_are_let_in`] as another user; by itself it does nothing.
#[test]
fn calls_as_another_user() {
    let Some(socket) = env::var_os(SOCKET) else { return };
    let mut stream = UnixStream::connect(PathBuf::from(socket)).expect("the file lets everyone in");
    drop(stream.write_all(b"{\"look\":{\"guest\":{\"vmid\":999,\"kind\":\"lxc\"}}}\n"));
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("an answer");
    writeln!(std::io::stdout(), "{answer}").expect("told");
}
