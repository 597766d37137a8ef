//! The manifest's files: read at start, and again whenever they change.
//!
//! Invariant: files that are bad, or gone, never replace the manifest in force, also over a restart: then the last good
//! one is in force, which is kept in the local area. The problem is reported once.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use pinion_proto::{
    alarm,
    bundle::Fingerprint,
    causes::chain,
    clock::{Clock, Timestamp},
    lock::lock,
    spec::PlainName,
};
use tokio::sync::watch;

use super::{
    Manifest,
    last_good::{self, LastGood},
    source::{FileError, Listed, Source},
    texts::{self, FileText},
};
use crate::store::Store;

/// How often the files are looked at. They are looked at rather than watched, because on pmxcfs a change that
/// another node makes raises no inotify event; a look is one stat a file. A change is acted on within a second. Commands
/// do not wait for that: whoever asks the controller has the files looked at first.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A file changed so recently (seconds) may change again without its times showing it: it is read anew.
const UNSETTLED: i64 = 3;

/// Looking takes at most one part of so many of the time, however many files there are and however slow they are.
const IDLE_SHARE: u32 = 20;

/// Some editors move a file away before they write it anew: one that is gone for less than this counts as still there.
const GONE_AFTER: Duration = Duration::from_secs(1);

/// Whether a file that is gone stays so is asked again after this.
const GONE_YET: Duration = Duration::from_millis(50);

/// The files and the manifest in force.
#[derive(Debug)]
pub struct ManifestFile {
    source: Source,
    /// Issuers whose roots nobody can place.
    without_roots: BTreeSet<PlainName>,
    seen: Mutex<Seen>,
    in_force: watch::Sender<InForce>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    /// What is to be kept; none before there is anything new.
    good: watch::Sender<Option<LastGood>>,
}

/// The manifest in force.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The manifest in force.
    pub manifest: Arc<Manifest>,
    /// Why the file on disk is not what is in force.
    pub problem: Option<String>,
    /// Since when it is in force; none before there ever was one.
    pub since: Option<Timestamp>,
}

impl InForce {
    /// What the operator should know of it, the file and the place in it first: each a line.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let Some(problem) = &self.problem else { return Vec::new() };
        let text = match self.since {
            Some(since) => format!(
                "the manifest on disk is not in force: {problem}\nthe last good manifest is in force, read at \
                 {since}: Pinion renews by it, and reads the file again as soon as it is good"
            ),
            None => problem.clone(),
        };
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

/// What was seen of the files last.
#[derive(Debug)]
struct Seen {
    /// The files as they were; none if they could not be listed.
    listed: Option<Vec<Listed>>,
    content: Content,
    /// Since when a file is missing that was there.
    missing: Option<Instant>,
}

/// What the files contain, or why that is unknown.
type Content = Result<Vec<(PathBuf, Fingerprint)>, String>;

impl Seen {
    /// Reads the files, of which `listed` is known; the texts too, which are not kept.
    fn read(source: &Source, listed: Option<Vec<Listed>>) -> (Self, Result<Vec<FileText>, FileError>) {
        let (listed, files) = match source.read() {
            Ok((listed, files)) => (Some(listed), Ok(files)),
            Err(error) => (listed, Err(error)),
        };
        let content = match &files {
            Ok(files) => Ok(files.iter().map(|file| (file.path.clone(), Fingerprint::of(&file.bytes))).collect()),
            Err(error) => Err(chain(error)),
        };
        (Self { listed, content, missing: None }, files)
    }
}

impl ManifestFile {
    /// Reads the files; of issuers `without_roots` they can place none. If they are bad or gone, the last good manifest
    /// that `store` has is in force; where there never was one, no file is an empty manifest: nothing is desired yet.
    ///
    /// # Errors
    /// A file is bad or cannot be read, and no good one is known.
    pub fn open(
        path: &Path,
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        without_roots: BTreeSet<PlainName>,
    ) -> Result<Self, FileError> {
        let kept = last_good::read(&store);
        let manifest_of = |kept: &LastGood| kept.manifest(&without_roots);
        let now = clock.now();
        let mut good = None;
        let source = Source::of(path);
        let (seen, files) = Seen::read(&source, source.list().ok());
        let in_force = match files.and_then(|files| parse(&files, &without_roots)) {
            Ok((manifest, text)) => {
                // A large one takes a second to parse.
                let same = |kept: &LastGood| kept.text == text || manifest_of(kept).as_ref() == Some(&manifest);
                let known = kept.filter(same).map(|kept| kept.since);
                let since = known.unwrap_or(now);
                good = known.is_none().then_some(LastGood { since, text });
                InForce { manifest: Arc::new(manifest), problem: None, since: Some(since) }
            }
            Err(error) => match kept.and_then(|kept| Some((manifest_of(&kept)?, kept.since))) {
                Some((manifest, since)) => {
                    InForce { manifest: Arc::new(manifest), problem: Some(chain(&error)), since: Some(since) }
                }
                None if error.is_absent() => {
                    let problem = format!("{} does not exist yet: Pinion has nothing to do", path.display());
                    InForce { manifest: Arc::new(Manifest::empty()), problem: Some(problem), since: None }
                }
                None => return Err(error),
            },
        };
        let (in_force, good) = (watch::channel(in_force).0, watch::channel(good).0);
        Ok(Self { source, without_roots, seen: Mutex::new(seen), in_force, store, clock, good })
    }

