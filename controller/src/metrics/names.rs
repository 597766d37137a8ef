//! Every metric that Pinion has: its name, labels and meaning.
//!
//! Names and units follow the Prometheus conventions, and cert-manager's metrics where they say the same. A placement has
//! the labels `certificate` and `guest` (a VMID, or `host`), so each metric of placements has as many series as there
//! are placements; only those with more labels say how many more.
//! Invariant: names are added, and never renamed or removed: alert rules and dashboards of others use them.

/// How a metric's values move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Up and down.
    Gauge,
    /// Only up, from 0 at each start; its series end in `_total`.
    Counter,
    /// A distribution.
    Histogram,
    /// Always 1: what it says is in its labels.
    Info,
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, for a counter and an info without the ending that the format adds (`_total`, `_info`).
    pub name: &'static str,
    /// How its values move.
    pub kind: MetricKind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence without a full stop.
    pub help: &'static str,
}

impl Metric {
    /// The name of its series; of a histogram, the one with the number of observations.
    #[must_use]
    pub fn series(&self) -> String {
        let ending = match self.kind {
            MetricKind::Gauge => "",
            MetricKind::Counter => "_total",
            MetricKind::Histogram => "_count",
            MetricKind::Info => "_info",
        };
        format!("{}{ending}", self.name)
    }
}

const PLACEMENT: &[&str] = &["certificate", "guest"];
const GUEST: &[&str] = &["guest"];
const ISSUER: &[&str] = &["issuer"];

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, labels, help }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Histogram, labels, help }
}

const fn info(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Info, labels, help }
}

/// When what is installed ends.
pub const EXPIRATION: Metric = gauge(
    "pinion_certificate_expiration_timestamp_seconds",
    PLACEMENT,
    "Last second in which what is installed is valid, the earliest end of its chain (Unix time)",
);

/// When what is installed begins.
pub const NOT_BEFORE: Metric = gauge(
    "pinion_certificate_not_before_timestamp_seconds",
    PLACEMENT,
    "First second in which the installed certificate is valid (Unix time)",
);

/// When it is renewed.
pub const RENEWAL: Metric =
    gauge("pinion_certificate_renewal_timestamp_seconds", PLACEMENT, "When the next renewal is due (Unix time)");

/// From when what is only watched is late.
pub const WATCHED_LATE: Metric = gauge(
    "pinion_watched_certificate_late_timestamp_seconds",
    PLACEMENT,
    "From when a certificate that is only watched counts as expiring, because its owner should have renewed it (Unix time)",
);

/// How far it is.
pub const STAGE: Metric = gauge(
    "pinion_placement_stage",
    PLACEMENT,
    "How far the placement has come: 0 pending, 1 issued, 2 installed, 3 reloaded, 4 served",
);

/// How far it can come.
pub const GOAL: Metric = gauge(
    "pinion_placement_goal",
    PLACEMENT,
    "How far the placement can come: 4, or 3 if its service has no TLS to look at",
);

/// Whether something is to be done.
pub const DUE: Metric = gauge(
    "pinion_placement_due",
    PLACEMENT,
    "1 if something is to be done for the placement now: what is installed is missing, late, not as the manifest says, or \
     below its goal",
);

/// Whether something holds it up.
pub const WAITING: Metric =
    gauge("pinion_placement_waiting", PLACEMENT, "1 if something holds the placement up that ends by itself");

/// Whether a person is needed.
pub const BLOCKED: Metric =
    gauge("pinion_placement_blocked", PLACEMENT, "1 if something holds the placement up that needs a person");

/// When it was last as it should be.
pub const LAST_SUCCESS: Metric = gauge(
    "pinion_placement_last_success_timestamp_seconds",
    PLACEMENT,
    "When the placement last reached its goal with a new certificate (Unix time)",
);

/// What went wrong.
pub const FAILURES: Metric = counter(
    "pinion_placement_failures",
    &["certificate", "guest", "reason"],
    "Failures of the placement; reason is signing, request or guest, so there are at most 3 series a placement",
);

/// Reloads of its services.
pub const RELOADS: Metric = counter(
    "pinion_placement_service_reloads",
    PLACEMENT,
    "How often the placement's services were reloaded for it since its agent started",
);

/// Restarts of its services.
pub const RESTARTS: Metric = counter(
    "pinion_placement_service_restarts",
    PLACEMENT,
    "How often the placement's services were restarted for it since its agent started",
);

