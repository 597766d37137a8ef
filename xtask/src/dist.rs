//! `cargo xtask dist`: both programs as they are shipped, in one directory.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{binaries, children::Children};

/// Builds them into `target/dist`, and prints their paths and sizes.
pub(crate) fn run(root: &Path) -> Result<()> {
    let children = Children::watched()?;
    let directory = binaries::target(root).join("dist");
    fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    for built in [binaries::controller(root, &children)?, binaries::agent(root, &children)?] {
        let name = built.file_name().context("a program has a name")?;
        let path = directory.join(name);
        let bytes =
            fs::copy(&built, &path).with_context(|| format!("copy {} to {}", built.display(), path.display()))?;
        // Tenths of MiB in whole numbers.
        let tenths = bytes * 10 / (1024 * 1024);
        println!("{}  {}.{} MiB", path.display(), tenths / 10, tenths % 10);
    }
    Ok(())
}
