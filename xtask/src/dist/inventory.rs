//! What the programs are made from: their software bills of materials, and the licences of what is linked.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    children::{Children, cargo},
    tools::Inventory,
};

/// The programs' folders, and their packages.
const PACKAGES: [(&str, &str); 2] = [("controller", "pinion-controller"), ("agent", "pinion-agent")];

/// Writes one CycloneDX document for each program; their paths.
pub(super) fn boms(root: &Path, children: &Children, tools: &Inventory, directory: &Path) -> Result<Vec<PathBuf>> {
    let mut command = tools.cyclonedx();
    command.args(["cyclonedx", "--format", "json", "--no-build-deps", "--override-filename", "bom.cdx"]);
    command.arg("--manifest-path").arg(root.join("Cargo.toml"));
    children.run_well(&mut command).context("list what the programs are made from")?;
    // The tool writes one beside each package's Cargo.toml, and cannot be told otherwise.
    let mut paths = Vec::new();
    for entry in fs::read_dir(root).with_context(|| format!("list {}", root.display()))? {
        let folder = entry.context("list the packages")?.path();
        let from = folder.join("bom.cdx.json");
        let package = PACKAGES.iter().find(|(name, _)| folder.ends_with(name));
        if let (true, Some((_, package))) = (from.is_file(), package) {
            let to = directory.join(format!("{package}.cdx.json"));
            fs::rename(&from, &to).with_context(|| format!("move {} to {}", from.display(), to.display()))?;
            paths.push(to);
        } else if from.is_file() {
            fs::remove_file(&from).with_context(|| format!("remove {}", from.display()))?;
        }
    }
    Ok(paths)
}

/// Writes the licences of everything that is linked, as one document for both programs.
pub(super) fn licenses(root: &Path, children: &Children, tools: &Inventory, directory: &Path) -> Result<PathBuf> {
    let path = directory.join("THIRD-PARTY-LICENSES.md");
    // It reads the sources of every platform's crates, and what was built here needed this one's alone.
    children.run_well(cargo(root).args(["fetch", "--locked"])).context("fetch the sources of what is linked")?;
    let mut command = tools.about();
    let packaging = root.join("packaging/licenses");
    command.current_dir(root).args(["about", "generate", "--workspace", "--offline", "--fail", "--config"]);
    command.arg(packaging.join("about.toml")).arg("--output-file").arg(&path).arg(packaging.join("licenses.hbs"));
    children.run_well(&mut command).context("list the licences")?;
    Ok(path)
}
