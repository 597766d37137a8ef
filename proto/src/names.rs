//! The names in a certificate's subjectAltName, as typed values (RFC 5280 section 4.2.1.6).
//!
//! Answers: is this text a name a certificate may carry, and do two certificates carry the same ones?
//! Invariant: two names are equal exactly when a verifier would treat them as the same name,
//! so sets of names compare without regard to order, letter case or the spelling of an address.

mod normal;

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use thiserror::Error;
use x509_parser::extensions::GeneralName;

use crate::id::{shown, string_serde};

/// One name of a certificate.
///
/// Parsed from the way people write it (`10.0.0.1`, `*.example`, `a@b`, `spiffe://x/y`) and from
/// the typed form that `Display` gives (`dns:…`, `ip:…`, `uri:…`, `email:…`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectName {
    /// A host name in lower case, perhaps with `*` as its first label (RFC 6125 section 6.4.3).
    Dns(Box<str>),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// An absolute URI, ASCII, as it was written.
    Uri(Box<str>),
    /// A mailbox, its domain in lower case (RFC 5280 section 4.2.1.6: `local@domain`, ASCII).
    Email(Box<str>),
}

impl SubjectName {
    /// The name without its type, as people write it and as a common name carries it.
    #[must_use]
    pub fn plain(&self) -> String {
        match self {
            Self::Dns(text) | Self::Uri(text) | Self::Email(text) => text.to_string(),
            Self::Ip(address) => address.to_string(),
        }
    }

    fn from_general_name(name: &GeneralName<'_>) -> Result<Self, NameError> {
        match name {
            GeneralName::DNSName(text) => dns(text),
            GeneralName::URI(text) => uri(text),
            GeneralName::RFC822Name(text) => email(text),
            GeneralName::IPAddress(bytes) => {
                if let Ok(four) = <[u8; 4]>::try_from(*bytes) {
                    Ok(Self::Ip(Ipv4Addr::from(four).into()))
                } else if let Ok(sixteen) = <[u8; 16]>::try_from(*bytes) {
                    Ok(Self::Ip(Ipv6Addr::from(sixteen).into()))
                } else {
                    Err(NameError::Kind("an IP address of odd length".into()))
                }
            }
            other => Err(NameError::Kind(kind(other))),
        }
    }
}

impl FromStr for SubjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if let Some(rest) = text.strip_prefix("dns:") {
            dns(rest)
        } else if let Some(rest) = text.strip_prefix("ip:") {
            rest.parse().map(Self::Ip).map_err(|_| NameError::Ip(shown(rest)))
        } else if let Some(rest) = text.strip_prefix("uri:") {
            uri(rest)
        } else if let Some(rest) = text.strip_prefix("email:") {
            email(rest)
        } else if let Ok(address) = text.parse() {
            Ok(Self::Ip(address))
        } else if text.contains("://") || text.starts_with("urn:") {
            uri(text)
        } else if text.contains('@') {
            email(text)
        } else {
            dns(text)
        }
    }
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(text) => write!(f, "dns:{text}"),
            Self::Ip(address) => write!(f, "ip:{address}"),
            Self::Uri(text) => write!(f, "uri:{text}"),
            Self::Email(text) => write!(f, "email:{text}"),
        }
    }
}

string_serde!(SubjectName);

/// The names of one certificate: at least one, at most [`SubjectNames::MAX`], each once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Vec<SubjectName>", into = "Vec<SubjectName>")]
pub struct SubjectNames(BTreeSet<SubjectName>);

#[cfg(feature = "schema")]
impl schemars::JsonSchema for SubjectNames {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SubjectNames".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Vec::<SubjectName>::json_schema(generator)
    }
}

impl SubjectNames {
    /// More names than a server's handshake can carry in a reasonable flight of packets.
    pub const MAX: usize = 500;

    /// The names, sorted by type and text.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &SubjectName> {
        self.0.iter()
    }

    /// Whether `name` is one of them.
    #[must_use]
    pub fn contains(&self, name: &SubjectName) -> bool {
        self.0.contains(name)
    }

    /// Those of `self` that `other` lacks.
    pub fn missing_from<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a SubjectName> {
        self.0.difference(&other.0)
    }

    /// The names of a parsed subjectAltName extension.
    ///
    /// # Errors
    /// A kind of name Pinion never orders (directory names, other names), a malformed one, or none.
    pub fn from_general_names(names: &[GeneralName<'_>]) -> Result<Self, NameError> {
        names.iter().map(SubjectName::from_general_name).collect::<Result<Vec<_>, _>>()?.try_into()
    }
}

impl TryFrom<Vec<SubjectName>> for SubjectNames {
    type Error = NameError;

    fn try_from(names: Vec<SubjectName>) -> Result<Self, NameError> {
        let set: BTreeSet<_> = names.into_iter().collect();
        if set.is_empty() {
            Err(NameError::None)
        } else if set.len() > Self::MAX {
            Err(NameError::TooMany(set.len()))
        } else {
            Ok(Self(set))
        }
    }
}

impl From<SubjectNames> for Vec<SubjectName> {
    fn from(names: SubjectNames) -> Self {
        names.0.into_iter().collect()
    }
}

