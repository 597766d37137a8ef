//! How often each service was restarted lately, and whether it may be once more: on disk, so that a restart of the agent
//! does not begin anew.
//!
//! Answers: may this unit or container be restarted now, and if not, when?
//! Invariants: a restart is written down before it is done. The limit holds whatever is asked and whoever asks, but for
//! one restart more where a long certificate would end over it; and a service that a restart has ended is always brought back.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use pinion_proto::{clock::Timestamp, document, lock::lock};
use serde::{Deserialize, Serialize};

use crate::install::{files::Files, replace::replace};

/// The file's name, in the agent's own directory.
pub const FILE: &str = "restarts.json";

/// The version of the document that this agent writes and reads.
const VERSION: u32 = 1;

/// Restarts are counted over so long.
const PERIOD: Duration = Duration::from_secs(60 * 60);

/// A service whose certificate would end before the limit lets go is restarted once more in an hour, after this pause.
const URGENT_PAUSE: Duration = Duration::from_secs(10 * 60);

/// A certificate of so long is renewed hours before it ends, and the limit is no hindrance but by mischance.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// Services that were restarted within an hour; more are no guest's (bytes).
const MAX_DOCUMENT: u64 = 1024 * 1024;

/// The restarts of the last hour, by service.
#[derive(Debug)]
pub struct Restarts {
    path: PathBuf,
    /// So many an hour.
    max: usize,
    times: Mutex<BTreeMap<String, Vec<Timestamp>>>,
}

/// A service was restarted often enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limited {
    /// How often it was.
    pub times: usize,
    /// How often it may be, in an hour.
    pub max: usize,
    /// When it may be again.
    pub until: Timestamp,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    restarts: &'a BTreeMap<String, Vec<Timestamp>>,
}

#[derive(Deserialize)]
struct OwnedDocument {
    restarts: BTreeMap<String, Vec<Timestamp>>,
}

