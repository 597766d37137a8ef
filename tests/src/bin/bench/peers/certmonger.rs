//! certmonger, with the CA that it has itself, and with a helper that asks step-ca.
//!
//! It looks at a certificate every half an hour at most (`CM_DELAY_MONITOR_POLL_MINIMUM` of its sources), so none can be due here
//! by its own schedule: `getcert resubmit` makes it begin. Its schedule looks five seconds after a certificate is due
//! (`CM_DELAY_SOON`, `cm_decide_monitor_delay`).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use pinion_tests::{
    process::{self, Process},
    program, wait,
};
use tempfile::TempDir;

use super::{
    authority::{Authority, finished},
    peer::{Failure, Part, Peer, RENEWALS, Renewals, Renewed, Resting, Wait, package_files, package_version},
    relay::Relay,
    server::{Pair, Seen, Server, place_snakeoil, write_program},
};

/// certmonger.
pub(super) enum Certmonger {
    /// Its own CA, on the same machine.
    Local,
    /// A helper, which is a command that gets a request and returns a certificate: `step ca sign`.
    Helper,
}

/// It and the bus on which it is asked, with directories of their own.
struct Daemon {
    // Before the bus, and both before the directory.
    certmonger: Process,
    bus: Process,
    relay: Arc<Relay>,
    directory: TempDir,
}

impl Daemon {
    fn start(authority: &Authority) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("pinion-certmonger-").tempdir().context("make a directory")?;
        let root = directory.path();
        for (_, name) in DIRECTORIES {
            fs::create_dir(root.join(name)).with_context(|| format!("make certmonger's {name}"))?;
        }
        fs::write(root.join("bus.conf"), bus(root)).context("configure the bus")?;
        let mut command = Command::new(program::found("dbus-daemon")?);
        command.args(["--nofork", "--nopidfile", "--config-file"]).arg(root.join("bus.conf"));
        let bus = Process::spawn("dbus-daemon", &mut command, &root.join("bus.log"))?;
        let socket = root.join("bus");
        wait::until("the bus", wait::PATIENCE, || std::os::unix::net::UnixStream::connect(&socket).map(drop))?;
        let mut command = Command::new(program::found("certmonger")?);
        let certmonger =
            Process::spawn("certmonger", environment(command.args(["-S", "-n"]), root), &root.join("certmonger.log"))?;
        let relay = Arc::new(Relay::to(authority.address())?);
        let daemon = Self { certmonger, bus, relay, directory };
        wait::until("certmonger to answer", wait::PATIENCE, || {
            daemon
                .getcert(&["list"])
                .and_then(|mut command| finished(&mut command))
                .map_err(|error| format!("{error:#}"))
        })?;
        // Who asks before it knows its own CA's root gets an empty file of roots.
        wait::until("certmonger's own CA", wait::PATIENCE, || daemon.knows_own_root().then_some(()).ok_or("not yet"))?;
        let step = authority.step(&daemon.relay, daemon.path(), &["ca", "sign", "--force"])?;
        let words =
            [step.get_program()].into_iter().chain(step.get_args()).map(|word| word.to_string_lossy().into_owned());
        let words: Vec<String> = words.chain(authority.provisioner()).collect();
        write_program(&daemon.path().join("helper"), &helper(daemon.path(), &words.join(" ")))?;
        let helper = daemon.path().join("helper").display().to_string();
        finished(&mut daemon.getcert(&["add-ca", "-c", HELPER, "-e", &helper])?)?;
        Ok(daemon)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn knows_own_root(&self) -> bool {
        let files = fs::read_dir(self.path().join("cas")).into_iter().flatten().flatten();
        let mut texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
        texts.any(|text| text.contains("local-submit") && text.contains("BEGIN CERTIFICATE"))
    }

    fn getcert(&self, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(program::found("getcert")?);
        environment(command.args(words), self.path());
        Ok(command)
    }

