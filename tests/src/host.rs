//! A Proxmox host in a directory: configuration, manifest, and the real `pinion serve`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::SocketAddr,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    port::Port,
    process::{self, Finished, Process},
    program::Build,
    status::{PlacementJson, StatusJson},
    wait::{self, PATIENCE},
};

/// How the host's files are written.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The manifest.
    pub manifest: Value,
    /// The issuer `step-ca`, when there is one; `embedded` always is.
    pub step_ca: Option<StepCaIssuer>,
    /// How long the controller waits after a first failure.
    pub retry_initial: Duration,
    /// How long it waits at most.
    pub retry_max: Duration,
    /// Names that the manifest may use for guests.
    pub guests: BTreeMap<String, u32>,
    /// What `[web]` says besides its address; none where there is no page.
    pub web: Option<String>,
}

impl Default for HostOptions {
    /// No certificates, the embedded CA, and retries fit for a test.
    fn default() -> Self {
        Self {
            manifest: json!({ "version": 1, "defaults": { "issuer": "embedded" }, "certificates": [] }),
            step_ca: None,
            retry_initial: Duration::from_millis(200),
            retry_max: Duration::from_secs(2),
            guests: BTreeMap::new(),
            web: None,
        }
    }
}

impl HostOptions {
    /// The default with the embedded CA for these certificates: a JSON array, as in the manifest.
    #[must_use]
    pub fn embedded(certificates: &Value) -> Self {
        let manifest = json!({ "version": 1, "defaults": { "issuer": "embedded" }, "certificates": certificates });
        Self { manifest, ..Self::default() }
    }

    /// The default with step-ca for these certificates: a JSON array, as in the manifest.
    #[must_use]
    pub fn step_ca(issuer: StepCaIssuer, certificates: &Value) -> Self {
        let manifest = json!({ "version": 1, "defaults": { "issuer": "step-ca" }, "certificates": certificates });
        Self { manifest, step_ca: Some(issuer), ..Self::default() }
    }
}

/// How the controller finds a step-ca.
#[derive(Debug, Clone)]
pub struct StepCaIssuer {
    /// `https://127.0.0.1:9000`.
    pub url: String,
    /// The root's SHA-256, hexadecimal.
    pub fingerprint: String,
    /// The JWK provisioner's name.
    pub provisioner: String,
    /// A file with the provisioner's password.
    pub password_file: PathBuf,
    /// Whether what was replaced is revoked; said in the configuration only when it is.
    pub revoke_replaced: bool,
    /// How often it is asked for its roots; said only where there is something to say.
    pub roots_every: Option<Duration>,
}

/// A host whose controller runs.
#[derive(Debug)]
pub struct Host {
    /// Before its directory, because fields are dropped in this order and it writes to the last.
    controller: Option<Process>,
    port: Port,
    /// Where the page is, if there is one.
    web: Option<Port>,
    root: TempDir,
    build: Build,
}

impl Host {
    /// Writes the files and starts the controller; returns when it answers.
    ///
    /// # Errors
    /// The program is not built, or does not come up; the message has the end of its log.
    pub fn start(options: &HostOptions) -> Result<Self> {
        let mut host = Self::prepare(options)?;
        host.start_again()?;
        Ok(host)
    }

    /// Writes the files and starts nothing.
    ///
    /// # Errors
    /// A directory or file cannot be written.
    pub fn prepare(options: &HostOptions) -> Result<Self> {
        let root = tempfile::Builder::new().prefix("pinion-host-").tempdir().context("make the host's directory")?;
        for directory in ["etc/pinion", "var/lib/pinion", "var/log", "run/pinion"] {
            fs::create_dir_all(root.path().join(directory)).with_context(|| format!("make the host's {directory}"))?;
        }
        // As the unit's StateDirectoryMode= makes it.
        let state = fs::set_permissions(root.path().join("var/lib/pinion"), fs::Permissions::from_mode(0o700));
        state.context("close the host's state")?;
        let web = options.web.as_ref().map(|_| Port::reserve()).transpose()?;
        let host = Self { root, port: Port::reserve()?, web, controller: None, build: Build::Current };
        host.write_config(options)?;
        host.write_manifest(&options.manifest)?;
        Ok(host)
    }

