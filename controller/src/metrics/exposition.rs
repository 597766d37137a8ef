//! What is known at one moment, in OpenMetrics text.
//!
//! Invariant: one answer of the loop is behind all values, so that they agree with each other and with `pinion status`. No
//! value has another source than [`Gathered`].

use std::{collections::BTreeMap, fmt};

use pinion_proto::{
    clock::Timestamp,
    id::Guest,
    spec::PlainName,
    stage::{Halt, Stage},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, prometheus_text, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, histogram::Histogram},
    registry::Registry,
};

use super::names::{self, Metric};
use crate::{
    admin::protocol::{GuestStatus, PlacementStatus, Status},
    events::EventCounts,
    issuer::IssuerCalls,
};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the metrics of one moment are made from.
#[derive(Debug)]
pub struct Gathered {
    /// This moment.
    pub now: Timestamp,
    /// When the controller started.
    pub started: Timestamp,
    /// What the loop says.
    pub status: Status,
    /// The guests whose identities are locked.
    pub locked: Vec<Guest>,
    /// The calls to each issuer.
    pub issuers: BTreeMap<PlainName, IssuerCalls>,
    /// What the events add up to.
    pub counts: EventCounts,
    /// How long the loop's passes took.
    pub passes: Histogram,
    /// What waits for the loop, by the queue's name.
    pub queues: Vec<(&'static str, usize)>,
}

impl Gathered {
    /// All metrics, as OpenMetrics text.
    ///
    /// # Errors
    /// None that can happen: writing to a string does not fail.
    pub fn text(self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry())?;
        Ok(text)
    }

    /// All metrics, in the older text format of Prometheus, which node_exporter reads from files.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn prometheus_text(self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry())?;
        Ok(text)
    }

    fn registry(self) -> Registry {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        registry
    }

    /// The placements of the manifest.
    fn placements(&self) -> impl Iterator<Item = Placement<'_>> {
        self.status.placements.iter().filter(|placement| !placement.retired).map(Placement::of)
    }

    /// The issuers that the manifest names, and the calls to each.
    fn issuers(&self) -> impl Iterator<Item = (&str, &IssuerCalls)> {
        let named = |name: &str| self.status.issuers.iter().any(|issuer| issuer.name == name);
        let issuers = self.issuers.iter().map(|(name, calls)| (name.as_str(), calls));
        issuers.filter(move |(name, _)| named(name))
    }

    fn encode_placements(&self, to: &mut Encoder<'_>) -> fmt::Result {
        let moments: [(Metric, fn(&PlacementStatus) -> Option<Timestamp>); 4] = [
            (names::EXPIRATION, |status| status.not_after),
            (names::NOT_BEFORE, |status| status.not_before),
            (names::RENEWAL, |status| status.renew_at),
            (names::WATCHED_LATE, |status| status.late_from),
        ];
        for (metric, moment) in moments {
            to.gauges(metric, self.placements().filter_map(|it| Some((it.labels(), moment(it.status)?.unix()))))?;
        }
        let numbers: [(Metric, fn(&PlacementStatus) -> i64); 5] = [
            (names::STAGE, |status| number(status.stage)),
            (names::GOAL, |status| number(status.goal)),
            (names::DUE, |status| status.due.into()),
            (names::WAITING, |status| status.trouble.as_ref().is_some_and(|t| t.halt == Halt::Waiting).into()),
            (names::BLOCKED, |status| status.trouble.as_ref().is_some_and(|t| t.halt == Halt::Blocked).into()),
        ];
        for (metric, value) in numbers {
            to.gauges(metric, self.placements().map(|it| (it.labels(), value(it.status))))?;
        }
        let reached = |it: &Placement<'_>| {
            self.counts.of(&it.status.certificate, it.status.guest?).reached(it.status.goal).map(Timestamp::unix)
        };
        to.gauges(names::LAST_SUCCESS, self.placements().filter_map(|it| Some((it.labels(), reached(&it)?))))?;
        let failures = self.placements().flat_map(|it| {
            let counts = it.status.guest.map(|guest| self.counts.of(&it.status.certificate, guest));
            let counts = counts.unwrap_or_default();
            let [certificate, guest] = it.labels();
            [("signing", counts.signing), ("request", counts.request), ("guest", counts.guest)]
                .map(|(reason, count)| ([certificate, guest, reason], count))
        });
        to.counters(names::FAILURES, failures)?;
        let notified = |it: &Placement<'_>| it.status.notified;
        to.counters(names::RELOADS, self.placements().map(|it| (it.labels(), notified(&it).reloads.into())))?;
        to.counters(names::RESTARTS, self.placements().map(|it| (it.labels(), notified(&it).restarts.into())))
    }

    fn encode_guests(&self, to: &mut Encoder<'_>) -> fmt::Result {
        let named: Vec<(String, &GuestStatus)> =
            self.status.guests.iter().map(|status| (status.guest.to_string(), status)).collect();
        let guests = || named.iter().map(|(name, status)| ([name.as_str()], *status));
        to.gauges(names::LINKED, guests().map(|(labels, status)| (labels, status.linked.into())))?;
        let seen = |status: &GuestStatus| if status.linked { Some(self.now) } else { status.since };
        to.gauges(names::LAST_SEEN, guests().filter_map(|(labels, status)| Some((labels, seen(status)?.unix()))))?;
        let due = |guest: Guest| self.placements().any(|it| it.status.due && it.status.guest == Some(guest));
        let silent = |status: &GuestStatus| !status.linked && due(status.guest);
        to.gauges(names::SILENT, guests().map(|(labels, status)| (labels, silent(status).into())))?;
        let versions = guests().filter_map(|([guest], status)| Some([guest, status.agent_version.as_deref()?]));
        to.infos(names::AGENT, versions)?;
        let locked = |status: &GuestStatus| self.locked.contains(&status.guest);
        to.gauges(names::LOCKED, guests().map(|(labels, status)| (labels, locked(status).into())))
    }

    fn encode_issuers(&self, to: &mut Encoder<'_>) -> fmt::Result {
        to.gauges(names::ISSUER_UP, self.issuers().map(|(name, calls)| ([name], calls.down_since.is_none().into())))?;
        let counts = self.issuers().flat_map(|(name, calls)| {
            calls.counts.iter().map(move |((operation, result), count)| ([name, operation.as_str(), *result], *count))
        });
        to.counters(names::ISSUER_CALLS, counts)?;
        to.histograms(names::ISSUER_SECONDS, self.issuers().map(|(name, calls)| ([name], &calls.seconds)))?;
        let waiting = |calls: &IssuerCalls| i64::try_from(calls.waiting).unwrap_or(i64::MAX);
        to.gauges(names::ISSUER_WAITING, self.issuers().map(|(name, calls)| ([name], waiting(calls))))?;
        let clocks =
            self.issuers().filter_map(|(name, calls)| Some(([name], calls.checked.as_ref()?.clock_difference?)));
        to.gauges(names::ISSUER_CLOCK, clocks)?;
        let ends =
            self.issuers().filter_map(|(name, calls)| Some(([name], calls.checked.as_ref()?.authority_ends?.unix())));
        to.gauges(names::AUTHORITY_EXPIRATION, ends)?;
        let roots = self.status.issuers.iter().flat_map(|issuer| {
            issuer.roots.iter().map(|root| (issuer.name.as_str(), root.fingerprint.to_string(), root.not_after))
        });
        let roots: Vec<_> = roots.collect();
        let roots = roots.iter().map(|(issuer, fingerprint, end)| ([*issuer, fingerprint.as_str()], end.unix()));
        to.gauges(names::ROOT_EXPIRATION, roots)
    }

    fn encode_controller(&self, to: &mut Encoder<'_>) -> fmt::Result {
        to.histograms(names::LOOP_SECONDS, [([], &self.passes)])?;
        let queues = self.queues.iter().map(|(name, length)| ([*name], i64::try_from(*length).unwrap_or(i64::MAX)));
        to.gauges(names::LOOP_QUEUE, queues)?;
        to.gauges(names::MANIFEST_REJECTED, [([], self.status.manifest.problem.is_some().into())])?;
        let troubles = i64::try_from(self.status.troubles.len()).unwrap_or(i64::MAX);
        to.gauges(names::HOST_TROUBLES, [([], troubles)])?;
        to.infos(names::BUILD, [[self.status.version.as_str()]])?;
        to.gauges(names::STARTED, [([], self.started.unix())])
    }
}

