//! The next version's programs, for tests of upgrades: the same code, which says another number.
//!
//! Answers: what does a test upgrade to, without building everything twice? Invariant: the next version's number is as long
//! as this one's, so that it can take its place in the built file; a program that then does not say it is an error.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::{directory::start_empty, programs::Programs};

/// The version after this one: the next minor one, or the next major one where that would be longer.
pub(super) fn next(version: &str) -> String {
    let mut numbers: Vec<u64> = version.split('.').map(|number| number.parse().unwrap_or_default()).collect();
    let bumped = usize::from(numbers.get(1).is_some_and(|minor| minor % 10 != 9));
    if let Some(number) = numbers.get_mut(bumped) {
        *number += 1;
    }
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

/// Writes copies of both programs that say `to` where they say `from`.
pub(super) fn write(programs: &Programs, from: &str, to: &str, directory: &Path) -> Result<Programs> {
    let is_alike = from.len() == to.len() && from.get(WORD..) == to.get(WORD..);
    ensure!(is_alike && from != to, "{to} cannot take the place of {from}");
    start_empty(directory)?;
    let copy = |program: &Path| -> Result<PathBuf> {
        let path = directory.join(program.file_name().context("a program has a name")?);
        let mut bytes = fs::read(program).with_context(|| format!("read {}", program.display()))?;
        renumber(&mut bytes, from.as_bytes(), to.as_bytes());
        fs::write(&path, bytes)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)))
            .with_context(|| format!("write {}", path.display()))?;
        let said = Command::new(&path).arg("--version").output().with_context(|| format!("run {}", path.display()))?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        ensure!(said.split_whitespace().any(|word| word == to), "{} says {said:?} and not {to}", path.display());
        Ok(path)
    };
    Ok(Programs { controller: copy(&programs.controller)?, agent: copy(&programs.agent)? })
}

/// Replaces a version's number in text, and its beginning in instructions that write it to memory in two parts, in any order.
fn renumber(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let word = from.len().min(WORD);
    for at in 0..bytes.len().saturating_sub(word) {
        let is_text = bytes[at..].starts_with(from);
        let is_code = bytes[at..].starts_with(&from[..word]) && bytes[at.saturating_sub(ADDRESS)..at].contains(&MOVE);
        let length = if is_text { from.len() } else { word };
        if is_text || is_code {
            bytes[at..at + length].copy_from_slice(&to[..length]);
        }
    }
}

/// As much as one instruction writes.
const WORD: usize = 4;

/// `mov r/m32, imm32`, and the most that says where to: before the number that it writes.
const MOVE: u8 = 0xc7;
const ADDRESS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_version_is_as_long() {
        assert_eq!((next("0.1.0"), next("0.9.3"), next("1.19.3")), ("0.2.0".into(), "1.9.3".into(), "2.19.3".into()));
    }

    #[test]
    fn a_number_is_replaced_in_text_and_in_instructions() {
        let mut text = *b"agent 0.1.0 and 0.1.2";
        renumber(&mut text, b"0.1.0", b"0.2.0");
        assert_eq!(&text, b"agent 0.2.0 and 0.1.2");
        // mov byte ptr [r14 + 4], "0"; mov dword ptr [r14], "0.1."
        let mut code = [0x41, 0xc6, 0x46, 4, b'0', 0x41, 0xc7, 6, b'0', b'.', b'1', b'.', 0xc3];
        renumber(&mut code, b"0.1.0", b"0.2.0");
        assert_eq!(code, [0x41, 0xc6, 0x46, 4, b'0', 0x41, 0xc7, 6, b'0', b'.', b'2', b'.', 0xc3]);
    }
}
