//! The guest's own word on what Pinion may do here: `/etc/pinion/agent.toml`.
//!
//! Answers: where things live, what a controller may name, and how failures are retried.
//! Invariant: every path of a [`Config`] is absolute and under its root; without a file the shipped defaults hold.

mod written;

use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use pinion_proto::{
    containers::{ContainerName, ServiceName},
    place::line_and_column,
    spec::{GuestPath, PlainName, Unit},
};
use thiserror::Error;

use written::Document;
pub(crate) use written::Period;

/// Where the file is, below the root.
pub const CONFIG_FILE: &str = "etc/pinion/agent.toml";

/// Where the daemon's socket is, below the root.
pub const SOCKET: &str = "run/pinion-agent/agent.sock";

/// Where daemons of version 0.1 have their socket, below the root.
pub const EARLIER_SOCKET: &str = "run/pinion/agent.sock";

/// A configuration is a page of text; more is some other file (bytes).
const MOST_CONFIG: u64 = 256 * 1024;

/// What the agent is allowed and told by its guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What the agent takes for `/`, canonical.
    pub root: PathBuf,
    /// The directory of what the agent remembers.
    pub state: PathBuf,
    /// The socket of `await` and `status`.
    pub socket: PathBuf,
    /// The directory of the operator's hooks.
    pub hooks: PathBuf,
    /// The directory of the operator's recipes, `NAME.toml`.
    pub recipes: PathBuf,
    /// The socket of dockerd.
    pub docker: PathBuf,
    /// What a controller may name.
    pub allow: Allow,
    /// How failures are retried.
    pub retry: Retry,
    /// How often installed files and the served certificate are looked at again.
    pub check_every: Duration,
    /// How long a hook, validation or service manager call may take.
    pub hook_timeout: Duration,
    /// How long a certificate that was ordered is waited for, so that several for one service are one reload.
    pub gather: Duration,
}

/// What a controller may name; everything else is refused, whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    /// Files may be written in and below these.
    pub directories: Vec<GuestPath>,
    /// These services may be reloaded and restarted.
    pub units: Vec<Unit>,
    /// These hooks may be run.
    pub hooks: Hooks,
    /// These containers may be restarted and sent a signal.
    pub containers: Vec<ContainerName>,
    /// These Swarm services may be given new secrets.
    pub swarm_services: Vec<ServiceName>,
    /// These files and directories, and those below them, may be touched.
    pub touch: Vec<GuestPath>,
}

impl Allow {
    /// What the shipped recipes need.
    fn shipped() -> Self {
        Self {
            directories: shipped_list(&SHIPPED_DIRECTORIES),
            units: shipped_list(&SHIPPED_UNITS),
            hooks: Hooks::Any,
            containers: shipped_list(&SHIPPED_CONTAINERS),
            swarm_services: shipped_list(&SHIPPED_SWARM_SERVICES),
            touch: shipped_list(&SHIPPED_TOUCH),
        }
    }
}

/// Which files of the hook directory may be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hooks {
    /// None.
    Nothing,
    /// Any: putting one there is the permission.
    Any,
    /// These.
    Named(Vec<PlainName>),
}

impl Hooks {
    /// Whether the hook `name` may be run.
    #[must_use]
    pub fn allows(&self, name: &PlainName) -> bool {
        match self {
            Self::Nothing => false,
            Self::Any => true,
            Self::Named(names) => names.contains(name),
        }
    }
}

/// Delays between tries: doubled from `initial` up to `max`, or up to `blocked` where a person is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Before the second try.
    pub initial: Duration,
    /// The longest while waiting.
    pub max: Duration,
    /// The longest while blocked.
    pub blocked: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        // Quick enough that a service which starts late is seen at once, slow enough to be unseen in a load graph.
        Self { initial: Duration::from_secs(1), max: Duration::from_secs(300), blocked: Duration::from_secs(3600) }
    }
}

