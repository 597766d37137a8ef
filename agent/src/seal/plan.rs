//! What has to go, and what keeps it from going. Nothing is touched here.
//!
//! Invariant: a file that carries, or may carry, a key of Pinion's is either to be removed or an obstacle.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use pinion_proto::{causes::chain, id::CertificateName, spec::GuestPath};

use crate::{
    config::Config,
    install::{
        InstallError,
        drift::{self, Drift},
        files::Files,
        foreign,
        generations::Generations,
        mounts, observed,
        place::{self, PlaceError},
        replace::replacement,
        steps::temporary,
    },
    ledger::{InstalledFile, Ledger, LedgerError, Ledgers},
    link::{addresses, count},
    recipe, restarts,
};

/// What has to go, in this order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The identity's files.
    pub(super) identity: Vec<PathBuf>,
    /// Each placement's files, and the way to them; its ledger goes after them.
    pub(super) placements: Vec<(CertificateName, Arc<dyn Files>, Vec<PathBuf>)>,
    /// Ledgers that were being written when the power went.
    pub(super) remains: Vec<PathBuf>,
    /// Files that are not Pinion's any more.
    pub(super) left: Vec<GuestPath>,
    /// Why not all of it can go.
    pub(super) obstacles: Vec<Obstacle>,
}

/// What is in the way.
#[derive(Debug)]
pub enum Obstacle {
    /// What is remembered of a placement cannot be read, so nobody knows where its files are.
    Ledger(LedgerError),
    /// A file cannot be looked at, or the guest does not allow its place any more.
    File(GuestPath, InstallError),
    /// Somebody changed a file of Pinion's, and there is a private key in it.
    Key(GuestPath),
    /// Somebody changed a file that is in a directory of Pinion's.
    Linked(GuestPath),
    /// What was in the place of Pinion's files before is kept there.
    Replaced(PathBuf),
    /// Something in the agent's own directory is not the agent's.
    Unknown(PathBuf),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ledger(LedgerError::Broken { path, .. }) => write!(
                f,
                "cannot read the record of a placement, so its files are unknown: remove its certificate and key \
                 yourself, then {}",
                path.display()
            ),
            Self::Ledger(error) => write!(f, "{}: {}", chain(error), error.remedy()),
            Self::File(_, error) => write!(f, "{}: {}", chain(error), error.remedy()),
            Self::Key(path) => write!(
                f,
                "{path} was changed after Pinion wrote it, and contains a private key: remove it, or move it out of \
                 this guest, because every copy would have that key"
            ),
            Self::Linked(path) => write!(
                f,
                "{path} was changed after Pinion wrote it, and is a link into one of Pinion's directories: remove \
                 it, or replace it with a regular file"
            ),
            Self::Replaced(path) => write!(
                f,
                "{} contains files from before Pinion: remove it, or move it out of this guest, because every copy \
                 would have them",
                path.display()
            ),
            Self::Unknown(path) => write!(
                f,
                "{} is in the agent's directory, but is not the agent's: remove it, or move it elsewhere",
                path.display()
            ),
        }
    }
}

