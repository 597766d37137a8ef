//! The exchange of a placement's files together with its ledger: all that blocks, and nothing that waits for a service.
//!
//! Invariant: before the first target changes, the ledger on disk says what is being put in place and what was there;
//! so whatever is interrupted is finished, or undone, by whoever reads the ledger next. The journal goes when the exchange
//! is known to be on disk, and not before.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use pinion_proto::{
    causes::chain,
    id::CertificateName,
    spec::{GuestPath, Layout},
    stage::Stage,
};
use thiserror::Error;

use super::{Context, shared::Shared};
use crate::{
    bundle::Bundle,
    install::{
        self, InstallError,
        execute::{Exchanged, Prepared, Written, clean, write},
        files::Files,
        mounts, place,
        plan::{Plan, Wanted},
        scene::{self, Scene},
        shelf::{BEFORE, Shelf},
        standing::{self, Standing},
    },
    ledger::{Installed, InstalledFile, Ledger, LedgerError, Phase, Switch},
    recipe::{self, Job},
};

/// Where one placement's files and ledger are changed.
pub(super) struct Desk {
    pub(super) shared: Arc<Shared>,
    pub(super) name: CertificateName,
    /// Its files, used only while what they need is mounted.
    files: Arc<dyn Files>,
}

/// Why files or ledger were not changed.
#[derive(Debug, Error)]
pub(super) enum SwitchError {
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Desk {
    /// The files of a placement as its ledger lets them be used. This is the only way to them.
    pub(super) fn of(shared: Arc<Shared>, name: CertificateName, ledger: &Ledger) -> Self {
        let context = &shared.context;
        let files = context.files.guarded(&mounts::guard(&*context.files, &context.config, ledger));
        Self { shared, name, files }
    }

    /// Looks whether what the files of a job need is mounted, and of what is in place; true when the ledger says more after it.
    pub(super) fn learn_mounts(&self, ledger: &mut Ledger, job: Option<&Job>) -> Result<bool, InstallError> {
        let held: Vec<_> = ledger.held.iter().flat_map(|held| &held.files).map(|file| file.path.clone()).collect();
        let wanted = job.iter().flat_map(|job| &job.files).map(|file| &file.path);
        let Context { config, files, .. } = &*self.shared.context;
        mounts::learn(&**files, config, ledger, wanted.chain(&held))
    }

    /// Puts a bundle in place, keeping what was there. On failure all is as it was. The journal stays until what is
    /// returned is synced, which may take its time: until then a power cut costs the finishing of it again.
    pub(super) fn forward(
        &self,
        ledger: &mut Ledger,
        job: &Job,
        bundle: Bundle,
        was_serving: bool,
    ) -> Result<Exchanged, SwitchError> {
        let (wanted, scene) = self.compare(ledger, job, &bundle)?;
        self.keep_foreign(ledger, &wanted, &scene)?;
        let files: Vec<_> = wanted.iter().map(Wanted::installed).collect();
        let plan = Plan::forward(job.layout, wanted, bundle.generation(), &scene);
        let written = write(self.files(), &plan)?;
        let now = scene.saved();
        let before = ledger.clone();
        let former = ledger.held.take();
        let trusted = former.as_ref().map(|held| held.trusted.clone()).unwrap_or_default();
        for file in former.iter().flat_map(|held| &held.files) {
            if !ledger.left_behind.iter().any(|left| left.path == file.path) {
                ledger.left_behind.push(file.clone());
            }
        }
        ledger.left_behind.retain(|left| !files.iter().any(|file| file.path == left.path));
        ledger.switch = Some(match ledger.switch.take() {
            // What was kept before was served once; what was installed since never was.
            Some(mut switch) => {
                let known: Vec<_> = switch.saved.iter().map(|saved| saved.path.clone()).collect();
                switch.saved.extend(now.into_iter().filter(|saved| !known.contains(&saved.path)));
                Switch { phase: Phase::Forward, was_serving: switch.was_serving || was_serving, ..switch }
            }
            None => Switch { phase: Phase::Forward, saved: now, previous: former.map(Box::new), was_serving },
        });
        let roots = job.trusted(&bundle);
        let mut held = Installed {
            bundle,
            stage: Stage::Installed,
            files,
            layout: job.layout,
            roots: Box::default(),
            trusted,
            untold: false,
        };
        held.set_roots(roots);
        ledger.held = Some(held);
        ledger.next = None;
        let prepared = match self.journal(ledger, written) {
            Ok(prepared) => prepared,
            Err(e) => {
                *ledger = before;
                return Err(e);
            }
        };
        let exchanged = prepared.exchange().inspect_err(|_| {
            if let Err(error) = self.back(ledger, false) {
                tracing::error!(certificate = %self.name, %error, "Could not put the old files back yet");
            }
        })?;
        self.tidy(ledger);
        Ok(exchanged)
    }

    /// Brings the new files and the ledger that speaks of them to the disk together; on failure neither is there.
    fn journal<'a>(&self, ledger: &Ledger, written: Written<'a>) -> Result<Prepared<'a>, SwitchError> {
        let mut draft = match self.shared.ledgers.draft(&self.name, ledger) {
            Ok(draft) => draft,
            Err(e) => {
                written.discard();
                return Err(e.into());
            }
        };
        let prepared = match written.sync(Some(&mut draft)) {
            Ok(prepared) => prepared,
            Err(e) => {
                draft.discard(self.files());
                return Err(e.into());
            }
        };
        if let Err(e) = self.shared.ledgers.put(draft) {
            prepared.discard();
            return Err(e.into());
        }
        Ok(prepared)
    }

    /// Puts back what was there. `told`: the service may have read the new files.
    pub(super) fn back(&self, ledger: &mut Ledger, told: bool) -> Result<(), SwitchError> {
        let Some(switch) = &mut ledger.switch else { return Ok(()) };
        if switch.phase != Phase::Back {
            switch.phase = Phase::Back;
            self.save(ledger)?;
        }
        let Some(switch) = &ledger.switch else { return Ok(()) };
        let targets = || switch.saved.iter().map(|saved| saved.path.as_path());
        let scene = Scene::look(self.files(), &self.name, targets())?;
        let plan = Plan::back(&switch.saved, &scene, |path| scene::read(self.files(), path))?;
        clean(self.files(), targets());
        self.exchange(&plan)?.sync(self.files())?;
        self.tidy(ledger);
        let failed = ledger.held.take();
        ledger.held = ledger.switch.take().and_then(|switch| switch.previous).map(|held| *held);
        if let Some(held) = &mut ledger.held {
            if told {
                held.stage = held.stage.min(Stage::Installed);
            }
            ledger.left_behind.retain(|left| !held.files.iter().any(|file| file.path == left.path));
        }
        if ledger.next.is_none() {
            ledger.next = failed.map(|held| held.bundle);
        }
        Ok(self.save(ledger)?)
    }

    /// Finishes or undoes what a crash interrupted.
    pub(super) fn resume(&self, ledger: &mut Ledger, job: Option<&Job>) -> Result<(), SwitchError> {
        let Some(switch) = &ledger.switch else { return Ok(()) };
        match switch.phase {
            Phase::Done => Ok(()),
            Phase::Back => self.back(ledger, true),
            Phase::Forward => match (job, &ledger.held) {
                (Some(job), Some(held)) if same_paths(job, held) => {
                    self.put_right(ledger, job, held.layout)?;
                    if let Some(switch) = &mut ledger.switch {
                        switch.phase = Phase::Done;
                    }
                    self.tidy(ledger);
                    Ok(self.save(ledger)?)
                }
                _ => self.back(ledger, true),
            },
        }
    }

    /// Whether a file in place is not as the job wants it.
    pub(super) fn differs(&self, ledger: &Ledger, job: &Job) -> Result<bool, SwitchError> {
        let Some(held) = &ledger.held else { return Ok(false) };
        let (wanted, scene) = self.compare(ledger, job, &held.bundle)?;
        let as_written = Plan::forward(job.layout, wanted, held.bundle.generation(), &scene).is_empty();
        Ok(!as_written || held.roots != job.trusted(&held.bundle))
    }

    /// Puts files right that somebody else changed, or that are to have other roots; true when their readers may have got
    /// something else.
    pub(super) fn repair(&self, ledger: &mut Ledger, job: &Job) -> Result<bool, SwitchError> {
        let Some(held) = &ledger.held else { return Ok(false) };
        let (wanted, scene) = self.compare(ledger, job, &held.bundle)?;
        let (roots, files) = (job.trusted(&held.bundle), wanted.iter().map(Wanted::installed).collect());
        if held.roots != roots && !is_as_wanted(&wanted, &scene) {
            // Written down first: after a crash the files are as wanted, and nobody has been told of them.
            if let Some(held) = &mut ledger.held {
                held.untold = true;
            }
            self.save(ledger)?;
        }
        let changed = self.put_right(ledger, job, job.layout)?;
        let Some(held) = &mut ledger.held else { return Ok(false) };
        (held.layout, held.files) = (job.layout, files);
        held.set_roots(roots);
        if changed {
            held.stage = Stage::Installed;
        }
        self.save(ledger)?;
        self.tidy(ledger);
        Ok(changed)
    }

    /// Removes what is left of roots that are not wanted any more; true when there was something to remove.
    pub(super) fn drop_former(&self, ledger: &mut Ledger) -> Result<bool, SwitchError> {
        let mut changed = Vec::new();
        let before = ledger.left_behind.len();
        for file in &ledger.left_behind {
            if !self.remove(file)? {
                changed.push(file.clone());
            }
        }
        let removed = changed.len() < before;
        if removed {
            ledger.left_behind = changed;
            if let Some(held) = &mut ledger.held {
                // Whoever made a store of them has to make it anew.
                (held.stage, held.untold) = (Stage::Installed, true);
            }
            self.save(ledger)?;
        }
        Ok(removed)
    }

    /// Removes every file that Pinion wrote and nobody changed since, then the ledger; the files that are left.
    pub(super) fn purge(&self, ledger: &mut Ledger) -> Result<Vec<GuestPath>, SwitchError> {
        if !ledger.purging {
            // Written down first: what a crash interrupts is gone on with.
            ledger.purging = true;
            self.save(ledger)?;
        }
        let mut left = Vec::new();
        for file in ledger.files() {
            match self.remove(file) {
                Ok(true) => tracing::info!(certificate = %self.name, path = %file.path, "Removed"),
                Ok(false) => {
                    tracing::warn!(certificate = %self.name, path = %file.path, "Left a file that is not as Pinion wrote it");
                    left.push(file.path.clone());
                }
                Err(InstallError::Place(error)) if !error.may_pass() => {
                    tracing::warn!(certificate = %self.name, path = %file.path, %error, "Left a file that may not be touched");
                    left.push(file.path.clone());
                }
                Err(error) => return Err(error.into()),
            }
        }
        for shelf in self.shelves(ledger)? {
            if left.is_empty() {
                shelf.clear(self.files())?;
                // The ledger says where it was, so it goes last also in a power cut.
                Exchanged::found(shelf.directories().iter().take(1).map(PathBuf::as_path)).sync(self.files())?;
            } else {
                // What was changed may be behind a link; what it was before is nobody's any more.
                shelf.forget_earlier(self.files());
            }
        }
        self.shared.ledgers.remove(&self.name)?;
        *ledger = Ledger::default();
        // The exchange that was under way may name a file twice.
        left.sort_unstable();
        left.dedup();
        Ok(left)
    }

    /// Removes the temporary files of an exchange that never came to its journal.
    pub(super) fn sweep(&self, ledger: &Ledger, job: &Job) {
        let paths = job.files.iter().map(|file| &file.path).chain(ledger.files().map(|file| &file.path));
        let config = &self.shared.context.config;
        let targets: Vec<PathBuf> = paths
            .filter_map(|path| place::find(self.files(), config, path).ok())
            .filter(|place| place.missing.is_empty())
            .map(|place| place.target)
            .collect();
        let behind = targets.iter().filter_map(|target| scene::behind(self.files(), target).ok().flatten()?.1);
        let all: Vec<PathBuf> = targets.iter().cloned().chain(behind).collect();
        clean(self.files(), all.iter().map(PathBuf::as_path));
        self.tidy(ledger);
    }

    /// Removes the generations that nobody needs: neither what is in place nor what was there before it.
    fn tidy(&self, ledger: &Ledger) {
        let former = |switch: &Switch| switch.previous.as_ref().map_or(BEFORE, |held| held.bundle.generation());
        let back_to = ledger.switch.as_ref().map(former);
        let tidied = self.shelves(ledger).and_then(|shelves| {
            for shelf in shelves {
                // What cannot be looked at is read by somebody, for all one knows.
                if !self.is_read(ledger, &shelf)? {
                    drop(self.files().remove(&shelf.current()));
                }
                shelf.tidy(self.files(), back_to);
            }
            Ok(())
        });
        if let Err(error) = tidied.or_else(|error| if error.not_mounted().is_some() { Ok(()) } else { Err(error) }) {
            tracing::warn!(certificate = %self.name, error = chain(&error), "Could not look for what is left of older certificates");
        }
    }

    /// Whether some file is a link to a shelf, or will be again on the way back.
    fn is_read(&self, ledger: &Ledger, shelf: &Shelf) -> Result<bool, InstallError> {
        let saved = ledger.switch.iter().flat_map(|switch| &switch.saved);
        if saved.clone().any(|old| shelf.is_beside(&old.path) && old.generation.is_some()) {
            return Ok(true);
        }
        for target in
            saved.map(|old| Ok(Some(old.path.clone()))).chain(ledger.files().map(|file| self.target(&file.path)))
        {
            if let Some(target) = target?
                && shelf.is_beside(&target)
                && self.is_own_link(&target)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a file is a link to a generation of this placement's.
    fn is_own_link(&self, target: &Path) -> Result<bool, InstallError> {
        match scene::behind(self.files(), target) {
            Ok(behind) => Ok(behind.is_some_and(|(owner, _)| owner == self.name)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(InstallError::Operation { operation: "look behind", path: target.into(), source }),
        }
    }

    /// Where a file really is; none when it may not be touched any more.
    fn target(&self, path: &GuestPath) -> Result<Option<PathBuf>, InstallError> {
        match place::find(self.files(), &self.shared.context.config, path) {
            Ok(place) => Ok(Some(place.target)),
            Err(error) if error.may_pass() => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    /// Where this placement's generations may be.
    fn shelves(&self, ledger: &Ledger) -> Result<Vec<Shelf>, InstallError> {
        let saved = ledger.switch.iter().flat_map(|switch| &switch.saved).map(|saved| Ok(Some(saved.path.clone())));
        // What was asked for may have been begun before anything was written down.
        let config = &self.shared.context.config;
        let asked_for = ledger.spec.iter().flat_map(|spec| recipe::paths(spec, config, &ledger.kept()));
        let paths = ledger.files().map(|file| file.path.clone()).chain(asked_for);
        let mut directories = Vec::new();
        for target in paths.map(|path| self.target(&path)).chain(saved) {
            directories.extend(target?.as_deref().and_then(Path::parent).map(Path::to_owned));
        }
        directories.sort_unstable();
        directories.dedup();
        Ok(directories.iter().map(|directory| Shelf::of(directory, &self.name)).collect())
    }

    pub(super) fn save(&self, ledger: &Ledger) -> Result<(), LedgerError> {
        self.shared.ledgers.write(&self.name, ledger)
    }

    /// Writes what differs from the held bundle; true when its readers may have got something else.
    fn put_right(&self, ledger: &Ledger, job: &Job, layout: Layout) -> Result<bool, SwitchError> {
        let Some(held) = &ledger.held else { return Ok(false) };
        let (wanted, scene) = self.compare(ledger, job, &held.bundle)?;
        let changed = !is_as_wanted(&wanted, &scene);
        let plan = Plan::forward(layout, wanted, held.bundle.generation(), &scene);
        if plan.is_empty() {
            // In place, but perhaps by an exchange whose directories could not be synced.
            let shelves = scene.shelves.iter().filter(|shelved| shelved.in_use.is_some());
            let currents: Vec<PathBuf> = shelves.map(|shelved| shelved.shelf.current()).collect();
            let targets = scene.files.iter().map(|file| file.target.as_path());
            Exchanged::found(targets.chain(currents.iter().map(PathBuf::as_path))).sync(self.files())?;
        } else {
            self.exchange(&plan)?.sync(self.files())?;
        }
        Ok(changed)
    }

    fn exchange(&self, plan: &Plan) -> Result<Exchanged, InstallError> {
        write(self.files(), plan)?.sync(None)?.exchange()
    }

    /// What is wanted, and what is there: at its targets, and at the links of this placement's beside them.
    fn compare(&self, ledger: &Ledger, job: &Job, bundle: &Bundle) -> Result<(Vec<Wanted>, Scene), InstallError> {
        let config = &self.shared.context.config;
        let wanted = install::wanted(self.files(), config, job, bundle)?;
        let mut targets: Vec<PathBuf> = wanted.iter().map(|file| file.target.clone()).collect();
        for file in ledger.files() {
            let target = match self.target(&file.path) {
                // Not beside what is wanted, whose directories are there.
                Err(error) if error.not_mounted().is_some() => continue,
                target => target?,
            };
            let Some(target) = target else { continue };
            let beside = wanted.iter().any(|file| file.target.parent() == target.parent());
            if beside && !targets.contains(&target) && self.is_own_link(&target)? {
                targets.push(target);
            }
        }
        let scene = Scene::look(self.files(), &self.name, targets.iter().map(PathBuf::as_path))?;
        Ok((wanted, scene))
    }

    fn remove(&self, file: &InstalledFile) -> Result<bool, InstallError> {
        match standing::look(self.files(), &self.shared.context.config, file)? {
            Standing::Gone => Ok(true),
            Standing::AsWritten(target) => standing::remove(self.files(), &target).map(|()| true),
            Standing::Changed(_) => Ok(false),
        }
    }

    pub(super) fn files(&self) -> &dyn Files {
        &*self.files
    }
}

/// Whether what readers get is what is wanted.
fn is_as_wanted(wanted: &[Wanted], scene: &Scene) -> bool {
    wanted.iter().all(|file| scene.at(&file.target).file().is_some_and(|there| file.is(there)))
}

/// Whether a bundle is where the job wants it, by its paths.
pub(super) fn same_paths(job: &Job, held: &Installed) -> bool {
    job.files.len() == held.files.len()
        && job.files.iter().all(|file| held.files.iter().any(|there| there.path == file.path))
}
