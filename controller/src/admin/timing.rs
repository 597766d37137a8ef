//! Where the time of a renewal went, as `pinion explain --timing` shows it.
//!
//! Invariant: the steps follow each other without a gap, so that their lengths add up to the whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A placement's last renewal since the controller started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RenewalTiming {
    /// The number of the content that it brought.
    pub generation: u64,
    /// When it was decided: RFC 3339 in UTC, with milliseconds.
    pub began: String,
    /// How long it took, or has taken until now.
    pub milliseconds: u64,
    /// Whether the placement has come to its goal.
    pub is_done: bool,
    /// Whether the guest's agent said how long its own steps took; an earlier one does not.
    pub from_guest: bool,
    /// The steps, in their order; those that took less than a millisecond are left out.
    pub steps: Vec<RenewalStep>,
}

/// One step of a renewal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RenewalStep {
    /// What was done.
    pub step: StepName,
    /// When it began: RFC 3339 in UTC, with milliseconds.
    pub began: String,
    /// How long it took, or has taken until now.
    pub milliseconds: u64,
}

/// What is done in a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepName {
    /// The guest was not asked for a request yet: very many placements are renewed at the same moment.
    Order,
    /// The guest made key and request.
    Key,
    /// The guest was asked for a request, until it came: the agent does not say how long it worked on it.
    Request,
    /// Messages between controller and guest, and what their programs did besides the other steps.
    Link,
    /// The request was there and the issuer was not asked yet.
    Hold,
    /// The request was in the queue before the issuer.
    Queue,
    /// The issuer was asked, until it answered.
    Sign,
    /// The certificate was recorded and stored on the host.
    Store,
    /// The certificate was there and not sent yet.
    Delivery,
    /// The placement waited while the service was busy with another one.
    Turn,
    /// The service was looked at before its files changed.
    Look,
    /// The new files were put in place.
    Write,
    /// The new files were checked with the service's own command.
    Check,
    /// Certificates of other placements were waited for, so that the service is reloaded once.
    Gather,
    /// The service was reloaded.
    Reload,
    /// The service was looked at until it served the certificate.
    Probe,
    /// The certificate was sent, until it was installed: the agent does not say what took how long.
    Install,
    /// The certificate was installed, until the service was reloaded: the agent does not say what took how long.
    Notify,
    /// The service was reloaded, until the certificate was served: the agent does not say what took how long.
    Serve,
}

impl StepName {
    /// Whether the guest's agent counted its length; the controller did that of the others.
    #[must_use]
    pub const fn is_timed_by_agent(self) -> bool {
        matches!(
            self,
            Self::Key | Self::Turn | Self::Look | Self::Write | Self::Check | Self::Gather | Self::Reload | Self::Probe
        )
    }

    /// What people read.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Order => "waited to be ordered",
            Self::Key => "guest: key and request made",
            Self::Request => "guest: asked for a request",
            Self::Link => "link, and everything else",
            Self::Hold => "request held",
            Self::Queue => "queue before the issuer",
            Self::Sign => "issuer: signed",
            Self::Store => "recorded and stored",
            Self::Delivery => "waited to be sent",
            Self::Turn => "guest: service busy",
            Self::Look => "guest: service looked at",
            Self::Write => "guest: files written",
            Self::Check => "guest: files checked",
            Self::Gather => "guest: waited for others",
            Self::Reload => "guest: service reloaded",
            Self::Probe => "guest: seen served",
            Self::Install => "guest: installed",
            Self::Notify => "guest: service reloaded",
            Self::Serve => "guest: seen served",
        }
    }
}
