//! A small disk in memory, which can be filled.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// A small disk in memory.
pub(crate) struct Disk {
    pub(crate) at: PathBuf,
}

impl Disk {
    /// Over a directory, which is empty.
    pub(crate) fn mount(at: &Path) -> Result<Self> {
        let disk = Self { at: at.to_owned() };
        fs::create_dir_all(at).with_context(|| format!("make {}", at.display()))?;
        disk.run(&["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=256,mode=0755", "tmpfs"], &[at])?;
        Ok(disk)
    }

    pub(crate) fn ballast(&self) -> PathBuf {
        self.at.join(".ballast")
    }

    /// Until there is no byte left.
    pub(crate) fn fill(&self) -> Result<()> {
        let path = self.ballast();
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        let mut file = File::create(path.join("bytes")).context("make the ballast")?;
        until_full(|| file.write_all(&[0; 512]))
    }

    /// Until there is no inode left.
    pub(crate) fn fill_inodes(&self) -> Result<()> {
        let path = self.ballast();
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        let mut names = 0..;
        until_full(|| File::create(path.join(names.next().unwrap_or(0_u32).to_string())).map(drop))
    }

    /// Not as the harness runs programs: whoever is interrupted still unmounts.
    pub(crate) fn run(&self, words: &[&str], paths: &[&Path]) -> Result<()> {
        let (program, arguments) = words.split_first().context("a command has a program")?;
        let output = Command::new(program).args(arguments).args(paths).output();
        let output = output.with_context(|| format!("start {program}"))?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program} at {}: {}", self.at.display(), told.trim());
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // So that its guest's directory can be removed; the namespace would take it in the end. It may be mounted twice.
        while self.run(&["umount", "--lazy"], &[&self.at]).is_ok() {}
    }
}

fn until_full(mut more: impl FnMut() -> io::Result<()>) -> Result<()> {
    loop {
        match more() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error).context("fill the disk"),
        }
    }
}
