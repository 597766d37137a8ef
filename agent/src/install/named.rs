//! Where configurations in the guest name a file.
//!
//! Answers: would a service that reads its configuration miss this file?
//! Invariant: what is read is bounded, whatever is in `/etc`; what cannot be read names nothing.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use pinion_proto::{spec::GuestPath, wire::MAX_NAMED};

/// Where services have their configuration.
const CONFIGURATION: &str = "etc";

/// Directories in it that are large or hold no service's configuration.
const PASSED_OVER: [&str; 4] = ["ssl/certs", "ca-certificates", "alternatives", "pve"];

/// At most so many files are read, of at most so many bytes each.
const MAX_FILES: usize = 10_000;
const MAX_FILE: u64 = 256 * 1024;

/// Deeper than any configuration.
const MAX_DEPTH: usize = 8;

/// Places that name one of these files: `/etc/nginx/sites-enabled/web:7 names /etc/nginx/ssl/web.crt`. Links are not
/// followed into other directories; what is commented out names nothing.
#[must_use]
pub fn places(root: &Path, paths: &[&GuestPath]) -> Vec<String> {
    if paths.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for path in files(&root.join(CONFIGURATION)) {
        let Some(text) = text(&path) else { continue };
        let shown = Path::new("/").join(path.strip_prefix(root).unwrap_or(&path));
        found.extend(lines(&text, paths).map(|(line, name)| format!("{}:{line} names {name}", shown.display())));
        if found.len() >= MAX_NAMED {
            break;
        }
    }
    found.truncate(MAX_NAMED);
    found
}

/// The files below a directory, at most so many, those that links in it lead to as well.
fn files(top: &Path) -> Vec<PathBuf> {
    let (mut open, mut files) = (vec![(top.to_owned(), 0)], Vec::new());
    while let Some((directory, depth)) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        entries.sort_unstable();
        for path in entries {
            let is_directory = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
            let is_passed_over = PASSED_OVER.iter().any(|passed| path == top.join(passed));
            if is_directory && depth < MAX_DEPTH && !is_passed_over {
                open.push((path, depth + 1));
            } else if path.metadata().is_ok_and(|metadata| metadata.is_file()) {
                files.push(path);
            }
            if files.len() == MAX_FILES {
                return files;
            }
        }
    }
    files
}

/// A file of text; none where it is none, or large.
fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_FILE + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > MAX_FILE {
        return None;
    }
    String::from_utf8(bytes).ok()
}

/// The lines that name one of these, from 1.
fn lines<'p>(text: &str, paths: &[&'p GuestPath]) -> impl Iterator<Item = (usize, &'p GuestPath)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.starts_with(['#', ';']) || line.starts_with("//") {
            continue;
        }
        found.extend(paths.iter().filter(|path| is_named(line, path.as_str())).map(|path| (number + 1, *path)));
    }
    found.into_iter()
}

/// Whether a line has this path, and not one that it is a part of.
fn is_named(line: &str, path: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '~');
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        let after = line.get(at + path.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_named_whole_and_not_in_a_comment() {
        let named = |line| lines(line, &[&"/etc/ssl/web.crt".parse().expect("a path")]).count() == 1;
        for line in [
            "ssl_certificate /etc/ssl/web.crt;",
            "cert=/etc/ssl/web.crt",
            "{\"tlscert\": \"/etc/ssl/web.crt\"}",
            "/etc/ssl/web.crt",
            "bind *:443 ssl crt /etc/ssl/web.crt # mine",
            "smtpd_tls_chain_files = /etc/ssl/web.key, /etc/ssl/web.crt",
        ] {
            assert!(named(line), "{line}");
        }
        for line in [
            "# /etc/ssl/web.crt",
            "  ; /etc/ssl/web.crt",
            "/etc/ssl/web.crt.old",
            "/chroot/etc/ssl/web.crt",
            "web.crt",
            "",
        ] {
            assert!(!named(line), "{line}");
        }
    }

    #[test]
    fn places_are_told_by_file_and_line_and_what_is_no_text_is_passed_over() {
        let root = tempfile::tempdir().expect("a directory");
        let etc = root.path().join("etc");
        for directory in ["nginx/sites-enabled", "nginx/sites-available", "ssl/certs", "a/b/c/d/e/f/g/h/i"] {
            fs::create_dir_all(etc.join(directory)).expect("made");
        }
        let names = "server {\n  ssl_certificate /etc/ssl/web.crt;\n}\n";
        fs::write(etc.join("nginx/sites-available/web"), names).expect("written");
        std::os::unix::fs::symlink("../sites-available/web", etc.join("nginx/sites-enabled/web")).expect("linked");
        std::os::unix::fs::symlink("/etc", etc.join("nginx/loop")).expect("linked");
        std::os::unix::fs::symlink("nowhere", etc.join("nginx/broken")).expect("linked");
        fs::write(etc.join("ssl/certs/list"), names).expect("written");
        fs::write(etc.join("a/b/c/d/e/f/g/h/i/deep"), names).expect("written");
        fs::write(etc.join("binary"), b"\xff/etc/ssl/web.crt").expect("written");
        fs::write(etc.join("large"), format!("{}/etc/ssl/web.crt", " ".repeat(300 * 1024))).expect("written");
        let path: GuestPath = "/etc/ssl/web.crt".parse().expect("a path");
        let mut found = places(root.path(), &[&path]);
        found.sort_unstable();
        let expected = ["sites-available", "sites-enabled"]
            .map(|directory| format!("/etc/nginx/{directory}/web:2 names /etc/ssl/web.crt"));
        assert_eq!(found, expected);
        assert!(places(root.path(), &[]).is_empty());
        fs::write(etc.join("many"), names.repeat(100)).expect("written");
        assert_eq!(places(root.path(), &[&path]).len(), MAX_NAMED);
    }
}
