//! The manifest as a whole: of each document the version first, then the defaults of all, then their certificates.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use jsonc_parser::ast::Value;
use pinion_proto::{id::CertificateName, spec::PlainName};

use super::{
    certificate::Certificate,
    common::{self, Context},
    defaults::{DEFAULT_DURATION, DEFAULT_ISSUER, Defaults},
    document::VERSION,
    entries,
    errors::ManifestErrors,
    fields::Fields,
    length,
    node::{Findings, MAX_PROBLEMS, Node, Path},
    texts::{Document, Joined},
    uniqueness::Seen,
};

/// The desired state: every certificate, and where it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// What certificates that say nothing of their own take; already applied to them.
    pub defaults: Defaults,
    /// Every certificate, in the file's order, each name once.
    pub certificates: Vec<Certificate>,
}

impl Manifest {
    /// The issuers that it names.
    #[must_use]
    pub fn issuers(&self) -> BTreeSet<&PlainName> {
        self.certificates.iter().filter_map(|certificate| certificate.issuer.as_ref()).collect()
    }

    /// Reads a manifest; windows without a time zone are in the host's.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestErrors> {
        Self::parse_in(bytes, &TimeZone::system())
    }

    /// As [`Self::parse`], with the time zone of windows that name none.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse_in(bytes: &[u8], local: &TimeZone) -> Result<Self, ManifestErrors> {
        read(&[Document { file: None, bytes }], local, &BTreeSet::new())
    }

    /// As [`Self::parse`], where these issuers cannot say which roots they have: an entry for their roots is a mistake.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse_for(bytes: &[u8], without_roots: &BTreeSet<PlainName>) -> Result<Self, ManifestErrors> {
        Self::parse_all(&[Document { file: None, bytes }], without_roots)
    }

    /// As [`Self::parse_for`], of several documents that are one manifest.
    ///
    /// # Errors
    /// Everything that is wrong with them, each problem with its file.
    pub fn parse_all(documents: &[Document<'_>], without_roots: &BTreeSet<PlainName>) -> Result<Self, ManifestErrors> {
        read(documents, &TimeZone::system(), without_roots)
    }

    /// A manifest that asks for nothing.
    #[must_use]
    pub fn empty() -> Self {
        let issuer = DEFAULT_ISSUER.parse().expect("the constant is a name");
        Self { defaults: Defaults { issuer, duration: DEFAULT_DURATION }, certificates: Vec::new() }
    }

    /// The certificate of this name.
    #[must_use]
    pub fn certificate(&self, name: &CertificateName) -> Option<&Certificate> {
        self.certificates.iter().find(|certificate| certificate.name == *name)
    }

    /// How many placements there are.
    #[must_use]
    pub fn placement_count(&self) -> usize {
        self.certificates.iter().map(|certificate| certificate.placements.len()).sum()
    }
}

