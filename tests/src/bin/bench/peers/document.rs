//! The tables of the comparison, and their place in docs/benchmarks.md.
//!
//! Invariant: beside every figure stands how many times it is Pinion's; where that is less than one, a list says so as well.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result};

use super::{
    machine::Machine,
    peer::{Failure, RENEWALS, Renewed},
    rest::{AtRest, PartAtRest},
};
use crate::table::{Unit, bytes_of};

/// What was measured.
pub(super) struct Report {
    pub(super) machine: Machine,
    /// Pinion is the first.
    pub(super) rows: Vec<Row>,
    pub(super) took: Duration,
}

/// A tool.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) version: String,
    pub(super) one: Result<AtRest>,
    pub(super) ten: Result<AtRest>,
    pub(super) renewed: Result<Renewed>,
}

impl Report {
    /// What could not be measured, and why.
    pub(super) fn failures(&self) -> Vec<String> {
        let of = |row: &Row| {
            let errors = [row.one.as_ref().err(), row.ten.as_ref().err(), row.renewed.as_ref().err()];
            errors.into_iter().flatten().map(|error| format!("{}: {error:#}", row.name)).collect::<Vec<_>>()
        };
        self.rows.iter().flat_map(of).collect()
    }

    /// All of it, as Markdown.
    pub(super) fn text(&self) -> String {
        let mut versions: Vec<&str> = self.rows.iter().map(|row| row.version.as_str()).collect();
        versions.dedup();
        let versions = versions.join(", ");
        let about = format!("{} It took {} s. Versions: {versions}.", self.machine.text(), self.took.as_secs());
        let mut text = wrapped(&about);
        let mut better = Vec::new();
        for (count, of) in [
            ("one certificate", (|row| row.one.as_ref().ok()) as fn(&Row) -> Option<&AtRest>),
            ("ten certificates", |row| row.ten.as_ref().ok()),
        ] {
            text += &format!("\nAt rest, with {count}:\n\n{}", self.at_rest(count, of, &mut better));
        }
        text += &format!("\nRenewals:\n\n{}", self.renewals(&mut better));
        if !better.is_empty() {
            text += &format!("\n{}", wrapped("Less than Pinion, or than its agent where that is a part:"));
            text.push('\n');
            for line in better {
                text += wrapped(&format!("- {line}")).replace('\n', "\n  ").trim_end();
                text.push('\n');
            }
        }
        text
    }

    fn at_rest(&self, count: &str, of: fn(&Row) -> Option<&AtRest>, better: &mut Vec<String>) -> String {
        let mut lines = table(&["", "memory", "files", "libraries", "wake-ups/h", "processor/h", "wire/h"]);
        let mut base: Option<[f64; 5]> = None;
        let mut less: [Vec<&str>; 5] = Default::default();
        for row in &self.rows {
            let Some(Some(parts)) = of(row) else { continue };
            let all = PartAtRest::sum(parts);
            let several = if parts.len() > 1 { parts.as_slice() } else { &[] };
            let named = several.iter().map(|part| (format!("{}: {}", row.name, part.name), part));
            let whole = if several.is_empty() { row.name.to_owned() } else { format!("{}: together", row.name) };
            for (name, part) in named.chain([(whole, &all)]) {
                let figures = part.figures();
                let base = *base.get_or_insert(figures);
                let words = part.words();
                let cells = words
                    .iter()
                    .zip(figures.iter().zip(base))
                    .map(|(words, (figure, base))| times(words, *figure, base));
                let mut cells: Vec<String> = cells.collect();
                cells.insert(2, part.libraries.map_or_else(String::new, |bytes| size_or_none(bytes_of(bytes))));
                lines += &line(&name, cells);
            }
            for (less, (figure, base)) in less.iter_mut().zip(all.figures().iter().zip(base.unwrap_or_default())) {
                if *figure < base {
                    less.push(row.name);
                }
            }
        }
        let what = ["memory", "files", "wake-ups", "processor time", "bytes on the wire at rest"];
        for (what, names) in what.iter().zip(less).filter(|(_, names)| !names.is_empty()) {
            better.push(format!("{what}, {count}: {}", names.join("; ")));
        }
        lines
    }

