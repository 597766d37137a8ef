//! The new manifest as text: the fields in the order of docs/manifest.md, and the same bytes each time.

use std::collections::BTreeMap;

use pinion_proto::{
    id::{CertificateName, Guest},
    names::SubjectName,
    printable,
    spec::{Account, FileMode, FileSpec, GuestPath, Part, PlainName, Reload},
};
use serde::Serialize;

use super::super::VERSION;

/// The whole file.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    version: u32,
    defaults: Defaults,
    certificates: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Defaults {
    issuer: PlainName,
    duration: &'static str,
}

/// A certificate.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    pub(super) name: CertificateName,
    pub(super) common_name: Plain,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) sans: Vec<Plain>,
    pub(super) placements: Vec<Place>,
}

/// One of its placements.
#[derive(Debug, Serialize)]
pub(super) struct Place {
    #[serde(skip_serializing_if = "Option::is_none")]
    guest: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recipe: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sans: Option<Vec<Plain>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<Part, File>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reload: Option<Reloads>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct File {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<GuestPath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<FileMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Account>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Account>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Reloads {
    One(Reload),
    Several(Vec<Reload>),
}

/// A name as people write it; one that could be taken for another kind has its kind before it.
#[derive(Debug, Serialize)]
pub(super) struct Plain(String);

impl From<&SubjectName> for Plain {
    fn from(name: &SubjectName) -> Self {
        let plain = name.plain();
        let is_read_so = plain.parse::<SubjectName>().is_ok_and(|read| read == *name);
        Self(if is_read_so { plain } else { name.to_string() })
    }
}

impl Place {
    /// A placement in a guest or on the host.
    pub(super) fn new(guest: Guest, files: &BTreeMap<Part, FileSpec>, mut reloads: Vec<Reload>) -> Self {
        let (guest, host) = match guest {
            Guest::Host => (None, Some(true)),
            Guest::Vmid(vmid) => (Some(vmid.number()), None),
        };
        let file = |spec: &FileSpec| {
            let FileSpec { path, mode, owner, group, .. } = spec.clone();
            File { path, mode, owner, group }
        };
        let reload = match reloads.len() {
            0 => None,
            1 => reloads.pop().map(Reloads::One),
            _ => Some(Reloads::Several(reloads)),
        };
        let files = files.iter().map(|(part, spec)| (*part, file(spec))).collect();
        Self { guest, host, recipe: None, sans: None, files, reload, usage: None }
    }
}

impl Document {
    /// A manifest whose certificates this issuer signs.
    pub(super) fn new(issuer: PlainName, certificates: Vec<Entry>) -> Self {
        // What the old scripts asked for.
        Self { version: VERSION, defaults: Defaults { issuer, duration: "30d" }, certificates }
    }

    /// The file's text.
    ///
    /// # Errors
    /// It cannot be written as JSON, which is a bug.
    pub(super) fn text(&self) -> serde_json::Result<String> {
        let pretty = serde_json::to_string_pretty(self)?;
        let mut text = String::with_capacity(pretty.len() + 1);
        for line in pretty.lines() {
            text += &printable::json(line);
            text.push('\n');
        }
        Ok(text)
    }
}
