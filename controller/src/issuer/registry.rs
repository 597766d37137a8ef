//! Every configured issuer by its name, and which kinds of issuers there are.
//!
//! To add a kind: its word and its table in [`IssuerConfig`], its module beside `step_ca`, and a line in
//! [`IssuerConfig::issuer`]. Nothing else in Pinion knows one kind from another.
//! Invariant: nothing is read or dialled before an issuer is used. One that is misconfigured says so in its errors and does
//! not keep the others from working.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU16,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use pinion_proto::{
    clock::{Clock, Timestamp},
    settings::{Otherwise, Table, setting},
    spec::PlainName,
};
use tokio::time::Instant;

use super::{
    Issuer, IssuerCheck, IssuerError, IssuerRoots, Password, Revocation, Serial, Signed, SigningRequest, StepCaConfig,
    embedded::Embedded,
    queue::{IssuerCalls, Operation, Queue},
    step_ca::{StepCa, check_unconfigured},
};
use crate::{
    settings::{self, Fields},
    store::Store,
};

/// The issuer that needs no configuration.
const EMBEDDED: &str = "embedded";

/// Signing inside the controller takes a core each: more at once would only take turns.
const EMBEDDED_CONCURRENCY: NonZeroU16 = NonZeroU16::MIN.saturating_add(3);

/// The settings of a table `[issuers.NAME]` of the embedded CA.
pub const EMBEDDED_TABLE: Table = Table {
    name: "issuers.NAME, with type = \"embedded\"",
    about: "A CA inside the controller. It is always there under the name `embedded`, without a table.",
    settings: &[
        setting("type", "`embedded`", Otherwise::Required, "The kind of issuer."),
        setting(
            "revoke_replaced",
            "`false`",
            Otherwise::Value("false"),
            "Only for issuers of type `step-ca`: the embedded CA publishes no list of revoked certificates.",
        ),
    ],
};

/// An issuer as it is configured: a table `[issuers.NAME]` of controller.toml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssuerConfig {
    /// A CA inside the controller.
    Embedded,
    /// A step-ca server.
    StepCa(StepCaConfig),
}

/// What an issuer may use of the controller.
#[derive(Debug)]
struct Surroundings<'c> {
    store: &'c Arc<Store>,
    clock: &'c Arc<dyn Clock>,
    /// Relative password files are below it.
    root: &'c Path,
}

impl IssuerConfig {
    /// Reads the text of a table `[issuers.NAME]`, for whoever has no file of settings.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        let read = settings::read(text, Self::read).map_err(|mistakes| mistakes.to_string())?;
        // What gives nothing has been complained about.
        read.ok_or_else(|| "the table could not be read".to_owned())
    }

    /// Reads a table `[issuers.NAME]`; what is wrong with it is noted there.
    #[must_use]
    pub fn read(table: &Fields<'_>) -> Option<Self> {
        let kind: String = table.required("type")?;
        match kind.as_str() {
            "embedded" => {
                table.known(&EMBEDDED_TABLE.names());
                // There for its message: nobody asks the embedded CA what is revoked.
                if table.optional("revoke_replaced") == Some(true) {
                    table.problem(
                        "revoke_replaced",
                        "`revoke_replaced` works only with issuers of type `step-ca`: the embedded CA publishes no \
                         list of revoked certificates; remove this line",
                    );
                }
                Some(Self::Embedded)
            }
            "step-ca" => StepCaConfig::read(table).map(Self::StepCa),
            other => {
                let shown = pinion_proto::id::shown(other);
                table.problem("type", format_args!("`{shown}` is not a type of issuer: use `step-ca` or `embedded`"));
                None
            }
        }
    }

    /// The files with the issuer's secrets, each with its setting; a relative path is below the controller's root directory.
    pub fn secret_files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let files = match self {
            Self::Embedded => [None, None],
            Self::StepCa(StepCaConfig { password_file, key_file, .. }) => [
                password_file.as_ref().map(|file| ("password_file", file)),
                key_file.as_ref().map(|file| ("key_file", file)),
            ],
        };
        files.into_iter().flatten()
    }

    /// Looks whether the issuer could sign with this configuration, before anything uses it, and without signing. `password`
    /// is used instead of the file that the configuration names. None for an issuer inside the controller.
    ///
    /// # Errors
    /// What keeps it from signing.
    pub async fn check(
        &self,
        name: &PlainName,
        password: Option<Password>,
        clock: Arc<dyn Clock>,
        root: &Path,
    ) -> Result<Option<IssuerCheck>, IssuerError> {
        match self {
            Self::Embedded => Ok(None),
            Self::StepCa(config) => check_unconfigured(name, config, password, clock, root).await.map(Some),
        }
    }

    /// The issuer, and how many calls to it may be under way at once.
    fn issuer(&self, name: &PlainName, with: &Surroundings<'_>) -> (Box<dyn Issuer>, NonZeroU16) {
        let Surroundings { store, clock, root } = *with;
        let (name, store, clock) = (name.clone(), store.clone(), clock.clone());
        match self {
            Self::Embedded => (Box::new(Embedded::new(name, store, clock)), EMBEDDED_CONCURRENCY),
            Self::StepCa(config) => (Box::new(StepCa::new(name, config, store, clock, root)), config.concurrency),
        }
    }
}

