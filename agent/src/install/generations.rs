//! A placement's generations in one directory of files: `.pinion/<certificate>/<generation>/`, and the link `current`.
//!
//! Answers: where is which content of a file, and which of them do its readers get?
//! A file is a link through `current`, so one rename gives its readers the next generation of every file at once; and
//! whoever has `current` open as a directory reads one generation and no other. Invariant: what is under `current` is
//! whole and synced before `current` says so.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Component, Path, PathBuf},
};

use pinion_proto::id::CertificateName;

use super::{
    InstallError,
    files::{Files, Kind},
    unlink::unlink,
};
use crate::recipe::protected::GENERATIONS_DIRECTORY;

/// The generation of what was there before Pinion: no order has this number.
pub const BEFORE: u64 = 0;

const CURRENT: &str = "current";

/// Where the generations of one placement's files in one directory are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generations {
    home: PathBuf,
    certificate: CertificateName,
}

impl Generations {
    /// The generations of a certificate for the files in `directory`.
    #[must_use]
    pub fn of(directory: &Path, certificate: &CertificateName) -> Self {
        Self {
            home: directory.join(GENERATIONS_DIRECTORY).join(certificate.as_str()),
            certificate: certificate.clone(),
        }
    }

    /// The directories that it is in, outermost first.
    #[must_use]
    pub fn directories(&self) -> [PathBuf; 2] {
        [self.home.parent().unwrap_or(&self.home).to_owned(), self.home.clone()]
    }

    /// The link to the generation in use.
    #[must_use]
    pub fn current(&self) -> PathBuf {
        self.home.join(CURRENT)
    }

    /// The directory of one generation.
    #[must_use]
    pub fn directory_of(&self, generation: u64) -> PathBuf {
        self.home.join(generation.to_string())
    }

    /// Where the link to a generation is made before it takes the place of `current`.
    #[must_use]
    pub fn next(&self, generation: u64) -> PathBuf {
        self.home.join(format!(".{generation}.new"))
    }

    /// What the link in the place of a file says.
    #[must_use]
    pub fn alias(&self, name: &OsStr) -> PathBuf {
        Path::new(GENERATIONS_DIRECTORY).join(self.certificate.as_str()).join(CURRENT).join(name)
    }

    /// The generation in use; none when there is none, or `current` is not Pinion's doing.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn in_use(&self, files: &dyn Files) -> io::Result<Option<u64>> {
        let current = self.current();
        match files.look(&current) {
            Ok(Some(found)) if found.kind == Kind::Link => {
                let to = files.read_link(&current)?;
                Ok(to.to_str().filter(|to| to.bytes().all(|b| b.is_ascii_digit())).and_then(|to| to.parse().ok()))
            }
            Ok(_) => Ok(None),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Every path of them, in an order in which they can be removed: what links lead to after them, directories after what
    /// is in them.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn everything(&self, files: &dyn Files) -> io::Result<Vec<PathBuf>> {
        let (mut entries, mut directories) = (Vec::new(), Vec::new());
        for name in list(files, &self.home)? {
            let path = self.home.join(name);
            if files.look(&path)?.is_some_and(|found| found.kind == Kind::Directory) {
                entries.extend(list(files, &path)?.into_iter().map(|name| path.join(name)));
                directories.push(path);
            } else {
                entries.insert(0, path);
            }
        }
        if files.look(&self.home).is_ok_and(|found| found.is_some()) {
            directories.push(self.home.clone());
            // The outer one goes too, unless another placement has generations in it.
            let [outer, _] = self.directories();
            if list(files, &outer)?.len() == 1 {
                directories.push(outer);
            }
        }
        entries.append(&mut directories);
        Ok(entries)
    }

    /// Removes every generation but the one in use, the last one before it, and the one to go back to; all of
    /// them when none is in use.
    pub fn tidy(&self, files: &dyn Files, back_to: Option<u64>) {
        self.log_failure(self.try_tidy(files, |generation, last| [last, back_to].contains(&Some(generation))));
    }

