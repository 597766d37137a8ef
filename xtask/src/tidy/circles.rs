//! Circles of files: each of them needs the next one, and the last one the first.
//!
//! Answers: which files can only be understood together? A file needs another one where it names something that is defined
//! there; a re-export alone is no need, and methods that are called on a value are not seen.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::{algo::tarjan_scc, graph::DiGraph};

use super::crates::{Crates, Found};

/// The files of each circle, in order; the largest circle first.
pub(super) fn circles(crates: &Crates<'_>) -> Vec<Vec<String>> {
    let needs = needs(crates);
    let mut graph = DiGraph::<&str, ()>::new();
    let mut nodes = BTreeMap::new();
    let files: BTreeSet<&str> = needs.iter().flat_map(|(user, used)| [*user, *used]).collect();
    for file in files {
        nodes.insert(file, graph.add_node(file));
    }
    for (user, used) in &needs {
        graph.update_edge(nodes[user], nodes[used], ());
    }
    let mut circles: Vec<Vec<String>> = tarjan_scc(&graph)
        .into_iter()
        .filter(|circle| circle.len() > 1)
        .map(|circle| {
            let mut files: Vec<String> = circle.into_iter().map(|node| graph[node].to_owned()).collect();
            files.sort();
            files
        })
        .collect();
    circles.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
    circles
}

/// Which file names something of which other one.
pub(super) fn needs<'t>(crates: &Crates<'t>) -> BTreeSet<(&'t str, &'t str)> {
    let mut needs = BTreeSet::new();
    for module in crates.product() {
        let scope = crates.scope(module);
        let imports = scope
            .imports
            .iter()
            .filter(|import| !import.is_public || scope.code.words.contains_key(&import.name))
            .map(|import| &import.path);
        for path in imports.chain(&scope.code.paths) {
            let Some(Found::Item(defining, _)) = crates.resolve(module, path) else { continue };
            let (user, used) = (crates.file(module), crates.file(defining));
            if user.path != used.path && !crates.modules[defining].is_test && !used.is_generated() {
                needs.insert((user.path.as_str(), used.path.as_str()));
            }
        }
    }
    needs
}