    /// The manifest in force, now and at each change.
    #[must_use]
    pub fn in_force(&self) -> watch::Receiver<InForce> {
        self.in_force.subscribe()
    }

    /// Looks at the files, and keeps what is good, until the future is dropped.
    pub async fn watch(&self) {
        let look = async {
            loop {
                let began = Instant::now();
                self.look();
                alarm::next(LOOK_EVERY.max(began.elapsed() * IDLE_SHARE)).await;
            }
        };
        tokio::join!(look, last_good::keep(self.store.clone(), self.good.subscribe()));
    }

    /// Looks at the files, until no file is missing that may only be about to be written anew; what has changed is in
    /// force, or reported, when this returns.
    pub async fn settled(&self) {
        while !self.look() {
            tokio::time::sleep(GONE_YET).await;
        }
    }

    /// Looks at the files once; what has changed is in force, or reported, when this returns `true`. Otherwise a file
    /// is missing, and has been for too short a time.
    pub fn look(&self) -> bool {
        let mut seen = lock(&self.seen);
        let listed = self.source.list().ok();
        if seen.listed == listed && listed.as_ref().is_some_and(|files| is_settled(files)) {
            seen.missing = None;
            return true;
        }
        if !lacks_one(seen.listed.as_deref(), listed.as_deref()) {
            seen.missing = None;
        } else if seen.missing.get_or_insert_with(Instant::now).elapsed() < GONE_AFTER {
            return false;
        }
        let (now, files) = Seen::read(&self.source, listed);
        let is_known = seen.content == now.content;
        *seen = now;
        if !is_known {
            match files.and_then(|files| parse(&files, &self.without_roots)) {
                Ok((manifest, text)) => self.take(manifest, text),
                Err(error) => self.refuse(chain(&error)),
            }
        }
        true
    }

    /// The files are no manifest; the one in force stays.
    fn refuse(&self, problem: String) {
        self.in_force.send_if_modified(|in_force| {
            let changed = in_force.problem.as_ref() != Some(&problem);
            in_force.problem = Some(problem);
            changed
        });
    }

    /// A good manifest is in force from now on.
    fn take(&self, manifest: Manifest, text: String) {
        let now = self.clock.now();
        let mut other = false;
        self.in_force.send_if_modified(|in_force| {
            other = *in_force.manifest != manifest || in_force.since.is_none();
            let changed = other || in_force.problem.is_some();
            if other {
                in_force.manifest = Arc::new(manifest);
                in_force.since = Some(now);
            }
            in_force.problem = None;
            changed
        });
        if other {
            self.good.send_replace(Some(LastGood { since: now, text }));
        }
    }
}

/// Whether all files were changed so long ago that another change shows.
fn is_settled(files: &[Listed]) -> bool {
    let now = Timestamp::from(std::time::SystemTime::now()).unix();
    files.iter().filter_map(Listed::changed_at).all(|changed| now.saturating_sub(changed) > UNSETTLED)
}

/// Whether a file that was there is not there any more.
fn lacks_one(before: Option<&[Listed]>, now: Option<&[Listed]>) -> bool {
    let (Some(before), Some(now)) = (before, now) else { return false };
    let now: BTreeSet<_> = now.iter().map(|file| &file.path).collect();
    before.iter().any(|file| !now.contains(&file.path))
}

/// A manifest that was read once.
#[derive(Debug)]
pub struct Loaded {
    /// What it asks for.
    pub manifest: Manifest,
    /// Its files, in their order.
    pub files: Vec<PathBuf>,
    /// One text that means what the files mean together.
    pub text: String,
}

/// Reads and parses the manifest at a path, for those who want it once.
///
/// # Errors
/// It cannot be read, or is bad.
pub fn load(path: &Path) -> Result<Loaded, FileError> {
    let (_, files) = Source::of(path).read()?;
    let (manifest, text) = parse(&files, &BTreeSet::new())?;
    Ok(Loaded { manifest, files: files.into_iter().map(|file| file.path).collect(), text })
}

/// The manifest that files are, and one text for all of them.
fn parse(files: &[FileText], without_roots: &BTreeSet<PlainName>) -> Result<(Manifest, String), FileError> {
    let documents: Vec<_> = files.iter().map(FileText::document).collect();
    let manifest = Manifest::parse_all(&documents, without_roots).map_err(FileError::Bad)?;
    Ok((manifest, texts::as_one(&documents).map_err(FileError::Bad)?))
}
