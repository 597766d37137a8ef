//! Links in the docs lead somewhere: the file is in this checkout, and the heading is in the file.
//!
//! Invariant: an anchor is made of a heading as the web pages of repositories make it. Addresses of the web are not tried.

use std::collections::BTreeSet;

use super::{Crates, Finding};
use crate::tidy::tree::Tree;

pub(super) fn check(crates: &Crates<'_>) -> Vec<Finding> {
    let docs = crates.tree.files.iter().filter(|file| file.path.ends_with(".md"));
    docs.flat_map(|file| {
        targets(&file.text).into_iter().filter_map(|(line, target)| {
            let why = dead(crates.tree, &file.path, &target)?;
            Some(Finding::new(format!("{}:{line}", file.path), 1, format!("the link to {target} is dead: {why}")))
        })
    })
    .collect()
}

/// Why a link of a file leads nowhere; none if it leads somewhere.
fn dead(tree: &Tree, from: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let Some(path) = joined(from, path) else { return Some("it leaves the checkout".into()) };
    if path.is_empty() || tree.has_folder(&path) {
        return None;
    }
    if !tree.has_file(&path) {
        return Some(format!("there is no {path}"));
    }
    let anchor = anchor?;
    let file = tree.file(&path).filter(|file| file.path.ends_with(".md"))?;
    (!anchors(&file.text).contains(anchor)).then(|| format!("{path} has no heading for #{anchor}"))
}

/// The path of a link, from the top of the checkout: `docs/a.md` for `../docs/a.md` in `packaging/README.md`.
fn joined(from: &str, path: &str) -> Option<String> {
    if path.is_empty() {
        return Some(from.to_owned());
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Where each link of a text leads, with its line. Code has no links.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text) in prose(text) {
        let text = without_code(text);
        let mut rest = text.as_str();
        while let Some(at) = rest.find("](") {
            rest = &rest[at + 2..];
            if let Some(end) = rest.find(')') {
                found.push((line, rest[..end].to_owned()));
            }
        }
    }
    found
}

/// The anchors of a text's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        let title = line.trim_start_matches('#');
        let depth = line.len() - title.len();
        if !(1..=6).contains(&depth) || !title.starts_with(' ') {
            continue;
        }
        let slug = slug(title.trim());
        let more = (0..).map(|count| if count == 0 { slug.clone() } else { format!("{slug}-{count}") });
        let free = more.into_iter().find(|name| !anchors.contains(name));
        anchors.extend(free);
    }
    anchors
}

/// `another-identity-root` for `Another identity root`; of a link in it, its text.
fn slug(title: &str) -> String {
    let mut text = title.to_owned();
    while let (Some(start), Some(end)) = (text.find("]("), text.rfind(')')) {
        if start > end {
            break;
        }
        text.replace_range(start..=end, "");
    }
    let kept = text.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The lines outside of fences, each with its number. Indented code is left out, too.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
            return None;
        }
        (!is_fenced && !line.starts_with("    ")).then_some((index + 1, line))
    })
}

fn without_code(line: &str) -> String {
    line.split('`').enumerate().map(|(index, part)| if index % 2 == 0 { part } else { "" }).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::found, *};

    const OTHER: (&str, &str) = ("docs/b.md", "# B\n\n## The way `out`\n\n## The way out\n\n```\n# code\n```\n");

    fn wrong(text: &str) -> Vec<String> {
        found(check, &[("docs/a.md", text), OTHER, ("packaging/x.toml", "")])
    }

    #[test]
    fn links_that_lead_somewhere_are_good() {
        let good = "# A\n[b](b.md), [out](b.md#the-way-out), [again](b.md#the-way-out-1), [here](#a)\n\
            [x](../packaging/x.toml), [folder](../packaging/), [web](https://a.example/b#c) `[no](link)`\n\
            \n    [code](none.md)\n```\n[fence](none.md)\n```\n";
        assert_eq!(wrong(good), Vec::<String>::new());
    }

    #[test]
    fn a_dead_link_is_named_with_its_line_and_the_reason() {
        let bad = "# A\n[b](c.md)\n[b](b.md#code)\n[b](../../b.md) and [b](#nothing)\n";
        assert_eq!(
            wrong(bad),
            [
                "docs/a.md:2: the link to c.md is dead: there is no docs/c.md",
                "docs/a.md:3: the link to b.md#code is dead: docs/b.md has no heading for #code",
                "docs/a.md:4: the link to ../../b.md is dead: it leaves the checkout",
                "docs/a.md:4: the link to #nothing is dead: docs/a.md has no heading for #nothing",
            ]
        );
    }
}