impl Config {
    /// Reads `agent.toml` below `root`; the shipped defaults where there is none.
    ///
    /// # Errors
    /// The root is no directory, or the file cannot be read, is no TOML, or says what it may not; the error names
    /// the file, the line and what to do.
    pub fn load(root: &Path) -> Result<Self, ConfigError> {
        let root = std::fs::canonicalize(root).map_err(|source| ConfigError::Root { path: root.into(), source })?;
        let path = root.join(CONFIG_FILE);
        let Some(text) = read(&path)? else { return Ok(Self::shipped(root)) };
        Self::parse(root, &text).map_err(|fault| fault.in_file(path, &text))
    }

    /// The shipped defaults below `root`, which must be canonical.
    #[must_use]
    pub fn shipped(root: PathBuf) -> Self {
        Document::default().into_config(root)
    }

    fn parse(root: PathBuf, text: &str) -> Result<Self, Fault> {
        let document: Document =
            toml::from_str(text).map_err(|e| Fault { at: e.span(), why: e.message().to_owned() })?;
        let config = document.into_config(root);
        let zero = [config.retry.initial, config.retry.max, config.retry.blocked, config.check_every]
            .iter()
            .chain([&config.hook_timeout])
            .any(Duration::is_zero);
        if zero {
            return Err(Fault { at: None, why: "a period must be longer than nothing, for example `1s`".into() });
        }
        Ok(config)
    }

    /// Where a path of the guest's is for this process.
    #[must_use]
    pub fn under_root(&self, path: &GuestPath) -> PathBuf {
        self.root.join(path.as_str().trim_start_matches('/'))
    }
}

/// What is wrong with the configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The root is not there.
    #[error("cannot use {path} as the root directory: give an existing directory to --root", path = path.display())]
    Root {
        /// What was given.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read {path}: check that it is a file that the agent's user may read", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Not text.
    #[error("{path} is not UTF-8 text: write it anew, or remove it to use the shipped defaults", path = path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Far too long.
    #[error("{path} is larger than {MOST_CONFIG} bytes: put the right file there, or remove it to use the shipped defaults", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Nothing in it, as a disk that was full leaves a file: the guest's own limits may have been there.
    #[error("{path} is empty: restore it from a backup, or remove it to use the shipped defaults", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Says what it may not.
    #[error(
        "{path}:{line}:{column}: {why}; correct that line, see docs/agent.md, or remove the file to use the shipped defaults",
        path = path.display()
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// What is wrong there.
        why: String,
    },
}

fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.into(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let mut bytes = Vec::new();
    file.take(MOST_CONFIG + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MOST_CONFIG {
        return Err(ConfigError::TooLarge { path: path.into() });
    }
    if bytes.trim_ascii().is_empty() {
        return Err(ConfigError::Empty { path: path.into() });
    }
    String::from_utf8(bytes).map(Some).map_err(|_| ConfigError::NotText { path: path.into() })
}

/// A complaint about a range of bytes of the text.
struct Fault {
    at: Option<Range<usize>>,
    why: String,
}

impl Fault {
    fn in_file(self, path: PathBuf, text: &str) -> ConfigError {
        let (line, column) = line_and_column(text, self.at.map_or(0, |range| range.start));
        ConfigError::Content { path, line, column, why: self.why.replace('\n', ", ") }
    }
}

/// What the shipped recipes need, and the two usual places of certificates. Proxmox's own directory is left to the
/// host's agent.toml: the files of other guests are in it too.
const SHIPPED_DIRECTORIES: [&str; 13] = [
    "/etc/ssl",
    "/etc/pinion/certs",
    "/etc/nginx/ssl",
    "/etc/haproxy/certs",
    "/etc/caddy/certs",
    "/etc/traefik/certs",
    "/etc/postgresql/tls",
    "/etc/docker/tls",
    "/etc/portainer/certs",
    "/root/.docker",
    "/etc/docker/certs.d",
    "/usr/local/share/ca-certificates",
    "/etc/pki/ca-trust/source/anchors",
];
const SHIPPED_UNITS: [&str; 6] =
    ["nginx.service", "haproxy.service", "caddy.service", "traefik.service", "postgresql.service", "docker.service"];
const SHIPPED_CONTAINERS: [&str; 1] = ["portainer"];
const SHIPPED_SWARM_SERVICES: [&str; 1] = ["portainer_portainer"];
const SHIPPED_TOUCH: [&str; 1] = ["/etc/traefik/dynamic"];

fn shipped_list<T: std::str::FromStr<Err: std::fmt::Debug>>(texts: &[&str]) -> Vec<T> {
    texts.iter().map(|text| text.parse().expect("the shipped lists are well-formed")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8]) -> (tempfile::TempDir, Result<Config, ConfigError>) {
        let root = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir_all(root.path().join("etc/pinion")).expect("directory is made");
        std::fs::write(root.path().join(CONFIG_FILE), bytes).expect("file is written");
        let config = Config::load(root.path());
        (root, config)
    }

    #[test]
    fn without_a_file_the_shipped_defaults_hold() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let config = Config::load(root.path()).expect("defaults");
        assert!(config.allow.directories.contains(&"/etc/docker/tls".parse().expect("a path")));
        assert!(config.state.ends_with("var/lib/pinion-agent"));
        assert!(config.allow.hooks.allows(&"any".parse().expect("a name")));
        assert_eq!(written(b"# nothing yet\n").1.expect("an empty document").allow, config.allow);
    }

    #[test]
    fn what_is_written_replaces_the_default() {
        let text = "check_every = \"5s\"\n[allow]\ndirectories = [\"/srv/tls\"]\nunits = []\nhooks = [\"swarm\"]\n[retry]\ninitial = \"10ms\"";
        let config = written(text.as_bytes()).1.expect("a good file");
        assert_eq!(config.allow.directories.len(), 1);
        assert!(config.allow.units.is_empty());
        assert!(!config.allow.hooks.allows(&"other".parse().expect("a name")));
        assert_eq!(config.retry.initial, Duration::from_millis(10));
        assert_eq!(config.retry.max, Retry::default().max);
        assert_eq!(config.check_every, Duration::from_secs(5));
        assert_eq!(written(b"[allow]\nhooks = false").1.expect("a switch").allow.hooks, Hooks::Nothing);
    }

    #[test]
    fn a_fault_is_named_with_its_line_and_column() {
        for (text, place, why) in [
            ("[allow]\nunits = [\"nginx\"]", ":2:9:", "nginx.service"),
            ("[allow]\n\ndirectories = [\"/etc/../x\"]", ":3:15:", "absolute path"),
            ("[allow]\nunit = []", ":2:1:", "unit"),
            ("[retry]\ninitial = \"soon\"", ":2:11:", "period"),
            ("x = ", ":1:", ""),
            ("[allow]\nhooks = 3", ":2:9:", "list of hook names"),
        ] {
            let error = written(text.as_bytes()).1.expect_err(text).to_string();
            assert!(error.contains(place) && error.contains(why) && error.contains("agent.toml"), "{error}");
        }
        assert!(written(b"[retry]\ninitial = \"0s\"").1.is_err());
    }

    #[test]
    fn files_that_are_no_configuration_are_refused_kindly() {
        assert!(matches!(written(b"\n").1, Err(ConfigError::Empty { .. })));
        assert!(matches!(written(b"\xff\xfe").1, Err(ConfigError::NotText { .. })));
        assert!(matches!(written(&vec![b'#'; 300 * 1024]).1, Err(ConfigError::TooLarge { .. })));
        let (root, _) = written(b"");
        std::fs::remove_file(root.path().join(CONFIG_FILE)).expect("file is removed");
        std::fs::create_dir(root.path().join(CONFIG_FILE)).expect("a directory in its place");
        assert!(matches!(Config::load(root.path()), Err(ConfigError::Read { .. })));
        assert!(matches!(Config::load(Path::new("/nowhere/at/all")), Err(ConfigError::Root { .. })));
    }
}
