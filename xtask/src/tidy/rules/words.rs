//! Names are the field's usual words: what was invented for one of them has a replacement.

use std::collections::BTreeMap;

use super::{Crates, Finding};

pub(super) fn check(crates: &Crates<'_>) -> Vec<Finding> {
    let uses = banned(crates);
    let says = |(word, better): &(&str, &str)| {
        let uses = uses.get(word).copied().filter(|uses| *uses > 0)?;
        Some(Finding::new(*word, uses, format!("is in names {uses} times: write {better}")))
    };
    WORDS.iter().filter_map(says).collect()
}

/// How often each of the words is in names of code and files.
pub(in crate::tidy) fn banned(crates: &Crates<'_>) -> BTreeMap<&'static str, usize> {
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    let mut count = |name: &str, times: usize| {
        let name = format!("_{}_", snake(name));
        for (word, _) in WORDS {
            // `MOST_NAMES`, but not `at_most`.
            let found = match word.strip_suffix('_') {
                Some(first) => usize::from(name.starts_with(&format!("_{first}_"))),
                None => name.matches(&format!("_{word}_")).count(),
            };
            *uses.entry(word).or_default() += times * found;
        }
    };
    for file in crates.tree.rust() {
        file.path.trim_end_matches(".rs").split('/').for_each(|part| count(part, 1));
    }
    for module in 0..crates.modules.len() {
        if !crates.file(module).is_generated() {
            crates.scope(module).code.words.iter().for_each(|(name, times)| count(name, *times));
        }
    }
    uses
}

/// `http2_thread` of `Http2Thread` and `HTTP2_THREAD`.
fn snake(name: &str) -> String {
    let is_shouted = !name.chars().any(char::is_lowercase);
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !is_shouted && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

/// Each with what it is called elsewhere; with `_` at its end where a name begins with it.
const WORDS: &[(&str, &str)] = &[
    ("allowance", "rate_limit"),
    ("crowd", "admission"),
    ("desk", "file_switch"),
    ("gist", "spec_hash"),
    ("hoard", "report_quota"),
    ("longest_", "max_"),
    ("most_", "max_"),
    ("nursery", "http2_thread"),
    ("outcast", "must_rejoin"),
    ("rung", "escalation_level"),
    ("scene", "observed"),
    ("see_off", "departures"),
    ("set_back", "clock_watch"),
    ("shelf", "generations"),
    ("voices", "event_limit"),
];

#[cfg(test)]
mod tests {
    use super::{
        super::{MANIFEST, found},
        *,
    };

    #[test]
    fn a_name_with_such_a_word_is_found() {
        let good = [MANIFEST, ("a/src/lib.rs", "// A crowd.\nconst MAX_NAMES: u8 = 1; struct Almost; fn at_most() {}")];
        assert!(found(check, &good).is_empty());
        let bad = [
            MANIFEST,
            ("a/src/lib.rs", "mod crowd;\nconst MOST_NAMES: u8 = 1;\nstruct SetBack;"),
            ("a/src/crowd.rs", ""),
        ];
        assert_eq!(
            found(check, &bad),
            [
                "crowd: is in names 1 times: write admission",
                "most_: is in names 1 times: write max_",
                "set_back: is in names 1 times: write clock_watch"
            ]
        );
    }
}
