//! Entries with `"trust": true`: an issuer's roots, and where they go.

use std::collections::BTreeMap;

use pinion_proto::{
    content::Content,
    spec::{FileSpec, Part, PlainName},
};

use super::{
    Certificate, Placement,
    common::{Context, guest, issuer},
    fields::Fields,
    node::Node,
    overrides, services, window,
};

/// An element of `certificates` that is about roots.
pub(super) fn roots(node: Node<'_>, context: &Context<'_>) -> Option<Certificate> {
    let what = "an entry with \"trust\": true, which has a \"name\", an \"issuer\" and \"placements\"";
    let fields = Fields::of(node, what, &["name", "trust", "issuer", "placements"])?;
    let name = fields.required("name", |n| {
        let name = n.parsed("a name in quotes")?;
        context.seen.certificate(n, &name);
        Some(name)
    });
    let issuer = fields.or("issuer", context.defaults.issuer.clone(), issuer);
    if let Some(issuer) = issuer.as_ref().filter(|issuer| context.without_roots.contains(*issuer)) {
        fields.problem_with(
            "issuer",
            format_args!(
                "issuer `{issuer}` does not say which roots its certificates end at, so Pinion cannot place them: name \
                 another issuer, or install its roots yourself and remove this entry"
            ),
        );
    }
    context.seen.next_certificate();
    let placements = fields.required("placements", |n| n.each("a list of placements", |n| placement(n, context)));
    Some(Certificate { name: name?, issuer: Some(issuer?), content: Content::Roots, placements: placements? })
}

fn placement(node: Node<'_>, context: &Context<'_>) -> Option<Placement> {
    let fields = Fields::of(
        node,
        "a placement of roots: an object",
        &["guest", "host", "recipe", "files", "layout", "validate", "reload", "window", "requires_mount", "purge"],
    )?;
    let guest = guest(&fields);
    if let Some(guest) = &guest {
        context.seen.guest(&fields, guest);
    }
    let recipe = fields.optional("recipe", |n| n.parsed::<PlainName>("a recipe's name"));
    let has_recipe = fields.has("recipe");
    let files = fields.or("files", BTreeMap::new(), |n| files(n, !has_recipe));
    if let (Some(guest), Some(files)) = (&guest, &files) {
        context.seen.paths(&fields, guest, files);
    }
    if !has_recipe && files.as_ref().is_some_and(BTreeMap::is_empty) {
        fields.problem("roots need a \"recipe\" such as \"ca-certificates\", or a file \"ca\" with a path");
    }
    let layout = fields.optional("layout", |n| n.parsed("`symlink` or `copy`"));
    let validate = fields.optional("validate", overrides::validate);
    let reloads = fields.optional("reload", services::reloads);
    let window = fields.optional("window", |n| window::read(n, context.local));
    let requires_mount = fields.optional("requires_mount", overrides::mount_point);
    let purge = fields.or("purge", false, |n| n.boolean());
    let (reload, more_reloads) = services::first(reloads?);
    Some(Placement {
        guest: guest?,
        own_names: None,
        recipe: recipe?,
        files: files?,
        layout: layout?,
        validate: validate?,
        reload,
        more_reloads,
        probe: None,
        more_probes: Vec::new(),
        window: window?,
        requires_mount: requires_mount?,
        usage: None,
        adopt: false,
        purge: purge?,
    })
}

fn files(node: Node<'_>, path_needed: bool) -> Option<BTreeMap<Part, FileSpec>> {
    let files = overrides::files(node, path_needed)?;
    let mut whole = true;
    for part in files.keys().filter(|part| **part != Part::Ca) {
        node.problem(format_args!("an entry for roots may have only a file \"ca\", but this has \"{part}\""));
        whole = false;
    }
    whole.then_some(files)
}
