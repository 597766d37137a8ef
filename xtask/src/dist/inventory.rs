//! What the programs are made from: their software bills of materials, and the licences of what is linked.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{children::Children, tools::Inventory};

/// The programs' packages.
const PACKAGES: [(&str, &str); 2] = [("controller", "pinion-controller"), ("agent", "pinion-agent")];

/// Writes one CycloneDX document for each program; their paths.
pub(super) fn boms(root: &Path, children: &Children, tools: &Inventory, directory: &Path) -> Result<Vec<PathBuf>> {
    let written = PACKAGES.map(|(folder, package)| {
        let mut command = tools.cyclonedx();
        let name = format!("{package}.cdx");
        command.args(["cyclonedx", "--format", "json", "--no-build-deps", "--override-filename", &name]);
        command.arg("--manifest-path").arg(root.join(folder).join("Cargo.toml"));
        children.run_well(&mut command).with_context(|| format!("list what {package} is made from"))?;
        // The tool writes beside Cargo.toml, and cannot be told otherwise.
        let (from, to) = (root.join(folder).join(format!("{name}.json")), directory.join(format!("{name}.json")));
        fs::rename(&from, &to).with_context(|| format!("move {} to {}", from.display(), to.display()))?;
        Ok(to)
    });
    written.into_iter().collect()
}

/// Writes the licences of everything that is linked, as one document for both programs.
pub(super) fn licenses(root: &Path, children: &Children, tools: &Inventory, directory: &Path) -> Result<PathBuf> {
    let path = directory.join("THIRD-PARTY-LICENSES.md");
    let mut command = tools.about();
    let packaging = root.join("packaging/licenses");
    command.current_dir(root).args(["about", "generate", "--workspace", "--offline", "--fail", "--config"]);
    command.arg(packaging.join("about.toml")).arg("--output-file").arg(&path).arg(packaging.join("licenses.hbs"));
    children.run_well(&mut command).context("list the licences")?;
    Ok(path)
}
