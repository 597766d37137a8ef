//! Entries with `"watch": true`: certificates that somebody else renews, and where services show them.

use std::collections::BTreeMap;

use pinion_proto::{content::Content, spec::Probe};

use super::{
    Certificate, Placement,
    common::{Context, guest},
    fields::Fields,
    node::Node,
    services,
};

/// An element of `certificates` whose expiry alone is watched.
pub(super) fn certificate(node: Node<'_>, context: &Context<'_>) -> Option<Certificate> {
    let what =
        "an entry with \"watch\": true, which has a \"name\" and \"placements\" and no more: somebody else renews it";
    let fields = Fields::of(node, what, &["name", "watch", "placements"])?;
    let name = fields.required("name", |n| {
        let name = n.parsed("a name in quotes")?;
        context.seen.certificate(n, &name);
        Some(name)
    });
    context.seen.next_certificate();
    let placements = fields.required("placements", |n| n.each("a list of placements", |n| placement(n, context)));
    Some(Certificate { name: name?, issuer: None, content: Content::Watched, placements: placements? })
}

fn placement(node: Node<'_>, context: &Context<'_>) -> Option<Placement> {
    let what = "a place to watch: an object with a \"guest\" and a \"probe\"";
    let fields = Fields::of(node, what, &["guest", "host", "probe"])?;
    let guest = guest(&fields);
    if let Some(guest) = &guest {
        context.seen.guest(&fields, guest);
    }
    let probes = fields.required("probe", services::probes);
    if probes.as_ref().is_some_and(|probes| probes.contains(&Probe::Nothing)) {
        fields.problem_with(
            "probe",
            "there is nothing to watch without a \"probe\" such as {\"connect\": \"127.0.0.1:443\"}",
        );
    }
    if let Some(probes) = &probes
        && let Some(unit) = services::unknown_unit(&[], probes)
    {
        fields.problem_with(
            "probe",
            format_args!("`{unit}` is a \"unit\" to restart, but what is watched is never restarted: remove it"),
        );
    }
    let (probe, more_probes) = services::first(probes);
    Some(Placement {
        guest: guest?,
        own_names: None,
        recipe: None,
        files: BTreeMap::new(),
        layout: None,
        validate: None,
        reload: None,
        more_reloads: Vec::new(),
        probe: Some(probe?),
        more_probes,
        window: None,
        requires_mount: None,
        usage: None,
        adopt: false,
        purge: false,
    })
}
