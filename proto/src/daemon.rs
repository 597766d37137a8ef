//! What both daemons owe systemd: readiness, a status, the watchdog, and a log on stderr, which journald reads.
//!
//! Invariant: where stderr is the journal, each line begins with its priority, and has no time of its own (sd-daemon(3),
//! `$JOURNAL_STREAM` in systemd.exec(5)).

use std::{
    env,
    io::{self, Stderr, Write},
};

use sd_notify::NotifyState;
use tracing::{Level, Metadata, warn};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::MakeWriter,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::printable::Lines;

/// Logs to stderr, each message as one printable line, even if it contains text from outside; `RUST_LOG` says how much, as `LEVEL` or `TARGET=LEVEL,…`.
pub fn log() {
    let asked = env::var("RUST_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = asked.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let is_journal = is_journal();
    let log = tracing_subscriber::fmt::layer().with_writer(Log { is_journal }).with_ansi(false);
    if is_journal {
        tracing_subscriber::registry().with(log.without_time()).with(filter).init();
    } else {
        tracing_subscriber::registry().with(log).with(filter).init();
    }
}

/// What a line begins with that a command writes to stderr; nothing where people read it.
#[must_use]
pub fn prefix(level: Level) -> &'static str {
    if is_journal() { priority(level) } else { "" }
}

/// Everything is started: units that are ordered after this one may start (sd_notify(3)).
pub fn ready() {
    notify(NotifyState::Ready);
}

/// How the daemon is, in one line, for `systemctl status`.
pub fn status(line: &str) {
    notify(NotifyState::Status(line));
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

/// Whether stderr goes to the journal, and not to a file or terminal that somebody put in its place.
fn is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// What journald reads at the beginning of a line (sd-daemon(3)).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}

/// Where log lines go.
struct Log {
    is_journal: bool,
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Lines<Prefixed<Stderr>>;

    fn make_writer(&'a self) -> Self::Writer {
        Lines(Prefixed { prefix: "", out: io::stderr() })
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Self::Writer {
        let prefix = if self.is_journal { priority(*event.level()) } else { "" };
        Lines(Prefixed { prefix, out: io::stderr() })
    }
}

/// Lines with a prefix; each is written at once.
struct Prefixed<W> {
    prefix: &'static str,
    out: W,
}

impl<W: Write> Write for Prefixed<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.out.write_all(&[self.prefix.as_bytes(), line].concat())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_stands_before_the_line_and_cannot_be_forged_by_its_words() {
        let mut log = Lines(Prefixed { prefix: priority(Level::WARN), out: Vec::new() });
        log.write_all("WARN it failed\n<3>forged\n".as_bytes()).expect("room");
        assert_eq!(String::from_utf8(log.0.out).expect("UTF-8"), "<4>WARN it failed\\n<3>forged\n");
        let mut log = Lines(Prefixed { prefix: "", out: Vec::new() });
        log.write_all(b"2026 INFO fine\n").expect("room");
        assert_eq!(log.0.out, b"2026 INFO fine\n");
    }

    #[test]
    fn an_error_comes_before_a_warning() {
        let all = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE].map(priority);
        assert_eq!(all, ["<3>", "<4>", "<6>", "<7>", "<7>"]);
    }
}
