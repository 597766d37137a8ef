//! The files of a checkout.
//!
//! Answers: which files are there, and what is in them? Invariant: paths are relative to the checkout and written with
//! `/`; nothing that git does not keep is read: no directory that begins with a dot, and no `target`.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result, anyhow};

use super::facts::Facts;

/// A checkout, read once.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Text files, in order of their paths.
    pub(super) files: Vec<File>,
    /// The paths of all other files, which are not read.
    others: Vec<String>,
    /// Every directory that has a file somewhere below it.
    pub(super) folders: Vec<String>,
}

/// A text file.
#[derive(Debug)]
pub(super) struct File {
    /// Relative to the checkout: `agent/src/main.rs`.
    pub(super) path: String,
    pub(super) text: String,
    /// Of a Rust file.
    pub(super) facts: Option<Facts>,
}

impl File {
    pub(super) fn lines(&self) -> usize {
        self.text.lines().count()
    }

    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Written by `cargo xtask codegen`.
    pub(super) fn is_generated(&self) -> bool {
        self.path.starts_with("proto/src/gen/")
    }
}

impl Tree {
    /// Reads a checkout.
    ///
    /// # Errors
    /// A file cannot be read, or is not Rust although its name says so.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut paths = Vec::new();
        list(root, root, &mut paths)?;
        let (read, others): (Vec<_>, Vec<_>) =
            paths.into_iter().partition(|path| READ.iter().any(|end| path.ends_with(end)));
        let mut files = Vec::new();
        for path in read {
            let whole = root.join(&path);
            let text = fs::read_to_string(&whole).with_context(|| format!("read {}", whole.display()))?;
            files.push((path, text));
        }
        Ok(Self { others, ..Self::of(files)? })
    }

    /// A checkout of these files.
    ///
    /// # Errors
    /// A file is not Rust although its name says so.
    pub(super) fn of(mut texts: Vec<(String, String)>) -> Result<Self> {
        texts.sort();
        let mut folders: Vec<String> = texts.iter().flat_map(|(path, _)| above(path)).map(str::to_owned).collect();
        folders.sort();
        folders.dedup();
        // A parsed file cannot go to another thread, but what was found in it can.
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let share = texts.len().div_ceil(threads).max(1);
        let read = thread::scope(|scope| {
            let workers: Vec<_> = texts
                .chunks(share)
                .map(|part| scope.spawn(move || part.iter().map(facts).collect::<Vec<_>>()))
                .collect();
            workers
                .into_iter()
                .flat_map(|worker| {
                    worker.join().unwrap_or_else(|_| vec![Err(anyhow!("a thread that reads Rust failed"))])
                })
                .collect::<Result<Vec<_>>>()
        })?;
        let files = texts.into_iter().zip(read).map(|((path, text), facts)| File { path, text, facts }).collect();
        Ok(Self { files, folders, others: Vec::new() })
    }

    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok().map(|at| &self.files[at])
    }

    /// Whether there is such a file, read or not.
    pub(super) fn has_file(&self, path: &str) -> bool {
        self.file(path).is_some() || self.others.iter().any(|other| other == path)
    }

    pub(super) fn has_folder(&self, path: &str) -> bool {
        let is_above = |file: &String| file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        self.folders.binary_search_by(|folder| folder.as_str().cmp(path)).is_ok() || self.others.iter().any(is_above)
    }

    /// Rust that people write.
    pub(super) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust() && !file.is_generated())
    }
}

fn facts((path, text): &(String, String)) -> Result<Option<Facts>> {
    path.ends_with(".rs").then(|| Facts::of(text).with_context(|| format!("{path} cannot be parsed"))).transpose()
}

/// The directories above a file: `a/b`, `a` for `a/b/c.rs`.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

fn list(root: &Path, directory: &Path, paths: &mut Vec<String>) -> Result<()> {
    let failed = || format!("list {}", directory.display());
    for entry in fs::read_dir(directory).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let kind = entry.file_type().with_context(|| format!("look at {}", path.display()))?;
        if kind.is_dir() && !name.starts_with('.') && name != "target" {
            list(root, &path, paths)?;
        } else if kind.is_file() {
            let relative: PathBuf = path.strip_prefix(root).with_context(failed)?.to_owned();
            paths.push(relative.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

/// What the rules look at.
const READ: [&str; 5] = [".rs", ".md", ".toml", ".proto", ".json"];

#[cfg(test)]
impl Tree {
    /// A small checkout.
    pub(super) fn with(files: &[(&str, &str)]) -> Self {
        Self::of(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()).expect("Rust")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_has_its_own_files_alone() {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in
            [("a/src/lib.rs", "mod b;"), ("target/x.rs", "no Rust"), (".git/y.rs", "nor this"), ("z.bin", "")]
        {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory");
            fs::write(path, text).expect("write");
        }
        let tree = Tree::read(root.path()).expect("read");
        assert_eq!(tree.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a/src/lib.rs"]);
        assert_eq!(tree.folders, ["a", "a/src"]);
        assert!(tree.has_file("z.bin") && tree.has_file("a/src/lib.rs") && !tree.has_file("a/src"));
        assert!(tree.file("a/src/lib.rs").is_some() && tree.file("a").is_none() && tree.has_folder("a/src"));
    }

    #[test]
    fn what_is_no_rust_is_named() {
        let error = Tree::of(vec![("a.rs".to_owned(), "fn (".to_owned())]).expect_err("no Rust");
        assert!(format!("{error:#}").contains("a.rs cannot be parsed"), "{error:#}");
    }
}
