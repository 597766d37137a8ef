//! One agent as it is shipped, with a real nginx: its memory at rest, and how soon a renewal is served.

use std::time::Duration;

use anyhow::{Context, Result};
use pinion_proto::stage::Stage;
use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
    memory::resident,
    nginx::Nginx,
};
use serde_json::json;

use crate::{
    ask,
    table::{Bound, Row, bytes_of},
};

const RENEWALS: usize = 200;

/// The agent's memory is read after it had nothing to do for this long.
const REST: Duration = Duration::from_secs(10);

const CERTIFICATE: &str = "/etc/nginx/ssl/gateway.internal.example.crt";
const KEY: &str = "/etc/nginx/ssl/gateway.internal.example.key";

/// Memory at rest, and the distribution of the times from asking for a renewal until it is served.
pub(crate) fn measure() -> Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    let host = Host::start(&HostOptions::embedded(&json!([])))?;
    let mut guest = Guest::join(&host, 101)?;
    let nginx = Nginx::install(&guest, CERTIFICATE, KEY)?;
    Nginx::place_snakeoil(&guest, CERTIFICATE, KEY)?;
    nginx.unit().start()?;
    host.write_manifest(&json!({ "version": 1, "defaults": { "issuer": "embedded" }, "certificates": [
        { "name": "gateway", "common_name": "gateway.internal.example", "placements": [nginx.placement(&guest)] },
    ] }))?;
    runtime.block_on(ask::ensure(host.root(), false, Stage::Served))?;

    let mut times = Vec::with_capacity(RENEWALS);
    for _ in 0..RENEWALS {
        times.push(runtime.block_on(ask::ensure(host.root(), true, Stage::Served))?);
    }
    times.sort_unstable();
    let percentile = |percent: usize| {
        let at = (times.len() * percent / 100).min(times.len() - 1);
        times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
    };
    std::thread::sleep(REST);
    let rest = resident(guest.agent().context("the agent runs")?.id())?;
    Ok(vec![
        Row::new(
            "agent_idle_rss_bytes",
            "agent: memory at rest, after 200 renewals",
            bytes_of(rest),
            Bound::AtMostBytes(6 * 1024 * 1024),
        ),
        Row::new(
            "push_to_served_ms_p50",
            "renewal decided until served by nginx, median of 200",
            percentile(50),
            Bound::Nothing,
        ),
        Row::new(
            "push_to_served_ms_p99",
            "renewal decided until served by nginx, 99th percentile of 200",
            percentile(99),
            Bound::AtMostMs(250.0),
        ),
    ])
}
