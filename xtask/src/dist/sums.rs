//! `SHA256SUMS`, and its signature.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::children::Children;

/// Lists files of this directory with their SHA-256, as sha256sum(1) checks them; the list's path.
pub(super) fn write(directory: &Path, files: &[PathBuf]) -> Result<PathBuf> {
    let mut names: Vec<_> = files.iter().filter_map(|file| file.file_name()).collect();
    names.sort_unstable();
    let output = Command::new("sha256sum").args(names).current_dir(directory).output().context("run sha256sum")?;
    ensure!(output.status.success(), "sha256sum failed: {}", String::from_utf8_lossy(&output.stderr));
    let path = directory.join("SHA256SUMS");
    fs::write(&path, output.stdout).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// Signs it with this key of GnuPG's; the signature's path.
pub(super) fn sign(sums: &Path, key: &str, children: &Children) -> Result<PathBuf> {
    sign_by(Command::new("gpg"), sums, key, children)
}

fn sign_by(mut gpg: Command, sums: &Path, key: &str, children: &Children) -> Result<PathBuf> {
    let signature = sums.with_extension("asc");
    gpg.args(["--batch", "--yes", "--armor", "--local-user", key, "--output"]).arg(&signature);
    children.run_well(gpg.arg("--detach-sign").arg(sums)).context("sign the sums")?;
    Ok(signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_download_and_a_changed_list_are_noticed() {
        let directory = tempfile::tempdir().expect("a directory");
        let (home, package) = (directory.path().join("keys"), directory.path().join("a.deb"));
        fs::create_dir(&home).expect("made");
        fs::write(&package, "a package").expect("written");
        let gpg = || {
            let mut gpg = Command::new("gpg");
            gpg.env("GNUPGHOME", &home);
            gpg
        };
        let is_well = |command: &mut Command| command.output().expect("it runs").status.success();
        let key = "maintainer@pinion.internal";
        let mut generate = gpg();
        generate.args(["--batch", "--quiet", "--passphrase", "", "--quick-generate-key", key, "ed25519", "sign", "1d"]);
        assert!(is_well(&mut generate), "a throw-away key");
        let children = Children::watched().expect("watched");

        let sums = write(directory.path(), std::slice::from_ref(&package)).expect("written");
        let signature = sign_by(gpg(), &sums, key, &children).expect("signed");
        let is_signed = || is_well(gpg().arg("--verify").arg(&signature).arg(&sums));
        let is_whole = || {
            is_well(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(directory.path()))
        };
        assert!(is_signed() && is_whole());
        fs::write(&package, "another package").expect("written");
        assert!(is_signed() && !is_whole());
        fs::write(&sums, "nothing").expect("written");
        assert!(!is_signed());
        let ended = Command::new("gpgconf").env("GNUPGHOME", &home).args(["--kill", "all"]).status();
        assert!(ended.expect("it runs").success(), "its agent is ended");
    }
}
