//! What the tests need beside Rust: real services and a real CA, found or installed.
//!
//! Answers: is everything there, and where? Invariant: nothing outside `target/tools` is written
//! except Debian packages, and those are announced before they are installed.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::children::Children;
use go::GoTool;
pub(crate) use go::{STEP, STEP_CA, TRAEFIK};
pub(crate) use rust::Inventory;
pub(crate) use zig::Zig;

mod axe;
mod debian;
mod go;
mod program;
mod rust;
mod traefik;
mod zig;

/// Sees to it that Debian's programs are there, and looks for these of Go's.
pub(crate) fn ensure(root: &Path, children: &Children, may_install: bool, wanted: &[&'static GoTool]) -> Result<Tools> {
    debian::ensure(&debian::TESTS, children, may_install)?;
    let mut tools = Tools { own: root.join("target/tools/bin"), found: vec![], missing: vec![] };
    for &tool in wanted {
        match tool.find(&tools.own) {
            Some(path) => {
                println!("{tool}: {}", path.display());
                tools.found.extend(path.parent().map(Path::to_owned));
            }
            None if may_install => tools.missing.push(tool),
            None => bail!("{tool} not found, and not building it, as asked"),
        }
    }
    Ok(tools)
}

/// Sees to it that what a real VM in the lab needs is there.
pub(crate) fn ensure_machine(children: &Children, may_install: bool) -> Result<()> {
    debian::ensure(&debian::MACHINE, children, may_install)
}

/// Sees to it that a browser is there, and what judges pages in it.
pub(crate) fn ensure_browser(root: &Path, children: &Children, may_install: bool) -> Result<()> {
    debian::ensure(&debian::BROWSER, children, may_install)?;
    axe::ensure(&root.join("target/tools"), children, may_install)
}

/// Sees to it that the tools are there with which Pinion is compared.
pub(crate) fn ensure_peers(children: &Children, may_install: bool) -> Result<()> {
    debian::ensure(&debian::PEERS, children, may_install)
}

/// Sees to it that what makes Debian packages is there.
pub(crate) fn ensure_packaging(children: &Children, may_install: bool) -> Result<()> {
    debian::ensure(&debian::PACKAGING, children, may_install)
}

/// The Go programs: where some are, and what has to be built yet.
#[derive(Debug)]
pub(crate) struct Tools {
    own: PathBuf,
    found: Vec<PathBuf>,
    missing: Vec<&'static GoTool>,
}

impl Tools {
    /// Builds what is missing, which takes minutes; the directories with the programs, joined as for PATH.
    pub(crate) fn build(mut self, children: &Children) -> Result<OsString> {
        for tool in self.missing {
            tool.build(&self.own, children).with_context(|| format!("build {tool}"))?;
            self.found.push(self.own.clone());
        }
        // The project's own first: a directory of the person's may hold another version of the other tool.
        self.found.sort_by_key(|directory| *directory != self.own);
        self.found.dedup();
        env::join_paths(self.found).context("join the tools' directories")
    }
}
