//! `pinion freeze`.

use jiff::{civil::DateTime, tz::TimeZone};
use pinion_proto::{
    clock::{Clock as _, SystemClock, Timestamp},
    exit::Exit,
    id::shown,
};

use super::{Session, ask, print_json, unexpected};
use crate::admin::protocol::{Answer, Ask, AskFreeze, Selection};

/// Freezes something, or lifts freezes, and prints what is frozen then.
pub(super) async fn freeze(session: &Session, selection: Selection, until: Option<Timestamp>, lift: bool) -> Exit {
    match ask(session, &Ask::Freeze(AskFreeze { selection, until, lift })).await {
        Ok(Answer::Frozen(frozen)) => {
            if session.json {
                print_json(&frozen);
            } else {
                if frozen.freezes.is_empty() {
                    println!("nothing is frozen");
                }
                for note in &frozen.notes {
                    println!("{note}");
                }
            }
            Exit::Reached
        }
        Ok(other) => unexpected(&other),
        Err(exit) => exit,
    }
}

/// A moment that is to come: `2026-12-24T18:00Z`, `2026-12-24 18:00` by this host's clock, or `8h` from now.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    moment_after(text, SystemClock.now(), &TimeZone::system())
}

fn moment_after(text: &str, now: Timestamp, local: &TimeZone) -> Result<Timestamp, String> {
    let written = |moment: jiff::Timestamp| Timestamp::from_unix(moment.as_second());
    let by_the_wall = || {
        let wall: DateTime = text.parse().ok()?;
        local.to_ambiguous_timestamp(wall).compatible().ok()
    };
    let moment = match text.parse::<jiff::Timestamp>().ok().or_else(by_the_wall) {
        Some(moment) => written(moment),
        None => {
            now + humantime::parse_duration(text).map_err(|_| {
                format!(
                    "`{}` is not a time: write 2026-12-24T18:00Z, \"2026-12-24 18:00\" by this host's clock, or 8h \
                     for a time from now",
                    shown(text)
                )
            })?
        }
    };
    if moment <= now { Err(format!("{moment} is in the past: give a time in the future")) } else { Ok(moment) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_lengths_of_time_are_understood_and_what_is_over_is_not() {
        let now = Timestamp::from_unix(1_798_000_000);
        let local = TimeZone::fixed(jiff::tz::offset(1));
        let read = |text: &str| moment_after(text, now, &local).map(Timestamp::unix);
        for (text, expected) in [
            ("2026-12-24T18:00Z", 1_798_135_200),
            ("2026-12-24T18:00:00Z", 1_798_135_200),
            ("2026-12-24T18:00+01:00", 1_798_131_600),
            ("2026-12-24 18:00", 1_798_131_600),
            ("2026-12-24T18:00", 1_798_131_600),
            ("2026-12-25", 1_798_153_200),
            ("8h", 1_798_028_800),
            ("1h 30m", 1_798_005_400),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for text in
            ["", "soon", "8", "-8h", "2026-12-24T18:00Q", "2026-13-01T00:00Z", "0s", "2020-01-01T00:00Z", "\u{1b}[31m"]
        {
            let told = read(text).expect_err(text);
            assert!(!told.contains('\u{1b}'), "{told}");
        }
    }
}
