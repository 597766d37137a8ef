//! What Cargo.lock has is what deny.toml allows: licences, sources, and no crate twice.
//!
//! Answers: may it be shipped, and is it compiled once? deny.toml is cargo-deny's own format, so that cargo-deny can be run with
//! it where the network is; building it would take longer than all of Pinion.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use spdx::{Expression, ParseMode};

use crate::children::cargo;

/// A line for everything that is not allowed, and for what is allowed and not there any more.
///
/// # Errors
/// cargo does not answer, or deny.toml cannot be read.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let path = root.join("deny.toml");
    let deny = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let deny: Deny = toml::from_str(&deny).with_context(|| format!("read {}", path.display()))?;
    let mut command = cargo(root);
    command.args(["metadata", "--locked", "--format-version", "1"]);
    deny.graph.targets.iter().for_each(|target| {
        command.args(["--filter-platform", target]);
    });
    let output = command.output().context("start cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("read what cargo metadata says")?;
    Ok(judge(&deny, &metadata))
}

fn judge(deny: &Deny, metadata: &Metadata) -> Vec<String> {
    let used: BTreeSet<&str> = metadata.resolve.nodes.iter().map(|node| node.id.as_str()).collect();
    let packages: Vec<&Package> =
        metadata.packages.iter().filter(|package| used.contains(package.id.as_str())).collect();
    let mut mistakes = licences(&deny.licenses.allow, &packages);
    mistakes.extend(duplicates(&deny.bans.skip, &packages));
    let sources: BTreeSet<&str> = packages.iter().filter_map(|package| package.source.as_deref()).collect();
    let from_a_registry = |source: &&&str| source.starts_with("registry+") || source.starts_with("sparse+");
    if sources.len() > 1 || sources.iter().any(|source| !from_a_registry(&source)) {
        mistakes.push(format!("dependencies: not from one registry: {sources:?}"));
    }
    mistakes
}

fn licences(allow: &[String], packages: &[&Package]) -> Vec<String> {
    let mut needed: BTreeSet<&str> = BTreeSet::new();
    let mut mistakes = Vec::new();
    for package in packages {
        let text = package.license.as_deref().unwrap_or_default();
        let allows = Expression::parse_mode(text, ParseMode::LAX).is_ok_and(|expression| {
            expression.evaluate(|wanted| {
                let name = wanted.license.id().map_or("", |id| id.name);
                let allowed = allow.iter().find(|allowed| *allowed == name && wanted.addition.is_none());
                needed.extend(allowed.map(String::as_str));
                allowed.is_some()
            })
        });
        if !allows {
            let Package { name, version, .. } = package;
            mistakes.push(format!("dependencies: {name}@{version}: licence `{text}` is not allowed by deny.toml"));
        }
    }
    let unused = allow.iter().filter(|allowed| !needed.contains(allowed.as_str()));
    mistakes.extend(unused.map(|one| format!("dependencies: deny.toml allows the licence {one}, which nothing has")));
    mistakes
}

fn duplicates(skip: &[Skip], packages: &[&Package]) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let mut mistakes = Vec::new();
    for (name, versions) in &versions {
        let is_skipped = |version: &&&str| skip.iter().any(|skip| skip.is_of(name, version));
        let left: Vec<&&str> = versions.iter().filter(|version| !is_skipped(version)).collect();
        if left.len() > 1 {
            mistakes.push(format!("dependencies: {name} is there more than once: {left:?}"));
        }
    }
    for skip in skip {
        let is_there = |(name, versions): (&&str, &Vec<&str>)| versions.iter().any(|version| skip.is_of(name, version));
        if !versions.iter().any(is_there) {
            mistakes.push(format!("dependencies: deny.toml skips {}, which is there once or not at all", skip.name));
        }
    }
    mistakes
}

/// deny.toml, as far as it is checked here.
#[derive(Debug, Deserialize)]
struct Deny {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    skip: Vec<Skip>,
}

/// One of two versions of a crate.
#[derive(Debug, Deserialize)]
struct Skip {
    /// `name@version`
    #[serde(rename = "crate")]
    name: String,
}

impl Skip {
    fn is_of(&self, name: &str, version: &str) -> bool {
        self.name.split_once('@') == Some((name, version))
    }
}

/// What `cargo metadata` says, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    /// None for what is in the workspace.
    source: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(packages: &[(&str, &str, &str)], source: &str) -> Vec<String> {
        let deny = "graph.targets = []\nlicenses.allow = [\"MIT\", \"ISC\"]\n\
                    bans.skip = [{ crate = \"old@1.0.0\", reason = \"a test\" }]";
        let mut packages: Vec<Package> = packages
            .iter()
            .map(|(name, version, license)| Package {
                id: format!("{name} {version}"),
                name: (*name).to_owned(),
                version: (*version).to_owned(),
                license: Some((*license).to_owned()),
                source: Some(source.to_owned()),
            })
            .collect();
        let nodes = packages.iter().map(|package| Node { id: package.id.clone() }).collect();
        // On another platform alone.
        packages.push(Package {
            id: "w".to_owned(),
            name: "w".to_owned(),
            version: "1.0.0".to_owned(),
            license: None,
            source: None,
        });
        judge(&toml::from_str(deny).expect("TOML"), &Metadata { packages, resolve: Resolve { nodes } })
    }

    const GOOD: [(&str, &str, &str); 3] =
        [("old", "1.0.0", "MIT OR GPL-3.0"), ("old", "2.0.0", "MIT/Apache-2.0"), ("b", "1.0.0", "ISC AND MIT")];

    #[test]
    fn what_is_allowed_is_no_mistake() {
        assert!(mistakes(&GOOD, "registry+x").is_empty());
    }

    #[test]
    fn licences_duplicates_and_sources_are_found() {
        let mut bad = GOOD.to_vec();
        bad[1] = ("old", "2.0.0", "GPL-3.0-only");
        bad.extend([("b", "2.0.0", "MIT"), ("c", "1.0.0", "MIT AND Apache-2.0 WITH LLVM-exception")]);
        let found = mistakes(&bad, "git+x");
        for expected in [
            "dependencies: old@2.0.0: licence `GPL-3.0-only` is not allowed by deny.toml",
            "dependencies: c@1.0.0: licence `MIT AND Apache-2.0 WITH LLVM-exception` is not allowed by deny.toml",
            "dependencies: b is there more than once: [\"1.0.0\", \"2.0.0\"]",
            "dependencies: not from one registry: {\"git+x\"}",
        ] {
            assert!(found.iter().any(|line| line == expected), "{expected}\n{found:#?}");
        }
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn what_nothing_needs_any_more_is_found() {
        let found = mistakes(&[("old", "1.0.0", "MIT")], "registry+x");
        assert_eq!(
            found,
            [
                "dependencies: deny.toml allows the licence ISC, which nothing has",
                "dependencies: deny.toml skips old@1.0.0, which is there once or not at all"
            ]
        );
    }
}
