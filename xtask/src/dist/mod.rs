//! `cargo xtask dist`: what is released, in `target/dist`.
//!
//! Answers: which files does a release have, and what are they made from? Invariant: everything that is written is below
//! `target/dist`, and `SHA256SUMS` lists all that a person downloads.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{binaries, children::Children, tools};
use debian::Compression;
use directory::{copy_into, start_empty};
use programs::Programs;

mod debian;
mod directory;
mod glibc;
mod inventory;
mod pages;
mod programs;
mod renumbered;
mod sums;
mod tarball;

/// Builds everything; signs the sums if there is a key for it.
pub(crate) fn run(root: &Path, sign: Option<&str>) -> Result<()> {
    let children = Children::watched()?;
    tools::ensure_packaging(&children, true)?;
    let directory = binaries::target(root).join("dist");
    start_empty(&directory)?;
    let zig = tools::Zig::ensure(root, &children)?;
    let controller = binaries::portable_controller(root, &children, &zig, glibc::OLDEST)?;
    let [controller, agent] =
        [controller, binaries::agent(root, &children)?].map(|built| copy_into(&directory, &built));
    let programs = Programs { controller: controller?, agent: agent? };
    glibc::check(&programs.controller)?;
    pages::write(root, &programs, &children, &directory)?;
    let inventory = tools::Inventory::ensure(root, &children)?;
    let licenses = inventory::licenses(root, &children, &inventory, &directory)?;
    let mut released = inventory::boms(root, &children, &inventory, &directory)?;
    let version = version();
    let release = debian::Release {
        root,
        version,
        licenses: Some(&licenses),
        pages: &directory,
        compression: Compression::Small,
    };
    released.extend(debian::packages(&release, &programs, &children, &directory)?);
    released.push(tarball::agent(root, version, &programs, Some(&licenses), &children, &directory)?);
    let sums = sums::write(&directory, &released)?;
    released.push(sums.clone());
    if let Some(key) = sign {
        released.push(sums::sign(&sums, key, &children)?);
    }
    for path in released.iter().chain([&programs.controller, &programs.agent]) {
        // Tenths of MiB in whole numbers.
        let bytes = fs::metadata(path).with_context(|| format!("look at {}", path.display()))?.len();
        let tenths = bytes * 10 / (1024 * 1024);
        println!("{}  {}.{} MiB", path.display(), tenths / 10, tenths % 10);
    }
    Ok(())
}

/// Makes the packages that the tests install, of the debug builds: this version, and one to upgrade to.
pub(crate) fn for_tests(root: &Path) -> Result<()> {
    let children = Children::watched()?;
    tools::ensure_packaging(&children, true)?;
    let agent = binaries::test_agent(root, &children)?;
    packages_for_tests(root, &children, agent)
}

/// The same, with a static agent that is built already.
pub(crate) fn packages_for_tests(root: &Path, children: &Children, agent: PathBuf) -> Result<()> {
    let programs = Programs { controller: binaries::target(root).join("debug/pinion"), agent };
    let pages = binaries::target(root).join("test-packages");
    pages::write(root, &programs, children, &pages)?;
    let next = renumbered::next(version());
    let renumbered = renumbered::write(&programs, version(), &next, &pages.join("renumbered"))?;
    for (version, programs) in [(version(), &programs), (&next, &renumbered)] {
        let directory = pages.join(version);
        start_empty(&directory)?;
        let release = debian::Release { root, version, licenses: None, pages: &pages, compression: Compression::Quick };
        debian::packages(&release, programs, children, &directory)?;
        tarball::agent(root, version, programs, None, children, &directory)?;
    }
    Ok(())
}

/// The workspace's version, which this program has too.
const fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
