//! The file as a whole: version first, then defaults, then certificates.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use jsonc_parser::ast::Value;
use pinion_proto::spec::PlainName;

use super::{
    DEFAULT_DURATION, DEFAULT_ISSUER, Defaults, Manifest, VERSION, document, entries,
    entries::Context,
    errors::ManifestErrors,
    fields::Fields,
    length,
    node::{Findings, Node, Path},
    uniqueness::Seen,
};

/// Reads a manifest; `local` is the time zone of windows that name none, and issuers `without_roots` have none to place.
pub(super) fn read(
    bytes: &[u8],
    local: &TimeZone,
    without_roots: &BTreeSet<PlainName>,
) -> Result<Manifest, ManifestErrors> {
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
            "a list at the top is the older format without a version: write {\"version\": 1, \"certificates\": […]}; \
             docs/manifest.md describes the entries",
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
    let issuer = fields.or("issuer", fallback.issuer.clone(), entries::issuer);
    let duration = fields.or("duration", fallback.duration, length::duration);
    Some(Defaults { issuer: issuer?, duration: duration? })
}
