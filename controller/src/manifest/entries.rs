//! Certificates and placements, from the file's values to checked types.

use jsonc_parser::ast::Value;
use pinion_proto::{
    content::Content,
    key::{KeyPolicy, Rotation},
    length::Length,
    names::{SubjectName, SubjectNames},
    spec::{PlainName, Usage},
};

use super::{
    Certificate, LeafPolicy, OwnNames, Placement, SpecHash,
    common::{Context, guest, issuer},
    fields::Fields,
    length,
    node::Node,
    overrides, services, trust, watch, window,
};

/// The longest common name (RFC 5280 appendix A.1, ub-common-name), in characters.
const MAX_COMMON_NAME: usize = 64;

/// One element of `certificates`.
pub(super) fn certificate(node: Node<'_>, context: &Context<'_>) -> Option<Certificate> {
    match (says(node, "trust"), says(node, "watch")) {
        (true, true) => {
            node.problem("an entry places an issuer's roots or watches a certificate: remove \"trust\" or \"watch\"");
            return None;
        }
        (true, false) => return trust::roots(node, context),
        (false, true) => return watch::certificate(node, context),
        (false, false) => {}
    }
    let fields = Fields::of(
        node,
        "a certificate: an object",
        &[
            "name",
            "common_name",
            "sans",
            "key",
            "duration",
            "renew_before",
            "issuer",
            "shared",
            "usage",
            "trust",
            "watch",
            "placements",
        ],
    )?;
    for kind in ["trust", "watch"] {
        fields.or(kind, false, |n| n.boolean());
    }
    let name = fields.required("name", |n| {
        let name = n.parsed("a name in quotes")?;
        context.seen.certificate(n, &name);
        Some(name)
    });
    let common_name = fields.required("common_name", common_name);
    let sans = fields.optional("sans", sans);
    let key = fields.or("key", KeyPolicy::default(), key);
    let duration = fields.or("duration", context.defaults.duration, length::duration);
    let renew_before = fields.optional("renew_before", length::renew_before);
    let issuer = fields.or("issuer", context.defaults.issuer.clone(), issuer);
    let shared = fields.or("shared", false, |n| n.boolean());
    let usage = fields.optional("usage", usage);

    if let (Some(duration), Some(Some(before))) = (duration, renew_before)
        && before >= duration
    {
        fields.problem_with(
            "renew_before",
            format_args!(
                "{} before the end would be before the beginning, because the duration is {}: use less",
                Length(before),
                Length(duration)
            ),
        );
    }
    let names = match (&common_name, sans) {
        (Some(common), Some(sans)) => names(common, sans.unwrap_or_default(), |e| fields.problem_with("sans", e)),
        _ => None,
    };
    context.seen.next_certificate();
    let spec_hash = |names: Option<&SubjectNames>| {
        Some(SpecHash::of(common_name.as_ref()?, names?, key?.algorithm, issuer.as_ref()?))
    };
    let common = Common {
        common_name: common_name.as_ref(),
        shared: shared == Some(true),
        usage: usage.flatten(),
        spec_hash: &spec_hash,
    };
    let placements =
        fields.required("placements", |n| n.each("a list of placements", |n| placement(n, context, &common)));
    let policy = LeafPolicy {
        issuer: issuer.clone()?,
        spec_hash: spec_hash(names.as_ref())?,
        common_name: common_name?,
        names: names?,
        key: key?,
        duration: duration?,
        renew_before: renew_before?,
        shared: shared?,
    };
    Some(Certificate { name: name?, issuer: Some(issuer?), content: Content::Leaf(policy), placements: placements? })
}

/// Whether an object has this field and it is true: then it is of another kind, with other fields.
fn says(node: Node<'_>, field: &str) -> bool {
    let Value::Object(object) = node.value else { return false };
    object.get(field).is_some_and(|field| matches!(&field.value, Value::BooleanLit(yes) if yes.value))
}

/// What a certificate's placements have in common; none is what could not be read.
struct Common<'c> {
    common_name: Option<&'c SubjectName>,
    shared: bool,
    /// Of placements that do not say it themselves.
    usage: Option<Usage>,
    /// Of these names.
    spec_hash: &'c dyn Fn(Option<&SubjectNames>) -> Option<SpecHash>,
}

