//! The pair that is in the places of a placement's files before the placement holds anything: is it as good as one that
//! Pinion would make?
//!
//! Invariants: nothing is changed by looking. What is adopted was looked at in the same step, stays as it is byte for byte,
//! and is kept first, as everything that was there before Pinion.

use std::path::PathBuf;

use pinion_proto::{
    bundle::{CertificateError, Fingerprint, RootCertificate},
    clock::Timestamp,
    content::{Content, LeafSpec},
    spec::{FileMode, GuestPath, Layout, Part, PlainName},
    stage::Stage,
};
use thiserror::Error;

use super::{exchange::Exchange, exchange_error::ExchangeError, foreign};
use crate::{
    bundle::{Bundle, Credential},
    install::{
        self,
        observed::{At, Observed},
        pair::{NoPair, Pair},
        plan::Wanted,
        share,
    },
    ledger::{Installed, InstalledFile, Ledger, Saved, SavedFile},
    recipe::{Job, JobFile, ReloadAction},
    verify::{self, Refusal},
};

/// A pair that is as the placement should be, as far as its files show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fit {
    pub(super) credential: Credential,
    /// Each file, as it is.
    files: Vec<FitFile>,
    /// The certificates in the file of roots, each DER; none where there is no such file.
    roots: Option<Vec<Vec<u8>>>,
}

/// One file of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FitFile {
    part: Part,
    path: GuestPath,
    target: PathBuf,
    file: SavedFile,
}

/// Why the pair that is there is not adopted.
#[derive(Debug, Error)]
pub(super) enum Unfit {
    #[error("{0} is not there")]
    Missing(GuestPath),
    #[error(transparent)]
    NoPair(#[from] NoPair),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the certificate is not signed by its issuer")]
    Issuer(#[source] CertificateError),
    #[error("{0} does not contain the root that the certificate's chain ends at")]
    OtherRoot(GuestPath),
    #[error("{path} has mode {mode}: others than its owner could have read or changed it")]
    Open { path: GuestPath, mode: FileMode },
    #[error("{path} belongs to user {uid}, who is neither root nor its owner in the manifest")]
    Owner { path: GuestPath, uid: u32 },
    #[error("{path} may be read by group {gid}, which is neither root's nor its group in the manifest")]
    Group { path: GuestPath, gid: u32 },
    #[error("{0} has an access control list")]
    Acl(GuestPath),
    #[error("{0} is on a share, which other machines can read")]
    Shared(GuestPath),
    #[error("Swarm secrets are versions that Pinion makes")]
    Swarm,
    /// Not by its files, but by who shows it.
    #[error("{0}")]
    NotShown(String),
}

/// What is in the places of a job's files.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing, or what installing will complain of anyway.
    Nothing,
    /// Whose issuer's roots are not known yet.
    Unknown,
    /// What is not adopted.
    Unfit(Unfit),
    /// A pair.
    Fit(Box<Fit>),
}

/// What is in the places of a job's files, of a placement that holds nothing.
pub(super) fn find(exchange: &Exchange, ledger: &Ledger, job: &Job) -> Found {
    let Content::Leaf(leaf) = &job.content else { return Found::Nothing };
    let Some(adoption) = ledger.spec.as_ref().and_then(|spec| spec.adoption.as_ref()) else {
        return Found::Nothing;
    };
    if leaf.shared || ledger.held.is_some() || ledger.journal.is_some() {
        return Found::Nothing;
    }
    let Some(files) = files_in_place(exchange, job) else { return Found::Nothing };
    if files.iter().all(|(_, file)| file.is_none()) {
        return Found::Nothing;
    }
    if job.roots.is_empty() {
        return Found::Unknown;
    }
    match fit(exchange, job, leaf, &adoption.issuer, files) {
        Ok(Some(fit)) => Found::Fit(Box::new(fit)),
        Ok(None) => Found::Nothing,
        Err(unfit) => Found::Unfit(unfit),
    }
}

/// Adopts a pair as it is, if that is what is still there: it is held from now on. Whether it was.
pub(super) fn adopt(
    exchange: &Exchange,
    ledger: &mut Ledger,
    job: &Job,
    fit: &Fit,
    generation: u64,
    stage: Stage,
) -> Result<bool, ExchangeError> {
    match find(exchange, ledger, job) {
        Found::Fit(still) if *still == *fit => {}
        _ => return Ok(false),
    }
    let undone = ledger.clone();
    for file in &fit.files {
        let kept = (&file.path, file.target.as_path(), &file.file);
        foreign::keep_one(&exchange.shared, exchange.files(), &exchange.name, ledger, kept)?;
    }
    let bundle = Bundle::of(generation, fit.credential.clone());
    let there: Option<Vec<_>> = fit.roots.as_ref().map(|roots| roots.iter().map(|der| Fingerprint::of(der)).collect());
    let is_there = |root: &&Fingerprint| there.as_ref().is_none_or(|there| there.contains(root));
    let roots: Box<[_]> = job.trusted(&bundle).iter().filter(is_there).copied().collect();
    let installed = |file: &FitFile| InstalledFile {
        part: file.part,
        path: file.path.clone(),
        content: Fingerprint::of(&file.file.content),
    };
    let saved = |file: &FitFile| Saved { path: file.target.clone(), file: Some(file.file.clone()), generation: None };
    let is_missing = |wanted: &&Wanted| fit.files.iter().all(|file| file.path != wanted.path);
    let wanted = install::wanted(exchange.files(), &exchange.shared.context.config, job, &bundle)?;
    let added = wanted.iter().filter(is_missing).map(Wanted::installed);
    ledger.held = Some(Installed {
        bundle,
        stage,
        files: fit.files.iter().map(installed).chain(added).collect(),
        layout: Layout::Copy,
        trusted: roots.clone(),
        roots,
        unnotified: false,
        adopted: true,
        as_found: fit.files.iter().map(saved).collect(),
    });
    (ledger.last_generation, ledger.order) = (generation, None);
    exchange.save(ledger).inspect_err(|_| *ledger = undone)?;
    if fit.files.len() < job.files.len() {
        exchange.put_right(ledger, job, Layout::Copy)?;
    }
    Ok(true)
}

/// Each file of a job with what is in its place; none where one cannot be looked at, or is another placement's.
fn files_in_place<'j>(exchange: &Exchange, job: &'j Job) -> Option<Vec<(&'j JobFile, Option<(PathBuf, SavedFile)>)>> {
    let targets = job.files.iter().map(|file| Some((file, exchange.target(&file.path).ok()??)));
    let targets: Vec<_> = targets.collect::<Option<_>>()?;
    let observed = Observed::look(exchange.files(), &exchange.name, targets.iter().map(|(_, target)| target.as_path()));
    let observed = observed.ok()?;
    let others = exchange.shared.files_of_others(Some(&exchange.name)).ok()?;
    if job.files.iter().any(|file| others.contains(&file.path)) {
        return None;
    }
    let there = |(file, target): (&'j JobFile, PathBuf)| {
        let there = match observed.at(&target) {
            At::File(there) => Some((target, there.clone())),
            At::Nothing | At::Alias(_) => None,
        };
        (file, there)
    };
    Some(targets.into_iter().map(there).collect())
}

