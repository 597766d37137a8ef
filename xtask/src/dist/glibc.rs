//! Whether the controller starts on every system that its package is for.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};

/// glibc of Debian 12, on which Proxmox VE 8 is based: the oldest that the packages are for. Newer systems run what was
/// linked to an older one.
pub(super) const OLDEST: (u32, u32) = (2, 36);

/// Reads the built file: which versions of glibc's symbols does it want?
///
/// # Errors
/// It wants a newer one than Debian 12 has, or cannot be read.
pub(super) fn check(program: &Path) -> Result<()> {
    let output = Command::new("readelf").args(["--wide", "--version-info"]).arg(program).env("LC_ALL", "C").output();
    let output = output.context("run readelf, from Debian's package binutils")?;
    ensure!(output.status.success(), "readelf cannot read {}: {}", program.display(), output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    // A program that wants none is static, which is as good.
    let Some(newest) = wanted(&text) else { return Ok(()) };
    if newest > OLDEST {
        bail!(
            "{} needs glibc {}.{}, and Debian 12 has {}.{}: it was not linked as `cargo xtask dist` links it",
            program.display(),
            newest.0,
            newest.1,
            OLDEST.0,
            OLDEST.1
        );
    }
    println!("{} needs glibc {}.{}", program.display(), newest.0, newest.1);
    Ok(())
}

/// The newest version named `GLIBC_2.x`.
fn wanted(told: &str) -> Option<(u32, u32)> {
    let versions = told.split("GLIBC_").skip(1).filter_map(|rest| {
        let version: String = rest.chars().take_while(|sign| sign.is_ascii_digit() || *sign == '.').collect();
        let mut numbers = version.split('.').map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    versions.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_a_number_and_no_text() {
        let told = "  0x0010: Name: GLIBC_2.9  Flags: none  Version: 3\n  0x0020: Name: GLIBC_2.34 Flags\n Name: GLIBC_2.2.5\n\
                    Name: GLIBC_PRIVATE\n Name: GCC_3.3\n";
        assert_eq!(wanted(told), Some((2, 34)));
        assert_eq!(wanted("no version information"), None);
    }
}
