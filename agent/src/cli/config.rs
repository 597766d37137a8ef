//! `pinion-agent config check`: agent.toml as the daemon reads it. Nothing is changed, and the daemon need not run.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use pinion_proto::{causes::chain, exit::Exit};
use serde::Serialize;

use super::print_json;
use crate::config::{CONFIG_FILE, Config, ConfigError, ConfigMistake};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Say everything that is wrong with agent.toml: each mistake with line and column.
    ///
    /// The file is read exactly as the daemon reads it when it starts. Without a file the defaults hold, and nothing is
    /// wrong. Returns 0 when nothing is wrong, and 2 when something is.
    Check,
}

#[derive(Debug, Serialize)]
struct Checked<'a> {
    file: &'a Path,
    ok: bool,
    mistakes: Vec<ConfigMistake>,
    /// What is wrong with the file as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
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
        Err(error) => (Vec::new(), Some(chain(&error))),
    };
    let ok = mistakes.is_empty() && error.is_none();
    if json {
        print_json(&Checked { file: &file, ok, mistakes, error });
    } else if ok {
        let words = if file.exists() { "in order" } else { "not there, the defaults hold" };
        println!("{}: {words}", file.display());
    } else {
        for mistake in &mistakes {
            println!("{}:{mistake}", file.display());
        }
        if let Some(error) = error {
            eprintln!("pinion-agent: {error}");
        }
    }
    if ok { Exit::Reached } else { Exit::Usage }
}
