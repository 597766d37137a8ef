//! A man page for each command of both programs.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use clap::Command;
use clap_mangen::Man;

/// Writes a page for each command of both programs into a directory, as `pinion-guest-list.1`.
///
/// # Errors
/// The directory cannot be written.
pub fn write(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    for command in super::programs() {
        page(&command, command.get_name(), directory)?;
    }
    Ok(())
}

/// The page of a command, and those of the commands below it.
fn page(command: &Command, program: &str, directory: &Path) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let man = Man::new(command.clone()).source(format!("{program} {version}")).manual("Pinion");
    let path = directory.join(man.get_filename());
    let mut text = Vec::new();
    man.render(&mut text).with_context(|| format!("render {}", path.display()))?;
    // What comes after the help has a heading that says nothing.
    let heading = if command.get_name() == program { ".SH \"EXIT STATUS\"" } else { ".SH EXAMPLES" };
    let text = String::from_utf8(text)?.replace(".SH EXTRA", heading);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        page(inner, program, directory)?;
    }
    Ok(())
}
