//! The table of measurements, and the file of them.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use pinion_tests::regression::Better;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One measurement beside its budget.
pub(crate) struct Row {
    key: &'static str,
    what: &'static str,
    value: f64,
    bound: Bound,
}

/// What was promised.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// Bytes.
    AtMostBytes(u32),
    /// Milliseconds.
    AtMostMs(f64),
    /// Seconds.
    AtMostSeconds(f64),
    /// Times in a minute.
    AtMostPerMinute(f64),
    /// A share of one.
    AtMostShare(f64),
    /// A share of one.
    AtLeastShare(f64),
    /// Times as much as another figure.
    AtMostTimes(f64),
    /// Measured beside another one, and not promised: milliseconds.
    Nothing,
    /// Measured beside another one, and not promised: bytes.
    NoBytes,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    Bytes,
    Ms,
    Seconds,
    PerMinute,
    Share,
    Times,
}

impl Unit {
    pub(crate) fn words(self, value: f64) -> String {
        match self {
            Self::Bytes if value >= 1024.0 * 1024.0 => format!("{:.2} MiB", value / 1024.0 / 1024.0),
            Self::Bytes => format!("{:.1} KiB", value / 1024.0),
            Self::Ms => format!("{value:.1} ms"),
            Self::Seconds => format!("{value:.2} s"),
            Self::PerMinute => format!("{value:.1} a minute"),
            Self::Share => format!("{:.2} %", value * 100.0),
            Self::Times => format!("{value:.2} times"),
        }
    }
}

impl Bound {
    fn unit(self) -> Unit {
        match self {
            Self::AtMostBytes(_) | Self::NoBytes => Unit::Bytes,
            Self::AtMostMs(_) | Self::Nothing => Unit::Ms,
            Self::AtMostSeconds(_) => Unit::Seconds,
            Self::AtMostPerMinute(_) => Unit::PerMinute,
            Self::AtMostShare(_) | Self::AtLeastShare(_) => Unit::Share,
            Self::AtMostTimes(_) => Unit::Times,
        }
    }

    fn better(self) -> Better {
        match self {
            Self::AtLeastShare(_) => Better::Higher,
            _ => Better::Lower,
        }
    }

    fn words(self) -> String {
        match self {
            Self::AtMostBytes(max) => format!("at most {}", self.unit().words(f64::from(max))),
            Self::AtMostMs(max) => format!("at most {max} ms"),
            Self::AtMostSeconds(max) => format!("at most {max} s"),
            Self::AtMostPerMinute(max) => format!("at most {max} a minute"),
            Self::AtMostShare(max) => format!("at most {:.0} %", max * 100.0),
            Self::AtLeastShare(least) => format!("at least {:.0} %", least * 100.0),
            Self::AtMostTimes(max) => format!("at most {max} times"),
            Self::Nothing | Self::NoBytes => String::new(),
        }
    }
}

impl Row {
    pub(crate) fn new(key: &'static str, what: &'static str, value: f64, bound: Bound) -> Self {
        Self { key, what, value, bound }
    }

    pub(crate) fn holds(&self) -> bool {
        match self.bound {
            Bound::AtMostBytes(max) => self.value <= f64::from(max),
            Bound::AtMostMs(max)
            | Bound::AtMostSeconds(max)
            | Bound::AtMostPerMinute(max)
            | Bound::AtMostTimes(max)
            | Bound::AtMostShare(max) => self.value <= max,
            Bound::AtLeastShare(least) => self.value >= least,
            Bound::Nothing | Bound::NoBytes => true,
        }
    }
}

/// Prints the table as Markdown, which reads well on a terminal too.
pub(crate) fn print(rows: &[Row]) {
    println!("| {:<64} | {:>10} | {:<16} | {:<5} |", "what", "measured", "budget", "holds");
    println!("|{:-<66}|{:->12}|{:-<18}|{:-<7}|", "", ":", "", "");
    for row in rows {
        let (value, budget) = (row.bound.unit().words(row.value), row.bound.words());
        let holds = match row.bound {
            Bound::Nothing | Bound::NoBytes => "",
            _ if row.holds() => "yes",
            _ => "NO",
        };
        println!("| {:<64} | {value:>10} | {budget:<16} | {holds:<5} |", row.what);
    }
}

/// Writes `target/bench.json`, beside the directory that this program lies in.
pub(crate) fn write(rows: &[Row]) -> Result<()> {
    let here = env::current_exe().context("find the running executable")?;
    let target = here.parent().and_then(|release| release.parent()).map(PathBuf::from).context("find target/")?;
    let document: Map<String, Value> = rows.iter().map(|row| (row.key.to_owned(), row.value.into())).collect();
    let path = target.join("bench.json");
    let text = serde_json::to_string_pretty(&document).context("write JSON")?;
    fs::write(&path, text + "\n").with_context(|| format!("write {}", path.display()))?;
    println!("written to {}", path.display());
    Ok(())
}

/// What was measured in one run or several, for a comparison.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// Of this document.
    format: u32,
    /// Every figure, in the table's order.
    pub(crate) figures: Vec<Figure>,
}

/// A figure, in every run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) key: String,
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) better: Better,
    /// One of each run.
    pub(crate) values: Vec<f64>,
}

impl Saved {
    /// Nothing yet.
    pub(crate) fn empty() -> Self {
        Self { format: FORMAT, figures: Vec::new() }
    }

    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        let saved: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is no file that `cargo xtask bench --save` wrote", file.display()))?;
        let Self { format, .. } = saved;
        ensure!(format == FORMAT, "{} has format {format}, and this program reads {FORMAT}", file.display());
        Ok(saved)
    }

    /// Adds the runs of another document, figure by figure.
    pub(crate) fn append(&mut self, more: Self) {
        for figure in more.figures {
            match self.figures.iter_mut().find(|known| known.key == figure.key) {
                Some(known) => known.values.extend(figure.values),
                None => self.figures.push(figure),
            }
        }
    }
}

/// Writes what was measured in these runs.
pub(crate) fn save(runs: &[Vec<Row>], file: &Path) -> Result<()> {
    let mut saved = Saved::empty();
    for row in runs.iter().flatten() {
        let Row { key, what, value, bound } = *row;
        let (key, what) = (key.to_owned(), what.to_owned());
        let figure = Figure { key, what, unit: bound.unit(), better: bound.better(), values: vec![value] };
        saved.append(Saved { format: FORMAT, figures: vec![figure] });
    }
    let text = serde_json::to_string_pretty(&saved).context("write JSON")?;
    fs::write(file, text + "\n").with_context(|| format!("write {}", file.display()))?;
    println!("saved to {}", file.display());
    Ok(())
}

/// Later programs that measure otherwise have another one.
const FORMAT: u32 = 1;

/// Sizes are far below where a float rounds.
#[allow(clippy::cast_precision_loss, reason = "a size in bytes")]
pub(crate) fn bytes_of(bytes: u64) -> f64 {
    bytes as f64
}