    fn renewals(&self, better: &mut Vec<String>) -> String {
        let head = [
            "",
            "due until begun",
            "begun until served",
            "due until served",
            "wire",
            "new key",
            "reload failed once: served",
        ];
        let mut lines = table(&head);
        let mut base: Option<[f64; 2]> = None;
        let mut less: [Vec<&str>; 2] = Default::default();
        for row in &self.rows {
            let Ok(renewed) = &row.renewed else { continue };
            let mut took = renewed.took.clone();
            took.sort_unstable();
            let (Some(median), Some(worst)) = (took.get(took.len() / 2), took.last()) else { continue };
            let wait = if renewed.wait.max.is_zero() {
                "at once".to_owned()
            } else {
                format!("{}, at most {}", time(renewed.wait.mean), time(renewed.wait.max))
            };
            let whole = renewed.wait.mean + *median;
            let wire: u64 = renewed.wire.iter().map(|(_, bytes)| bytes).sum();
            let figures = [whole.as_secs_f64(), bytes_of(wire)];
            let base = *base.get_or_insert(figures);
            let several = if renewed.wire.len() > 1 { renewed.wire.as_slice() } else { &[] };
            let parts =
                several.iter().map(|(name, bytes)| format!("{name} {}", size(bytes_of(*bytes)))).collect::<Vec<_>>();
            let mut bytes = times(&size_or_none(figures[1]), figures[1], base[1]);
            if !parts.is_empty() {
                bytes += &format!(": {}", parts.join(", "));
            }
            let failure = match renewed.failure {
                Failure::Retried(after) => format!("{} later", time(after)),
                Failure::NextRenewal(after) => format!("with the next renewal, here {} later", time(after)),
                Failure::NothingToReload => "it is the server".into(),
                Failure::NotBeforeNextRenewal => "not before the next renewal".into(),
            };
            let cells = [
                wait,
                format!("{}, at most {}", time(*median), time(*worst)),
                times(&time(whole), figures[0], base[0]),
                bytes,
                if renewed.fresh_key { "yes" } else { "no" }.to_owned(),
                failure,
            ];
            lines += &line(row.name, cells);
            for (less, (figure, base)) in less.iter_mut().zip(figures.iter().zip(base)) {
                if *figure < base {
                    less.push(row.name);
                }
            }
        }
        for (what, names) in ["time from due until served", "bytes on the wire for a renewal"].iter().zip(less) {
            if !names.is_empty() {
                better.push(format!("{what}: {}", names.join("; ")));
            }
        }
        lines + &format!("\nMedian and worst of {RENEWALS}.\n")
    }
}

impl PartAtRest {
    fn sum(parts: &[Self]) -> Self {
        parts.iter().fold(Self::default(), |sum, part| Self {
            name: sum.name,
            memory: sum.memory + part.memory,
            now_and_then: sum.now_and_then.or(part.now_and_then),
            switches: sum.switches + part.switches,
            processor: sum.processor + part.processor,
            wire: sum.wire + part.wire,
            files: sum.files + part.files,
            libraries: sum.libraries.max(part.libraries),
        })
    }

    fn figures(&self) -> [f64; 5] {
        [bytes_of(self.memory), bytes_of(self.files), self.switches, self.processor.as_secs_f64(), self.wire]
    }

    fn words(&self) -> [String; 5] {
        let memory = match self.now_and_then {
            Some((peak, time)) if self.memory == 0 => {
                format!("none; {} for {} an hour", size(bytes_of(peak)), self::time(time))
            }
            _ => size(bytes_of(self.memory)),
        };
        let wakes = format!("{:.0}", self.switches);
        [memory, size_or_none(bytes_of(self.files)), wakes, time(self.processor), size_or_none(self.wire)]
    }
}

/// The head of a table.
fn table(columns: &[&str]) -> String {
    let mut rule = "|---|".to_owned();
    rule += &"---:|".repeat(columns.len().saturating_sub(1));
    format!("| {} |\n{rule}\n", columns.join(" | "))
}

fn line(name: &str, cells: impl IntoIterator<Item = String>) -> String {
    format!("| {name} | {} |\n", cells.into_iter().collect::<Vec<_>>().join(" | "))
}

/// A figure, and how many times it is Pinion's.
fn times(words: &str, figure: f64, base: f64) -> String {
    if base == 0.0 || figure == 0.0 { words.to_owned() } else { format!("{words} ({}×)", digits(figure / base)) }
}

/// Two digits that count, at least.
fn digits(number: f64) -> String {
    match number {
        number if number >= 10.0 => format!("{number:.0}"),
        number if number >= 1.0 => format!("{number:.1}"),
        number if number >= 0.1 => format!("{number:.2}"),
        number => format!("{number:.3}"),
    }
}

fn size(bytes: f64) -> String {
    Unit::Bytes.words(bytes)
}

fn size_or_none(bytes: f64) -> String {
    if bytes == 0.0 { "none".to_owned() } else { size(bytes) }
}

fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1000.0),
        seconds if seconds < 120.0 => format!("{seconds:.1} s"),
        seconds if seconds < 7200.0 => format!("{:.1} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3600.0),
    }
}

/// In lines as the documents have them.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

/// A list's lines have two more.
const WIDTH: usize = 98;

/// Puts the tables in the place of the last ones.
pub(super) fn write(text: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks.md");
    let document = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let no_place = || format!("{} has no `{BEGIN}` before an `{END}`", path.display());
    let (before, rest) = document.split_once(BEGIN).with_context(no_place)?;
    let (_, after) = rest.split_once(END).with_context(no_place)?;
    let changed = format!("{before}{BEGIN}\n\n{}\n{END}{after}", text.trim_start());
    fs::write(&path, changed).with_context(|| format!("write {}", path.display()))?;
    println!("written to {}", path.display());
    Ok(())
}

const BEGIN: &str = "<!-- made by `cargo xtask bench peers --write` -->";
const END: &str = "<!-- end of what is made -->";