    /// Asks for a certificate, and waits until it is there.
    fn request(&self, ca: &str, pair: &Certificate, post_save: &Path) -> Result<()> {
        let files = [&pair.key, &pair.leaf, &pair.roots].map(|file| file.display().to_string());
        let words =
            ["request", "-w", "-c", ca, "-k", &files[0], "-f", &files[1], "-F", &files[2], "-G", "EC", "-g", "256"];
        let subject = format!("CN={}", pair.name);
        let post_save = post_save.display().to_string();
        let more = ["-N", &subject, "-D", &pair.name, "-C", &post_save];
        finished(&mut self.getcert(&[&words[..], &more[..]].concat())?)?;
        ensure!(pair.leaf.exists(), "certmonger has no certificate: {}", self.certmonger.log_tail());
        Ok(())
    }

    fn certificate(&self, number: usize) -> Certificate {
        let file = |kind: &str| self.path().join(format!("c{number}.{kind}"));
        Certificate {
            name: format!("c{number}.internal.example"),
            key: file("key"),
            leaf: file("crt"),
            roots: file("ca"),
        }
    }
}

/// A certificate that is requested, and its files.
struct Certificate {
    name: String,
    key: PathBuf,
    leaf: PathBuf,
    roots: PathBuf,
}

impl Peer for Certmonger {
    fn name(&self) -> &'static str {
        match self {
            Self::Local => "certmonger, its own CA",
            Self::Helper => "certmonger, a helper for step-ca",
        }
    }

    fn version(&self) -> Result<String> {
        package_version("certmonger")
    }

    fn rest(&self, authority: &Authority, certificates: usize) -> Result<Option<Resting>> {
        // At rest, it does not matter who signs.
        if matches!(self, Self::Helper) {
            return Ok(None);
        }
        let daemon = Daemon::start(authority)?;
        for number in 0..certificates {
            daemon.request("local", &daemon.certificate(number), Path::new("/bin/true"))?;
        }
        let mut files = package_files("certmonger")?;
        files.extend(DIRECTORIES.iter().map(|(_, name)| daemon.path().join(name)));
        let certmonger = Part { name: "certmonger", processes: vec![daemon.certmonger.id()], files, ..Part::default() };
        let files = package_files("dbus-daemon")?;
        let bus = Part { name: "dbus-daemon", processes: vec![daemon.bus.id()], files, ..Part::default() };
        Ok(Some(Resting { parts: vec![certmonger, bus], held: Box::new(daemon) }))
    }

    fn renew(&self, authority: &Authority, until: Instant) -> Result<Renewed> {
        let daemon = Daemon::start(authority)?;
        let certificate = daemon.certificate(0);
        let ca = match self {
            Self::Local => "local",
            Self::Helper => HELPER,
        };
        // It writes the leaf alone, so the chain has to be put together after each renewal.
        let chain = daemon.path().join("fullchain.pem");
        let pair = Pair { name: certificate.name.clone(), chain: chain.clone(), key: certificate.key.clone() };
        let mut server = Server::prepare(daemon.path(), std::slice::from_ref(&pair))?;
        place_snakeoil(&pair)?;
        server.start()?;
        fs::remove_file(&pair.key).context("remove the first key")?;
        let post_save = daemon.path().join("post-save");
        let intermediate = match self {
            Self::Local => String::new(),
            Self::Helper => authority.intermediate().display().to_string(),
        };
        let (leaf, chain, reload) = (certificate.leaf.display(), chain.display(), server.reload());
        let script = format!("#!/bin/sh\ncat {leaf} {intermediate} >{chain} && exec {}\n", reload.display());
        write_program(&post_save, &script)?;
        daemon.request(ca, &certificate, &post_save)?;
        let root = match self {
            Self::Local => certificate.roots.clone(),
            Self::Helper => authority.root(),
        };
        let seen = Seen { address: server.address(), name: &pair.name, root: &root };

        let relays = match self {
            Self::Local => Vec::new(),
            Self::Helper => vec![("the CA", Arc::clone(&daemon.relay))],
        };
        let leaf = certificate.leaf.display().to_string();
        let resubmit = || finished(&mut daemon.getcert(&["resubmit", "-f", &leaf])?).map(drop);
        let mut renewals = Renewals::begin(seen, relays, until)?;
        for _ in 0..RENEWALS {
            renewals.one(|_| {
                let begun = Instant::now();
                resubmit()?;
                Ok(begun)
            })?;
        }
        server.fail_next()?;
        resubmit()?;
        wait::until("the reload that fails", wait::PATIENCE, || server.has_failed().then_some(()).ok_or("not yet"))?;
        // It says that the certificate is saved and watched again, and does not call the command before the next one.
        let watched = Instant::now();
        wait::until("certmonger to watch it again", wait::PATIENCE, || {
            let mut list = daemon.getcert(&["list", "-f", &leaf]).map_err(|error| format!("{error:#}"))?;
            let listed = process::run(&mut list, b"", wait::PATIENCE).map_err(|error| format!("{error:#}"))?;
            let is_done = listed.stdout.contains("status: MONITORING") && watched.elapsed() > LOOKED;
            if is_done { Ok(()) } else { Err(listed.stdout) }
        })?;
        let same = renewals.seen.leaf()?.serial() == renewals.leaf().serial();
        ensure!(same, "nginx serves a leaf that it was not told of");
        let soon = Wait { mean: SOON, max: SOON };
        Ok(renewals.end(soon, Failure::NotBeforeNextRenewal))
    }
}

