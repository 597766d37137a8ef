//! What a unit's own processes said, where systemctl only says where to look.
//!
//! Invariant: it is asked after a failure alone, and a journal that says nothing costs no more than a moment. The same
//! failure is reported in the same words: without the time, and without the number of the process.

use std::{ffi::OsString, time::Duration};

use pinion_proto::spec::Unit;
use tokio::time::sleep;

use super::{About, command, command::Outcome, program};
use crate::config::Config;

/// So many of the last lines: a service says first what is wrong, and then that it gives up.
const LINES: u8 = 8;

/// journald reads what a process wrote when it comes to it; so often it is looked again.
const LOOKS: u8 = 4;
const PAUSE: Duration = Duration::from_millis(100);

/// The unit's own words since then (since 1970).
pub(super) async fn said(config: &Config, unit: &Unit, since: Duration, about: &About) -> Option<String> {
    let journalctl = program::find(&config.root, "journalctl")?;
    let (lines, since) =
        (format!("--lines={LINES}"), format!("--since=@{}.{:06}", since.as_secs(), since.subsec_micros()));
    // Processes of the unit, not systemd about it (systemd.journal-fields(7)).
    let of = format!("_SYSTEMD_UNIT={unit}");
    let words = ["--quiet", "--no-pager", "--output=cat", &lines, &since, &of].map(OsString::from);
    for _ in 0..LOOKS {
        let asked = command::run(&journalctl, &words, &about.environment(config), config.hook_timeout).await.ok()?;
        if asked.outcome != Outcome::Succeeded {
            return None;
        }
        let lines: Vec<_> = asked.said.lines().map(plain).filter(|line| !line.is_empty()).collect();
        if !lines.is_empty() {
            return Some(lines.join("\n"));
        }
        sleep(PAUSE).await;
    }
    None
}

/// A line without the times and numbers that it begins with: `2026/11/27 01:06:45 [error] 143#143: no such file`.
fn plain(line: &str) -> String {
    let is_number = |word: &str| word.chars().all(|c| c.is_ascii_digit() || ":/#.,-+TZ".contains(c));
    let is_level = |word: &str| word.starts_with('[') && word.ends_with(']');
    let mut words = line.split_whitespace().peekable();
    let mut kept = Vec::new();
    while let Some(word) = words.next_if(|word| is_number(word) || is_level(word)) {
        if !is_number(word) {
            kept.push(word);
        }
    }
    kept.extend(words);
    kept.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_without_when_and_by_which_process() {
        for (line, expected) in [
            (
                "2026/11/27 01:06:45 [error] 143#143: invalid PID number \"\" in \"/run/nginx.pid\"",
                "[error] invalid PID number \"\" in \"/run/nginx.pid\"",
            ),
            (
                "nginx: [emerg] open() \"/etc/nginx/x\" failed (2: No such file or directory)",
                "nginx: [emerg] open() \"/etc/nginx/x\" failed (2: No such file or directory)",
            ),
            ("2026-11-27T00:42:09Z INF Server stopped", "INF Server stopped"),
            ("  ", ""),
        ] {
            assert_eq!(plain(line), expected);
        }
    }
}
