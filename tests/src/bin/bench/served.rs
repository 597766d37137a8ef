//! One agent as it is shipped, with a real nginx: its memory at rest, and how soon a renewal is served, beside a bare script.

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
    script::Script,
    table::{Bound, Row, bytes_of},
};

const RENEWALS: usize = 200;

/// The agent's memory is read after it had nothing to do for this long.
const REST: Duration = Duration::from_secs(10);

const CERTIFICATE: &str = "/etc/nginx/ssl/gateway.internal.example.crt";
const KEY: &str = "/etc/nginx/ssl/gateway.internal.example.key";

/// Memory at rest, and the distribution of the times from asking for a renewal until it is served; the same for a script that
/// has its pair already. They take turns on one nginx, so that a busy moment of the machine hits both.
pub(crate) fn measure() -> Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    let host = Host::start(&HostOptions::embedded(&json!([])))?;
    let mut guest = Guest::join(&host, 101)?;
    let nginx = Nginx::install(&guest, CERTIFICATE, KEY)?;
    Nginx::place_snakeoil(&guest, CERTIFICATE, KEY)?;
    let script = Script::prepare(&guest, &nginx, [CERTIFICATE, KEY])?;
    nginx.unit().start()?;
    nginx.reload_directly(&guest)?;
    host.write_manifest(&json!({ "version": 1, "defaults": { "issuer": "embedded" }, "certificates": [
        { "name": "gateway", "common_name": "gateway.internal.example", "placements": [nginx.placement(&guest)] },
    ] }))?;
    runtime.block_on(ask::ensure(host.root(), false, Stage::Served))?;

    let (mut pinion, mut bare) = (Vec::with_capacity(RENEWALS), Vec::with_capacity(RENEWALS));
    for _ in 0..RENEWALS {
        pinion.push(runtime.block_on(ask::ensure(host.root(), true, Stage::Served))?);
        bare.push(script.renew()?);
    }
    std::thread::sleep(REST);
    let rest = resident(guest.agent().context("the agent runs")?.id())?;
    let what = "agent: memory at rest, after 200 renewals";
    let mut rows = vec![Row::new("agent_idle_rss_bytes", what, bytes_of(rest), Bound::AtMostBytes(6 * 1024 * 1024))];
    let [pinion_p50, pinion_p99] = percentiles(pinion);
    let [bare_p50, bare_p99] = percentiles(bare);
    rows.extend(
        [
            (
                "push_to_served_ms_p50",
                "renewal decided until served by nginx, median of 200",
                pinion_p50,
                Bound::Nothing,
            ),
            (
                "push_to_served_ms_p99",
                "renewal decided until served by nginx, 99th percentile of 200",
                pinion_p99,
                Bound::AtMostMs(250.0),
            ),
            ("script_to_served_ms_p50", "a bare script, the pair given: median of 200", bare_p50, Bound::Nothing),
            ("script_to_served_ms_p99", "a bare script, the pair given: 99th percentile", bare_p99, Bound::Nothing),
            (
                "beside_script_p50",
                "renewal by Pinion beside the bare script: median",
                pinion_p50 / bare_p50,
                Bound::AtMostTimes(MAX_BESIDE_SCRIPT),
            ),
            (
                "beside_script_p99",
                "renewal by Pinion beside the bare script: 99th percentile",
                pinion_p99 / bare_p99,
                Bound::AtMostTimes(MAX_BESIDE_SCRIPT),
            ),
        ]
        .map(|(key, what, value, bound)| Row::new(key, what, value, bound)),
    );
    Ok(rows)
}

/// Pinion makes the key and has it signed within this, too; the script does neither.
const MAX_BESIDE_SCRIPT: f64 = 1.2;

/// The median and the 99th percentile, in milliseconds.
fn percentiles(mut times: Vec<Duration>) -> [f64; 2] {
    times.sort_unstable();
    [50, 99].map(|percent| {
        let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
    })
}
