//! The file as a whole: version first, then defaults, then certificates.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use jsonc_parser::ast::Value;
use pinion_proto::{id::CertificateName, spec::PlainName};

use super::{
    certificate::Certificate,
    common::{self, Context},
    defaults::{DEFAULT_DURATION, DEFAULT_ISSUER, Defaults},
    document, entries,
    errors::ManifestErrors,
    fields::Fields,
    length,
    node::{Findings, Node, Path},
    uniqueness::Seen,
};

/// The version of the manifest's format that is read here.
pub const VERSION: u32 = 1;

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
        self.certificates.iter().map(|certificate| &certificate.issuer).collect()
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
        read(bytes, local, &BTreeSet::new())
    }

    /// As [`Self::parse`], where these issuers cannot say which roots they have: an entry for their roots is a mistake.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse_for(bytes: &[u8], without_roots: &BTreeSet<PlainName>) -> Result<Self, ManifestErrors> {
        read(bytes, &TimeZone::system(), without_roots)
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
fn read(bytes: &[u8], local: &TimeZone, without_roots: &BTreeSet<PlainName>) -> Result<Manifest, ManifestErrors> {
    let text = document::text(bytes)?;
    let tree = document::tree(text)?;
    let findings = Findings::new(text);
    let node = Node { value: &tree, path: &Path::Root, findings: &findings };
    let manifest = if version(node) { manifest(node, local, without_roots) } else { None };
    match (findings.into_errors(), manifest) {
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

fn manifest(node: Node<'_>, local: &TimeZone, without_roots: &BTreeSet<PlainName>) -> Option<Manifest> {
    let fields = Fields::of(node, "the manifest: an object", &["$schema", "version", "defaults", "certificates"])?;
    // Editors find the schema by it; to Pinion it says nothing.
    let schema = fields.optional("$schema", |n| n.text("the address of a schema").map(drop));
    let version = fields.required("version", |_| Some(()));
    let issuer = DEFAULT_ISSUER.parse().expect("the constant is a plain name");
    let fallback = Defaults { issuer, duration: DEFAULT_DURATION };
    let defaults = fields.or("defaults", fallback.clone(), |n| defaults(n, &fallback));
    let seen = Seen::default();
    let context = Context { defaults: defaults.as_ref().unwrap_or(&fallback), local, without_roots, seen: &seen };
    let certificates =
        fields.required("certificates", |n| n.each("a list of certificates", |n| entries::certificate(n, &context)));
    schema?;
    version?;
    Some(Manifest { certificates: certificates?, defaults: defaults? })
}

fn defaults(node: Node<'_>, fallback: &Defaults) -> Option<Defaults> {
    let fields = Fields::of(node, "an object such as {\"issuer\": \"step-ca\"}", &["issuer", "duration"])?;
    let issuer = fields.or("issuer", fallback.issuer.clone(), common::issuer);
    let duration = fields.or("duration", fallback.duration, length::duration);
    Some(Defaults { issuer: issuer?, duration: duration? })
}
