//! A real nginx that serves what a tool renews, and the command that reloads it.
//!
//! Answers: when does a handshake show the new leaf? Invariant: every tool reloads by the same command, which fails once when
//! it is told to.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use pinion_proto::bundle::Leaf;
use pinion_tests::{
    interrupt, look,
    port::{self, Port},
    process::Process,
    program, wait,
};
use rcgen::generate_simple_self_signed;

/// nginx with one server for each pair.
pub(super) struct Server {
    // Before the port that it listens on.
    process: Option<Process>,
    directory: PathBuf,
    port: Port,
}

/// A certificate that is served, and where it is.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) chain: PathBuf,
    pub(super) key: PathBuf,
}

impl Server {
    /// Writes its configuration and its commands below `directory`, which exists.
    pub(super) fn prepare(directory: &Path, pairs: &[Pair]) -> Result<Self> {
        let server = Self { process: None, directory: directory.to_owned(), port: Port::reserve()? };
        let root = directory.display();
        let address = server.address();
        let mut text = format!(
            "daemon off;\nworker_processes 1;\npid {root}/nginx.pid;\nerror_log stderr notice;\n\
             events {{ worker_connections 64; }}\nhttp {{\n\taccess_log off;\n"
        );
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            text += &format!("\t{kind}_temp_path {root}/{kind};\n");
        }
        for Pair { name, chain, key } in pairs {
            let (chain, key) = (chain.display(), key.display());
            text += &format!(
                "\tserver {{\n\t\tlisten {address} ssl;\n\t\tserver_name {name};\n\t\tssl_certificate {chain};\n\
                 \t\tssl_certificate_key {key};\n\t\treturn 204;\n\t}}\n"
            );
        }
        fs::write(directory.join("nginx.conf"), text + "}\n").context("configure nginx")?;
        let command = server.words()?.join(" ");
        server.script("test", &format!("#!/bin/sh\nexec {command} -t\n"))?;
        server.script(
            "reload",
            &format!(
                "#!/bin/sh\nif [ -e {root}/fail ]; then\n\trm {root}/fail\n\techo 'this reload is to fail' >&2\n\texit 1\nfi\n\
                 exec {command} -s reload\n"
            ),
        )?;
        Ok(server)
    }

    /// Starts it; returns when it listens.
    pub(super) fn start(&mut self) -> Result<()> {
        let words = self.words()?;
        let (program, arguments) = words.split_first().context("a command has a program")?;
        let mut command = Command::new(program);
        let mut process = Process::spawn("nginx", command.args(arguments), &self.directory.join("nginx.log"))?;
        wait::until("nginx to listen", START, || {
            process.check_running().map_err(|error| format!("{error:#}"))?;
            if port::is_listening(process.id(), self.address()) { Ok(()) } else { Err(process.log_tail()) }
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The command that reloads it.
    pub(super) fn reload(&self) -> PathBuf {
        self.directory.join("reload")
    }

    /// The command that checks its configuration and files.
    pub(super) fn test(&self) -> PathBuf {
        self.directory.join("test")
    }

    /// The next reload fails, and does nothing.
    pub(super) fn fail_next(&self) -> Result<()> {
        fs::write(self.directory.join("fail"), "").context("have a reload fail")
    }

    /// Whether that reload has been.
    pub(super) fn has_failed(&self) -> bool {
        !self.directory.join("fail").exists()
    }

    fn words(&self) -> Result<Vec<String>> {
        let nginx = program::found("nginx")?.display().to_string();
        let root = self.directory.display().to_string();
        // Before it has read where its log is, it would write to the system's.
        Ok(vec![
            nginx,
            "-p".into(),
            root.clone(),
            "-c".into(),
            format!("{root}/nginx.conf"),
            "-e".into(),
            "stderr".into(),
        ])
    }

    fn script(&self, name: &str, text: &str) -> Result<()> {
        write_program(&self.directory.join(name), text)
    }
}

/// Writes a file that may be run.
pub(super) fn write_program(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("write {}", path.display()))
}

/// Puts a self-signed pair there, so that nginx can start.
pub(super) fn place_snakeoil(pair: &Pair) -> Result<()> {
    let made = generate_simple_self_signed([pair.name.clone()]).context("make a self-signed pair")?;
    for (path, text) in [(&pair.chain, made.cert.pem()), (&pair.key, made.signing_key.serialize_pem())] {
        let parent = path.parent().context("a file is in a directory")?;
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(path, text))
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// What is looked at: which leaf a client sees that asks for this name.
pub(super) struct Seen<'s> {
    pub(super) address: SocketAddr,
    pub(super) name: &'s str,
    /// The PEM file of the root that this client trusts.
    pub(super) root: &'s Path,
}

impl Seen<'_> {
    /// The leaf, now.
    pub(super) fn leaf(&self) -> Result<Leaf> {
        look::served(self.address, self.name, self.root)
    }

    /// Waits until connections show a leaf that this client trusts, and no other one any more: that leaf.
    pub(super) fn wait_first(&self) -> Result<Leaf> {
        let mut since = None;
        wait::until("a first leaf", wait::PATIENCE, || match self.leaf() {
            Ok(leaf) if since.get_or_insert_with(Instant::now).elapsed() >= SETTLED => Ok(leaf),
            Ok(_) => Err("not for long".to_owned()),
            Err(error) => {
                since = None;
                Err(format!("{error:#}"))
            }
        })
    }

    /// Waits until connections show another leaf than `old`, and none shows `old` any more: since when, and which.
    pub(super) fn wait_other(&self, old: &Leaf, until: Instant) -> Result<(Instant, Leaf)> {
        let mut found: Option<(Instant, Leaf)> = None;
        loop {
            let shown = self.leaf()?;
            match &found {
                _ if shown.serial() == old.serial() => found = None,
                Some((since, leaf)) if leaf.serial() == shown.serial() && since.elapsed() >= SETTLED => {
                    return Ok((*since, shown));
                }
                Some((_, leaf)) if leaf.serial() == shown.serial() => {}
                _ => found = Some((Instant::now(), shown)),
            }
            if Instant::now() >= until || interrupt::requested() {
                bail!("the service shows the leaf with serial number {} to the end", old.serial());
            }
            thread::sleep(LOOK);
        }
    }
}

/// nginx's old and new workers accept side by side for 100 ms after a reload (`ngx_master_process_cycle`).
const SETTLED: Duration = Duration::from_millis(250);

/// Between two handshakes; what is measured is so much longer than it is.
const LOOK: Duration = Duration::from_millis(5);

/// A loaded machine needs a moment to start it.
const START: Duration = Duration::from_secs(30);
