//! What the tests need beside Rust: real services and a real CA, found or installed.
//!
//! Answers: is everything there, and where? Invariant: nothing outside `target/tools` is written
//! except Debian packages, and those are announced before they are installed.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use rustix::process::getuid;

use crate::children::{Children, shown};

/// Sees to it that everything is there; the directories with the Go programs, joined as for PATH.
pub(crate) fn ensure(root: &Path, children: &Children, may_install: bool) -> Result<OsString> {
    debian(&DEBIAN, children, may_install)?;
    let own = root.join("target/tools/bin");
    let mut directories = vec![];
    for tool in &GO_TOOLS {
        let directory = tool.ensure(&own, children, may_install)?;
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    // The project's own first: a directory of the person's may hold another version of the other tool.
    directories.sort_by_key(|directory| *directory != own);
    env::join_paths(directories).context("join the tools' directories")
}

/// Sees to it that what a real VM in the lab needs is there.
pub(crate) fn ensure_machine(children: &Children, may_install: bool) -> Result<()> {
    debian(&MACHINE, children, may_install)
}

/// A program, and the Debian package that has it.
const DEBIAN: [(&str, &str); 12] = [
    ("nginx", "nginx-light"),
    ("haproxy", "haproxy"),
    ("caddy", "caddy"),
    // The server itself is not on PATH; this comes with it.
    ("pg_lsclusters", "postgresql"),
    ("setpriv", "util-linux"),
    ("dockerd", "docker.io"),
    ("openssl", "openssl"),
    ("pgrep", "procps"),
    // The lab: its containers, its guests' file systems, its network, its namespaces.
    ("lxc-start", "lxc"),
    ("debootstrap", "debootstrap"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
];

/// An emulated machine, and its disk.
const MACHINE: [(&str, &str); 2] = [("qemu-system-x86_64", "qemu-system-x86"), ("mkfs.ext4", "e2fsprogs")];

fn debian(wanted: &[(&'static str, &'static str)], children: &Children, may_install: bool) -> Result<()> {
    let mut missing: Vec<(&str, &str)> = Vec::new();
    for &(program, package) in wanted {
        match find(program) {
            Some(path) => println!("{program}: {}", path.display()),
            None => missing.push((program, package)),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let programs = missing.iter().map(|(program, _)| *program).collect::<Vec<_>>().join(", ");
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    install(children, may_install, &packages)
        .with_context(|| format!("{programs} not found; the packages {} have them", packages.join(", ")))
}

fn install(children: &Children, may_install: bool, packages: &[&str]) -> Result<()> {
    if !may_install {
        bail!("not installing, as asked");
    }
    if find("apt-get").is_none() {
        bail!("this machine has no apt-get: install them by hand");
    }
    let _quiet = ServicesStayDown::begin(children)?;
    let apt = |words: &[&str]| -> Result<Command> {
        let mut command = as_root("apt-get")?;
        command.args(["-q", "-y"]).args(words);
        Ok(command)
    };
    let mut wanted = apt(&["install", "--no-install-recommends"])?;
    wanted.args(packages);
    println!("installing: {}", shown(&wanted));
    if children.run(&mut wanted)?.success() {
        return Ok(());
    }
    println!("that failed: the package lists may be old");
    children.run_well(&mut apt(&["update"])?)?;
    children.run_well(&mut wanted)
}

/// A command as root: itself, or through sudo.
fn as_root(program: &str) -> Result<Command> {
    let mut command = if getuid().is_root() {
        Command::new("env")
    } else if let Some(sudo) = find("sudo") {
        let mut command = Command::new(sudo);
        // Never asks: nobody may be there to answer.
        command.args(["-n", "env"]);
        command
    } else {
        bail!("this needs root, and there is no sudo");
    };
    command.args(["DEBIAN_FRONTEND=noninteractive", program]);
    Ok(command)
}

/// While this lives, packages start no services: Debian's own switch for it, `policy-rc.d`
/// (invoke-rc.d(8)). The tests start what they need, on ports and in directories of their own.
struct ServicesStayDown<'a> {
    children: &'a Children,
    ours: bool,
}

impl<'a> ServicesStayDown<'a> {
    const POLICY: &'static str = "/usr/sbin/policy-rc.d";

    fn begin(children: &'a Children) -> Result<Self> {
        if Path::new(Self::POLICY).exists() {
            return Ok(Self { children, ours: false });
        }
        let file = tempfile::NamedTempFile::new().context("make a file for policy-rc.d")?;
        // 101: the action is forbidden.
        fs::write(file.path(), "#!/bin/sh\nexit 101\n").context("write policy-rc.d")?;
        let mut copy = as_root("install")?;
        children.run_well(copy.args(["-m", "0755"]).arg(file.path()).arg(Self::POLICY))?;
        Ok(Self { children, ours: true })
    }
}

impl Drop for ServicesStayDown<'_> {
    fn drop(&mut self) {
        let removed = || self.children.run_well(as_root("rm")?.args(["-f", Self::POLICY]));
        if self.ours
            && let Err(error) = removed()
        {
            eprintln!("please remove {}, or packages start no services on this machine: {error:#}", Self::POLICY);
        }
    }
}

/// A program that is built from its Go module.
struct GoTool {
    name: &'static str,
    module: &'static str,
    package: &'static str,
    version: &'static str,
}

const GO_TOOLS: [GoTool; 2] = [
    GoTool {
        name: "step-ca",
        module: "github.com/smallstep/certificates",
        package: "github.com/smallstep/certificates/cmd/step-ca",
        version: "v0.30.2",
    },
    GoTool {
        name: "step",
        module: "github.com/smallstep/cli",
        package: "github.com/smallstep/cli/cmd/step",
        version: "v0.30.2",
    },
];

impl GoTool {
    /// The directory where the right version is, after building it there if it is nowhere.
    fn ensure(&self, own: &Path, children: &Children, may_install: bool) -> Result<PathBuf> {
        let elsewhere = find(self.name);
        let gopath = env::home_dir().map(|home| home.join("go/bin").join(self.name));
        let mut candidates = [Some(own.join(self.name)), elsewhere, gopath].into_iter().flatten();
        if let Some(path) = candidates.find(|path| path.is_file() && self.is_version_of(path)) {
            println!("{} {}: {}", self.name, self.version, path.display());
            return Ok(path.parent().unwrap_or(own).to_owned());
        }
        self.build(own, children, may_install).with_context(|| format!("{} {} not found", self.name, self.version))?;
        Ok(own.to_owned())
    }

    fn build(&self, own: &Path, children: &Children, may_install: bool) -> Result<()> {
        if !may_install {
            bail!("not building it, as asked");
        }
        let go = match find_go() {
            Some(go) => go,
            None => {
                install_go(children)?;
                find_go().context("the package golang-go is installed and has no go")?
            }
        };
        let mut command = Command::new(go);
        command.args(["install", &format!("{}@{}", self.package, self.version)]);
        // Without cgo it needs no smart card library.
        command.env("GOBIN", own).env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=mod");
        println!("building {} {} with Go, once: {}", self.name, self.version, shown(&command));
        children.run_well(&mut command)
    }

    /// Built from the module, or a release that says so itself.
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
        let release = format!("/{} ", self.version.trim_start_matches('v'));
        said(Command::new(path).arg("version")).is_some_and(|text| text.contains(&release))
    }
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
        Some(version) if version >= OLDEST_GO => install(children, true, &["golang-go"]).context(advice),
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

/// What a command prints when it succeeds.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// A program on PATH, or where Debian keeps daemons.
fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|directory| directory.join(name)).find(|candidate| candidate.is_file())
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
}
