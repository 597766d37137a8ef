//! Every failure in the words of a report: what was tried, why it failed, who must act.

use std::time::Duration;

use pinion_proto::{
    causes::chain,
    clock::Timestamp,
    id::CertificateName,
    private_key::KeyError,
    spec::GuestPath,
    stage::{Halt, Trouble},
};

use super::{exchange_error::ExchangeError, window::Closed};
use crate::{
    install::InstallError,
    ledger::LedgerError,
    probe::{Other, Seen},
    recipe::{self, JobError, RecipeError, ReloadAction},
    reload::ReloadError,
    restarts::Limited,
    verify::Refusal,
};

/// So often a failure that may pass is called waiting; from then on somebody should look. Scripts that wait for a
/// placement give up on a blocked one, and must not over one hiccup.
const PATIENT_TRIES: u32 = 3;

/// What a try did to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    Free,
    Disturbing,
}

/// When it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextTry {
    /// After a pause that grows with each failure.
    Backoff,
    /// When what is in the way ends.
    At(Timestamp),
    /// Every few seconds: somebody else ends it, at a moment that nobody knows.
    Soon,
}

/// The agent stops: a reason to leave everything for the next start.
#[derive(Debug)]
pub(super) struct Stopped;

/// Why a try did not come to its end.
#[derive(Debug)]
pub(super) enum Interrupt {
    Stopped,
    Failed(Box<Failure>),
}

impl From<Stopped> for Interrupt {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<Failure> for Interrupt {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// A failure, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) halt: Halt,
    pub(super) cost: Cost,
    pub(super) next_try: NextTry,
    attempt: String,
    cause: String,
    remedy: String,
}

impl Failure {
    pub(super) fn new(halt: Halt, attempt: impl Into<String>, cause: String, remedy: String) -> Self {
        Self { halt, cost: Cost::Free, next_try: NextTry::Backoff, attempt: attempt.into(), cause, remedy }
    }

    pub(super) fn disturbing(mut self) -> Self {
        self.cost = Cost::Disturbing;
        self
    }

    /// Adds what was done about it.
    pub(super) fn and(mut self, what: &str) -> Self {
        self.cause.push_str("; ");
        self.cause.push_str(what);
        self
    }

    /// Adds that the service does not take the old files either.
    pub(super) fn neither(self, error: &ReloadError) -> Self {
        let cause = chain(error);
        if self.cause.starts_with(&cause) {
            return self.and("the service rejects them, too, for the same reason");
        }
        self.and(&format!("the service rejects them, too: {cause}"))
    }

    /// Adds what is served now that the old files are back.
    pub(super) fn meanwhile(self, connect: &str, seen: &Seen) -> Self {
        match seen {
            Seen::Served => self.and(&format!("{connect} serves the old certificate meanwhile")),
            Seen::Other(other) => self.and(&format!("{connect} serves another certificate (serial {})", other.serial)),
            Seen::NotListening(cause) => self.and(&format!("{connect} does not serve it: {cause}")),
            Seen::NoTls(unlike) => self.and(&format!("{connect} does not serve it: {unlike}")),
            Seen::NotAllowed => self.and(&format!("the guest does not allow probing {connect}")),
        }
    }

    pub(super) fn trouble(&self, retry_at: Option<Timestamp>) -> Trouble {
        Trouble {
            halt: self.halt,
            attempt: self.attempt.clone(),
            cause: self.cause.clone(),
            remedy: self.remedy.clone(),
            retry_at,
        }
    }

    pub(super) fn recipe(error: &RecipeError) -> Self {
        Self::new(Halt::Blocked, "read the recipe", chain(error), error.remedy())
    }

    pub(super) fn job(error: &JobError) -> Self {
        Self::new(Halt::Blocked, "prepare the placement", chain(error), error.remedy())
    }

    pub(super) fn claimed(path: &GuestPath, owner: &CertificateName) -> Self {
        Self::new(
            Halt::Blocked,
            format!("install {path}"),
            format!("the certificate `{owner}` already has a file there"),
            "give one of the two another path in the manifest".into(),
        )
    }

    pub(super) fn ledger(error: &LedgerError) -> Self {
        let halt = match error {
            LedgerError::Broken { .. } | LedgerError::Version { .. } | LedgerError::Read { .. } => Halt::Blocked,
            LedgerError::Write { .. } | LedgerError::Directory { .. } | LedgerError::Busy { .. } => Halt::Waiting,
        };
        let attempt = match error {
            LedgerError::Write { .. } => "store the placement's state",
            _ => "read the placement's state",
        };
        Self::new(halt, attempt, chain(error), error.remedy())
    }