impl Collector for Gathered {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut to = Encoder(encoder);
        self.encode_placements(&mut to)?;
        self.encode_guests(&mut to)?;
        self.encode_issuers(&mut to)?;
        self.encode_controller(&mut to)
    }
}

/// A placement, and where it is.
struct Placement<'s> {
    status: &'s PlacementStatus,
    guest: &'s str,
}

impl<'s> Placement<'s> {
    fn of(status: &'s PlacementStatus) -> Self {
        let guest = status.placement.split_once('@').map_or("", |(_, guest)| guest);
        Self { status, guest }
    }

    fn labels(&self) -> [&'s str; 2] {
        [self.status.certificate.as_str(), self.guest]
    }
}

/// How far a stage is.
const fn number(stage: Stage) -> i64 {
    match stage {
        Stage::Pending => 0,
        Stage::Issued => 1,
        Stage::Installed => 2,
        Stage::Reloaded => 3,
        Stage::Served => 4,
    }
}

/// Writes metrics, each with its labels.
struct Encoder<'e>(DescriptorEncoder<'e>);

impl Encoder<'_> {
    fn gauges<'s, const N: usize>(
        &mut self,
        metric: Metric,
        values: impl IntoIterator<Item = ([&'s str; N], i64)>,
    ) -> fmt::Result {
        let values = values.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.series(metric, MetricType::Gauge, values)
    }

    fn counters<'s, const N: usize>(
        &mut self,
        metric: Metric,
        values: impl IntoIterator<Item = ([&'s str; N], u64)>,
    ) -> fmt::Result {
        let values = values.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.series(metric, MetricType::Counter, values)
    }

    fn histograms<'s, const N: usize>(
        &mut self,
        metric: Metric,
        values: impl IntoIterator<Item = ([&'s str; N], &'s Histogram)>,
    ) -> fmt::Result {
        self.series(metric, MetricType::Histogram, values.into_iter().map(|(labels, value)| (labels, value.clone())))
    }

    fn infos<'s, const N: usize>(
        &mut self,
        metric: Metric,
        values: impl IntoIterator<Item = [&'s str; N]>,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(metric.name, metric.help, None, MetricType::Info)?;
        values.into_iter().try_for_each(|labels| encoder.encode_info(&labelled(metric, labels)))
    }

    fn series<'s, const N: usize>(
        &mut self,
        metric: Metric,
        kind: MetricType,
        values: impl IntoIterator<Item = ([&'s str; N], impl EncodeMetric)>,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(metric.name, metric.help, None, kind)?;
        values
            .into_iter()
            .try_for_each(|(labels, value)| value.encode(encoder.encode_family(&labelled(metric, labels))?))
    }
}

fn labelled<'s>(metric: Metric, values: impl IntoIterator<Item = &'s str>) -> Vec<(&'static str, &'s str)> {
    metric.labels.iter().copied().zip(values).collect()
}

#[cfg(test)]
mod tests;
