//! Which recipes this guest has.

use std::{fs, io, path::PathBuf};

use pinion_proto::{printable, spec::PlainName, trusted};
use serde::Serialize;

use super::{check, file, shipped::SHIPPED};
use crate::config::Config;

/// A sentence that fits a line of a terminal (characters).
const MAX_ABOUT: usize = 120;

/// A recipe that a placement may name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// The operator's file; none when it is a shipped one.
    pub path: Option<PathBuf>,
    /// The operator's stands before a shipped one of the same name.
    pub replaces_shipped: bool,
    /// The first sentence of its first comment.
    pub about: String,
    /// How much is wrong with it in this guest, what the guest does not allow included.
    pub complaints: usize,
}

/// Every recipe: the operator's, then the shipped ones.
///
/// # Errors
/// The operator's directory is there and cannot be read.
pub fn list(config: &Config) -> io::Result<Vec<Listed>> {
    let mut all = own(config)?;
    for &(name, text) in SHIPPED {
        if all.iter().all(|own| own.name != name) {
            all.push(Listed {
                name: name.to_owned(),
                path: None,
                replaces_shipped: false,
                about: about(text),
                complaints: check(text, config).len(),
            });
        }
    }
    Ok(all)
}

fn own(config: &Config) -> io::Result<Vec<Listed>> {
    let entries = match fs::read_dir(&config.recipes) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut own = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        // Other files, an editor's leftovers among them, are nobody's recipe.
        let Ok(name) = stem.parse::<PlainName>() else { continue };
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let distrusted = trusted::open(&config.recipes, &format!("{name}.toml")).err();
        let (about, complaints) = match (distrusted, file::read(&path)) {
            (Some(why), _) => (format!("not used, because {why}"), 1),
            (None, Ok(text)) => (about(&text), check(&text, config).len()),
            (None, Err(error)) => (format!("cannot be read: {error}"), 1),
        };
        let replaces_shipped = SHIPPED.iter().any(|(shipped, _)| *shipped == name.as_str());
        own.push(Listed { name: name.to_string(), path: Some(path), replaces_shipped, about, complaints });
    }
    own.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(own)
}

/// The first sentence of the first comment.
pub(super) fn about(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.trim_start().strip_prefix('#'));
    let comment = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    let sentence = comment.split_once(". ").map_or(comment.as_str(), |(first, _)| first);
    printable::line(sentence.trim_end_matches('.'), MAX_ABOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_recipes_come_first_and_say_whether_they_are_in_order() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let config = Config::shipped(root.path().canonicalize().expect("a real path"));
        assert_eq!(list(&config).expect("a list").len(), SHIPPED.len());
        assert!(list(&config).expect("a list").iter().all(|one| !one.about.is_empty()), "each says what it is");
        fs::create_dir_all(&config.recipes).expect("directory");
        let write = |name: &str, text: &str| fs::write(config.recipes.join(name), text).expect("written");
        write("squid.toml", "# The cache. It is ours.\n[files.key]\npath = \"/etc/ssl/k\"\n");
        write("nginx.toml", "files = 3");
        write("nginx.toml~", "");
        write("-x.toml", "");
        let all = list(&config).expect("a list");
        assert_eq!(all.len(), SHIPPED.len() + 1);
        let [nginx, squid, ..] = all.as_slice() else { panic!("{all:?}") };
        assert!(nginx.name == "nginx" && nginx.replaces_shipped && nginx.complaints > 0, "{nginx:?}");
        assert_eq!((squid.about.as_str(), squid.complaints, squid.replaces_shipped), ("The cache", 0, false));
    }
}