/// Looks at everything that Pinion has in this guest.
pub(super) fn plan(config: &Config, files: &dyn Files, state: &Path, ledgers: &Ledgers) -> Result<Plan, LedgerError> {
    let mut plan = Plan { identity: identity(files, state)?, remains: remains(files, state)?, ..Plan::default() };
    let mut known = Vec::new();
    for (name, ledger) in ledgers.read_all()? {
        match ledger {
            Ok(mut ledger) => {
                let paths = paths(config, &ledger);
                // What is not mounted is reported for each file that is there.
                drop(mounts::learn(files, config, &mut ledger, &paths));
                let files = files.guarded(&mounts::guard(files, config, &ledger));
                known.push((name, ledger, files));
            }
            Err(error) => plan.obstacles.push(Obstacle::Ledger(error)),
        }
    }
    // One path may be in several ledgers: what one of them knows as it is, is Pinion's.
    let mut fates: BTreeMap<&GuestPath, Fate> = BTreeMap::new();
    for (file, files) in known.iter().flat_map(|(_, ledger, files)| ledger.files().map(move |file| (file, files))) {
        let fate = fate(&**files, config, file);
        if matches!(fate, Fate::Goes(_)) || !fates.contains_key(&file.path) {
            fates.insert(&file.path, fate);
        }
    }
    let mut seen = BTreeSet::new();
    for (name, ledger, guarded) in &known {
        let mut found = Vec::new();
        // Of several ledgers the first has it removed.
        for path in paths(config, ledger).into_iter().filter(|path| seen.insert(path.clone())) {
            match leftover(&**guarded, config, &path) {
                Ok(leftover) => found.extend(leftover),
                Err(error) => plan.obstacles.push(Obstacle::File(path.clone(), error)),
            }
            match fates.remove(&path) {
                Some(Fate::Goes(target)) => found.push(target),
                Some(Fate::Stays) => plan.left.push(path),
                Some(Fate::InTheWay(obstacle)) => plan.obstacles.push(obstacle),
                Some(Fate::Gone) | None => {}
            }
        }
        for generations in generations(&**guarded, config, name, ledger, &mut plan.obstacles) {
            let everything = generations.everything(&**guarded);
            let failed = |source| LedgerError::Directory { path: generations.current(), source };
            found.extend(everything.map_err(failed)?);
        }
        plan.placements.push((name.clone(), Arc::clone(guarded), found));
    }
    plan.obstacles.extend(unknown(files, state)?);
    Ok(plan)
}

/// The identity, and what a crash left of one.
pub(super) fn identity(files: &dyn Files, state: &Path) -> Result<Vec<PathBuf>, LedgerError> {
    let mut found = Vec::new();
    let paths = [IDENTITY, count::FILE, addresses::FILE, restarts::FILE].map(|name| state.join(name));
    for path in paths.into_iter().flat_map(|path| [replacement(&path), Some(path)]).flatten() {
        if files.look(&path).map_err(|source| LedgerError::Read { path: path.clone(), source })?.is_some() {
            found.push(path);
        }
    }
    Ok(found)
}

/// What becomes of a file that Pinion wrote.
enum Fate {
    Gone,
    Goes(PathBuf),
    Stays,
    InTheWay(Obstacle),
}

fn fate(files: &dyn Files, config: &Config, file: &InstalledFile) -> Fate {
    match drift::look(files, config, file) {
        Ok(Drift::Gone) => Fate::Gone,
        Ok(Drift::AsWritten(target)) => Fate::Goes(target),
        Ok(Drift::Changed(content)) if has_key(&content) => Fate::InTheWay(Obstacle::Key(file.path.clone())),
        Ok(Drift::Changed(_)) if is_link(files, config, file) => Fate::InTheWay(Obstacle::Linked(file.path.clone())),
        Ok(Drift::Changed(_)) => Fate::Stays,
        // Something else took the file's place.
        Err(InstallError::Place(PlaceError::Link(_) | PlaceError::NotAFile(_))) => Fate::Stays,
        Err(InstallError::Place(PlaceError::NotADirectory { .. } | PlaceError::Loop(_))) => Fate::Gone,
        Err(InstallError::Place(PlaceError::Outside { real, .. })) if !is_there(config, &real, &file.path) => {
            Fate::Gone
        }
        Err(error) => Fate::InTheWay(Obstacle::File(file.path.clone(), error)),
    }
}

/// Whether a file is a link of Pinion's.
fn is_link(files: &dyn Files, config: &Config, file: &InstalledFile) -> bool {
    place::find(files, config, &file.path)
        .is_ok_and(|place| matches!(observed::behind(files, &place.target), Ok(Some(_))))
}

/// Whether PEM text in it says that it is a private key, of whatever kind.
fn has_key(content: &[u8]) -> bool {
    content.windows(KEY_LABEL.len()).any(|window| window == KEY_LABEL)
}