    /// From now on its controller and its command line are of this build.
    pub fn use_build(&mut self, build: &Build) {
        self.build = build.clone();
    }

    /// The directory that is `/` to the controller.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Where agents dial.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Where the page is; none if it is switched off.
    #[must_use]
    pub fn web(&self) -> Option<SocketAddr> {
        self.web.as_ref().map(Port::address)
    }

    /// Runs `pinion` with the arguments, for at most [`PATIENCE`] and a little.
    ///
    /// # Errors
    /// It cannot be started or does not end; an exit code is no error.
    pub fn pinion(&self, arguments: &[&str]) -> Result<Finished> {
        // A command that itself waits for PATIENCE gets to say so.
        process::run(&mut self.command(arguments)?, b"", PATIENCE + Duration::from_secs(10))
    }

    /// `pinion` with the arguments, not started yet: for a test that wants it beside others.
    ///
    /// # Errors
    /// The program is not built.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(self.build.program("pinion")?);
        command.arg("--root").arg(self.root.path()).args(arguments);
        Ok(command)
    }

    /// Adds this to its configuration, controller.toml.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn configure(&self, more: &str) -> Result<()> {
        let config = self.root().join("etc/pinion/controller.toml");
        let written = fs::read_to_string(&config).context("read the configuration")?;
        fs::write(&config, written + more).context("write the configuration")
    }

    /// Starts its root process; returns when that listens.
    ///
    /// # Errors
    /// It does not start, or does not listen within [`PATIENCE`].
    pub fn start_channel(&self) -> Result<Process> {
        let log = self.root().join("var/log/channel.log");
        let process = Process::spawn("pinion channel", &mut self.command(&["channel"])?, &log)?;
        let socket = self.root().join("run/pinion-channel/channel.sock");
        wait::until("the channel", PATIENCE, || UnixStream::connect(&socket).map(drop))?;
        Ok(process)
    }

    /// `pinion status --json`.
    ///
    /// # Errors
    /// The controller does not answer, or not with the document.
    pub fn status(&self) -> Result<StatusJson> {
        let finished = self.pinion(&["status", "--json"])?;
        // Its code tells whether all is well; the document is there either way.
        serde_json::from_str(&finished.stdout).with_context(|| format!("read the status: {finished}"))
    }

    /// `pinion ensure NAMES --until STAGE`, waiting up to [`PATIENCE`].
    ///
    /// # Errors
    /// It ends with another code than 0; the message has its output and the controller's log.
    pub fn ensure(&self, names: &[&str], until: &str) -> Result<Finished> {
        self.ensure_with(names, &["--until", until])
    }

    /// `pinion ensure NAMES --renew --until STAGE`, waiting up to [`PATIENCE`].
    ///
    /// # Errors
    /// As [`Self::ensure`].
    pub fn renew(&self, names: &[&str], until: &str) -> Result<Finished> {
        self.ensure_with(names, &["--renew", "--until", until])
    }

    fn ensure_with(&self, names: &[&str], options: &[&str]) -> Result<Finished> {
        let timeout = format!("{}s", PATIENCE.as_secs());
        let arguments = [&["ensure"], names, options, &["--timeout", &timeout]].concat();
        let finished = self.pinion(&arguments)?.succeeded();
        finished.map_err(|error| anyhow!("{error:#}\nthe controller's log ends:\n{}", self.log_tail()))
    }

    /// Waits until a placement's status is as `wanted` says.
    ///
    /// # Errors
    /// It is not within [`PATIENCE`]; the message has the status seen last and the controller's log.
    pub fn wait_placement(&self, name: &str, wanted: impl Fn(&PlacementJson) -> bool) -> Result<PlacementJson> {
        let waited = wait::until(&format!("the state of {name}"), PATIENCE, || match self.status() {
            Ok(status) => match status.placement(name) {
                Some(placement) if wanted(placement) => Ok(placement.clone()),
                Some(placement) => Err(format!("{placement:?}")),
                None => Err(format!("no {name} in {status:?}")),
            },
            Err(error) => Err(format!("{error:#}")),
        });
        waited.map_err(|error| anyhow!("{error:#}\nthe controller's log ends:\n{}", self.log_tail()))
    }

    /// `pinion token create --guest GUEST`: the join token, one line.
    ///
    /// # Errors
    /// It is refused.
    pub fn token(&self, guest: &str) -> Result<String> {
        let finished = self.pinion(&["token", "create", "--guest", guest])?.succeeded()?;
        Ok(finished.stdout.trim().to_owned())
    }

    /// Replaces the manifest in one step, as an editor does.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_manifest(&self, manifest: &Value) -> Result<()> {
        let path = self.root.path().join("etc/pinion/certificate-manifest.json");
        let fresh = path.with_extension("new");
        let text = serde_json::to_string_pretty(manifest).context("write the manifest as JSON")?;
        fs::write(&fresh, text + "\n").with_context(|| format!("write {}", fresh.display()))?;
        fs::rename(&fresh, &path).with_context(|| format!("write {}", path.display()))
    }

    /// Starts the controller on the files as they are; returns when it answers.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_again(&mut self) -> Result<()> {
        let log = self.root.path().join("var/log/pinion.log");
        let mut process = Process::spawn("pinion serve", &mut self.command(&["serve"])?, &log)?;
        // A process that has ended is an answer too: there is nothing to wait for any more.
        let up = wait::until("pinion serve to answer", PATIENCE, || match process.check_running() {
            Err(ended) => Ok(Err(ended)),
            Ok(()) => self.status().map(|_| Ok(())).map_err(|error| format!("{error:#}")),
        });
        up.map_err(|error| anyhow!("{error:#}\nthe controller's log ends:\n{}", process.log_tail()))??;
        self.controller = Some(process);
        Ok(())
    }

    /// Ends the controller in order.
    ///
    /// # Errors
    /// It does not end on SIGTERM.
    pub fn stop(&mut self) -> Result<()> {
        match self.controller.take() {
            Some(mut process) => process.stop().map(drop),
            None => Ok(()),
        }
    }

    /// Ends the controller as a crash would.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn kill9(&mut self) -> Result<()> {
        match self.controller.take() {
            Some(mut process) => process.kill9().map(drop),
            None => Ok(()),
        }
    }

    /// [`Self::stop`], then [`Self::start_again`].
    ///
    /// # Errors
    /// As theirs.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.start_again()
    }

    /// The controller's process, when it runs.
    pub fn controller(&mut self) -> Option<&mut Process> {
        self.controller.as_mut()
    }

    /// The last lines that the controller logged.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.controller.as_ref().map(Process::log_tail).unwrap_or_default()
    }

    fn write_config(&self, options: &HostOptions) -> Result<()> {
        let address = self.port.address();
        let mut text = format!(
            "trust_domain = \"pinion.internal\"\nlisten = \"{address}\"\nadvertise = [\"{address}\"]\n\n\
             [issuers.embedded]\ntype = \"embedded\"\n",
        );
        // Writing to a String cannot fail.
        let mut add = |part: std::fmt::Arguments<'_>| text.write_fmt(part).unwrap_or_default();
        if let Some(step_ca) = &options.step_ca {
            add(format_args!(
                "\n[issuers.step-ca]\ntype = \"step-ca\"\nurl = \"{}\"\nfingerprint = \"{}\"\nprovisioner = \"{}\"\n\
                 password_file = \"{}\"\n",
                step_ca.url,
                step_ca.fingerprint,
                step_ca.provisioner,
                step_ca.password_file.display()
            ));
            if step_ca.revoke_replaced {
                add(format_args!("revoke_replaced = true\n"));
            }
            if let Some(every) = step_ca.roots_every {
                add(format_args!("roots_every = \"{}ms\"\n", every.as_millis()));
            }
        }
        let (initial, max) = (options.retry_initial.as_millis(), options.retry_max.as_millis());
        add(format_args!("\n[retry]\ninitial = \"{initial}ms\"\nmax = \"{max}ms\"\n\n[guests]\n"));
        for (name, vmid) in &options.guests {
            add(format_args!("\"{name}\" = {vmid}\n"));
        }
        match (&options.web, &self.web) {
            (Some(more), Some(port)) => add(format_args!("\n[web]\nlisten = \"{}\"\n{more}\n", port.address())),
            _ => add(format_args!("\n[web]\nenabled = false\n")),
        }
        let path = self.root.path().join("etc/pinion/controller.toml");
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }
}
