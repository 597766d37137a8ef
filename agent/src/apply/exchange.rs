//! The exchange of a placement's files together with its ledger: all that blocks, and nothing that waits for a service.
//!
//! Invariant: before the first target changes, the ledger on disk says what is being put in place and what was there;
//! so whatever is interrupted is finished, or undone, by whoever reads the ledger next. The journal goes when the exchange
//! is known to be on disk, and not before.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use pinion_proto::{
    id::CertificateName,
    report::Original,
    spec::{GuestPath, Layout, Part},
    stage::Stage,
};

use super::{exchange_error::ExchangeError, foreign, shared::Shared};
use crate::{
    bundle::Bundle,
    install::{
        self, InstallError,
        execute::{Exchanged, Prepared, Written, clean, write},
        files::Files,
        mounts,
        observed::{self, Observed},
        place,
        plan::{Plan, Wanted},
    },
    ledger::{Installed, Journal, Ledger, LedgerError, Phase},
    recipe::Job,
};

/// What the services showed before an exchange: whether any of them answered with TLS, and which of several did not.
#[derive(Debug, Default)]
pub(super) struct Before {
    pub(super) was_serving: bool,
    pub(super) silent: Vec<SocketAddr>,
}

/// One placement's files and ledger, to be changed together.
pub(super) struct Exchange {
    pub(super) shared: Arc<Shared>,
    pub(super) name: CertificateName,
    /// The guest's files.
    all: Arc<dyn Files>,
    /// Its own, used only while what they need is mounted.
    files: Arc<dyn Files>,
}

impl Exchange {
    /// The files of a placement as its ledger lets them be used. This is the only way to them.
    pub(super) fn of(shared: Arc<Shared>, name: CertificateName, ledger: &Ledger) -> Self {
        let all = Arc::clone(&shared.context.files);
        Self::at(all, shared, name, ledger)
    }

    /// The same, of the guest's files as they are looked at for several placements.
    pub(super) fn at(all: Arc<dyn Files>, shared: Arc<Shared>, name: CertificateName, ledger: &Ledger) -> Self {
        let files = all.guarded(&mounts::guard(&*all, &shared.context.config, ledger));
        Self { shared, name, all, files }
    }

    /// Looks whether what the files of a job need is mounted, and of what is in place; true when the ledger says more after it.
    pub(super) fn learn_mounts(&self, ledger: &mut Ledger, job: Option<&Job>) -> Result<bool, InstallError> {
        let held: Vec<_> = ledger.held.iter().flat_map(|held| &held.files).map(|file| file.path.clone()).collect();
        let wanted = job.iter().flat_map(|job| &job.files).map(|file| &file.path);
        mounts::learn(&*self.all, &self.shared.context.config, ledger, wanted.chain(&held))
    }

    /// What a job's new files would replace that is no placement's.
    pub(super) fn survey(&self, ledger: &Ledger, job: &Job) -> Vec<Original> {
        foreign::survey(&self.shared, self.files(), ledger, job)
    }