/// Reads a manifest; `local` is the time zone of windows that name none, and issuers `without_roots` have none to place.
fn read(
    documents: &[Document<'_>],
    local: &TimeZone,
    without_roots: &BTreeSet<PlainName>,
) -> Result<Manifest, ManifestErrors> {
    let (joined, broken) = Joined::of(documents);
    let tree = joined.tree()?;
    let findings = Findings::new(joined.positions());
    let elements = tree.as_array().map(|list| list.elements.as_slice()).unwrap_or_default();
    let nodes: Vec<_> = elements
        .iter()
        .map(|value| Node { value, path: &Path::Root, findings: &findings })
        .filter(|node| version(*node))
        .collect();
    let manifest = manifest(&nodes, local, without_roots);
    let files = documents.iter().map(|document| document.file);
    let errors = ManifestErrors::joined(broken.into_iter().chain(findings.into_errors()), files, MAX_PROBLEMS);
    match (errors, manifest) {
        (Some(errors), _) => Err(errors),
        (None, Some(manifest)) => Ok(manifest),
        // Every reader that gives nothing has said why; this is for the one that forgot.
        (None, None) => Err(ManifestErrors::whole(1, 1, "the manifest could not be read")),
    }
}

/// Whether the rest of the file is in the format known here; says so if not.
fn version(node: Node<'_>) -> bool {
    if matches!(node.value, Value::Array(_)) {
        node.problem(
            "a list at the top is the older format without a version: `pinion manifest import phoenix FILE` makes a \
             manifest of it",
        );
        return false;
    }
    let Value::Object(object) = node.value else { return true };
    let Some(field) = object.get("version") else { return true };
    let node = Node { value: &field.value, path: &Path::Field(&Path::Root, "version"), findings: node.findings };
    match &field.value {
        Value::NumberLit(number) if number.value.parse() == Ok(VERSION) => true,
        Value::NumberLit(number) if number.value.parse::<u64>().is_ok_and(|n| n > VERSION.into()) => {
            node.problem(format_args!(
                "version {} is newer than version {VERSION}, which this pinion reads: upgrade pinion",
                number.value
            ));
            false
        }
        Value::NumberLit(number) => {
            node.problem(format_args!("{} is not a version of the manifest: write {VERSION}", number.value));
            false
        }
        _ => {
            node.expected::<()>(&format!("the number {VERSION}"));
            false
        }
    }
}

/// Reads documents as one manifest: the defaults of one are those of all.
fn manifest(nodes: &[Node<'_>], local: &TimeZone, without_roots: &BTreeSet<PlainName>) -> Option<Manifest> {
    let known = ["$schema", "version", "defaults", "certificates"];
    let documents: Vec<_> =
        nodes.iter().filter_map(|node| Fields::of(*node, "the manifest: an object", &known)).collect();
    let mut is_read = documents.len() == nodes.len();
    for fields in &documents {
        // Editors find the schema by it; to Pinion it says nothing.
        is_read &= fields.optional("$schema", |n| n.text("the address of a schema").map(drop)).is_some();
        is_read &= fields.required("version", |_| Some(())).is_some();
    }
    let issuer = DEFAULT_ISSUER.parse().expect("the constant is a plain name");
    let fallback = Defaults { issuer, duration: DEFAULT_DURATION };
    let defaults = defaults(&documents, &fallback);
    let seen = Seen::default();
    let context = Context { defaults: defaults.as_ref().unwrap_or(&fallback), local, without_roots, seen: &seen };
    let mut certificates = Vec::new();
    for fields in &documents {
        let read = fields
            .required("certificates", |n| n.each("a list of certificates", |n| entries::certificate(n, &context)));
        is_read &= read.is_some();
        certificates.extend(read.unwrap_or_default());
    }
    Some(Manifest { certificates, defaults: defaults? }).filter(|_| is_read)
}

/// The defaults of all documents together; each default may be in one of them.
fn defaults(documents: &[Fields<'_>], fallback: &Defaults) -> Option<Defaults> {
    let (mut defaults, mut is_read) = (fallback.clone(), true);
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for document in documents {
        let read = document.optional("defaults", |node| {
            let known = ["issuer", "duration"];
            let fields = Fields::of(node, "an object such as {\"issuer\": \"step-ca\"}", &known)?;
            for field in known.into_iter().filter(|field| fields.has(field)) {
                let at = fields.at(field);
                if let Some(first) = first.get(field) {
                    let line = fields.line(*first, at);
                    fields.problem_with(field, format_args!("the default for {field} is already on {line}: keep one"));
                } else {
                    first.insert(field, at);
                }
            }
            let issuer = fields.optional("issuer", common::issuer);
            let duration = fields.optional("duration", length::duration);
            defaults.issuer = issuer?.unwrap_or_else(|| defaults.issuer.clone());
            defaults.duration = duration?.unwrap_or(defaults.duration);
            Some(())
        });
        is_read &= read.is_some();
    }
    is_read.then_some(defaults)
}