    /// Removes all of it, whatever is in use.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn clear(&self, files: &dyn Files) -> Result<(), InstallError> {
        let current = self.current();
        let failed = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| InstallError::Operation { operation, path, source }
        };
        match files.look(&current) {
            Ok(Some(_)) => unlink(files, &current)?,
            Ok(None) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed("look at", &current)(source)),
        }
        self.try_tidy(files, |_, _| false).map_err(failed("remove all of", &self.home))
    }

    /// Removes every generation but the one in use.
    pub fn forget_earlier(&self, files: &dyn Files) {
        self.log_failure(self.try_tidy(files, |_, _| false));
    }

    /// Whether a file has its generations here.
    #[must_use]
    pub fn is_beside(&self, target: &Path) -> bool {
        target.parent() == self.home.parent().and_then(Path::parent)
    }

    fn log_failure(&self, tidied: io::Result<()>) {
        if let Err(error) = tidied {
            tracing::warn!(path = %self.home.display(), %error, "Could not remove what is left of older certificates");
        }
    }

    fn try_tidy(&self, files: &dyn Files, keep: impl Fn(u64, Option<u64>) -> bool) -> io::Result<()> {
        let in_use = self.in_use(files)?;
        let names = list(files, &self.home)?;
        let generation = |name: &OsString| name.to_str().and_then(|name| name.parse::<u64>().ok());
        let last = names.iter().filter_map(generation).filter(|generation| Some(*generation) < in_use).max();
        for name in &names {
            let path = self.home.join(name);
            match generation(name) {
                Some(kept) if in_use == Some(kept) || (in_use.is_some() && keep(kept, last)) => {}
                Some(_) => {
                    empty(files, &path)?;
                    files.remove_directory(&path)?;
                }
                None if name == CURRENT && in_use.is_some() => {}
                None => files.remove(&path)?,
            }
        }
        if in_use.is_none() {
            // The outer one may have another placement has generations in it.
            for directory in self.directories().iter().rev() {
                if is_empty(files, directory)? {
                    files.remove_directory(directory)?;
                }
            }
        }
        Ok(())
    }
}

/// Whose generations a link in the place of the file `name` leads to; none when it is not a link of Pinion's.
#[must_use]
pub fn owner(link: &Path, name: &OsStr) -> Option<CertificateName> {
    let parts: Vec<&OsStr> = link
        .components()
        .map(|component| if let Component::Normal(part) = component { Some(part) } else { None })
        .collect::<Option<_>>()?;
    match parts.as_slice() {
        [outer, certificate, current, last]
            if *outer == GENERATIONS_DIRECTORY && *current == CURRENT && *last == name =>
        {
            certificate.to_str()?.parse().ok()
        }
        _ => None,
    }
}

/// Removes every file in a directory.
///
/// # Errors
/// It cannot be read, or something in it is no file.
pub fn empty(files: &dyn Files, directory: &Path) -> io::Result<()> {
    files.list(directory)?.into_iter().try_for_each(|name| files.remove(&directory.join(name)))
}

/// Whether a directory is there and nothing is in it.
fn is_empty(files: &dyn Files, directory: &Path) -> io::Result<bool> {
    match files.list(directory) {
        Ok(names) => Ok(names.is_empty()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// The names in a directory; none when it is not there.
fn list(files: &dyn Files, directory: &Path) -> io::Result<Vec<OsString>> {
    match files.list(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::files::RealFiles;

    #[test]
    fn only_pinions_own_links_are_known() {
        let name = OsStr::new("web.crt");
        let owner = |link: &str| owner(Path::new(link), name).map(|owner| owner.to_string());
        assert_eq!(owner(".pinion/web/current/web.crt").as_deref(), Some("web"));
        for other in [
            "/etc/ssl/.pinion/web/current/web.crt",
            ".pinion/web/current/web.key",
            ".pinion/web/3/web.crt",
            ".pinion/../current/web.crt",
            ".pinion/web/current/../web.crt",
            "../.pinion/web/current/web.crt",
            "web.crt",
        ] {
            assert_eq!(owner(other), None, "{other}");
        }
        let generations = Generations::of(Path::new("/etc/ssl"), &"web".parse().expect("a name"));
        assert_eq!(super::owner(&generations.alias(name), name), Some("web".parse().expect("a name")));
    }

    #[test]
    fn tidying_keeps_what_is_in_use_and_what_is_asked_for() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let directory = kept.path().canonicalize().expect("a real path");
        let generations = Generations::of(&directory, &"web".parse().expect("a name"));
        for generation in [BEFORE, 2, 3, 4, 5, 6] {
            std::fs::create_dir_all(generations.directory_of(generation)).expect("directories");
            std::fs::write(generations.directory_of(generation).join("web.key"), "key").expect("a file");
        }
        RealFiles.make_link(&generations.current(), Path::new("5")).expect("a link");
        RealFiles.make_link(&generations.next(6), Path::new("6")).expect("a link");
        generations.tidy(&RealFiles, Some(3));
        let mut names = RealFiles.list(&generations.home).expect("listed");
        names.sort_unstable();
        assert_eq!(names, ["3", "4", "5", "current"]);
        let everything = generations.everything(&RealFiles).expect("listed");
        assert_eq!(everything.first(), Some(&generations.current()));
        assert_eq!((everything.len(), everything.last()), (9, generations.home.parent().map(Path::to_owned).as_ref()));
        assert_eq!(generations.in_use(&RealFiles).expect("looked"), Some(5));
        RealFiles.remove(&generations.current()).expect("removed");
        generations.tidy(&RealFiles, None);
        assert!(RealFiles.list(&directory).expect("listed").is_empty());
    }
}