/// All issuers. Cheap to share behind an [`Arc`].
#[derive(Debug)]
pub struct Issuers(BTreeMap<PlainName, Arc<Queue>>);

impl Issuers {
    /// The configured issuers, and one named `embedded` unless another has that name. Relative password files are below
    /// `root`.
    #[must_use]
    pub fn from_config(
        config: &BTreeMap<PlainName, IssuerConfig>,
        store: &Arc<Store>,
        clock: Arc<dyn Clock>,
        root: &Path,
    ) -> Self {
        let with = Surroundings { store, clock: &clock, root };
        let embedded = EMBEDDED.parse::<PlainName>().expect("the constant is a name");
        let unconfigured = [(&embedded, &IssuerConfig::Embedded)];
        let all: BTreeMap<_, _> = unconfigured.into_iter().chain(config).collect();
        Self::of(all.into_iter().map(|(name, config)| {
            let (issuer, calls) = config.issuer(name, &with);
            (name.clone(), issuer, calls)
        }))
    }

    /// These issuers, each with the most calls that it may have under way.
    #[must_use]
    pub fn of(issuers: impl IntoIterator<Item = (PlainName, Box<dyn Issuer>, NonZeroU16)>) -> Self {
        let queue = |(name, issuer, calls)| (name, Arc::new(Queue::new(issuer, calls)));
        Self(issuers.into_iter().map(queue).collect())
    }