/// Whether there is anything of the file's name in the directory that its path really leads to.
fn is_there(config: &Config, directory: &Path, path: &GuestPath) -> bool {
    let directory = config.root.join(directory.strip_prefix("/").unwrap_or(directory));
    let name = Path::new(path.as_str()).file_name().unwrap_or_default();
    !matches!(directory.join(name).symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Where a placement's generations are, beside every path of its, whoever has the path by now.
fn generations(
    files: &dyn Files,
    config: &Config,
    name: &CertificateName,
    ledger: &Ledger,
    obstacles: &mut Vec<Obstacle>,
) -> Vec<Generations> {
    let mut directories = BTreeSet::new();
    for path in paths(config, ledger) {
        match place::beside(files, config, &path) {
            Ok(directory) => directories.extend(directory),
            Err(PlaceError::Outside { real, path: outside }) => {
                let real = config.root.join(real.strip_prefix("/").unwrap_or(&real));
                if files.look(&Generations::of(&real, name).current()).is_ok_and(|found| found.is_some()) {
                    obstacles.push(Obstacle::File(path.clone(), PlaceError::Outside { path: outside, real }.into()));
                }
            }
            // There is no such directory, or its file is reported already.
            Err(_) => {}
        }
    }
    directories.iter().map(|directory| Generations::of(directory, name)).collect()
}

/// Every path at which a placement has a file, or was about to have one.
fn paths(config: &Config, ledger: &Ledger) -> BTreeSet<GuestPath> {
    let asked_for = ledger.spec.iter().flat_map(|spec| recipe::paths(spec, config, &ledger.kept()));
    ledger.files().map(|file| file.path.clone()).chain(asked_for).collect()
}

/// What an interrupted exchange left beside a path.
fn leftover(files: &dyn Files, config: &Config, path: &GuestPath) -> Result<Option<PathBuf>, InstallError> {
    // Whatever is wrong with the path itself, nothing was written beside it.
    let Ok(place) = place::find(files, config, path) else { return Ok(None) };
    if !place.missing.is_empty() {
        return Ok(None);
    }
    let beside = temporary(&place.target);
    let found = files.look(&beside).map_err(|source| InstallError::Operation {
        operation: "look at",
        path: beside.clone(),
        source,
    })?;
    Ok(found.map(|_| beside))
}

/// Ledgers that were being written when the power went.
fn remains(files: &dyn Files, state: &Path) -> Result<Vec<PathBuf>, LedgerError> {
    let directory = state.join(PLACEMENTS);
    let names = names(files, &directory)?;
    Ok(names.iter().filter(|name| is_remains(name)).map(|name| directory.join(name)).collect())
}

/// What is in the agent's directory and not the agent's.
fn unknown(files: &dyn Files, state: &Path) -> Result<Vec<Obstacle>, LedgerError> {
    let own = [IDENTITY, count::FILE, addresses::FILE, restarts::FILE, LOCK, PLACEMENTS].map(OsStr::new);
    let unfinished = [IDENTITY, count::FILE, addresses::FILE, restarts::FILE].map(|name| replacement(Path::new(name)));
    let mut found = Vec::new();
    for name in names(files, state)? {
        if name == foreign::REPLACED {
            found.push(Obstacle::Replaced(state.join(name)));
            continue;
        }
        if !own.contains(&name.as_os_str()) && !unfinished.iter().flatten().any(|own| own == Path::new(&name)) {
            found.push(Obstacle::Unknown(state.join(name)));
        }
    }
    let directory = state.join(PLACEMENTS);
    for name in names(files, &directory)? {
        let stem = name.to_str().and_then(|name| name.strip_suffix(".json"));
        let is_ledger = stem.is_some_and(|stem| stem.parse::<CertificateName>().is_ok());
        if !is_ledger && !is_remains(&name) {
            found.push(Obstacle::Unknown(directory.join(name)));
        }
    }
    Ok(found)
}

fn names(files: &dyn Files, directory: &Path) -> Result<Vec<OsString>, LedgerError> {
    let failed = |source| LedgerError::Directory { path: directory.to_owned(), source };
    let mut names = files.list(directory).map_err(failed)?;
    names.sort_unstable();
    Ok(names)
}

fn is_remains(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(".json.pinion-new"))
}

/// In the agent's own directory.
const IDENTITY: &str = "identity.json";
const LOCK: &str = "lock";
const PLACEMENTS: &str = "placements";

/// The end of every PEM label of a private key (RFC 7468 and the older ones).
const KEY_LABEL: &[u8] = b"PRIVATE KEY-----";
