//! The manifest's JSON Schema, from types in the shape that people write.
//!
//! Editors complete and check by it. It knows the structure and the forms of single values; what compares one
//! place with another (names twice, paths twice) only [`super::Manifest::parse`] knows.
//! The types here are never filled: the reader keeps places in the file, which serde cannot. A test holds
//! reader and schema against each other.
#![expect(dead_code, reason = "only the derived schemas of these types are used")]

mod rules;
mod words;

use schemars::{JsonSchema, generate::SchemaSettings};

use rules::{both_ends_or_days, needs, one_of_three_kinds, one_place};
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
    /// What holds for certificates that do not say it themselves.
    defaults: WrittenDefaults,
    /// Every certificate; each name once.
    certificates: Vec<WrittenCertificate>,
}

/// What holds for certificates that do not say it themselves.
#[derive(JsonSchema)]
#[schemars(rename = "Defaults", deny_unknown_fields, transform = needs(&[]))]
struct WrittenDefaults {
    /// Who signs: the name of an issuer in controller.toml, or `embedded`, Pinion's own CA.
    #[schemars(extend("default" = "embedded"))]
    issuer: Name,
    /// How long certificates should be valid.
    #[schemars(extend("default" = "30d"))]
    duration: Length,
}

/// One certificate, perhaps in several places.
#[derive(JsonSchema)]
#[schemars(rename = "Certificate", deny_unknown_fields, transform = one_of_three_kinds)]
struct WrittenCertificate {
    /// Your name for it, as in `pinion status NAME`: up to 63 letters, digits, `.`, `_`, `-`. Unique.
    name: Name,
    /// The subject's common name, at most 64 characters, which is always one of its names, too. Required, except with `trust`
    /// and `watch`.
    common_name: CommonName,
    /// More names: DNS names, wildcards (`*.internal.example`), IP addresses, URIs, e-mail addresses. Pinion orders each in
    /// the spelling that CAs use: `::ffff:10.0.0.5` is `10.0.0.5`, `HTTP://OK.lan` is `http://ok.lan`. It refuses a URI that a
    /// CA would write otherwise, such as one with a fragment.
    sans: Vec<SanText>,
    /// How its keys are made.
    key: WrittenKey,
    /// How long it should be valid: `12h`, `30d`, from 5 minutes to 10 years. That of `defaults` if absent. If the CA allows
    /// less, the certificate lives shorter, and Pinion says so.
    duration: Length,
    /// How long before its end it is renewed, less than `duration`. If the CA shortens the lifetime, this shrinks in
    /// proportion. If absent, a third of the lifetime.
    renew_before: Length,
    /// Who signs it, or with `trust`: whose roots are installed. That of `defaults` if absent.
    issuer: Name,
    /// Whether all places have one key and certificate. The controller creates the key, stores it (0600), and sends it over
    /// the link. This is the only case in which a private key leaves the place where it was created.
    #[schemars(extend("default" = false))]
    shared: bool,
    /// Which side of a connection shows it, for placements that do not say it themselves.
    usage: UsageWord,
    /// Whether the issuer's roots are installed, and no certificate. Then there is no `sans`, and `files` has only `ca`.
    #[schemars(extend("default" = false))]
    trust: bool,
    /// Whether somebody else renews the certificate, and Pinion only watches its expiry. Then there is nothing else but the
    /// `name`, and in `placements` where it is (`guest` or `host`) and a `probe`.
    #[schemars(extend("default" = false))]
    watch: bool,
    /// The places that it is installed in; each guest once.
    placements: Vec<WrittenPlacement>,
}

/// How keys are made.
#[derive(JsonSchema)]
#[schemars(rename = "Key", deny_unknown_fields, transform = needs(&[]))]
struct WrittenKey {
    /// The kind of key.
    #[schemars(extend("default" = "ecdsa-p256"))]
    algorithm: Algorithm,
    /// When a new key is made: with each certificate (`always`), or only when the algorithm changes (`never`).
    #[schemars(extend("default" = "always"))]
    rotation: RotationWord,
}