    /// Their names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &PlainName> {
        self.0.keys()
    }

    /// Those that cannot say which roots their certificates end at: no placement of roots may name one.
    #[must_use]
    pub fn without_roots(&self) -> BTreeSet<PlainName> {
        let rootless = self.0.iter().filter(|(_, queue)| queue.issuer().roots().is_none());
        rootless.map(|(name, _)| name.clone()).collect()
    }

    /// Signs a request when its turn has come. `expires` is when what the placement holds now expires;
    /// one that holds nothing goes before all others.
    ///
    /// # Errors
    /// The issuer's own; at once, when another call has just found it down or misconfigured; and
    /// [`IssuerError::Misconfigured`] when there is no such issuer.
    pub async fn sign(
        &self,
        issuer: &PlainName,
        request: SigningRequest,
        expires: Option<Timestamp>,
    ) -> Result<Signed, IssuerError> {
        self.sign_timed(issuer, request, expires).await.0
    }

    /// As [`Self::sign`], and how long the request was in the queue before the issuer.
    pub async fn sign_timed(
        &self,
        issuer: &PlainName,
        request: SigningRequest,
        expires: Option<Timestamp>,
    ) -> (Result<Signed, IssuerError>, Duration) {
        let queue = match self.queue(issuer) {
            Ok(queue) => queue,
            Err(error) => return (Err(error), Duration::ZERO),
        };
        let (began, mut queued) = (Instant::now(), Duration::ZERO);
        let turn = async {
            queued = began.elapsed();
            queue.issuer().sign(&request).await
        };
        let signed = queue.call(Operation::Sign, expires, turn).await;
        (signed, queued)
    }

    /// Whether an issuer is to revoke certificates that were replaced; one that is not there is not.
    #[must_use]
    pub fn revokes_replaced(&self, issuer: &PlainName) -> bool {
        let revocation = self.0.get(issuer).and_then(|queue| queue.issuer().revocation());
        revocation.is_some_and(|revocation| revocation.of_replaced())
    }

    /// Whether an issuer can revoke certificates; one that is not there cannot.
    #[must_use]
    pub fn can_revoke(&self, issuer: &PlainName) -> bool {
        self.0.get(issuer).is_some_and(|queue| queue.issuer().revocation().is_some())
    }

    /// Revokes a certificate when its turn has come. `expires` is when it expires.
    ///
    /// # Errors
    /// As [`Self::sign`]; and refused by an issuer that cannot revoke.
    pub async fn revoke(
        &self,
        issuer: &PlainName,
        serial: &Serial,
        why: Revocation,
        expires: Timestamp,
    ) -> Result<(), IssuerError> {
        let queue = self.queue(issuer)?;
        let Some(revocation) = queue.issuer().revocation() else {
            return Err(IssuerError::Refused { message: format!("issuer `{issuer}` cannot revoke {serial}") });
        };
        queue.call(Operation::Revoke, Some(expires), revocation.revoke(serial, why)).await
    }

    /// Looks at an issuer without waiting for a turn.
    ///
    /// # Errors
    /// What keeps it from signing, or no such issuer.
    pub async fn check(&self, issuer: &PlainName) -> Result<IssuerCheck, IssuerError> {
        self.queue(issuer)?.check().await
    }

    /// Looks at an issuer for whoever measures; nothing is decided from it.
    ///
    /// # Errors
    /// What keeps it from signing, or no such issuer.
    pub(super) async fn glance(&self, issuer: &PlainName) -> Result<(), IssuerError> {
        self.queue(issuer)?.glance().await
    }

    /// What became of the calls to each issuer since the controller started.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<PlainName, IssuerCalls> {
        self.0.iter().map(|(name, queue)| (name.clone(), queue.calls())).collect()
    }

    /// Which roots an issuer's certificates end at, without waiting for a turn; none of one that cannot say.
    ///
    /// # Errors
    /// It does not answer as it should, or there is no such issuer.
    pub async fn roots(&self, issuer: &PlainName) -> Result<Option<IssuerRoots>, IssuerError> {
        self.queue(issuer)?.roots().await
    }

    /// Which roots an issuer said that it has when it could be asked last; none if that is not known.
    #[must_use]
    pub fn last_roots(&self, issuer: &PlainName) -> Option<IssuerRoots> {
        self.0.get(issuer)?.issuer().roots()?.last_said()
    }

    /// How often an issuer is worth asking for its roots; none for one whose roots stay.
    #[must_use]
    pub fn roots_every(&self, issuer: &PlainName) -> Option<Duration> {
        self.0.get(issuer)?.issuer().roots()?.every()
    }

    fn queue(&self, name: &PlainName) -> Result<&Arc<Queue>, IssuerError> {
        self.0.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.names().map(PlainName::as_str).collect();
            IssuerError::misconfigured(
                format!("there is no issuer `{name}`; there are: {}", known.join(", ")),
                format!("add [issuers.{name}] to controller.toml, or name another issuer in the manifest"),
            )
        })
    }
}

#[cfg(test)]
mod tests;