    pub(super) fn key(error: &KeyError) -> Self {
        Self::new(
            Halt::Blocked,
            "create the key and the certificate request",
            chain(error),
            "choose another key algorithm or other names in the manifest".into(),
        )
    }

    pub(super) fn refusal(error: &Refusal) -> Self {
        let remedy = match error {
            Refusal::Expired { .. } | Refusal::NotYet { .. } => {
                "compare the clocks of guest, host and CA (`date`), and run a time service (NTP) on each"
            }
            Refusal::Chain(_) => "run `pinion issuer check` on the host",
            Refusal::Purpose(_) => {
                "correct the issuer's template (`extKeyUsage`, `keyUsage`), or set \"usage\" of the placement in the \
                 manifest; then run `pinion ensure --renew` on the host"
            }
            _ => "run `pinion ensure --renew` on the host; if it happens again, check the issuer's templates",
        };
        Self::new(Halt::Blocked, "verify the delivered certificate", chain(error), remedy.into())
    }

    pub(super) fn exchange(error: &ExchangeError, failures: u32) -> Self {
        match error {
            ExchangeError::Ledger(error) => Self::ledger(error),
            ExchangeError::Install(error) => Self::install(error, failures),
        }
    }

    pub(super) fn install(error: &InstallError, failures: u32) -> Self {
        if let Some(not_mounted) = error.not_mounted() {
            let (attempt, cause) = (not_mounted.attempt(), not_mounted.to_string());
            return Self { next_try: NextTry::Soon, ..Self::new(Halt::Waiting, attempt, cause, not_mounted.remedy()) };
        }
        let halt = if error.may_pass() && (failures < PATIENT_TRIES || is_absence(error)) {
            Halt::Waiting
        } else {
            Halt::Blocked
        };
        Self::new(halt, "install the files", chain(error), error.remedy())
    }

    /// A check that failed; `undone` when the old files are back.
    pub(super) fn validate(error: &ReloadError, undone: bool, failures: u32) -> Self {
        let passing = error.is_absence() || (!undone && failures < PATIENT_TRIES);
        let halt = if passing { Halt::Waiting } else { Halt::Blocked };
        Self::new(halt, "validate the new files", chain(error), error.remedy())
    }

    pub(super) fn reload(attempt: String, error: &ReloadError, failures: u32) -> Self {
        let passing = match error {
            ReloadError::NotThere { .. } | ReloadError::Starting(_) => true,
            ReloadError::Untrusted { .. } | ReloadError::NotExecutable { .. } | ReloadError::Elsewhere { .. } => false,
            _ => failures < PATIENT_TRIES,
        };
        let halt = if passing { Halt::Waiting } else { Halt::Blocked };
        let failure = Self::new(halt, attempt, chain(error), error.remedy());
        match error {
            ReloadError::Starting(_) => Self { next_try: NextTry::Soon, ..failure },
            _ => failure,
        }
    }

    /// Nobody has said which roots.
    pub(super) fn no_roots() -> Self {
        Self::new(
            Halt::Waiting,
            "install the issuer's roots",
            "the controller does not know them yet".into(),
            "run `pinion issuer check` on the host".into(),
        )
    }

    /// The program that makes a store of the roots' files did not.
    pub(super) fn update(update: &[String], error: &ReloadError, failures: u32) -> Self {
        let halt = if error.is_absence() || failures < PATIENT_TRIES { Halt::Waiting } else { Halt::Blocked };
        let remedy = if error.is_absence() {
            "install the package `ca-certificates`, or name the recipe of this distribution's store in the manifest"
                .into()
        } else {
            error.remedy()
        };
        Self::new(halt, format!("run {}", update.join(" ")), chain(error), remedy)
    }

    /// The store was made, and a root is not in it.
    pub(super) fn not_in_store(store: &GuestPath, missing: usize) -> Self {
        let cause = format!("{missing} of the roots are missing in the store, although their files are installed");
        let remedy = "run the program that builds the store (update-ca-certificates or update-ca-trust) by hand and \
            read its output"
            .into();
        Self::new(Halt::Waiting, format!("check the roots in {store}"), cause, remedy)
    }

    /// There is no store.
    pub(super) fn no_store(store: &GuestPath, cause: String) -> Self {
        let remedy = "make the store readable, or name the recipe of this distribution's store in the manifest".into();
        Self::new(Halt::Waiting, format!("check the roots in {store}"), cause, remedy)
    }