impl Restarts {
    /// Reads what was written down in the agent's directory `state`. What cannot be read is logged, and counts from now.
    #[must_use]
    pub fn read(files: &dyn Files, state: &Path, max: usize) -> Self {
        let path = state.join(FILE);
        let times = match files.read(&path, MAX_DOCUMENT) {
            Ok(bytes) => match document::parse(&bytes, VERSION) {
                Ok(OwnedDocument { restarts }) => restarts,
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "Cannot understand when services were restarted; counting anew");
                    BTreeMap::new()
                }
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "Cannot read when services were restarted; counting anew");
                BTreeMap::new()
            }
        };
        Self { path, max, times: Mutex::new(times) }
    }

    /// Whether a service may be restarted now. `ends` is when what it serves is no longer valid, if that is known and a
    /// reason for one restart more: see [`reason`].
    ///
    /// # Errors
    /// It was restarted often enough.
    pub fn allow(&self, service: &str, ends: Option<Timestamp>, now: Timestamp) -> Result<(), Limited> {
        let times = self.lock();
        let lately: Vec<_> = times.get(service).map(|times| lately(times, now)).unwrap_or_default();
        // As many as the limit ago: when that one is an hour old there is room.
        let Some(oldest) = lately.len().checked_sub(self.max).and_then(|at| lately.get(at)) else { return Ok(()) };
        let until = *oldest + PERIOD;
        let limited = |until| Err(Limited { times: lately.len(), max: self.max, until });
        let Some(last) = lately.last().filter(|_| ends.is_some_and(|ends| ends <= until)) else {
            return limited(until);
        };
        let room = lately.len().checked_sub(self.max + 1).and_then(|at| lately.get(at));
        let urgent = room.map_or(*last + URGENT_PAUSE, |room| (*last + URGENT_PAUSE).max(*room + PERIOD));
        if urgent <= now { Ok(()) } else { limited(until.min(urgent)) }
    }

    /// Writes down that a service is restarted now.
    pub fn note(&self, files: &dyn Files, service: &str, now: Timestamp) {
        let mut times = self.lock();
        times.entry(service.to_owned()).or_default().push(now);
        times.retain(|_, times| {
            *times = lately(times, now);
            !times.is_empty()
        });
        self.write(files, &times);
    }

    /// Takes back the last that was written down: nothing was there that could have been restarted.
    pub fn take_back(&self, files: &dyn Files, service: &str) {
        let mut times = self.lock();
        if let Some(times) = times.get_mut(service) {
            times.pop();
        }
        times.retain(|_, times| !times.is_empty());
        self.write(files, &times);
    }

    fn write(&self, files: &dyn Files, times: &BTreeMap<String, Vec<Timestamp>>) {
        let document = Document { version: VERSION, restarts: times };
        let written = serde_json::to_vec(&document)
            .map_err(io::Error::from)
            .and_then(|bytes| replace(files, &self.path, &bytes, 0o600));
        if let Err(error) = written {
            // It counts all the same, as long as this agent runs.
            tracing::warn!(path = %self.path.display(), %error, "Cannot write down that a service is restarted");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Timestamp>>> {
        lock(&self.times)
    }
}

/// When what a service serves ends, if the limit gives way to that. It does not to a certificate that was short from the
/// beginning, or whoever has it signed could have a service restarted as often as they like.
#[must_use]
pub fn reason(from: Timestamp, until: Timestamp) -> Option<Timestamp> {
    (from + LONG <= until).then_some(until)
}

/// The restarts of the last hour, sorted. One in the future was noted by a clock that was set back since, and does not count.
fn lately(times: &[Timestamp], now: Timestamp) -> Vec<Timestamp> {
    let mut lately: Vec<_> = times.iter().copied().filter(|at| *at <= now && now < *at + PERIOD).collect();
    lately.sort_unstable();
    lately
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::files::RealFiles;

    const MINUTE: i64 = 60;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_unix(1_800_000_000 + minute * MINUTE)
    }

    fn until(minute: i64, times: usize) -> Result<(), Limited> {
        Err(Limited { times, max: 3, until: at(minute) })
    }

    #[test]
    fn three_restarts_an_hour_and_no_more_whoever_starts_the_agent() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let state = kept.path().canonicalize().expect("a real path");
        let restarts = || Restarts::read(&RealFiles, &state, 3);
        for minute in [0, 10, 20] {
            assert_eq!(restarts().allow("docker.service", None, at(minute)), Ok(()));
            restarts().note(&RealFiles, "docker.service", at(minute));
        }
        assert_eq!(restarts().allow("docker.service", None, at(21)), until(60, 3));
        assert_eq!(restarts().allow("nginx.service", None, at(21)), Ok(()), "each has its own");
        assert_eq!(restarts().allow("docker.service", None, at(59)), until(60, 3));
        assert_eq!(restarts().allow("docker.service", None, at(60)), Ok(()));
        restarts().note(&RealFiles, "docker.service", at(60));
        assert_eq!(restarts().allow("docker.service", None, at(61)), until(70, 3));
        // A clock that was ahead and is put right holds nothing up.
        assert_eq!(restarts().allow("docker.service", None, at(-100)), Ok(()));
        std::fs::write(state.join(FILE), "{").expect("written");
        assert_eq!(restarts().allow("docker.service", None, at(61)), Ok(()));
    }

    #[test]
    fn what_a_service_serves_does_not_end_over_it() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let restarts = Restarts::read(&RealFiles, &kept.path().canonicalize().expect("a real path"), 3);
        for minute in [0, 1, 2] {
            restarts.note(&RealFiles, "docker.service", at(minute));
        }
        let allow = |ends, now| restarts.allow("docker.service", Some(at(ends)), at(now));
        assert_eq!(allow(61, 3), until(60, 3), "it lasts longer than the limit");
        assert_eq!(allow(30, 3), until(12, 3), "it ends before, and is restarted after a pause");
        assert_eq!(allow(30, 12), Ok(()));
        assert_eq!(allow(-5, 12), Ok(()), "it has ended already");
        restarts.note(&RealFiles, "docker.service", at(12));
        assert_eq!(allow(-5, 13), until(60, 4), "one restart more in an hour, and no other");
        assert_eq!((allow(-5, 59), allow(-5, 60)), (until(60, 4), Ok(())));
    }
}
