//! The table of measurements.

use std::{env, fs, path::PathBuf};

use anyhow::{Context, Result};
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
    /// A share of one.
    AtLeastShare(f64),
    /// Measured beside another one, and not promised.
    Nothing,
}

impl Row {
    pub(crate) fn new(key: &'static str, what: &'static str, value: f64, bound: Bound) -> Self {
        Self { key, what, value, bound }
    }

    pub(crate) fn holds(&self) -> bool {
        match self.bound {
            Bound::AtMostBytes(max) => self.value <= f64::from(max),
            Bound::AtMostMs(max) | Bound::AtMostSeconds(max) => self.value <= max,
            Bound::AtLeastShare(least) => self.value >= least,
            Bound::Nothing => true,
        }
    }

    fn words(&self) -> (String, String) {
        let size = |bytes: f64| {
            if bytes >= 1024.0 * 1024.0 {
                format!("{:.2} MiB", bytes / 1024.0 / 1024.0)
            } else {
                format!("{:.1} KiB", bytes / 1024.0)
            }
        };
        let value = self.value;
        match self.bound {
            Bound::AtMostBytes(max) => (size(value), format!("at most {}", size(f64::from(max)))),
            Bound::AtMostMs(max) => (format!("{value:.1} ms"), format!("at most {max} ms")),
            Bound::AtMostSeconds(max) => (format!("{value:.2} s"), format!("at most {max} s")),
            Bound::AtLeastShare(least) => {
                (format!("{:.1} %", value * 100.0), format!("at least {:.0} %", least * 100.0))
            }
            Bound::Nothing => (format!("{value:.1} ms"), String::new()),
        }
    }
}

/// Prints the table as Markdown, which reads well on a terminal too.
pub(crate) fn print(rows: &[Row]) {
    println!("| {:<64} | {:>10} | {:<16} | {:<5} |", "what", "measured", "budget", "holds");
    println!("|{:-<66}|{:->12}|{:-<18}|{:-<7}|", "", ":", "", "");
    for row in rows {
        let (value, budget) = row.words();
        let holds = match row.bound {
            Bound::Nothing => "",
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

/// Sizes are far below where a float rounds.
#[allow(clippy::cast_precision_loss, reason = "a size in bytes")]
pub(crate) fn bytes_of(bytes: u64) -> f64 {
    bytes as f64
}
