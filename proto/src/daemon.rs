//! What both daemons owe systemd: readiness, the watchdog, and a log on stderr, which journald reads.

use std::io;

use sd_notify::NotifyState;
use tracing::warn;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::printable::Lines;

/// Logs to stderr, each message as one printable line, whoever's words are in it; `RUST_LOG` says how much, as `LEVEL` or `TARGET=LEVEL,…`.
pub fn log() {
    let asked = std::env::var("RUST_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = asked.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let log = tracing_subscriber::fmt::layer().with_writer(|| Lines(io::stderr())).with_ansi(false);
    tracing_subscriber::registry().with(log).with(filter).init();
}

/// Everything is started: units that are ordered after this one may start (sd_notify(3)).
pub fn ready() {
    notify(NotifyState::Ready);
}

/// The daemon has begun to stop.
pub fn stopping() {
    notify(NotifyState::Stopping);
}

/// Tells systemd that the runtime still turns, twice in each of the watchdog's intervals; never returns.
pub async fn watchdog() {
    let Some(interval) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    loop {
        notify(NotifyState::Watchdog);
        tokio::time::sleep(interval / 2).await;
    }
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "Cannot notify systemd");
    }
}