/// How long is looked whether it calls the command again.
const LOOKED: Duration = Duration::from_secs(15);

/// `CM_DELAY_SOON`.
const SOON: Duration = Duration::from_secs(5);

/// The helper's name among certmonger's CAs.
const HELPER: &str = "step";

/// Where certmonger looks for each of its directories.
const DIRECTORIES: [(&str, &str); 5] = [
    ("CERTMONGER_REQUESTS_DIR", "requests"),
    ("CERTMONGER_CAS_DIR", "cas"),
    ("CERTMONGER_CONFIG_DIR", "configuration"),
    ("CERTMONGER_LOCAL_CA_DIR", "local"),
    ("CERTMONGER_TMPDIR", "temporary"),
];

fn environment<'c>(command: &'c mut Command, root: &Path) -> &'c mut Command {
    command.envs(DIRECTORIES.map(|(variable, name)| (variable, root.join(name))));
    command.env("CERTMONGER_SYSTEM_LOCK_FILE", root.join("lock"));
    command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", root.join("bus").display()))
}

/// A system bus on which everybody who reaches it may do everything.
fn bus(root: &Path) -> String {
    let socket = root.join("bus");
    format!(
        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"\n\
         \t\"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n\
         <busconfig>\n\t<type>system</type>\n\t<listen>unix:path={}</listen>\n\t<policy context=\"default\">\n\
         \t\t<allow user=\"*\"/>\n\t\t<allow own=\"*\"/>\n\t\t<allow send_destination=\"*\"/>\n\
         \t\t<allow receive_sender=\"*\"/>\n\t</policy>\n</busconfig>\n",
        socket.display()
    )
}

/// certmonger's helpers get the request in their environment, and answer by their exit code: 0 issued, 3 unreachable, 6 not
/// something that this helper does.
fn helper(root: &Path, sign: &str) -> String {
    let root = root.join("helper-files").display().to_string();
    format!(
        "#!/bin/sh\n[ \"$CERTMONGER_OPERATION\" = SUBMIT ] || exit 6\nmkdir -p {root} && cd {root} || exit 3\n\
         printf '%s\\n' \"$CERTMONGER_CSR\" >request || exit 3\nSTEPPATH={root} HOME={root} {sign} request leaf >&2 || exit 3\n\
         cat leaf\n"
    )
}
