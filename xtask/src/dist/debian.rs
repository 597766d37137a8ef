//! The two packages for Debian, and so for Proxmox VE.
//!
//! Answers: how does a checkout become packages? debhelper makes them, from `packaging/debian` and a copy of what is shipped;
//! nothing is compiled there. Invariant: equal programs and an equal commit give equal packages.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::{
    directory::{copy_directory, start_empty},
    programs::Programs,
};
use crate::children::Children;

/// What is released.
#[derive(Debug)]
pub(super) struct Release<'a> {
    /// The checkout.
    pub(super) root: &'a Path,
    /// The packages' version.
    pub(super) version: &'a str,
    /// The licences of what is linked; a package for a test alone needs none.
    pub(super) licenses: Option<&'a Path>,
    /// The directory with [`super::pages`].
    pub(super) pages: &'a Path,
    /// How the packages are compressed.
    pub(super) compression: Compression,
}

/// Time against size.
#[derive(Debug, Clone, Copy)]
pub(super) enum Compression {
    /// For a release.
    Small,
    /// For tests.
    Quick,
}

/// Builds both into the directory; their paths.
pub(super) fn packages(
    release: &Release<'_>,
    programs: &Programs,
    children: &Children,
    directory: &Path,
) -> Result<Vec<PathBuf>> {
    let top = directory.join("build/debian");
    stage(release, programs, &top)?;
    let compression = match release.compression {
        Compression::Small => "-Zxz",
        Compression::Quick => "-Zgzip -z1",
    };
    let mut build = Command::new("dpkg-buildpackage");
    // Only packages, of this machine's kind; unsigned, because a release signs its sums.
    build.args(["--build=binary", "--no-sign", "--no-check-builddeps"]).current_dir(&top);
    build.env("COMPRESSION", compression).env("SOURCE_DATE_EPOCH", committed_at(release.root)?);
    children.run_well(&mut build)?;
    let paths = ["pinion", "pinion-agent"].map(|name| format!("{name}_{}_amd64.deb", release.version));
    let paths: Vec<_> = paths.iter().map(|name| (top.with_file_name(name), directory.join(name))).collect();
    for (from, to) in &paths {
        fs::rename(from, to).with_context(|| format!("move {} to {}", from.display(), to.display()))?;
    }
    Ok(paths.into_iter().map(|(_, to)| to).collect())
}

/// When the checkout's commit was made, in seconds since 1970: the date of everything in a package.
pub(super) fn committed_at(root: &Path) -> Result<String> {
    git(root, &["log", "-1", "--format=%ct"])
}

/// Copies what is shipped to where debhelper builds.
fn stage(release: &Release<'_>, programs: &Programs, top: &Path) -> Result<()> {
    start_empty(top)?;
    for part in ["packaging", "docs"] {
        copy_directory(&release.root.join(part), &top.join(part))?;
    }
    fs::rename(top.join("packaging/debian"), top.join("debian")).context("move the package's description")?;
    let staged = top.join("staged");
    fs::create_dir_all(&staged).with_context(|| format!("make {}", staged.display()))?;
    for (from, to) in [
        (programs.controller.clone(), "staged/pinion"),
        (programs.agent.clone(), "staged/pinion-agent"),
        (release.root.join("CHANGELOG.md"), "staged/CHANGELOG.md"),
        // debhelper knows them by these names.
        (release.root.join("packaging/controller/sysusers.conf"), "debian/pinion.sysusers"),
        (release.root.join("packaging/controller/tmpfiles.conf"), "debian/pinion.tmpfiles"),
    ] {
        let to = top.join(to);
        fs::copy(&from, &to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    }
    for program in ["staged/pinion", "staged/pinion-agent"] {
        let program = top.join(program);
        fs::set_permissions(&program, Permissions::from_mode(0o755))
            .with_context(|| format!("chmod {}", program.display()))?;
    }
    stage_pages(release.pages, top)?;
    if let Some(licenses) = release.licenses {
        fs::copy(licenses, top.join("docs/THIRD-PARTY-LICENSES.md")).context("copy the licences")?;
    }
    let date = git(release.root, &["log", "-1", "--format=%cD"])?;
    let changelog = format!(
        "pinion ({}) unstable; urgency=medium\n\n  * Changes are listed in /usr/share/doc/pinion/CHANGELOG.md.\n\n \
         -- {MAINTAINER}  {date}\n",
        release.version
    );
    fs::write(top.join("debian/changelog"), changelog).context("write the package's changelog")
}

/// Man pages, and completions under the names by which shells look for them.
fn stage_pages(pages: &Path, top: &Path) -> Result<()> {
    copy_directory(&pages.join("man"), &top.join("staged/man"))?;
    let mut lists = [String::new(), String::new()];
    for entry in fs::read_dir(pages.join("man")).context("list the man pages")? {
        let name = entry.context("list the man pages")?.file_name().to_string_lossy().into_owned();
        let list = usize::from(name.starts_with("pinion-agent"));
        lists[list] += &format!("staged/man/{name}\n");
    }
    for (package, list) in ["pinion", "pinion-agent"].into_iter().zip(lists) {
        fs::write(top.join(format!("debian/{package}.manpages")), list).context("list a package's man pages")?;
        for (from, to) in [
            (format!("{package}.bash"), format!("staged/bash/{package}")),
            (format!("_{package}"), format!("staged/zsh/_{package}")),
            (format!("{package}.fish"), format!("staged/fish/{package}.fish")),
        ] {
            let to = top.join(to);
            fs::create_dir_all(to.parent().unwrap_or(top)).with_context(|| format!("make {}", to.display()))?;
            fs::copy(pages.join("completions").join(&from), &to).with_context(|| format!("copy {from}"))?;
        }
    }
    Ok(())
}

fn git(root: &Path, words: &[&str]) -> Result<String> {
    let output = Command::new("git").args(words).current_dir(root).output().context("run git")?;
    ensure!(output.status.success(), "git {} failed: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// As in `packaging/debian/control`.
const MAINTAINER: &str = "Pinion maintainers <maintainers@pinion.internal>";