fn fit(
    exchange: &Exchange,
    job: &Job,
    leaf: &LeafSpec,
    issuer: &PlainName,
    files: Vec<(&JobFile, Option<(PathBuf, SavedFile)>)>,
) -> Result<Option<Fit>, Unfit> {
    let mut found = Vec::with_capacity(files.len());
    for (file, there) in files {
        match there {
            Some((target, there)) => {
                found.push(FitFile { part: file.part, path: file.path.clone(), target, file: there });
            }
            // The service does without, and it can be added without a word to anybody.
            None if file.part == Part::Ca => {}
            None => return Err(Unfit::Missing(file.path.clone())),
        }
    }
    if job.services.iter().any(|levels| matches!(levels.mildest(), ReloadAction::Swarm(_))) {
        return Err(Unfit::Swarm);
    }
    let contents: Vec<_> = found.iter().map(|file| (file.part, &file.path, file.file.content.as_slice())).collect();
    let pair = Pair::of(&contents)?;
    let root = root(job, leaf, &pair, exchange.shared.context.clock.now())?.clone();
    if let Some(ca) = found.iter().find(|file| file.part == Part::Ca)
        && !pair.roots.iter().flatten().any(|der| der.as_slice() == root.der())
    {
        return Err(Unfit::OtherRoot(ca.path.clone()));
    }
    let credential = Credential {
        key: pair.key,
        chain: pair.chain,
        root,
        issuer: issuer.clone(),
        common_name: Some(leaf.common_name.clone()),
    };
    // What may not be installed there is not adopted, and installing says why.
    let bundle = Bundle::of(0, credential.clone());
    let Ok(wanted) = install::wanted(exchange.files(), &exchange.shared.context.config, job, &bundle) else {
        return Ok(None);
    };
    for file in &found {
        let Some(wanted) = wanted.iter().find(|wanted| wanted.path == file.path) else { return Ok(None) };
        is_private(file, wanted)?;
    }
    Ok(Some(Fit { credential, files: found, roots: pair.roots }))
}

/// The issuer's root that the pair's chain ends at; the pair is as the spec wants it.
fn root<'j>(job: &'j Job, leaf: &LeafSpec, pair: &Pair, now: Timestamp) -> Result<&'j RootCertificate, Unfit> {
    let wanted = verify::Wanted { names: &leaf.names, algorithm: leaf.key.algorithm, usage: job.usage };
    let mut refused = None;
    for root in &job.roots {
        match verify::check(&pair.chain, root, &pair.key, wanted, now) {
            Ok(()) => return Ok(root),
            Err(refusal) => refused = Some(refusal),
        }
    }
    Err(match refused {
        Some(Refusal::Chain(error)) => Unfit::Issuer(error),
        Some(other) => other.into(),
        None => Unfit::Issuer(CertificateError::EmptyChain),
    })
}

/// Whether nobody but those who are meant to could have read a private key, or changed another file.
fn is_private(found: &FitFile, wanted: &Wanted) -> Result<(), Unfit> {
    let FitFile { part, path, target, file } = found;
    let is_secret = part.is_secret();
    if file.mode.bits() & if is_secret { 0o027 } else { 0o022 } != 0 {
        return Err(Unfit::Open { path: path.clone(), mode: file.mode });
    }
    if ![0, wanted.uid].contains(&file.uid) {
        return Err(Unfit::Owner { path: path.clone(), uid: file.uid });
    }
    if !is_secret {
        return Ok(());
    }
    if file.mode.bits() & 0o040 != 0 && ![0, wanted.gid].contains(&file.gid) {
        return Err(Unfit::Group { path: path.clone(), gid: file.gid });
    }
    if file.acl.is_some() {
        return Err(Unfit::Acl(path.clone()));
    }
    if share::is_shared(target) {
        return Err(Unfit::Shared(path.clone()));
    }
    Ok(())
}
