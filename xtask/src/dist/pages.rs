//! Man pages and shell completions, made from the programs' own command lines.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use super::{directory::start_empty, programs::Programs};
use crate::children::{Children, cargo, shown};

/// The name of a program's completion script, by shell: the shell's loader finds them by that name.
const COMPLETIONS: [(&str, fn(&str) -> String); 3] = [
    ("bash", |program| format!("{program}.bash")),
    ("zsh", |program| format!("_{program}")),
    ("fish", |program| format!("{program}.fish")),
];

/// Writes them into `man` and `completions` of this directory.
pub(super) fn write(root: &Path, programs: &Programs, children: &Children, directory: &Path) -> Result<()> {
    let (pages, scripts) = (directory.join("man"), directory.join("completions"));
    start_empty(&pages)?;
    start_empty(&scripts)?;
    for program in [&programs.controller, &programs.agent] {
        let name = program.file_name().context("a program has a name")?.to_string_lossy();
        for (shell, file) in COMPLETIONS {
            let file = scripts.join(file(&name));
            fs::write(&file, completions(program, shell)?).with_context(|| format!("write {}", file.display()))?;
        }
    }
    children
        .run_well(cargo(root).args(["run", "--quiet", "--locked", "-p", "pinion-manual", "--", "pages"]).arg(&pages))
}

/// The script that a program prints for a shell.
fn completions(program: &Path, shell: &str) -> Result<Vec<u8>> {
    let mut command = Command::new(program);
    command.args(["completions", shell]);
    let output = command.output().with_context(|| format!("run {}", shown(&command)))?;
    ensure!(output.status.success(), "{} failed: {}", shown(&command), String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}