    /// The service is not to be disturbed now.
    pub(super) fn window(attempt: String, closed: Closed, name: &CertificateName) -> Self {
        let remedy = format!(
            "nothing: Pinion continues then. To disturb the service now, run `pinion ensure {name} --renew --now` on \
             the host, unless it is frozen: `pinion status` there says so"
        );
        Self { next_try: NextTry::At(closed.until()), ..Self::new(Halt::Waiting, attempt, closed.cause(), remedy) }
    }

    /// The service was restarted often enough.
    pub(super) fn restarted(action: &ReloadAction, limited: &Limited) -> Self {
        let service = action.service();
        let cause = format!(
            "the new files are in place, but {service} was restarted {} times within an hour, and {} times are allowed",
            limited.times, limited.max
        );
        let remedy = format!(
            "nothing: Pinion continues by itself then. If {service} must use the new files now, restart it yourself; \
             to allow more restarts, raise `restarts_per_hour` in the guest's /etc/pinion/agent.toml"
        );
        Self { next_try: NextTry::At(limited.until), ..Self::new(Halt::Waiting, action.to_string(), cause, remedy) }
    }

    /// The service shows another certificate after it was notified.
    pub(super) fn other(connect: &str, serial: &str, wanted: &str) -> Self {
        Self::new(
            Halt::Waiting,
            format!("check what {connect} serves"),
            format!("it serves the certificate with serial {serial}, but {wanted} is installed"),
            "check that the service's configuration uses the installed files and that no other service answers there"
                .into(),
        )
    }

    /// Adds that nobody can tell which of these services serves a place, so that none of them is disturbed for it.
    pub(super) fn behind_one_of(mut self, connect: &str, services: &[&str]) -> Self {
        self.cause.push_str(&format!(
            "; {} may be behind it, so the agent restarts none of them for it",
            services.join(" or ")
        ));
        self.remedy = format!(
            "write the service of {connect} as `unit` in the placement's `probe`, or restart it yourself; also {}",
            self.remedy
        );
        self
    }

    /// The service shows a certificate that has nothing to do with the placement.
    pub(super) fn stranger(connect: &str, other: &Other, wanted: &str) -> Self {
        let asked = other.asked.as_ref().map(|name| format!(", asked for {name},")).unwrap_or_default();
        Self::new(
            Halt::Waiting,
            format!("check what {connect} serves"),
            format!(
                "it serves{asked} a certificate with serial {}, which never was in this place; {wanted} is installed",
                other.serial
            ),
            "make the service's configuration use the installed files. If it chooses a certificate by the name that a \
             client asks for, write such a name as `server_name` in the placement's `probe`"
                .into(),
        )
    }

    /// It shows something that is not a certificate.
    pub(super) fn unreadable(connect: &str) -> Self {
        Self::new(
            Halt::Waiting,
            format!("check what {connect} serves"),
            "one of the certificates that it shows cannot be read".into(),
            format!("`openssl s_client -showcerts -connect {connect}` in the guest shows them"),
        )
    }

    /// It may not be looked at.
    pub(super) fn not_looked_at(connect: &str) -> Self {
        Self::new(
            Halt::Blocked,
            format!("check what {connect} serves"),
            format!("the guest does not allow it: {connect} is neither loopback nor an address of this guest"),
            format!(
                "probe 127.0.0.1 or the guest's own address in the manifest, or {}",
                recipe::allow("extra_probe", connect)
            ),
        )
    }
}

/// Something that is brought by somebody else, whenever that is: an account by its service, a share by its server.
fn is_absence(error: &InstallError) -> bool {
    matches!(error, InstallError::Account { .. }) || error.is_share_gone()
}

/// When a delay from now is over.
pub(super) fn at(now: Timestamp, delay: Duration) -> Timestamp {
    // Rounded up, so that nobody looks a moment too early.
    now + (delay + Duration::from_millis(999))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_over_when_its_whole_length_has_passed() {
        let now = Timestamp::from_unix(1_800_000_000);
        for (millis, seconds) in [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2)] {
            assert_eq!(at(now, Duration::from_millis(millis)).since(now), Duration::from_secs(seconds), "{millis}");
        }
    }

    #[test]
    fn what_waits_for_its_window_says_that_a_freeze_is_not_overridden() {
        // A freeze is sent as a window: the guest cannot tell one from the other.
        let closed = Closed::Until(Timestamp::from_unix(1_800_000_000));
        let failure = Failure::window("restart web.service".into(), closed, &"web".parse().expect("a name"));
        let trouble = failure.trouble(None);
        assert!(trouble.remedy.contains("unless it is frozen: `pinion status` there says so"), "{trouble}");
    }
}
