//! The agent for distributions without Debian's packages.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{debian, directory::start_empty, programs::Programs};
use crate::children::Children;

/// What it has beside the program and the licences, from the checkout, and its modes.
const FILES: [(&str, u32); 8] = [
    ("packaging/agent/install", 0o755),
    ("packaging/agent/start-agent", 0o755),
    ("packaging/agent/pinion-agent.openrc", 0o755),
    ("packaging/agent/pinion-agent.service", 0o644),
    ("packaging/agent/agent.toml", 0o644),
    ("docs/agent.md", 0o644),
    ("docs/reference/configuration.md", 0o644),
    ("LICENSE", 0o644),
];

/// Packs the static agent with its install script; the archive's path.
pub(super) fn agent(
    root: &Path,
    version: &str,
    programs: &Programs,
    licenses: Option<&Path>,
    children: &Children,
    directory: &Path,
) -> Result<PathBuf> {
    let name = format!("pinion-agent-{version}-linux-amd64");
    let top = directory.join("build").join(&name);
    start_empty(&top)?;
    let files = FILES.iter().map(|&(file, mode)| (root.join(file), mode));
    for (from, mode) in
        files.chain([(programs.agent.clone(), 0o755)]).chain(licenses.map(|path| (path.to_owned(), 0o644)))
    {
        let to = top.join(from.file_name().context("a file has a name")?);
        fs::copy(&from, &to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
        fs::set_permissions(&to, Permissions::from_mode(mode)).with_context(|| format!("chmod {}", to.display()))?;
    }
    let archive = directory.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--create", "--gzip", "--sort=name", "--owner=root:0", "--group=root:0"]);
    tar.arg(format!("--mtime=@{}", debian::committed_at(root)?)).arg("--file").arg(&archive);
    children.run_well(tar.arg("--directory").arg(directory.join("build")).arg(&name))?;
    Ok(archive)
}
