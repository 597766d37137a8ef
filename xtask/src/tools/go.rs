//! Programs that are built from their Go modules, once.
//!
//! Invariant: a program is of exactly the version that is written here, wherever it was found; builds are niced, because they run
//! beside others.

use std::{
    env,
    ffi::OsStr,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{
    debian,
    program::{find, said},
    traefik,
};
use crate::children::{Children, shown};

/// A program that is built from its Go module.
#[derive(Debug)]
pub(crate) struct GoTool {
    name: &'static str,
    module: &'static str,
    /// The program's package, in the module.
    package: &'static str,
    version: &'static str,
    source: Source,
}

/// What Go builds from.
#[derive(Debug)]
enum Source {
    /// The module as it is fetched.
    Module,
    /// A copy of it, made ready by this: Go installs no module whose go.mod replaces others.
    Copy { prepare: fn(&Path) -> Result<()>, version_variable: &'static str },
}

/// The tests' CA.
pub(crate) const STEP_CA: GoTool = GoTool {
    name: "step-ca",
    module: "github.com/smallstep/certificates",
    package: "cmd/step-ca",
    version: "v0.30.2",
    source: Source::Module,
};

/// Its command line.
pub(crate) const STEP: GoTool = GoTool {
    name: "step",
    module: "github.com/smallstep/cli",
    package: "cmd/step",
    version: "v0.30.2",
    source: Source::Module,
};

/// Debian has none.
pub(crate) const TRAEFIK: GoTool = GoTool {
    name: "traefik",
    module: "github.com/traefik/traefik/v3",
    package: "cmd/traefik",
    version: "v3.6.12",
    source: Source::Copy {
        prepare: traefik::leave_out_dns_providers,
        version_variable: "github.com/traefik/traefik/v3/pkg/version.Version",
    },
};

impl GoTool {
    /// Where the right version is.
    pub(super) fn find(&self, own: &Path) -> Option<PathBuf> {
        let gopath = env::home_dir().map(|home| home.join("go/bin").join(self.name));
        let mut candidates = [Some(own.join(self.name)), find(self.name), gopath].into_iter().flatten();
        candidates.find(|path| path.is_file() && self.is_version_of(path))
    }

    /// Puts it into `own`.
    pub(super) fn build(&self, own: &Path, children: &Children) -> Result<()> {
        let go = match find_go() {
            Some(go) => go,
            None => {
                install_go(children)?;
                find_go().context("the package golang-go is installed and has no go")?
            }
        };
        let mut command = Command::new("nice");
        command.args(["-n", "10"]).arg(&go);
        match &self.source {
            Source::Module => {
                command.args(["install", &format!("{}/{}@{}", self.module, self.package, self.version)]);
                command.env("GOBIN", own).env("GOFLAGS", "-mod=mod");
            }
            Source::Copy { prepare, version_variable } => {
                let copy = own.with_file_name("source").join(self.name);
                self.copy(&go, &copy, children)?;
                prepare(&copy).with_context(|| format!("make {} ready", copy.display()))?;
                let flags = format!("-s -w -X {version_variable}={}", self.version.trim_start_matches('v'));
                command.args(["build", "-trimpath", "-ldflags", &flags, "-o"]).arg(own.join(self.name));
                command.arg(format!("./{}", self.package)).current_dir(&copy).env("GOFLAGS", "");
            }
        }
        // Without cgo it needs no smart card library.
        command.env("CGO_ENABLED", "0").env("GOWORK", "off");
        println!("building {self} with Go, once: {}", shown(&command));
        children.run_well(&mut command)?;
        println!("{self} is built");
        Ok(())
    }

    /// The module's source, where it may be changed.
    fn copy(&self, go: &Path, to: &Path, children: &Children) -> Result<()> {
        let module = format!("{}@{}", self.module, self.version);
        let text = said(Command::new(go).args(["mod", "download", "-json", &module]).env("GOFLAGS", "-mod=mod"));
        let text = text.with_context(|| format!("Go cannot fetch {module}"))?;
        let told: Downloaded = serde_json::from_str(&text).context("read what `go mod download` says")?;
        if to.exists() {
            fs::remove_dir_all(to).with_context(|| format!("remove {}", to.display()))?;
        }
        let parent = to.parent().context("a copy is in a directory")?;
        fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        // Go keeps modules where nobody can write.
        let mut copy = Command::new("cp");
        children.run_well(copy.args(["--recursive", "--no-preserve=mode"]).args([&told.dir, to]))
    }

    /// Built from the module, or a program that says so itself.
    fn is_version_of(&self, path: &Path) -> bool {
        let built = find_go()
            .and_then(|go| said(Command::new(go).args([OsStr::new("version"), OsStr::new("-m"), path.as_os_str()])));
        let fits = |line: &str| {
            let mut words = line.split_whitespace();
            words.next() == Some("mod") && words.next() == Some(self.module) && words.next() == Some(self.version)
        };
        if built.is_some_and(|text| text.lines().any(fits)) {
            return true;
        }
        said(Command::new(path).arg("version")).is_some_and(|text| says(&text, self.version.trim_start_matches('v')))
    }
}

impl fmt::Display for GoTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// What `go mod download -json` says, as far as it matters here.
#[derive(serde::Deserialize)]
struct Downloaded {
    #[serde(rename = "Dir")]
    dir: PathBuf,
}

/// `Smallstep CA/0.30.2 (linux/amd64)`, `Version:      3.6.12`.
fn says(text: &str, version: &str) -> bool {
    text.split(|c: char| c.is_whitespace() || c == '/').any(|word| word == version)
}

/// Go 1.21 fetches by itself the newer toolchain that a module asks for; older ones fail on it.
const OLDEST_GO: (u32, u32) = (1, 21);

fn find_go() -> Option<PathBuf> {
    find("go").or_else(|| Some(PathBuf::from("/usr/local/go/bin/go")).filter(|path| path.is_file()))
}

fn install_go(children: &Children) -> Result<()> {
    let advice = "install Go 1.21 or newer (https://go.dev/dl), or put the program on PATH";
    let policy = said(Command::new("apt-cache").args(["policy", "golang-go"])).unwrap_or_default();
    match candidate(&policy) {
        Some(version) if version >= OLDEST_GO => debian::install(children, true, &["golang-go"]).context(advice),
        Some((major, minor)) => bail!("there is no Go, and Debian's {major}.{minor} is too old: {advice}"),
        None => bail!("there is no Go: {advice}"),
    }
}

/// The version in `  Candidate: 2:1.24~2`, as far as Go counts it.
fn candidate(policy: &str) -> Option<(u32, u32)> {
    let line = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    let version = line.split_once(':').map_or(line, |(_, rest)| rest);
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_of_a_package_is_read_as_go_counts() {
        assert_eq!(candidate("golang-go:\n  Installed: (none)\n  Candidate: 2:1.19~1\n"), Some((1, 19)));
        assert_eq!(candidate("  Candidate: 2:1.24~2"), Some((1, 24)));
        assert_eq!(candidate("  Candidate: (none)"), None);
        assert_eq!(candidate(""), None);
    }

    #[test]
    fn a_program_tells_its_version_in_a_word_of_its_own() {
        assert!(says("Smallstep CA/0.30.2 (linux/amd64)\nRelease Date: ...", "0.30.2"));
        assert!(says("Version:      3.6.12\nCodename:     cheddar", "3.6.12"));
        assert!(!says("Version:      3.6.120", "3.6.12"));
    }
}
