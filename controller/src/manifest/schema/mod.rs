//! The manifest's JSON Schema, from types in the shape that people write.
//!
//! Editors complete and check by it. It knows the structure and the forms of single values; what compares one
//! place with another (names twice, paths twice) only [`super::Manifest::parse`] knows.
//! The types here are never filled: the reader keeps places in the file, which serde cannot. A test holds
//! reader and schema against each other.
#![expect(dead_code, reason = "only the derived schemas of these types are used")]

mod words;

use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::json;

use words::{
    AccountText, AddressText, Algorithm, CommonName, ContainerText, Day, EndText, GuestNameText, LayoutWord, Length,
    Mode, MountPointText, Name, Nothing, PathText, ProxyProtocolWord, RotationWord, SanText, SecretMode, SecretText,
    ServerNameText, ServiceText, SignalWord, StartTlsWord, TimeText, UnitText, UsageWord,
};

/// The JSON Schema (draft 2020-12) of manifest version 1.
#[must_use]
pub fn schema() -> serde_json::Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<WrittenManifest>().to_value()
}

/// The certificates that Pinion keeps alive, and where they go.
#[derive(JsonSchema)]
#[schemars(rename = "PinionManifest", deny_unknown_fields, transform = needs(&["version", "certificates"]))]
struct WrittenManifest {
    /// The address of this schema, for editors.
    #[schemars(rename = "$schema")]
    schema: String,
    /// The version of the format.
    #[schemars(range(min = 1, max = 1))]
    version: u32,
    /// What certificates that say nothing of their own take.
    defaults: WrittenDefaults,
    /// Every certificate; each name once.
    certificates: Vec<WrittenCertificate>,
}

/// What certificates that say nothing of their own take.
#[derive(JsonSchema)]
#[schemars(rename = "Defaults", deny_unknown_fields, transform = needs(&[]))]
struct WrittenDefaults {
    /// Who signs; `embedded`, Pinion's own CA, if absent.
    issuer: Name,
    /// How long certificates should be valid; 30d if absent.
    duration: Length,
}

/// One certificate, perhaps in several places.
#[derive(JsonSchema)]
#[schemars(rename = "Certificate", deny_unknown_fields, transform = a_certificate_or_roots)]
struct WrittenCertificate {
    /// What people call it; as in `pinion status NAME`.
    name: Name,
    /// The subject's common name; always one of the names.
    common_name: CommonName,
    /// More names: DNS names, wildcards, IP addresses, URIs, e-mail addresses.
    sans: Vec<SanText>,
    /// How its keys are made.
    key: WrittenKey,
    /// How long it should be valid; a CA that allows less shortens it.
    duration: Length,
    /// How long before its end it is renewed; at two thirds of its life if absent. Less than `duration`.
    renew_before: Length,
    /// The issuer whose roots are installed.
    issuer: Name,
    /// One key in all places, which the controller makes and keeps. Otherwise each place makes its own.
    shared: bool,
    /// Which side of a connection shows it, for placements that do not say so themselves.
    usage: UsageWord,
    /// The issuer's roots are placed, and no certificate.
    trust: bool,
    /// Where it goes; each guest once.
    placements: Vec<WrittenPlacement>,
}

/// How keys are made.
#[derive(JsonSchema)]
#[schemars(rename = "Key", deny_unknown_fields, transform = needs(&[]))]
struct WrittenKey {
    /// What kind of key; `ecdsa-p256` if absent.
    algorithm: Algorithm,
    /// When it is made anew: with each certificate (`always`, if absent), or only when the algorithm changes.
    rotation: RotationWord,
}

/// A certificate in one place: `guest` or `host`, and a `recipe` or `files`.
#[derive(JsonSchema)]
#[schemars(rename = "Placement", deny_unknown_fields, transform = needs(&[]), transform = one_place_and_something_to_write)]
struct WrittenPlacement {
    /// A VMID, or a guest's name in Proxmox.
    guest: WrittenGuest,
    /// On the Proxmox host itself.
    #[schemars(extend("const" = true))]
    host: bool,
    /// Instead of the certificate's.
    sans: Vec<SanText>,
    /// How this kind of service takes its certificate, for example `nginx`.
    recipe: Name,
    /// What is written where; over the recipe's.
    files: WrittenFiles,
    /// How the files change: all at once through links, or one by one; over the recipe's.
    layout: LayoutWord,
    /// How new files are checked before the service is told; over the recipe's.
    validate: WrittenValidate,
    /// How the service is told, or a list for several services; over the recipe's.
    reload: WrittenReloads,
    /// How the agent looks at what is served, or a list, all of which must serve it; over the recipe's.
    probe: WrittenProbes,
    /// When the service may be disturbed.
    window: WrittenWindow,
    /// Where something must be mounted before the files are touched, for example `/mnt/pve/nfs`; `/` when nothing has to be,
    /// whatever the guest has noted. The guest finds out by itself if absent.
    requires_mount: MountPointText,
    /// Which side of a connection shows the certificate; over the certificate's and the recipe's.
    usage: UsageWord,
    /// Remove the files and hold nothing.
    purge: bool,
}