/// A certificate in one place: `guest` or `host`, and a `recipe` or `files`; with `watch`, a `probe`.
#[derive(JsonSchema)]
#[schemars(rename = "Placement", deny_unknown_fields, transform = needs(&[]), transform = one_place)]
struct WrittenPlacement {
    /// A VMID (`1001`) or a name (`"gateway"`): the guest's name on Proxmox, or else a name from `[guests]` in
    /// controller.toml.
    guest: WrittenGuest,
    /// Instead of `guest`: on the Proxmox host itself, by an agent that runs there.
    #[schemars(extend("const" = true))]
    host: bool,
    /// These names instead of the certificate's `sans`. Not with `shared`.
    sans: Vec<SanText>,
    /// The kind of service, such as `nginx` or `docker`: a shipped recipe, or one of the guest's own.
    recipe: Name,
    /// Which files are written. Required without a recipe; otherwise they override the recipe's, field by field.
    files: WrittenFiles,
    /// How the files are replaced: all at once through links, or one by one. Overrides the recipe's; `copy` without a recipe.
    layout: LayoutWord,
    /// How new files are checked before the service is notified. Overrides the recipe's.
    validate: WrittenValidate,
    /// How the service is notified, or a list for several services. Overrides the recipe's.
    reload: WrittenReloads,
    /// Where the agent checks what is served, or a list of places that must all serve it. Overrides the recipe's.
    probe: WrittenProbes,
    /// When the service may be disturbed; at any time if absent.
    window: WrittenWindow,
    /// Where something must be mounted before the files are touched, for example `/mnt/pve/nfs`. `/` if nothing has to be,
    /// whatever the agent has recorded. If absent, the agent finds out by itself.
    requires_mount: MountPointText,
    /// Which side of a connection shows the certificate. Pinion refuses a certificate from the issuer that peers would not
    /// accept there. Overrides the certificate's and the recipe's.
    usage: UsageWord,
    /// Whether a good pair that is in the places of the files already is adopted as it is. With `false`, it is replaced at
    /// once.
    #[schemars(extend("default" = true))]
    adopt: bool,
    /// Whether the files are removed, and nothing is installed.
    #[schemars(extend("default" = false))]
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
    /// The leaf only.
    cert: WrittenFile,
    /// The intermediates.
    chain: WrittenFile,
    /// Leaf and intermediates: what most servers want.
    fullchain: WrittenFile,
    /// The private key, PKCS #8.
    key: WrittenSecretFile,
    /// The issuer's root.
    ca: WrittenFile,
    /// Leaf, intermediates and private key in one file.
    combined: WrittenSecretFile,
    /// The leaf only, as DER.
    der: WrittenFile,
    /// Leaf, intermediates and private key behind a password: PKCS #12, with AES-256 and SHA-256.
    pkcs12: WrittenPkcs12,
    /// The same as a Java keystore of the old kind. Java 9 and later read `pkcs12`, which is safer.
    jks: WrittenKeystore,
    /// The private key behind a password: PKCS #8, with AES-256 and SHA-256.
    encrypted_key: WrittenKeystore,
}

#[derive(JsonSchema)]
#[schemars(rename = "Pkcs12", deny_unknown_fields, transform = needs(&[]))]
struct WrittenPkcs12 {
    /// An absolute path in the guest; absent only when the recipe has it.
    path: PathText,
    /// Octal permission bits, none for others; 0600 if neither this nor the recipe says otherwise.
    mode: SecretMode,
    /// A user's name or number; root if neither this nor the recipe says otherwise.
    owner: AccountText,
    /// A group's name or number; root if neither this nor the recipe says otherwise.
    group: AccountText,
    /// The file with the password, in the guest; the agent makes a password if there is none. If absent: the keystore's path
    /// and `.password`.
    password_file: PathText,
    /// Whether the algorithms are those that programs of before 2021 read: triple DES and SHA-1. They are not if neither this
    /// nor the recipe says otherwise.
    legacy: bool,
}

