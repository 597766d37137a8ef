//! `.vmlist`: the guests of all nodes, by the names of their configurations.
//!
//! Answers: which guests are there, and since which version? Invariant: as in pve-cluster's `status.c`. The versions count up
//! at each write and each rename of a configuration, are this server's own, and begin anew with it; without guests there is no
//! `ids`.

use std::{collections::BTreeMap, fmt::Write as _};

use super::names::GuestPath;

/// The list, and how often it has changed.
#[derive(Debug, Default)]
pub(super) struct Guests {
    version: u64,
    counter: u64,
    listed: BTreeMap<u32, Listed>,
}

#[derive(Debug)]
struct Listed {
    node: String,
    kind: &'static str,
    version: u64,
}

impl Guests {
    /// The list as a server begins with it.
    pub(super) fn of<'p>(paths: impl Iterator<Item = GuestPath<'p>>) -> Self {
        let mut guests = Self::default();
        paths.for_each(|path| guests.register(path));
        guests.version = 1;
        guests
    }

    /// Its configuration was written.
    pub(super) fn register(&mut self, path: GuestPath<'_>) {
        self.version += 1;
        self.counter += 1;
        let listed = Listed { node: path.node.to_owned(), kind: path.kind, version: self.counter };
        self.listed.insert(path.vmid, listed);
    }

    /// Its configuration has gone.
    pub(super) fn forget(&mut self, vmid: u32) {
        self.version += 1;
        self.listed.remove(&vmid);
    }

    /// Whether the number belongs to a guest of another kind or node.
    pub(super) fn is_elsewhere(&self, path: GuestPath<'_>) -> bool {
        self.listed.get(&path.vmid).is_some_and(|listed| listed.node != path.node || listed.kind != path.kind)
    }

    /// What `.version` has of it.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The file's text.
    pub(super) fn text(&self) -> String {
        let version = self.version;
        if self.listed.is_empty() {
            return format!("{{\n\"version\": {version}\n\n}}\n");
        }
        let mut ids = String::new();
        for (vmid, Listed { node, kind, version }) in &self.listed {
            let comma = if ids.is_empty() { "" } else { ",\n" };
            let line =
                format!("{comma}\"{vmid}\": {{ \"node\": \"{node}\", \"type\": \"{kind}\", \"version\": {version} }}");
            ids.write_str(&line).expect("a String takes everything");
        }
        format!("{{\n\"version\": {version},\n\"ids\": {{\n{ids}}}\n\n}}\n")
    }
}
