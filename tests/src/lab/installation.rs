//! Pinion on the lab's host, installed as its packages would: a user of its own, the root process, and the agent's package.
//!
//! Answers: what does an operator see who installs it, writes the manifest and starts it? Invariant: `pinion serve` has
//! no privileges here either.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::{Lab, spec::RESTARTS};
use crate::{
    ca,
    process::{Finished, Process},
    program,
    status::StatusJson,
    wait::{self, PATIENCE},
};

/// Where guests reach the controller.
pub const CONTROLLER: &str = "10.0.0.13:7443";

/// Where `pinion setup` puts the provisioner's password.
const PASSWORD: &str = "/etc/pinion/step-ca.password";

/// The user's number on the lab's host: Debian gives system users numbers from 100 to 999.
const USER: u32 = 979;

/// A whole lab is four guests on two cores, beside other tests.
pub const LONG: Duration = Duration::from_secs(400);

/// Pinion, installed and running.
#[derive(Debug)]
pub struct Installation {
    serve: Option<Process>,
    channel: Option<Process>,
    logs: tempfile::TempDir,
}

impl Installation {
    /// Installs everything and starts nothing. `section` is more of controller.toml.
    ///
    /// # Errors
    /// A program is not built, or the lab's host does not take a file.
    pub fn install(lab: &Lab, manifest: &Value, section: &str) -> Result<Self> {
        lab.install(&program::own("pinion")?, "/usr/bin/pinion")?;
        let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/agent");
        lab.install(&program::static_agent()?, "/usr/lib/pinion/agent/amd64/pinion-agent")?;
        for file in ["pinion-agent.service", "pinion-agent.openrc", "start-agent", "agent.toml"] {
            lab.install(&packaging.join(file), &format!("/usr/lib/pinion/agent/{file}"))?;
        }
        // Minutes are days here: more is restarted in an hour than a real host's guests should see.
        let allowed = lab.path("/usr/lib/pinion/agent/agent.toml");
        let text = fs::read_to_string(&allowed).context("read the packaged agent.toml")?;
        fs::write(&allowed, text.replace("# restarts_per_hour = 3", RESTARTS))
            .context("write the packaged agent.toml")?;
        append(lab, "/etc/passwd", &format!("pinion:x:{USER}:{USER}::/var/lib/pinion:/usr/sbin/nologin\n"))?;
        append(lab, "/etc/group", &format!("pinion:x:{USER}:\npinion-admin:x:{}:\n", USER - 1))?;
        let mut config = format!("listen = \"0.0.0.0:7443\"\nadvertise = [\"{CONTROLLER}\"]\n{section}\n");
        if lab.guests.contains_key(&103) {
            let issuer = lab.issuer()?;
            write(lab, PASSWORD, 0o600, ca::PASSWORD)?;
            own(&lab.path(PASSWORD))?;
            config += &format!(
                "[issuers.step-ca]\ntype = \"step-ca\"\nurl = \"{}\"\nfingerprint = \"{}\"\nprovisioner = \"{}\"\n\
                 password_file = \"{PASSWORD}\"\nroots_every = \"1s\"\n",
                issuer.url, issuer.fingerprint, issuer.provisioner,
            );
        }
        config += "[issuers.embedded]\ntype = \"embedded\"\n[retry]\ninitial = \"1s\"\nmax = \"5s\"\n";
        write(lab, "/etc/pinion/controller.toml", 0o644, &config)?;
        let installation = Self {
            serve: None,
            channel: None,
            logs: tempfile::Builder::new().prefix("pinion-lab-").tempdir().context("make a directory for logs")?,
        };
        installation.write_manifest(lab, manifest)?;
        make(lab, "/var/lib/pinion", 0o700, true)?;
        // As systemd makes the units' RuntimeDirectory.
        make(lab, "/run/pinion", 0o755, true)?;
        make(lab, "/run/pinion-channel", 0o755, false)?;
        Ok(installation)
    }