#[derive(JsonSchema)]
#[schemars(rename = "Keystore", deny_unknown_fields, transform = needs(&[]))]
struct WrittenKeystore {
    /// An absolute path in the guest; absent only when the recipe has it.
    path: PathText,
    /// Octal permission bits, none for others; 0600 if neither this nor the recipe says otherwise.
    mode: SecretMode,
    /// A user's name or number; root if neither this nor the recipe says otherwise.
    owner: AccountText,
    /// A group's name or number; root if neither this nor the recipe says otherwise.
    group: AccountText,
    /// The file with the password, in the guest; the agent makes a password if there is none. If absent: the keystore's path
    /// and `.password`.
    password_file: PathText,
}

#[derive(JsonSchema)]
#[schemars(rename = "File", deny_unknown_fields, transform = needs(&[]))]
struct WrittenFile {
    /// An absolute path in the guest; absent only when the recipe has it.
    path: PathText,
    /// Octal permission bits; 0644 if neither this nor the recipe says otherwise.
    mode: Mode,
    /// A user's name or number; root if neither this nor the recipe says otherwise.
    owner: AccountText,
    /// A group's name or number; root if neither this nor the recipe says otherwise.
    group: AccountText,
}

#[derive(JsonSchema)]
#[schemars(rename = "SecretFile", deny_unknown_fields, transform = needs(&[]))]
struct WrittenSecretFile {
    /// An absolute path in the guest; absent only when the recipe has it.
    path: PathText,
    /// Octal permission bits, none for others; 0600 if neither this nor the recipe says otherwise.
    mode: SecretMode,
    /// A user's name or number; root if neither this nor the recipe says otherwise.
    owner: AccountText,
    /// A group's name or number; root if neither this nor the recipe says otherwise.
    group: AccountText,
}

#[derive(JsonSchema)]
#[schemars(rename = "Validate", rename_all = "lowercase")]
enum WrittenValidate {
    /// Not at all.
    Nothing,
    /// Run a hook: a file in the guest's /etc/pinion/hooks.d.
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
    /// Run a hook: a file in the guest's /etc/pinion/hooks.d.
    Hook(Name),
    /// Restart a container.
    Container(ContainerText),
    /// Send a container a signal.
    Signal(WrittenSignal),
    /// Set the modification time of a file or directory to now, for a service that watches it.
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
    /// What the service sees in /run/secrets, for each part.
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
    /// The systemd unit that serves it, if the placement notifies several.
    unit: UnitText,
    /// The name to ask for. If absent: the common name, or the first other host name if that is a wildcard.
    server_name: ServerNameText,
    /// What is spoken before TLS; nothing if absent.
    starttls: StartTlsWord,
    /// The version of HAProxy's PROXY protocol that the service expects before anything else; none if absent.
    proxy_protocol: ProxyProtocolWord,
    /// How long the service may take to come back after it was notified, at most 1h. If absent, 120 s after a restart and
    /// 5 s after a reload, or what its recipe says.
    settle: Length,
}

/// When a service may be disturbed: from `from` on its `days` to the next `to`.
#[derive(JsonSchema)]
#[schemars(rename = "Window", deny_unknown_fields, transform = needs(&[]), transform = both_ends_or_days)]
struct WrittenWindow {
    /// The days on which it opens; every day if absent.
    #[schemars(length(min = 1))]
    days: Vec<Day>,
    /// When it opens, HH:MM.
    from: TimeText,
    /// When it closes, HH:MM or 24:00; on the next day if that is not after `from`.
    to: EndText,
    /// An IANA name, for example Europe/Berlin; the host's if absent.
    time_zone: String,
}