/// Text that is not a name a certificate may carry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// A DNS name breaks a rule of RFC 1123 section 2.1 or RFC 6125 section 6.4.3.
    #[error("`{name}` is not a DNS name: {why}")]
    Dns {
        /// The text that was read.
        name: String,
        /// The rule that it breaks, with what to write instead.
        why: &'static str,
    },
    /// The text is not an IPv4 or IPv6 address.
    #[error("`{0}` is not an IPv4 or IPv6 address")]
    Ip(String),
    /// The text is not an absolute URI.
    #[error("`{0}` is not an absolute URI of printable ASCII characters")]
    Uri(String),
    /// The text is not an e-mail address.
    #[error("`{0}` is not an e-mail address of the form local@domain")]
    Email(String),
    /// A CA would write the name otherwise.
    #[error("`{name}` cannot be a certificate's name as it is written: {why}")]
    Spelling {
        /// The text that was read.
        name: String,
        /// What to write instead.
        why: &'static str,
    },
    /// A kind of name that Pinion does not use.
    #[error("the certificate has a name that Pinion never orders: {0}")]
    Kind(String),
    /// No name at all.
    #[error("a certificate needs at least one name")]
    None,
    /// There are more names than a certificate may have.
    #[error("{0} names are more than the {max} that a certificate may have", max = SubjectNames::MAX)]
    TooMany(usize),
}

/// A name of a kind that is never ordered, in words.
fn kind(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DirectoryName(name) => format!("the directory name `{}`", shown(&name.to_string())),
        GeneralName::OtherName(oid, _) => format!("an other name of the kind {oid}"),
        GeneralName::RegisteredID(oid) => format!("the registered ID {oid}"),
        GeneralName::X400Address(_) => "an X.400 address".to_owned(),
        GeneralName::EDIPartyName(_) => "an EDI party name".to_owned(),
        _ => "one of an unknown kind".to_owned(),
    }
}

fn dns(text: &str) -> Result<SubjectName, NameError> {
    let fail = |why| Err(NameError::Dns { name: shown(text), why });
    if !text.is_ascii() {
        return fail("write international names in their xn-- form");
    }
    if text.len() > 253 {
        return fail("it is longer than 253 characters");
    }
    let host = text.strip_prefix("*.").unwrap_or(text);
    if host.contains('*') {
        return fail("`*` may only be the whole first label");
    }
    for label in host.split('.') {
        if label.is_empty() {
            return fail("it has an empty label");
        }
        if label.len() > 63 {
            return fail("a label is longer than 63 characters");
        }
        if !label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            return fail("labels have letters, digits and hyphens only");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return fail("a label starts or ends with a hyphen");
        }
    }
    // A last label of digits is an address with a mistake in it, and verifiers reject it.
    if host.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit())) {
        return fail("its last label is a number: an address?");
    }
    Ok(SubjectName::Dns(text.to_ascii_lowercase().into()))
}

fn uri(text: &str) -> Result<SubjectName, NameError> {
    let scheme_ok = text.split_once(':').is_some_and(|(scheme, rest)| {
        // RFC 5280 section 4.2.1.6: a URI with an authority names a host in it.
        let host_ok = rest.strip_prefix("//").is_none_or(|host| !host.is_empty() && !host.starts_with('/'));
        !rest.is_empty()
            && host_ok
            && scheme.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    });
    if scheme_ok && text.len() <= 2048 && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(SubjectName::Uri(text.into()))
    } else {
        Err(NameError::Uri(shown(text)))
    }
}

fn email(text: &str) -> Result<SubjectName, NameError> {
    let malformed = || NameError::Email(shown(text));
    let (local, domain) = text.rsplit_once('@').ok_or_else(malformed)?;
    let local_ok = !local.is_empty()
        && local.len() <= 64
        && local.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b));
    match dns(domain) {
        Ok(SubjectName::Dns(domain)) if local_ok && !domain.starts_with('*') => {
            Ok(SubjectName::Email(format!("{local}@{domain}").into()))
        }
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SubjectName {
        text.parse().expect(text)
    }

    #[test]
    fn the_kind_is_read_from_the_text() {
        assert_eq!(name("*.Internal.Example"), SubjectName::Dns("*.internal.example".into()));
        assert_eq!(name("10.0.0.111").to_string(), "ip:10.0.0.111");
        assert_eq!(name("2001:DB8:0::1").to_string(), "ip:2001:db8::1");
        assert_eq!(name("spiffe://x/Y").to_string(), "uri:spiffe://x/Y");
        assert_eq!(name("Ops@Example.ORG").to_string(), "email:Ops@example.org");
    }

    #[test]
    fn names_that_no_verifier_accepts_are_refused() {
        for bad in [
            "",
            ".",
            "a..b",
            "*",
            "*.",
            "a.*.b",
            "w*.x",
            "-a.b",
            "a b",
            "ä.example",
            "10.0.0.300",
            "a@",
            "@b",
            "http://",
            "1:2",
            "a\0b",
        ] {
            assert!(bad.parse::<SubjectName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sets_compare_as_sets_of_typed_names() {
        let set =
            |texts: &[&str]| SubjectNames::try_from(texts.iter().map(|t| name(t)).collect::<Vec<_>>()).expect("names");
        assert_eq!(set(&["127.0.0.1", "A.b", "::1"]), set(&["0:0::1", "a.B", "127.0.0.1", "a.b"]));
        let (have, want) = (set(&["a.b"]), set(&["a.b", "10.0.0.1"]));
        assert_eq!(want.missing_from(&have).map(ToString::to_string).collect::<Vec<_>>(), ["ip:10.0.0.1"]);
    }

    proptest::proptest! {
        #[test]
        fn what_is_accepted_reads_back_as_itself(text in "\\PC{0,40}") {
            if let Ok(parsed) = text.parse::<SubjectName>() {
                proptest::prop_assert_eq!(parsed.to_string().parse::<SubjectName>(), Ok(parsed));
            }
        }
    }
}
