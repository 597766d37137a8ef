//! The guest's own word on what Pinion may do here: `/etc/pinion/agent.toml`.
//!
//! Answers: where things live, what a controller may name, and how failures are retried.
//! Invariant: without a file the shipped defaults hold.

mod allow;
mod network;
mod tables;
mod values;
mod written;

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use pinion_proto::{
    exit::Exit,
    failure::Failure,
    settings::{self, Mistake},
};
use serde::Serialize;
use thiserror::Error;

pub use allow::{Allow, Hooks, List};
pub use network::{Network, NetworkError};
pub use tables::TABLES;
pub use values::{Config, Doctor, Retry, SOCKET};
use written::Document;
pub(crate) use written::Period;

/// Where the file is, below the root.
pub const CONFIG_FILE: &str = "etc/pinion/agent.toml";

/// Where daemons of version 0.1 have their socket, below the root.
pub const EARLIER_SOCKET: &str = "run/pinion/agent.sock";

/// A configuration is a page of text; more is some other file (bytes).
const MAX_CONFIG: u64 = 256 * 1024;

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
        Self::parse(root, &text).map_err(|mistakes| ConfigError::Content { path, mistakes })
    }

    /// The shipped defaults below `root`, which must be canonical.
    #[must_use]
    pub fn shipped(root: PathBuf) -> Self {
        Document::default().into_config(root)
    }

    /// The shipped defaults below a directory of a test's own, with the directory of the state made.
    #[cfg(test)]
    pub(crate) fn for_test() -> (tempfile::TempDir, Self) {
        let root = tempfile::tempdir().expect("a directory");
        let config = Self::shipped(root.path().to_owned());
        std::fs::create_dir_all(&config.state).expect("made");
        (root, config)
    }

    fn parse(root: PathBuf, text: &str) -> Result<Self, Vec<ConfigMistake>> {
        let read = settings::read_whole::<Document>(text);
        let mut wrong: Vec<ConfigMistake> = read
            .mistakes
            .iter()
            .chain(&read.document.mistakes())
            .map(|mistake| ConfigMistake::of(mistake, text))
            .collect();
        wrong.sort();
        wrong.dedup();
        if wrong.is_empty() { Ok(read.document.into_config(root)) } else { Err(wrong) }
    }
}

/// What is wrong with the configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The root is not there.
    #[error("cannot use {path} as the root directory", path = path.display())]
    Root {
        /// What was given.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Not text.
    #[error("{path} is not UTF-8 text: save it as UTF-8, or remove it to use the shipped defaults", path = path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Far too long.
    #[error("{path} is larger than {MAX_CONFIG} bytes: put the right file there, or remove it to use the shipped defaults", path = path.display())]
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
        "{}; correct {}, see docs/reference/configuration.md, or remove the file to use the shipped defaults",
        placed(path, mistakes),
        those(mistakes)
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong with it, in the order of its lines; at least one.
        mistakes: Vec<ConfigMistake>,
    },
}

impl ConfigError {
    /// Why a command fails that needs the configuration, with what to do.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let failure = Failure::of(Exit::Usage, self);
        match self {
            Self::Root { .. } => failure.remedy("give an existing directory to --root"),
            Self::Read { .. } => failure.remedy("make it a file that this user may read").or_root(self),
            // The others say it where they say what is wrong.
            Self::NotText { .. } | Self::TooLarge { .. } | Self::Empty { .. } | Self::Content { .. } => failure,
        }
    }
}

/// One thing that is wrong with agent.toml.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConfigMistake {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub why: String,
}

impl ConfigMistake {
    fn of(mistake: &Mistake, text: &str) -> Self {
        let (line, column) = mistake.place(text);
        Self { line, column, why: mistake.why.trim().replace('\n', ", ") }
    }
}

impl fmt::Display for ConfigMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.why)
    }
}

/// Each mistake on a line of its own, with its place in the file.
fn placed(path: &Path, mistakes: &[ConfigMistake]) -> String {
    let lines: Vec<_> = mistakes.iter().map(|mistake| format!("{}:{mistake}", path.display())).collect();
    lines.join("\n")
}

fn those(mistakes: &[ConfigMistake]) -> &'static str {
    if mistakes.len() == 1 { "that line" } else { "those lines" }
}

fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.into(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_CONFIG + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_CONFIG {
        return Err(ConfigError::TooLarge { path: path.into() });
    }
    if bytes.trim_ascii().is_empty() {
        return Err(ConfigError::Empty { path: path.into() });
    }
    String::from_utf8(bytes).map(Some).map_err(|_| ConfigError::NotText { path: path.into() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pinion_proto::spec::GuestPath;

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
        assert_eq!(config.allow.directories, ["/etc/pinion/certs".parse().expect("a path")]);
        assert!(config.allow.takes_recipes(List::Directories) && config.allow.units.is_empty());
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
        for (list, from_recipes) in [(List::Directories, false), (List::Units, false), (List::Containers, true)] {
            assert_eq!(config.allow.takes_recipes(list), from_recipes, "{}", list.as_str());
        }
        assert!(!config.allow.hooks.allows(&"other".parse().expect("a name")));
        assert_eq!(config.retry.initial, Duration::from_millis(10));
        assert_eq!(config.retry.max, Retry::default().max);
        assert_eq!(config.check_every, Duration::from_secs(5));
        assert_eq!(written(b"[allow]\nhooks = false").1.expect("a switch").allow.hooks, Hooks::Nothing);
    }

    #[test]
    fn an_extra_list_adds_to_the_shipped_one_and_to_a_written_one() {
        let text = "[allow]\nextra_directories = [\"/srv/tls\"]\nunits = [\"a.service\"]\nextra_units = [\"b.service\"]\n\
                    probe = [\"10.0.0.0/24\"]\nextra_probe = [\"10.0.1.5:443\"]\ntrust = false\n";
        let allow = written(text.as_bytes()).1.expect("a good file").allow;
        assert_eq!(
            allow.directories.iter().map(GuestPath::as_str).collect::<Vec<_>>(),
            ["/etc/pinion/certs", "/srv/tls"]
        );
        assert_eq!(allow.units.len(), 2);
        assert!(allow.takes_recipes(List::Directories) && !allow.takes_recipes(List::Units) && !allow.trust);
        assert_eq!(allow.probe.len(), 2);
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_place() {
        let text = "chek_every = \"5s\"\ngather = \"soon\"\nhook_timeout = \"0s\"\n\n[allow]\nextra_units = [\n  \"nginx\",\n  \
                    \"good.service\",\n  \"sshd\",\n]\nextra_directories = [\"etc/x\"]\nprobe = [\"host\"]\n\n[retry]\nmax = 3\n";
        let Err(ConfigError::Content { mistakes, .. }) = written(text.as_bytes()).1 else {
            panic!("no mistake is found")
        };
        let places: Vec<_> = mistakes.iter().map(|mistake| (mistake.line, mistake.column)).collect();
        assert_eq!(places, [(1, 1), (2, 10), (3, 16), (7, 3), (9, 3), (11, 22), (12, 10), (15, 7)], "{mistakes:#?}");
    }

    #[test]
    fn a_fault_is_named_with_its_line_and_column() {
        for (text, place, why) in [
            ("[allow]\nunits = [\"nginx\"]", ":2:10:", "nginx.service"),
            ("[allow]\n\ndirectories = [\"/etc/../x\"]", ":3:16:", "absolute path"),
            ("[allow]\nunit = []", ":2:1:", "unit"),
            ("[retry]\ninitial = \"soon\"", ":2:11:", "duration"),
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
