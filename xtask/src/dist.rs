//! `cargo xtask dist`: both programs as they are shipped, their man pages and their completions, in one directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    binaries,
    children::{Children, cargo, shown},
};

/// The name of a program's completion script, by shell: the shell's loader finds them by that name.
const COMPLETIONS: [(&str, fn(&str) -> String); 3] = [
    ("bash", |program| format!("{program}.bash")),
    ("zsh", |program| format!("_{program}")),
    ("fish", |program| format!("{program}.fish")),
];

/// Builds them into `target/dist`, and prints their paths and sizes.
pub(crate) fn run(root: &Path) -> Result<()> {
    let children = Children::watched()?;
    let directory = binaries::target(root).join("dist");
    let (pages, scripts) = (anew(&directory.join("man"))?, anew(&directory.join("completions"))?);
    for built in [binaries::controller(root, &children)?, binaries::agent(root, &children)?] {
        let name = built.file_name().context("a program has a name")?;
        let path = directory.join(name);
        let bytes =
            fs::copy(&built, &path).with_context(|| format!("copy {} to {}", built.display(), path.display()))?;
        // Tenths of MiB in whole numbers.
        let tenths = bytes * 10 / (1024 * 1024);
        println!("{}  {}.{} MiB", path.display(), tenths / 10, tenths % 10);
        for (shell, file) in COMPLETIONS {
            let script = completions(&path, shell)?;
            let file = scripts.join(file(&name.to_string_lossy()));
            fs::write(&file, script).with_context(|| format!("write {}", file.display()))?;
        }
    }
    children.run_well(cargo(root).args(["run", "--quiet", "--locked", "-p", "pinion-manual", "--"]).arg(&pages))?;
    for made in [&pages, &scripts] {
        println!("{}  {} files", made.display(), fs::read_dir(made)?.count());
    }
    Ok(())
}

/// An empty directory: a command that is gone leaves no page behind.
fn anew(directory: &Path) -> Result<PathBuf> {
    let fail = || format!("make {}", directory.display());
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(fail)?;
    }
    fs::create_dir_all(directory).with_context(fail)?;
    Ok(directory.to_owned())
}

/// The script that a program prints for a shell.
fn completions(program: &Path, shell: &str) -> Result<Vec<u8>> {
    let mut command = Command::new(program);
    command.args(["completions", shell]);
    let output = command.output().with_context(|| format!("run {}", shown(&command)))?;
    ensure!(output.status.success(), "{} failed: {}", shown(&command), String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}
