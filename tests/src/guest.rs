//! A guest in a directory: accounts, the agent's configuration, hooks, and the real `pinion-agent`.

use std::{
    fmt::Write as _,
    fs,
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use rustix::process::{getgid, getuid};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    host::Host,
    process::{self, Finished, Process},
    program::{self, Build},
    wait::{self, PATIENCE},
};

/// What the guest allows, and how patient its agent is.
#[derive(Debug, Clone)]
pub struct GuestOptions {
    /// Directories that the agent may write to, beside what each recipe needs.
    pub directories: Vec<String>,
    /// Units that it may reload and restart, beside those of each recipe.
    pub units: Vec<String>,
    /// Containers that it may restart and send a signal, beside those of each recipe.
    pub containers: Vec<String>,
    /// Recipes add nothing to these lists.
    pub complete: bool,
    /// How long it waits after a first failure.
    pub retry_initial: Duration,
    /// How long it waits at most.
    pub retry_max: Duration,
    /// How long it waits at most while a person is needed; as shipped where nothing is said.
    pub retry_blocked: Option<Duration>,
    /// How often it looks whether all is as it should be; as shipped where nothing is said.
    pub check_every: Option<Duration>,
}

impl Default for GuestOptions {
    /// What the tests' own services need, and retries fit for a test.
    fn default() -> Self {
        Self {
            directories: vec!["/etc/ssl".into(), "/etc/docker/certs.d".into()],
            units: vec!["tls-server.service".into()],
            containers: vec!["web".into()],
            complete: false,
            retry_initial: Duration::from_millis(200),
            retry_max: Duration::from_secs(2),
            retry_blocked: None,
            check_every: None,
        }
    }
}

/// A guest.
#[derive(Debug)]
pub struct Guest {
    /// Before its directory, because fields are dropped in this order and it writes to the last.
    agent: Option<Process>,
    name: String,
    root: TempDir,
    build: Build,
}

impl Guest {
    /// A guest of the usual kind that has joined, and whose agent has its link.
    ///
    /// # Errors
    /// The program is not built, the join is refused, or the link does not come up.
    pub fn join(host: &Host, vmid: u32) -> Result<Self> {
        let mut guest = Self::prepare(&vmid.to_string(), &GuestOptions::default())?;
        guest.join_with(&host.token(&guest.name)?)?.succeeded()?;
        guest.start()?;
        guest.wait_linked(host)?;
        Ok(guest)
    }

    /// Writes the guest's files and starts nothing. `name` is a VMID, or `host`.
    ///
    /// # Errors
    /// A directory or file cannot be written.
    pub fn prepare(name: &str, options: &GuestOptions) -> Result<Self> {
        let prefix = format!("pinion-guest-{name}-");
        let root = tempfile::Builder::new().prefix(&prefix).tempdir().context("make the guest's directory")?;
        // Services drop their privileges and still read what is theirs below.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).context("open the guest's directory")?;
        let allowed = options.directories.iter().map(|directory| directory.trim_start_matches('/'));
        for directory in ["etc/pinion/hooks.d", "var/lib/pinion-agent", "var/log", "run"].into_iter().chain(allowed) {
            fs::create_dir_all(root.path().join(directory)).with_context(|| format!("make the guest's {directory}"))?;
        }
        // As the unit's StateDirectoryMode= makes it.
        let state = fs::set_permissions(root.path().join("var/lib/pinion-agent"), fs::Permissions::from_mode(0o700));
        state.context("close the guest's state")?;
        let guest = Self { name: name.to_owned(), root, agent: None, build: Build::Current };
        guest.write_accounts()?;
        guest.write("etc/machine-id", &format!("{:0>32}\n", name.replace("host", "0")))?;
        guest.write("etc/hostname", &format!("guest-{name}\n"))?;
        guest.write_config(options)?;
        Ok(guest)
    }

    /// From now on its agent and its command line are of this build.
    pub fn use_build(&mut self, build: &Build) {
        self.build = build.clone();
    }

    /// The directory that is `/` to the agent.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Its VMID as text, or `host`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name as the manifest writes it: a VMID is a number there.
    #[must_use]
    pub fn manifest_name(&self) -> Value {
        self.name.parse::<u32>().map_or_else(|_| self.name.clone().into(), Value::from)
    }

