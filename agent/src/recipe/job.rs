//! A placement with everything decided: what is installed where, and which service it is for.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use pinion_proto::{
    bundle::{Fingerprint, RootCertificate},
    content::Content,
    id::CertificateName,
    spec::{Account, FileMode, GuestPath, Layout, Part, PlainName, ProxyProtocol, StartTls, Unit, Usage},
};

use super::{ground::Ground, reload::Levels};
use crate::bundle::Bundle;

/// One placement, fully decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Which certificate.
    pub certificate: CertificateName,
    /// Its files, in the order of [`Part`]; at least one, unless the certificate is only watched.
    pub files: Vec<JobFile>,
    /// How they change.
    pub layout: Layout,
    /// How the files are checked in place.
    pub validate: Check,
    /// How each of its services is notified. Empty when there is none to notify.
    pub services: Vec<Levels>,
    /// Where its certificate is looked at: it is served when all of them show it. Empty when nobody shows it.
    pub probes: Vec<ProbeTarget>,
    /// Which side of a connection shows the certificate; none where nobody says.
    pub usage: Option<Usage>,
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
    /// Whose turns it takes, in an order that all placements keep: those of its services, or that of the program that makes
    /// a store.
    #[must_use]
    pub fn turns(&self) -> BTreeSet<&str> {
        let services = self.services.iter().map(|levels| self.turn_of(levels));
        services.chain(self.program()).collect()
    }

    /// Whose turn it is when this service is notified: placements of one service take turns, however mildly each begins.
    #[must_use]
    pub fn turn_of<'a>(&'a self, service: &'a Levels) -> &'a str {
        self.program().unwrap_or(service.strongest().service())
    }

    /// The program that makes a store.
    fn program(&self) -> Option<&str> {
        self.update.as_ref().and_then(|words| words.first()).map(String::as_str)
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
    /// Where its password is, if it is behind one.
    pub password_file: Option<GuestPath>,
    /// PKCS #12 with the algorithms of before 2021.
    pub legacy: bool,
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
    /// The unit that serves it; none where nobody says.
    pub unit: Option<Unit>,
    /// The name to ask for; none for a service that is known by its address.
    pub server_name: Option<Box<str>>,
    /// What is spoken before TLS.
    pub starttls: Option<StartTls>,
    /// What is sent before anything else.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How long it may show another certificate after it was notified, or not answer after a reload.
    pub settle: Duration,
    /// How long it may not answer after a restart.
    pub restart: Duration,
    /// It may be looked at also if it is not the guest's own address.
    pub elsewhere: bool,
}

impl ProbeTarget {
    /// What it is called in a message.
    #[must_use]
    pub fn name(&self) -> String {
        self.connect.to_string()
    }
}
