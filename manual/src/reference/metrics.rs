//! docs/reference/metrics.md: every metric, with its labels and its meaning.

use pinion_controller::metrics::names::{METRICS, MetricKind};

use super::text::{cell, page, table};

const ABOUT: &str = "\
The controller exposes these at `/metrics` on its web listener, as OpenMetrics text. [Monitoring](../monitoring.md) says \
how a scraper gets there, and has alert rules and a dashboard.

The names are stable: metrics are added, and never renamed or removed. The labels `certificate` and `guest` name a \
placement; `guest` is a VMID, or `host`. A metric of placements has one series for each placement of the manifest, and a \
metric of guests one for each guest, unless its meaning says how many more. Of N placements on M guests, all together have \
about 14 N + 6 M series.

A moment is in seconds of Unix time. Counters start at 0 when the controller starts; those of reloads and restarts, \
when the guest's agent starts.";

/// The page.
pub(super) fn write() -> String {
    let mut text = page("Metrics", ABOUT);
    text.push('\n');
    let rows = METRICS.iter().map(|metric| {
        let kind = match metric.kind {
            MetricKind::Gauge => "gauge",
            MetricKind::Counter => "counter",
            MetricKind::Histogram => "histogram",
            MetricKind::Info => "info",
        };
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        vec![format!("`{}`", metric.series()), kind.to_owned(), labels.join(", "), cell(metric.help)]
    });
    text += &table(&["series", "type", "labels", "meaning"], rows);
    text
}