    /// Where one of the guest's absolute paths is in truth.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.path().join(inside.trim_start_matches('/'))
    }

    /// `pinion-agent join` with a token on its standard input.
    ///
    /// # Errors
    /// It cannot be started or does not end; a refusal is in the exit code.
    pub fn join_with(&self, token: &str) -> Result<Finished> {
        process::run(&mut self.command(&["join"])?, format!("{token}\n").as_bytes(), PATIENCE)
    }

    /// Runs `pinion-agent` with the arguments.
    ///
    /// # Errors
    /// It cannot be started or does not end; an exit code is no error.
    pub fn pinion_agent(&self, arguments: &[&str]) -> Result<Finished> {
        process::run(&mut self.command(arguments)?, b"", PATIENCE + Duration::from_secs(10))
    }

    /// `pinion-agent` with the arguments, not started yet.
    ///
    /// # Errors
    /// The program is not built.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(self.build.program("pinion-agent")?);
        command.arg("--root").arg(self.root.path()).args(arguments);
        Ok(command)
    }

    /// Starts the agent; returns when it answers in the guest, or has ended because it cannot.
    ///
    /// # Errors
    /// The program is not built, or does neither.
    pub fn start(&mut self) -> Result<()> {
        let log = self.path("/var/log/pinion-agent.log");
        let name = format!("pinion-agent in {}", self.name);
        let mut process = Process::spawn(&name, &mut self.command(&["run"])?, &log)?;
        let socket = self.path(match self.build {
            Build::Current => "/run/pinion-agent/agent.sock",
            Build::Earlier(_) => "/run/pinion/agent.sock",
        });
        wait::until(&format!("{name} to answer"), PATIENCE, || match UnixStream::connect(&socket) {
            Err(error) if process.is_running() => Err(error),
            _ => Ok(()),
        })?;
        self.agent = Some(process);
        Ok(())
    }

    /// Waits until the controller sees the agent's link.
    ///
    /// # Errors
    /// It does not within [`PATIENCE`]; the message has both logs.
    pub fn wait_linked(&mut self, host: &Host) -> Result<()> {
        let name = self.name.clone();
        let waited = wait::until(&format!("the link of guest {name}"), PATIENCE, || {
            // An agent that has ended is an answer too: there is nothing to wait for any more.
            if let Some(Err(ended)) = self.agent.as_mut().map(Process::check_running) {
                return Ok(Err(ended));
            }
            match host.status() {
                Ok(status) if status.is_linked(&name) => Ok(Ok(())),
                Ok(status) => Err(format!("{:?}", status.guests)),
                Err(error) => Err(format!("{error:#}")),
            }
        });
        let waited = waited.and_then(|linked| linked);
        waited.map_err(|error| {
            let (theirs, ours) = (host.log_tail(), self.log_tail());
            anyhow!("{error:#}\nthe controller's log ends:\n{theirs}\nthe agent's log ends:\n{ours}")
        })
    }

    /// Ends the agent in order.
    ///
    /// # Errors
    /// It does not end on SIGTERM.
    pub fn stop(&mut self) -> Result<()> {
        match self.agent.take() {
            Some(mut process) => process.stop().map(drop),
            None => Ok(()),
        }
    }

    /// Ends the agent as a crash would.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn kill9(&mut self) -> Result<()> {
        match self.agent.take() {
            Some(mut process) => process.kill9().map(drop),
            None => Ok(()),
        }
    }

    /// [`Self::stop`], then [`Self::start`].
    ///
    /// # Errors
    /// As theirs.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.start()
    }

    /// The agent's process, when it runs.
    pub fn agent(&mut self) -> Option<&mut Process> {
        self.agent.as_mut()
    }

    /// The last lines that the agent logged.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.agent.as_ref().map(Process::log_tail).unwrap_or_default()
    }

    /// Writes a file of the guest's, its directory too.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, inside: &str, content: &str) -> Result<()> {
        let path = self.path(inside);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        }
        fs::write(&path, content).with_context(|| format!("write {}", path.display()))
    }

    /// Reads a file of the guest's.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, inside: &str) -> Result<String> {
        let path = self.path(inside);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    /// Puts one of the machine's programs where the agent finds it in the guest.
    ///
    /// # Errors
    /// It is not installed, or the link cannot be made.
    pub fn link_program(&self, name: &str) -> Result<()> {
        let (program, link) = (program::found(name)?, self.path("/usr/bin").join(name));
        fs::create_dir_all(self.path("/usr/bin")).context("make the guest's /usr/bin")?;
        symlink(&program, &link).with_context(|| format!("link {} to {}", link.display(), program.display()))
    }

    /// Adds an account of the machine's, its user and its group, with the numbers that they have there, so that the
    /// machine's program of that account can read what the guest's may.
    ///
    /// # Errors
    /// The machine has no such account, or a file cannot be read or written.
    pub fn adopt_account(&self, name: &str) -> Result<()> {
        let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
        for (file, own) in
            [("etc/group", format!("{name}:x:{gid}:")), ("etc/passwd", format!("{name}:x:{uid}:{gid}::/:/nonexistent"))]
        {
            let machine = fs::read_to_string(Path::new("/").join(file)).with_context(|| format!("read /{file}"))?;
            let line = machine.lines().find(|line| line.split(':').next() == Some(name));
            let line = line.with_context(|| format!("the machine has no {name} in /{file}"))?;
            let line = if uid == 0 { line } else { &own };
            self.write(file, &format!("{}{line}\n", self.read(file)?))?;
        }
        Ok(())
    }

    /// Writes an executable file into the guest's `hooks.d`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_hook(&self, name: &str, script: &str) -> Result<()> {
        write_executable(&self.hook_path(name), script)
    }

    /// Where a hook of this name is.
    #[must_use]
    pub fn hook_path(&self, name: &str) -> PathBuf {
        self.path("/etc/pinion/hooks.d").join(name)
    }

    /// The accounts that recipes name. For anyone but root they are all the person who runs the test, who may give files
    /// to nobody else; but not `nobody`, who is refused a private key under each name of the number.
    fn write_accounts(&self) -> Result<()> {
        let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
        let (mut passwd, mut group) = (String::new(), String::new());
        for (name, number) in [("root", 0), ("www-data", 33), ("vllm", 990), ("nobody", 65534)] {
            let (user, team) = if uid == 0 || name == "nobody" { (number, number) } else { (uid, gid) };
            // Writing to a String cannot fail.
            writeln!(passwd, "{name}:x:{user}:{team}:{name}:/nonexistent:/usr/sbin/nologin").unwrap_or_default();
            writeln!(group, "{name}:x:{team}:").unwrap_or_default();
        }
        self.write("etc/passwd", &passwd)?;
        self.write("etc/group", &group)
    }

    fn write_config(&self, options: &GuestOptions) -> Result<()> {
        let list = |words: &[String]| words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
        let said = |name: &str, period: Option<Duration>| {
            period.map(|period| format!("{name} = \"{}ms\"\n", period.as_millis())).unwrap_or_default()
        };
        let prefix = if options.complete { "" } else { "extra_" };
        // A test restarts in a minute what a guest does in a month.
        let text = format!(
            "{}restarts_per_hour = 1000\n[allow]\n{prefix}directories = [{}]\n{prefix}units = [{}]\n\
             {prefix}containers = [{}]\n\n[retry]\ninitial = \"{}ms\"\nmax = \"{}ms\"\n{}",
            said("check_every", options.check_every),
            list(&options.directories),
            list(&options.units),
            list(&options.containers),
            options.retry_initial.as_millis(),
            options.retry_max.as_millis(),
            said("blocked", options.retry_blocked),
        );
        self.write("etc/pinion/agent.toml", &text)
    }
}

/// Writes a file that may be run. By renaming, so that nobody runs half of it, or finds it busy.
pub(crate) fn write_executable(path: &Path, script: &str) -> Result<()> {
    let fresh = path.with_extension("new");
    let written = fs::write(&fresh, script)
        .and_then(|()| fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)))
        .and_then(|()| fs::rename(&fresh, path));
    written.with_context(|| format!("write {}", path.display()))
}
