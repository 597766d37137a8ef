//! A placement with everything decided: what is installed where, and which service it is for.

use std::{net::SocketAddr, time::Duration};

use pinion_proto::{
    bundle::{Fingerprint, RootCertificate},
    content::Content,
    id::CertificateName,
    spec::{Account, FileMode, GuestPath, Layout, Part, PlainName, StartTls},
};

use super::{ground::Ground, reload::ReloadAction};
use crate::bundle::Bundle;

/// One placement, fully decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Which certificate.
    pub certificate: CertificateName,
    /// Its files, in the order of [`Part`]; at least one.
    pub files: Vec<JobFile>,
    /// How they change.
    pub layout: Layout,
    /// How the files are checked in place.
    pub validate: Check,
    /// How the service is notified, the mildest way first. Empty when there is no service to notify.
    pub reloads: Vec<ReloadAction>,
    /// Where its certificate is looked at; none when it shows none.
    pub probe: Option<ProbeTarget>,
    /// A certificate with its key, or the issuer's roots alone.
    pub content: Content,
    /// What files of [`Part::Ca`] contain, besides the root of the certificate's own chain.
    pub roots: Vec<RootCertificate>,
    /// The program that makes a store of the roots' files, and its arguments.
    pub update: Option<Vec<String>>,
    /// Where the store's readers get it.
    pub store: Option<GuestPath>,
    /// Where its files may be.
    pub ground: Ground,
    /// What of it may be touched.
    pub touchable: Vec<GuestPath>,
    /// What of it the guest allows only because it was there before, in words.
    pub warning: Option<String>,
}

impl Job {
    /// Who is notified in the end: placements of one service take turns at it, however mildly each begins.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        let program = self.update.as_ref().and_then(|words| words.first()).map(String::as_str);
        program.or(self.reloads.last().map(ReloadAction::service))
    }

    /// Which roots are in its files, when this bundle is in place; none where it has no file of roots.
    #[must_use]
    pub fn trusted(&self, bundle: &Bundle) -> Box<[Fingerprint]> {
        if self.files.iter().all(|file| file.part != Part::Ca) {
            return Box::default();
        }
        bundle.roots(&self.roots).map(RootCertificate::fingerprint).collect()
    }
}

/// One file of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFile {
    /// What it contains.
    pub part: Part,
    /// Where it is.
    pub path: GuestPath,
    /// Its permission bits.
    pub mode: FileMode,
    /// Its owner.
    pub owner: Account,
    /// Its group.
    pub group: Account,
    /// The one root that it contains, where each has a file of its own.
    pub root: Option<RootCertificate>,
}

/// How new files are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Not at all.
    Nothing,
    /// By a program of the service's and its arguments; skipped where the program is not installed.
    Program(Vec<String>),
    /// By a hook.
    Hook(PlainName),
}

/// Where a service shows its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeTarget {
    /// Its address.
    pub connect: SocketAddr,
    /// The name to ask for; none for a service that is known by its address.
    pub server_name: Option<Box<str>>,
    /// What is spoken before TLS.
    pub starttls: Option<StartTls>,
    /// How long it may show another certificate after it was notified, or not answer after a reload.
    pub settle: Duration,
    /// How long it may not answer after a restart.
    pub restart: Duration,
    /// It may be looked at also if it is not the guest's own address.
    pub elsewhere: bool,
}
