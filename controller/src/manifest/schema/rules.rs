//! What the schema's types cannot say: which fields are required, and which exclude others.

use schemars::Schema;
use serde_json::json;

/// Fields are required or absent, never `null`, which is what an `Option` would allow.
pub(super) fn needs(fields: &'static [&'static str]) -> impl FnMut(&mut Schema) {
    move |schema| {
        schema.remove("required");
        if !fields.is_empty() {
            schema.insert("required".to_owned(), json!(fields));
        }
    }
}

/// A certificate, an issuer's roots (`trust`), or what is only watched (`watch`).
pub(super) fn one_of_three_kinds(schema: &mut Schema) {
    needs(&["name", "placements"])(schema);
    let none_of = |fields: &[&str]| {
        fields.iter().map(|field| ((*field).to_owned(), json!(false))).collect::<serde_json::Map<_, _>>()
    };
    let is = |kind: &str| json!({ "required": [kind], "properties": { (kind): { "const": true } } });
    let to_write = json!({ "anyOf": [{ "required": ["recipe"] }, { "required": ["files"], "properties": { "files": {
        "minProperties": 1, "additionalProperties": { "required": ["path"] } } } }] });
    let mut roots = none_of(&["common_name", "sans", "key", "duration", "renew_before", "shared", "watch"]);
    let files = none_of(&["cert", "chain", "fullchain", "key", "combined", "der", "pkcs12", "jks", "encrypted_key"]);
    let mut placement = none_of(&["sans", "probe"]);
    placement.insert("files".to_owned(), json!({ "properties": files }));
    roots.insert("placements".to_owned(), json!({ "items": { "properties": placement, "allOf": [to_write] } }));
    let mut watched =
        none_of(&["common_name", "sans", "key", "duration", "renew_before", "issuer", "shared", "usage", "trust"]);
    let mut placement = none_of(&[
        "sans",
        "recipe",
        "files",
        "layout",
        "validate",
        "reload",
        "window",
        "requires_mount",
        "usage",
        "adopt",
        "purge",
    ]);
    placement.insert("probe".to_owned(), json!({ "not": { "const": "nothing" } }));
    watched.insert("placements".to_owned(), json!({ "items": { "properties": placement, "required": ["probe"] } }));
    schema.insert("if".to_owned(), is("watch"));
    schema.insert("then".to_owned(), json!({ "properties": watched }));
    schema.insert(
        "else".to_owned(),
        json!({
            "if": is("trust"),
            "then": { "properties": roots },
            "else": { "required": ["common_name"], "properties": { "placements": { "items": to_write } } },
        }),
    );
}

/// A placement is in a guest or on the host.
pub(super) fn one_place(schema: &mut Schema) {
    let has = |field: &str| json!({ "required": [field] });
    schema.insert("oneOf".to_owned(), json!([has("guest"), has("host")]));
}

/// A window says when it opens and closes, or on which days.
pub(super) fn both_ends_or_days(schema: &mut Schema) {
    schema.insert("dependentRequired".to_owned(), json!({ "from": ["to"], "to": ["from"] }));
    schema.insert("minProperties".to_owned(), json!(1));
    schema.insert("anyOf".to_owned(), json!([{ "required": ["from"] }, { "required": ["days"] }]));
}
