//! What may be only once: a certificate's name, a guest in a certificate, a path in a guest.
//!
//! Seen while reading and not afterwards, so that it is found also in entries that have other problems.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
};

use pinion_proto::{
    id::CertificateName,
    spec::{FileSpec, GuestPath, Part},
};

use super::{GuestRef, fields::Fields, node::Node};

/// Everything seen so far, with the byte offset where it was first.
#[derive(Default)]
pub(super) struct Seen {
    certificates: RefCell<HashMap<CertificateName, usize>>,
    /// Of the certificate that is being read.
    guests: RefCell<HashMap<GuestRef, usize>>,
    paths: RefCell<HashMap<GuestRef, HashMap<GuestPath, usize>>>,
}

impl Seen {
    /// Notes it if another certificate has this name.
    pub(super) fn certificate(&self, node: Node<'_>, name: &CertificateName) {
        if let Some(first) = note(&mut self.certificates.borrow_mut(), name, node.at()) {
            let line = node.findings.line(first, node.at());
            node.problem(format_args!("`{name}` is already the name of the certificate on {line}: rename one"));
        }
    }

    /// From here on guests belong to another certificate.
    pub(super) fn next_certificate(&self) {
        self.guests.borrow_mut().clear();
    }

    /// Notes it if the certificate has another placement in this guest.
    pub(super) fn guest(&self, placement: &Fields<'_>, guest: &GuestRef) {
        let field = guest_field(guest);
        if let Some(first) = note(&mut self.guests.borrow_mut(), guest, placement.at(field)) {
            let line = placement.line(first, placement.at(field));
            placement.problem_with(
                field,
                format_args!(
                    "{guest} has this certificate already, on {line}: a guest can have each certificate once; \
                     make another certificate entry with its own name for the second"
                ),
            );
        }
    }

    /// Notes it if two parts would be written to one file.
    pub(super) fn paths(&self, placement: &Fields<'_>, guest: &GuestRef, files: &BTreeMap<Part, FileSpec>) {
        let mut all = self.paths.borrow_mut();
        for (part, path) in files.iter().filter_map(|(part, file)| Some((part, file.path.as_ref()?))) {
            let seen = all.entry(guest.clone()).or_default();
            let at = placement.at("files");
            if let Some(first) = note(seen, path, at) {
                let what = if first == at {
                    "by another part of this placement".to_owned()
                } else {
                    format!("by the files on {}", placement.line(first, at))
                };
                placement.problem_with_part(
                    part.as_str(),
                    format_args!("{path} is already used {what}: give one of them another path"),
                );
            }
        }
    }
}

/// Notes a value; where it was first, if it was.
fn note<K: Clone + Eq + std::hash::Hash>(seen: &mut HashMap<K, usize>, key: &K, at: usize) -> Option<usize> {
    if let Some(first) = seen.get(key) {
        return Some(*first);
    }
    seen.insert(key.clone(), at);
    None
}

fn guest_field(guest: &GuestRef) -> &'static str {
    match guest {
        GuestRef::Host => "host",
        GuestRef::Vmid(_) | GuestRef::Name(_) => "guest",
    }
}