/// Whether a guest is linked.
pub const LINKED: Metric = gauge("pinion_guest_linked", GUEST, "1 if the guest's agent is linked");

/// When a guest was last heard of.
pub const LAST_SEEN: Metric = gauge(
    "pinion_guest_last_seen_timestamp_seconds",
    GUEST,
    "When the guest's agent was last linked: now, while it is (Unix time)",
);

/// Whether something is due where nobody is.
pub const SILENT: Metric =
    gauge("pinion_guest_silent", GUEST, "1 if something is due in the guest and its agent is not linked");

/// The agent's version.
pub const AGENT: Metric = info("pinion_guest_agent", &["guest", "version"], "The version of the guest's agent");

/// Whether an identity is locked.
pub const LOCKED: Metric = gauge("pinion_guest_locked", GUEST, "1 if the guest's identity is locked");

/// Whether an issuer answers.
pub const ISSUER_UP: Metric =
    gauge("pinion_issuer_up", ISSUER, "1 if the issuer's last answer was one, 0 if it is down or misconfigured");

/// Calls to an issuer.
pub const ISSUER_CALLS: Metric = counter(
    "pinion_issuer_calls",
    &["issuer", "operation", "result"],
    "Calls to the issuer; operation is sign or revoke, result is ok, unavailable, busy, refused, misconfigured or unfit, so \
     there are at most 12 series an issuer",
);

/// How long calls take.
pub const ISSUER_SECONDS: Metric =
    histogram("pinion_issuer_call_duration_seconds", ISSUER, "How long calls to the issuer took, without their wait");

/// Who waits for an issuer.
pub const ISSUER_WAITING: Metric =
    gauge("pinion_issuer_queue_length", ISSUER, "Calls that wait for their turn at the issuer");

/// How far its clock is off.
pub const ISSUER_CLOCK: Metric = gauge(
    "pinion_issuer_clock_difference_seconds",
    ISSUER,
    "How far the issuer's clock is ahead of this host's at the last check; negative if it is behind",
);

/// When its authorities end.
pub const AUTHORITY_EXPIRATION: Metric = gauge(
    "pinion_issuer_authority_expiration_timestamp_seconds",
    ISSUER,
    "Last second of the first of the issuer's authorities to end, intermediates and root, at the last check (Unix time)",
);

/// When its roots end.
pub const ROOT_EXPIRATION: Metric = gauge(
    "pinion_issuer_root_expiration_timestamp_seconds",
    &["issuer", "fingerprint"],
    "Last second of each root that the issuer has now (Unix time)",
);

/// The loop's passes.
pub const LOOP_SECONDS: Metric =
    histogram("pinion_loop_duration_seconds", &[], "How long a pass of the controller's loop took");

/// What waits for the loop.
pub const LOOP_QUEUE: Metric = gauge(
    "pinion_loop_queue_length",
    &["queue"],
    "Messages that wait for the controller's loop; queue is links or questions",
);

/// Whether the manifest's file is in force.
pub const MANIFEST_REJECTED: Metric =
    gauge("pinion_manifest_rejected", &[], "1 if the manifest's file has mistakes, so that an earlier one is in force");

/// What is wrong with the host as a whole.
pub const HOST_TROUBLES: Metric =
    gauge("pinion_host_troubles", &[], "Troubles of the host as a whole, as `pinion status` lists them");

/// The controller.
pub const BUILD: Metric = info("pinion_build", &["version"], "The controller's version");

/// Since when it runs.
pub const STARTED: Metric = gauge("pinion_start_timestamp_seconds", &[], "When the controller started (Unix time)");

/// Every metric.
pub const METRICS: [Metric; 31] = [
    EXPIRATION,
    NOT_BEFORE,
    RENEWAL,
    WATCHED_LATE,
    STAGE,
    GOAL,
    DUE,
    WAITING,
    BLOCKED,
    LAST_SUCCESS,
    FAILURES,
    RELOADS,
    RESTARTS,
    LINKED,
    LAST_SEEN,
    SILENT,
    AGENT,
    LOCKED,
    ISSUER_UP,
    ISSUER_CALLS,
    ISSUER_SECONDS,
    ISSUER_WAITING,
    ISSUER_CLOCK,
    AUTHORITY_EXPIRATION,
    ROOT_EXPIRATION,
    LOOP_SECONDS,
    LOOP_QUEUE,
    MANIFEST_REJECTED,
    HOST_TROUBLES,
    BUILD,
    STARTED,
];