    /// Puts a bundle in place, keeping what was there. On failure all is as it was. The journal stays until what is
    /// returned is synced, which may take its time: until then a power cut costs the finishing of it again.
    pub(super) fn forward(
        &self,
        ledger: &mut Ledger,
        job: &Job,
        bundle: Bundle,
        before: Before,
    ) -> Result<Exchanged, ExchangeError> {
        let (wanted, observed) = self.compare(ledger, job, &bundle)?;
        foreign::keep(&self.shared, self.files(), &self.name, ledger, &wanted, &observed)?;
        let files: Vec<_> = wanted.iter().map(Wanted::installed).collect();
        let plan = Plan::forward(job.layout, wanted, bundle.generation(), &observed);
        let written = write(self.files(), &plan)?;
        let now = observed.saved();
        let undone = ledger.clone();
        let Before { was_serving, mut silent } = before;
        let former = ledger.held.take();
        let adopted =
            former.as_ref().is_some_and(|held| held.adopted && held.bundle.generation() == bundle.generation());
        let trusted = former.as_ref().map(|held| held.trusted.clone()).unwrap_or_default();
        for file in former.iter().flat_map(|held| &held.files) {
            if !ledger.left_behind.iter().any(|left| left.path == file.path) {
                ledger.left_behind.push(file.clone());
            }
        }
        ledger.left_behind.retain(|left| !files.iter().any(|file| file.path == left.path));
        ledger.journal = Some(match ledger.journal.take() {
            // What was kept before was served once; what was installed since never was.
            Some(mut journal) => {
                let known: Vec<_> = journal.saved.iter().map(|saved| saved.path.clone()).collect();
                journal.saved.extend(now.into_iter().filter(|saved| !known.contains(&saved.path)));
                match (journal.was_serving, was_serving) {
                    (true, true) => silent.retain(|address| journal.silent.contains(address)),
                    (true, false) => silent = journal.silent.clone(),
                    (false, _) => {}
                }
                let was_serving = journal.was_serving || was_serving;
                Journal { phase: Phase::Forward, was_serving, silent, ..journal }
            }
            None => Journal { phase: Phase::Forward, saved: now, previous: former.map(Box::new), was_serving, silent },
        });
        let roots = job.trusted(&bundle);
        let mut held = Installed {
            bundle,
            stage: Stage::Installed,
            files,
            layout: job.layout,
            roots: Box::default(),
            trusted,
            unnotified: false,
            adopted,
            as_found: Vec::new(),
        };
        held.set_roots(roots);
        ledger.held = Some(held);
        ledger.next = None;
        let prepared = match self.journal(ledger, written) {
            Ok(prepared) => prepared,
            Err(e) => {
                *ledger = undone;
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
    fn journal<'a>(&self, ledger: &Ledger, written: Written<'a>) -> Result<Prepared<'a>, ExchangeError> {
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

    /// Puts back what was there. `notified`: the service may have read the new files.
    pub(super) fn back(&self, ledger: &mut Ledger, notified: bool) -> Result<(), ExchangeError> {
        let Some(journal) = &mut ledger.journal else { return Ok(()) };
        if journal.phase != Phase::Back {
            journal.phase = Phase::Back;
            self.save(ledger)?;
        }
        let Some(journal) = &ledger.journal else { return Ok(()) };
        let targets = || journal.saved.iter().map(|saved| saved.path.as_path());
        let observed = Observed::look(self.files(), &self.name, targets())?;
        let plan = Plan::back(&journal.saved, &observed, |path| observed::read(self.files(), path))?;
        clean(self.files(), targets());
        self.exchange(&plan)?.sync(self.files())?;
        self.tidy(ledger);
        let failed = ledger.held.take();
        ledger.held = ledger.journal.take().and_then(|journal| journal.previous).map(|held| *held);
        if let Some(held) = &mut ledger.held {
            if notified {
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
    pub(super) fn resume(&self, ledger: &mut Ledger, job: Option<&Job>) -> Result<(), ExchangeError> {
        let Some(journal) = &ledger.journal else { return Ok(()) };
        match journal.phase {
            Phase::Done => Ok(()),
            Phase::Back => self.back(ledger, true),
            Phase::Forward => match (job, &ledger.held) {
                (Some(job), Some(held)) if same_paths(job, held) => {
                    self.put_right(ledger, job, held.layout)?;
                    if let Some(journal) = &mut ledger.journal {
                        journal.phase = Phase::Done;
                    }
                    self.tidy(ledger);
                    Ok(self.save(ledger)?)
                }
                _ => self.back(ledger, true),
            },
        }
    }

    /// Whether a file in place is not as the job wants it.
    pub(super) fn differs(&self, ledger: &Ledger, job: &Job) -> Result<bool, ExchangeError> {
        let Some(held) = &ledger.held else { return Ok(false) };
        let (wanted, observed) = self.compare(ledger, job, &held.bundle)?;
        let layout = held.layout(job.layout);
        let as_written = Plan::forward(layout, wanted, held.bundle.generation(), &observed).is_empty();
        Ok(!as_written || held.roots != job.trusted(&held.bundle))
    }

    /// Puts files right that somebody else changed, or that are to have other roots; true when their readers may have got
    /// something else.
    pub(super) fn repair(&self, ledger: &mut Ledger, job: &Job) -> Result<bool, ExchangeError> {
        let Some(held) = &ledger.held else { return Ok(false) };
        let (wanted, observed) = self.compare(ledger, job, &held.bundle)?;
        let (roots, files) = (job.trusted(&held.bundle), wanted.iter().map(Wanted::installed).collect());
        let cas: Vec<_> = wanted.iter().filter(|file| file.part == Part::Ca).map(|file| file.target.clone()).collect();
        let (layout, has_other_roots) = (held.layout(job.layout), held.roots != roots);
        if has_other_roots && !is_as_wanted(&wanted, &observed) {
            // Written down first: after a crash the files are as wanted, and nobody has been notified of them.
            if let Some(held) = &mut ledger.held {
                held.unnotified = true;
            }
            self.save(ledger)?;
        }
        let changed = self.put_right(ledger, job, layout)?;
        let Some(held) = &mut ledger.held else { return Ok(false) };
        (held.layout, held.files) = (layout, files);
        if has_other_roots {
            held.as_found.retain(|found| !cas.contains(&found.path));
        }
        held.set_roots(roots);
        if changed {
            held.stage = Stage::Installed;
        }
        self.save(ledger)?;
        self.tidy(ledger);
        Ok(changed)
    }

    /// Whether a file is a link to a generation of this placement's.
    pub(super) fn is_own_link(&self, target: &Path) -> Result<bool, InstallError> {
        match observed::behind(self.files(), target) {
            Ok(behind) => Ok(behind.is_some_and(|(owner, _)| owner == self.name)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(InstallError::Operation { operation: "look behind", path: target.into(), source }),
        }
    }

    /// Where a file really is; none when it may not be touched any more.
    pub(super) fn target(&self, path: &GuestPath) -> Result<Option<PathBuf>, InstallError> {
        match place::find(self.files(), &self.shared.context.config, path) {
            Ok(place) => Ok(Some(place.target)),
            Err(error) if error.may_pass() => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    /// Whether there is a ledger on disk, as far as that can be seen.
    pub(super) fn is_remembered(&self) -> bool {
        self.shared.ledgers.is_there(&self.name)
    }

    pub(super) fn save(&self, ledger: &Ledger) -> Result<(), LedgerError> {
        self.shared.ledgers.write(&self.name, ledger)
    }

    /// Writes what differs from the held bundle; true when its readers may have got something else.
    pub(super) fn put_right(&self, ledger: &Ledger, job: &Job, layout: Layout) -> Result<bool, ExchangeError> {
        let Some(held) = &ledger.held else { return Ok(false) };
        let (wanted, observed) = self.compare(ledger, job, &held.bundle)?;
        let changed = !is_as_wanted(&wanted, &observed);
        let plan = Plan::forward(layout, wanted, held.bundle.generation(), &observed);
        if plan.is_empty() {
            // In place, but perhaps by an exchange whose directories could not be synced.
            let generations = observed.generations.iter().filter(|found| found.in_use.is_some());
            let currents: Vec<PathBuf> = generations.map(|found| found.generations.current()).collect();
            let targets = observed.files.iter().map(|file| file.target.as_path());
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
    fn compare(&self, ledger: &Ledger, job: &Job, bundle: &Bundle) -> Result<(Vec<Wanted>, Observed), InstallError> {
        let config = &self.shared.context.config;
        let mut wanted = install::wanted(self.files(), config, job, bundle)?;
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
        let observed = Observed::look(self.files(), &self.name, targets.iter().map(PathBuf::as_path))?;
        for file in &mut wanted {
            file.acl = observed.at(&file.target).file().and_then(|there| there.acl.clone());
        }
        if let Some(held) = &ledger.held
            && !held.as_found.is_empty()
            && held.bundle.generation() == bundle.generation()
        {
            let has_other_roots = held.roots != job.trusted(bundle);
            for file in wanted.iter_mut().filter(|file| file.part != Part::Ca || !has_other_roots) {
                let found = held.as_found.iter().find(|found| found.path == file.target);
                if let Some(found) = found.and_then(|found| found.file.as_ref()) {
                    (file.uid, file.gid, file.mode) = (found.uid, found.gid, found.mode);
                    file.content.clone_from(&found.content);
                }
            }
        }
        Ok((wanted, observed))
    }

    pub(super) fn files(&self) -> &dyn Files {
        &*self.files
    }
}

/// Whether what readers get is what is wanted.
fn is_as_wanted(wanted: &[Wanted], observed: &Observed) -> bool {
    wanted.iter().all(|file| observed.at(&file.target).file().is_some_and(|there| file.is(there)))
}

/// Whether a bundle is where the job wants it, by its paths.
pub(super) fn same_paths(job: &Job, held: &Installed) -> bool {
    job.files.len() == held.files.len()
        && job.files.iter().all(|file| held.files.iter().any(|there| there.path == file.path))
}
