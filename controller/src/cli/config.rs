//! `pinion config check`.

use std::path::Path;

use pinion_proto::{errln, exit::Exit, outln};

use super::print_json;
use crate::config::check;

/// Says everything that is wrong with controller.toml. With `start` only what keeps the daemons from starting ends it
/// with 2: it is what their units do first.
pub(super) fn check(root: &Path, start: bool, json: bool) -> Exit {
    let report = check::check(root);
    let file = report.file.display();
    let broken = !report.problems.is_empty() || report.unreadable.is_some();
    if json {
        print_json(&report);
    } else if report.ok && !start {
        outln!("{file}: good");
    }
    for problem in &report.problems {
        errln!("{file}:{problem}");
    }
    if let Some(words) = &report.unreadable {
        errln!("{words}");
    }
    for finding in &report.findings {
        errln!("{}{file}: {finding}", if start { "warning: " } else { "" });
    }
    if broken {
        errln!(
            "correct it; docs/controller.md describes every setting; a running daemon keeps the settings with which \
             it started"
        );
    }
    if broken || (!start && !report.ok) { Exit::Usage } else { Exit::Reached }
}
