//! `pinion-agent config check`: agent.toml as the daemon reads it. Nothing is changed, and the daemon need not run.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use pinion_proto::{errln, exit::Exit, failure::Failure, outln};

use super::{documents::ConfigChecked, print_failed, print_json};
use crate::config::{CONFIG_FILE, Config, ConfigError};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Report every mistake in agent.toml, each with its line and column. Exits with 2 if there is one.
    ///
    /// Reads the file exactly as the daemon does when it starts. If there is no file, the defaults apply, and nothing is
    /// wrong.
    Check,
}

/// Does what was asked, below this root.
pub(super) fn config(root: &Path, verb: &Verb, json: bool) -> Exit {
    match verb {
        Verb::Check => check(root, json),
    }
}

fn check(root: &Path, json: bool) -> Exit {
    let file: PathBuf = root.join(CONFIG_FILE);
    let (mistakes, error) = match Config::load(root) {
        Ok(_) => (Vec::new(), None),
        Err(ConfigError::Content { mistakes, .. }) => (mistakes, None),
        Err(error) => (Vec::new(), Some(error.failure().to_string())),
    };
    let ok = mistakes.is_empty() && error.is_none();
    if json && ok {
        print_json(&ConfigChecked { file: &file, ok, mistakes });
    } else if json {
        let message = error.clone().unwrap_or_else(|| format!("{} has mistakes: {}", file.display(), mistakes.len()));
        let mut failure = Failure::new(Exit::Usage, message);
        if let Some(first) = mistakes.first() {
            failure =
                failure.cause(first).remedy("correct it; docs/reference/configuration.md describes every setting");
        }
        print_failed(&ConfigChecked { file: &file, ok, mistakes }, &failure);
    } else if ok {
        let words = if file.exists() { "no mistakes" } else { "does not exist; the defaults apply" };
        outln!("{}: {words}", file.display());
    } else {
        for mistake in &mistakes {
            outln!("{}:{mistake}", file.display());
        }
        if let Some(error) = error {
            errln!("pinion-agent: {error}");
        }
    }
    if ok { Exit::Reached } else { Exit::Usage }
}
