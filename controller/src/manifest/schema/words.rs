//! Single values of the manifest's JSON Schema: words to choose from, and text of one form.

use schemars::JsonSchema;

#[derive(JsonSchema)]
pub(super) enum SignalWord {
    #[schemars(rename = "HUP")]
    Hup,
    #[schemars(rename = "USR1")]
    Usr1,
    #[schemars(rename = "USR2")]
    Usr2,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum StartTlsWord {
    Smtp,
    Imap,
    Pop3,
    Postgres,
    Mysql,
    Ldap,
    Ftp,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum ProxyProtocolWord {
    V1,
    V2,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

#[derive(JsonSchema)]
pub(super) enum Algorithm {
    #[schemars(rename = "ecdsa-p256")]
    EcdsaP256,
    #[schemars(rename = "ecdsa-p384")]
    EcdsaP384,
    #[schemars(rename = "ed25519")]
    Ed25519,
    #[schemars(rename = "rsa-2048")]
    Rsa2048,
    #[schemars(rename = "rsa-3072")]
    Rsa3072,
    #[schemars(rename = "rsa-4096")]
    Rsa4096,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum LayoutWord {
    Symlink,
    Copy,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum UsageWord {
    Server,
    Client,
    Both,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum RotationWord {
    Always,
    Never,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum Nothing {
    Nothing,
}

/// Types that are text of one form.
macro_rules! text {
    ($($(#[doc = $doc:literal])* $name:ident($pattern:literal, $max:literal);)*) => {$(
        $(#[doc = $doc])*
        #[derive(JsonSchema)]
        #[schemars(inline)]
        pub(super) struct $name(#[schemars(regex(pattern = $pattern), length(max = $max))] String);
    )*};
}

text! {
    /// Letters, digits, `.`, `_`, `-`, starting with a letter or digit.
    Name("^[A-Za-z0-9][A-Za-z0-9._-]*$", 63);
    /// A name that a certificate carries as its common name.
    CommonName("^[!-~]+$", 64);
    /// A DNS name, wildcard, IP address, URI or e-mail address.
    SanText("^[!-~]+$", 2048);
    /// A duration such as 30d, 12h or 1h 30m.
    Length("^\\s*([0-9]+\\s*[A-Za-z]+\\s*)+$", 64);
    /// Letters, digits, `-`, `.`; not `host`, and not a number in quotes.
    GuestNameText("^(?![0-9]+$)(?!host$)[A-Za-z0-9][A-Za-z0-9._-]*$", 253);
    /// An absolute path without `.`, `..`, doubled or trailing slashes.
    MountPointText("^/$|^(/(?!\\.{1,2}(/|$))[^/\\u0000-\\u001f\\u007f]{1,255})+$", 1024);
    PathText("^(/(?!\\.{1,2}(/|$))[^/\\u0000-\\u001f\\u007f]{1,255})+$", 1024);
    /// Octal permission bits.
    Mode("^0?[0-7]{3}$", 4);
    /// Octal permission bits, none for others.
    SecretMode("^0?[0-7]{2}0$", 4);
    /// A user or group by name or number.
    AccountText("^[A-Za-z0-9_][A-Za-z0-9_.-]*$", 32);
    /// A service unit with its suffix.
    UnitText("^[A-Za-z0-9][A-Za-z0-9:_.@-]*\\.service$", 255);
    /// A container's name.
    ContainerText("^[A-Za-z0-9][A-Za-z0-9._-]+$", 128);
    /// A Swarm service's full name.
    ServiceText("^[A-Za-z0-9][A-Za-z0-9._-]*$", 63);
    /// A secret's name.
    SecretText("^[A-Za-z0-9][A-Za-z0-9._-]*$", 44);
    /// An address and a port.
    AddressText("^([0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[1-9][0-9]{0,4}$", 64);
    /// A host name.
    ServerNameText("^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?$", 253);
    /// HH:MM.
    TimeText("^([01][0-9]|2[0-3]):[0-5][0-9]$", 5);
    /// HH:MM, or 24:00.
    EndText("^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$", 5);
}