#[derive(JsonSchema)]
#[schemars(rename = "Guest", untagged)]
enum WrittenGuest {
    Vmid(#[schemars(range(min = 100, max = 999_999_999))] u32),
    Name(GuestNameText),
}

/// Files by what they contain, as PEM where nothing else is said.
#[derive(JsonSchema)]
#[schemars(rename = "Files", deny_unknown_fields, transform = needs(&[]))]
struct WrittenFiles {
    /// The leaf alone.
    cert: WrittenFile,
    /// The intermediates.
    chain: WrittenFile,
    /// Leaf and intermediates.
    fullchain: WrittenFile,
    /// The private key.
    key: WrittenSecretFile,
    /// The issuer's root.
    ca: WrittenFile,
    /// Leaf, intermediates and private key.
    combined: WrittenSecretFile,
    /// The leaf alone, as DER.
    der: WrittenFile,
    /// Leaf, intermediates and private key behind a password, PKCS #12.
    pkcs12: WrittenPkcs12,
    /// The same as Java's first keystore.
    jks: WrittenKeystore,
    /// The private key behind a password, PKCS #8.
    encrypted_key: WrittenKeystore,
}

#[derive(JsonSchema)]
#[schemars(rename = "Pkcs12", deny_unknown_fields, transform = needs(&[]))]
struct WrittenPkcs12 {
    /// An absolute path in the guest; absent only when the recipe has it.
    path: PathText,
    /// Octal permission bits, none for others; 0600 if neither this nor the recipe says otherwise.
    mode: SecretMode,
    /// A user's name or number.
    owner: AccountText,
    /// A group's name or number.
    group: AccountText,
    /// Where the password is, in the guest, as in `jks`.
    password_file: PathText,
    /// With the algorithms that programs of before 2021 read: triple DES and SHA-1. No, if absent.
    legacy: bool,
}

#[derive(JsonSchema)]
#[schemars(rename = "Keystore", deny_unknown_fields, transform = needs(&[]))]
struct WrittenKeystore {
    /// An absolute path in the guest; absent only when the recipe has it.
    path: PathText,
    /// Octal permission bits, none for others; 0600 if neither this nor the recipe says otherwise.
    mode: SecretMode,
    /// A user's name or number.
    owner: AccountText,
    /// A group's name or number.
    group: AccountText,
    /// Where the password is, in the guest; made there if there is none. Beside the file, with `.password` behind its name, if
    /// absent.
    password_file: PathText,
}

#[derive(JsonSchema)]
#[schemars(rename = "File", deny_unknown_fields, transform = needs(&[]))]
struct WrittenFile {
    /// An absolute path in the guest; absent only when the recipe has it.
    path: PathText,
    /// Octal permission bits; 0644 if neither this nor the recipe says otherwise.
    mode: Mode,
    /// A user's name or number.
    owner: AccountText,
    /// A group's name or number.
    group: AccountText,
}

#[derive(JsonSchema)]
#[schemars(rename = "SecretFile", deny_unknown_fields, transform = needs(&[]))]
struct WrittenSecretFile {
    /// An absolute path in the guest; absent only when the recipe has it.
    path: PathText,
    /// Octal permission bits, none for others; 0600 if neither this nor the recipe says otherwise.
    mode: SecretMode,
    /// A user's name or number.
    owner: AccountText,
    /// A group's name or number.
    group: AccountText,
}

#[derive(JsonSchema)]
#[schemars(rename = "Validate", rename_all = "lowercase")]
enum WrittenValidate {
    /// Not at all.
    Nothing,
    /// By a file in the guest's /etc/pinion/hooks.d.
    Hook(Name),
}

#[derive(JsonSchema)]
#[schemars(rename = "Reloads", untagged)]
enum WrittenReloads {
    /// Not at all.
    Nothing(Nothing),
    /// One service.
    One(WrittenReload),
    /// Several services, each once.
    More(#[schemars(length(min = 1, max = 16), extend("uniqueItems" = true))] Vec<WrittenReload>),
}

#[derive(JsonSchema)]
#[schemars(rename = "Reload", rename_all = "lowercase")]
enum WrittenReload {
    /// Reload a unit.
    Reload(UnitText),
    /// Restart a unit.
    Restart(UnitText),
    /// By a file in the guest's /etc/pinion/hooks.d.
    Hook(Name),
    /// Restart a container.
    Container(ContainerText),
    /// Send a container a signal.
    Signal(WrittenSignal),
    /// Set the file's time of change to now, for a service that watches it.
    Touch(PathText),
    /// Give a Swarm service new versions of its secrets.
    Swarm(WrittenSwarm),
}

#[derive(JsonSchema)]
#[schemars(rename = "ContainerSignal", deny_unknown_fields, transform = needs(&["container", "signal"]))]
struct WrittenSignal {
    /// Which container.
    container: ContainerText,
    /// Which signal.
    signal: SignalWord,
}

#[derive(JsonSchema)]
#[schemars(rename = "SwarmSecrets", deny_unknown_fields, transform = needs(&["service", "secrets"]))]
struct WrittenSwarm {
    /// The service's full name.
    service: ServiceText,
    /// What the service sees in /run/secrets, by what it contains.
    secrets: WrittenSecrets,
}

#[derive(JsonSchema)]
#[schemars(rename = "Secrets", deny_unknown_fields, transform = needs(&[]), extend("minProperties" = 1))]
struct WrittenSecrets {
    cert: SecretText,
    chain: SecretText,
    fullchain: SecretText,
    key: SecretText,
    ca: SecretText,
    combined: SecretText,
}

#[derive(JsonSchema)]
#[schemars(rename = "Probes", untagged)]
enum WrittenProbes {
    Nothing(Nothing),
    One(WrittenTls),
    /// All of them must serve the certificate.
    More(#[schemars(length(min = 1, max = 16), extend("uniqueItems" = true))] Vec<WrittenTls>),
}

/// A TLS handshake with the service.
#[derive(JsonSchema)]
#[schemars(rename = "TlsProbe", deny_unknown_fields, transform = needs(&["connect"]))]
struct WrittenTls {
    /// Address and port, as the guest sees the service.
    connect: AddressText,
    /// The systemd unit that serves it, where the placement notifies several.
    unit: UnitText,
    /// The name to ask for; the common name if absent.
    server_name: ServerNameText,
    /// What is spoken before TLS; nothing if absent.
    starttls: StartTlsWord,
    /// The version of HAProxy's PROXY protocol that the service expects before anything else; none if absent.
    proxy_protocol: ProxyProtocolWord,
    /// How long the service may take to come back after it was notified, at most 1h; as its recipe says if absent.
    settle: Length,
}

/// When it may be disturbed: from `from` on its `days` to the next `to`.
#[derive(JsonSchema)]
#[schemars(rename = "Window", deny_unknown_fields, transform = needs(&[]), transform = both_ends_or_days)]
struct WrittenWindow {
    /// On which it opens; every day if absent.
    #[schemars(length(min = 1))]
    days: Vec<Day>,
    /// When it opens, HH:MM.
    from: TimeText,
    /// When it closes, HH:MM or 24:00; on the next day if that is not after `from`.
    to: EndText,
    /// An IANA name, for example Europe/Berlin; the host's if absent.
    time_zone: String,
}

/// Fields are required or absent, never `null`, which is what an `Option` would allow.
fn needs(fields: &'static [&'static str]) -> impl FnMut(&mut Schema) {
    move |schema| {
        schema.remove("required");
        if !fields.is_empty() {
            schema.insert("required".to_owned(), json!(fields));
        }
    }
}

/// An entry for roots has neither names nor a key.
fn a_certificate_or_roots(schema: &mut Schema) {
    needs(&["name", "placements"])(schema);
    let none_of = |fields: &[&str]| {
        fields.iter().map(|field| ((*field).to_owned(), json!(false))).collect::<serde_json::Map<_, _>>()
    };
    let placements = json!({ "items": { "properties": none_of(&["sans", "probe"]) } });
    let mut none = none_of(&["common_name", "sans", "key", "duration", "renew_before", "shared"]);
    let files = json!({ "properties": none_of(&["cert", "chain", "fullchain", "key", "combined", "der", "pkcs12", "jks", "encrypted_key"]) });
    let mut placements = placements;
    if let Some(properties) = placements["items"]["properties"].as_object_mut() {
        properties.insert("files".to_owned(), files);
    }
    none.insert("placements".to_owned(), placements);
    schema.insert("if".to_owned(), json!({ "required": ["trust"], "properties": { "trust": { "const": true } } }));
    schema.insert("then".to_owned(), json!({ "properties": none }));
    schema.insert("else".to_owned(), json!({ "required": ["common_name"] }));
}

fn one_place_and_something_to_write(schema: &mut Schema) {
    let has = |field: &str| json!({ "required": [field] });
    schema.insert(
        "allOf".to_owned(),
        json!([
            { "oneOf": [has("guest"), has("host")] },
            { "anyOf": [has("recipe"), { "required": ["files"], "properties": { "files": {
                "minProperties": 1, "additionalProperties": { "required": ["path"] } } } }] },
        ]),
    );
}

fn both_ends_or_days(schema: &mut Schema) {
    schema.insert("dependentRequired".to_owned(), json!({ "from": ["to"], "to": ["from"] }));
    schema.insert("minProperties".to_owned(), json!(1));
    schema.insert("anyOf".to_owned(), json!([{ "required": ["from"] }, { "required": ["days"] }]));
}