/// One element of `placements`.
fn placement(node: Node<'_>, context: &Context<'_>, common: &Common<'_>) -> Option<Placement> {
    let fields = Fields::of(
        node,
        "a placement: an object",
        &[
            "guest",
            "host",
            "sans",
            "recipe",
            "files",
            "layout",
            "validate",
            "reload",
            "probe",
            "window",
            "requires_mount",
            "usage",
            "adopt",
            "purge",
        ],
    )?;
    let guest = guest(&fields);
    if let Some(guest) = &guest {
        context.seen.guest(&fields, guest);
    }
    let recipe = fields.optional("recipe", |n| n.parsed::<PlainName>("a recipe's name"));
    let has_recipe = fields.has("recipe");
    let files = fields.or("files", Default::default(), |n| overrides::files(n, !has_recipe));
    if let (Some(guest), Some(files)) = (&guest, &files) {
        context.seen.paths(&fields, guest, files);
    }
    if !has_recipe && files.as_ref().is_some_and(std::collections::BTreeMap::is_empty) {
        fields.problem("a placement needs a \"recipe\", or \"files\" with paths for the certificate");
    }
    let own = fields.optional("sans", sans);
    if common.shared && fields.has("sans") {
        fields.problem_with(
            "sans",
            "a shared certificate is the same in every place: put all names into the certificate's own \"sans\"",
        );
    }
    let layout = fields.optional("layout", |n| n.parsed("`symlink` or `copy`"));
    let validate = fields.optional("validate", overrides::validate);
    let reloads = fields.optional("reload", services::reloads);
    let probes = fields.optional("probe", services::probes);
    if let (Some(Some(reloads)), Some(Some(probes))) = (&reloads, &probes)
        && let Some(unit) = services::unknown_unit(reloads, probes)
    {
        fields.problem_with(
            "probe",
            format!("`{unit}` is the \"unit\" of a probe, but none of the units in \"reload\": name one of those"),
        );
    }
    let window = fields.optional("window", |n| window::read(n, context.local));
    let requires_mount = fields.optional("requires_mount", overrides::mount_point);
    let usage = fields.optional("usage", usage);
    let adopt = fields.or("adopt", true, |n| n.boolean());
    let purge = fields.or("purge", false, |n| n.boolean());
    let own_names = match own? {
        Some(own) => {
            let own = common.common_name.and_then(|common| names(common, own, |e| fields.problem_with("sans", e)));
            Some(OwnNames { spec_hash: (common.spec_hash)(own.as_ref())?, names: own? })
        }
        None => None,
    };
    let ((reload, more_reloads), (probe, more_probes)) = (services::first(reloads?), services::first(probes?));
    Some(Placement {
        guest: guest?,
        own_names,
        recipe: recipe?,
        files: files?,
        layout: layout?,
        validate: validate?,
        reload,
        more_reloads,
        probe,
        more_probes,
        window: window?,
        requires_mount: requires_mount?,
        usage: usage?.or(common.usage),
        adopt: adopt?,
        purge: purge?,
    })
}

fn usage(node: Node<'_>) -> Option<Usage> {
    node.parsed("`server`, `client` or `both`")
}

fn common_name(node: Node<'_>) -> Option<SubjectName> {
    let name = name(node)?;
    let length = name.plain().chars().count();
    if length > MAX_COMMON_NAME {
        node.problem(format_args!(
            "a common name has at most {MAX_COMMON_NAME} characters, but this has {length}: put it into \"sans\" and \
             choose a shorter one"
        ));
        return None;
    }
    Some(name)
}

/// A name, in the spelling that CAs give it.
fn name(node: Node<'_>) -> Option<SubjectName> {
    let name: SubjectName = node.parsed("a name in quotes")?;
    name.normal().map_err(|error| node.problem(error)).ok()
}

fn sans(node: Node<'_>) -> Option<Vec<SubjectName>> {
    node.each("a list of names", name)
}

fn names(common: &SubjectName, mut sans: Vec<SubjectName>, fail: impl Fn(String)) -> Option<SubjectNames> {
    sans.push(common.clone());
    SubjectNames::try_from(sans).map_err(|error| fail(error.to_string())).ok()
}

fn key(node: Node<'_>) -> Option<KeyPolicy> {
    let fields = Fields::of(node, "an object such as {\"algorithm\": \"ecdsa-p256\"}", &["algorithm", "rotation"])?;
    let policy = KeyPolicy::default();
    let algorithm = fields.or("algorithm", policy.algorithm, |n| n.parsed("a key algorithm such as \"ecdsa-p256\""));
    let rotation = fields.or("rotation", policy.rotation, |n| match n.text("\"always\" or \"never\"")? {
        "always" => Some(Rotation::Always),
        "never" => Some(Rotation::Never),
        other => {
            let other = pinion_proto::id::shown(other);
            n.problem(format_args!("`{other}` is not a rotation: use always or never"));
            None
        }
    });
    Some(KeyPolicy { algorithm: algorithm?, rotation: rotation? })
}