    /// Replaces the manifest.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_manifest(&self, lab: &Lab, manifest: &Value) -> Result<()> {
        write(lab, "/etc/pinion/certificate-manifest.json", 0o644, &format!("{manifest:#}\n"))
    }

    /// Starts the root process and the controller; returns when the controller answers.
    ///
    /// # Errors
    /// One of them does not come up.
    pub fn start(&mut self, lab: &Lab) -> Result<()> {
        // As systemd makes the units' StateDirectory.
        make(lab, "/var/lib/pinion", 0o700, true)?;
        make(lab, "/var/lib/pinion-channel", 0o700, false)?;
        self.start_channel(lab)?;
        self.start_serve(lab)
    }

    /// Starts the root process.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_channel(&mut self, lab: &Lab) -> Result<()> {
        let log = self.log("channel");
        let mut command = lab.command("pinion");
        command.arg("channel");
        let channel = self.channel.insert(Process::spawn("pinion channel", &mut command, &log)?);
        let socket = lab.path("/run/pinion-channel/channel.sock");
        wait::until("the root process's socket", PATIENCE, || {
            channel.check_running().map_err(|error| error.to_string())?;
            // The file is there a moment before anybody listens (bind(2), then listen(2)).
            UnixStream::connect(&socket).map(drop).map_err(|error| error.to_string())
        })
    }

    /// Starts the controller as its own user; returns when it answers.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_serve(&mut self, lab: &Lab) -> Result<()> {
        let log = self.log("serve");
        let mut command = lab.command("setpriv");
        command.args(["--reuid=pinion", "--regid=pinion", "--init-groups", "--no-new-privs", "--bounding-set=-all"]);
        command.args(["pinion", "serve"]);
        let serve = self.serve.insert(Process::spawn("pinion serve", &mut command, &log)?);
        wait::until("pinion serve to answer", PATIENCE, || {
            serve.check_running().map_err(|error| error.to_string())?;
            status(lab).map(drop).map_err(|error| format!("{error:#}"))
        })
    }

    /// Ends both, the controller first, which asks the other.
    ///
    /// # Errors
    /// One does not end on SIGTERM.
    pub fn stop(&mut self) -> Result<()> {
        self.stop_serve()?;
        self.channel.take().map_or(Ok(()), |mut channel| channel.stop().map(drop))
    }

    /// Ends the controller.
    ///
    /// # Errors
    /// It does not end on SIGTERM.
    pub fn stop_serve(&mut self) -> Result<()> {
        self.serve.take().map_or(Ok(()), |mut serve| serve.stop().map(drop))
    }

    /// The controller's process.
    ///
    /// # Errors
    /// It does not run.
    pub fn serve(&mut self) -> Result<&mut Process> {
        self.serve.as_mut().context("pinion serve runs")
    }

    /// Root's helper's process.
    ///
    /// # Errors
    /// It does not run.
    pub fn channel(&mut self) -> Result<&mut Process> {
        self.channel.as_mut().context("pinion channel runs")
    }

    /// What both have logged.
    #[must_use]
    pub fn logged(&self) -> String {
        ["channel", "serve"].map(|name| fs::read_to_string(self.log(name)).unwrap_or_default()).concat()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.path().join(format!("{name}.log"))
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        // The controller first, which asks the other.
        for mut process in [self.serve.take(), self.channel.take()].into_iter().flatten() {
            process.stop().ok();
        }
    }
}

/// Runs `pinion` on the lab's host as root.
///
/// # Errors
/// It does not end within two minutes.
pub fn pinion(lab: &Lab, line: &str) -> Result<Finished> {
    let words: Vec<&str> = ["pinion"].into_iter().chain(line.split_whitespace()).collect();
    lab.run(&words)
}

/// What `pinion status` says.
///
/// # Errors
/// The controller does not answer.
pub fn status(lab: &Lab) -> Result<StatusJson> {
    let finished = pinion(lab, "status --json")?;
    serde_json::from_str(&finished.stdout).map_err(|error| anyhow!("read the status: {error}: {finished}"))
}

/// Waits until `look` is content with the status.
///
/// # Errors
/// That takes longer than `max`; the status and `installation`'s logs are in the message.
pub fn wait_for<T>(
    lab: &Lab,
    installation: &Installation,
    what: &str,
    max: Duration,
    look: impl Fn(&StatusJson) -> Option<T>,
) -> Result<T> {
    let waited = wait::until(what, max, || {
        let status = status(lab).map_err(|error| format!("{error:#}"))?;
        look(&status).ok_or_else(|| format!("{status:?}"))
    });
    waited.map_err(|error| {
        let log = installation.logged();
        let tail: Vec<&str> = log.lines().rev().take(60).collect();
        anyhow!("{error:#}\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"))
    })
}

fn append(lab: &Lab, path: &str, text: &str) -> Result<()> {
    let before = fs::read_to_string(lab.path(path)).with_context(|| format!("read the lab's {path}"))?;
    write(lab, path, 0o644, &format!("{before}{text}"))
}

fn write(lab: &Lab, path: &str, mode: u32, text: &str) -> Result<()> {
    let place = lab.path(path);
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).with_context(|| format!("make the lab's {}", parent.display()))?;
    }
    fs::write(&place, text)
        .and_then(|()| fs::set_permissions(&place, Permissions::from_mode(mode)))
        .with_context(|| format!("write the lab's {path}"))
}

fn make(lab: &Lab, path: &str, mode: u32, ours: bool) -> Result<()> {
    let place = lab.path(path);
    fs::create_dir_all(&place)
        .and_then(|()| fs::set_permissions(&place, Permissions::from_mode(mode)))
        .with_context(|| format!("make the lab's {path}"))?;
    if ours { own(&place) } else { Ok(()) }
}

fn own(place: &Path) -> Result<()> {
    chown(place, Some(USER), Some(USER)).with_context(|| format!("give {} to the user pinion", place.display()))
}
