//! The old manifest, `certificate-manifest.json` of the Phoenix scripts: a bare array of entries.
//!
//! Invariant: every mistake is reported at once, each with its place. What can be read in one way only (a number in quotes,
//! `null`) is read so, and noted; nothing that is there is passed over without a word.

use jsonc_parser::ast::Value;
use pinion_proto::{
    id::{Guest, Vmid, shown},
    names::{SubjectName, SubjectNames},
    spec::FileMode,
};

use super::{
    super::{
        document,
        errors::ManifestErrors,
        fields::Fields,
        node::{Findings, Node, Path},
        texts::Positions,
    },
    step::Owners,
};

/// Larger than any manifest that was written by hand (bytes); nothing of a larger one is decoded.
pub const MAX_BYTES: usize = 1024 * 1024;

/// More than guests on a host.
const MAX_ENTRIES: usize = 2_000;

/// The longest common name (RFC 5280 appendix A.1, ub-common-name), in characters.
const MAX_COMMON_NAME: usize = 64;

const FIELDS: [&str; 11] = [
    "common_name",
    "sans",
    "guest_id",
    "guest_type",
    "cert_path",
    "key_path",
    "owner",
    "permissions",
    "cert_type",
    "include_ca",
    "post_renewal_command",
];

/// One entry of the old manifest.
#[derive(Debug, Clone)]
pub(super) struct OldEntry {
    /// Counted from 1.
    pub(super) number: usize,
    pub(super) line: usize,
    pub(super) common_name: SubjectName,
    /// Without the common name, each once, in their order.
    pub(super) sans: Vec<SubjectName>,
    pub(super) guest: Option<Guest>,
    pub(super) kind: Option<Kind>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    pub(super) owners: Owners,
    pub(super) permissions: Option<FileMode>,
    pub(super) client: bool,
    pub(super) include_ca: bool,
    pub(super) command: Option<String>,
    /// What to look at, found while reading.
    pub(super) notes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Lxc,
    Vm,
}

/// Reads an old manifest.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<OldEntry>, ManifestErrors> {
    if bytes.len() > MAX_BYTES {
        let message = format!("the file has more than the {MAX_BYTES} bytes that Pinion imports: give the right file");
        return Err(ManifestErrors::whole(1, 1, message));
    }
    let text = document::text(bytes)?;
    document::strict(text)?;
    let tree = document::tree(text)?;
    let findings = Findings::new(Positions::of_one(text));
    let node = Node { value: &tree, path: &Path::Root, findings: &findings };
    let entries = entries(node, text);
    match (findings.into_errors(), entries) {
        (Some(errors), _) => Err(errors),
        (None, Some(entries)) => Ok(entries),
        // Every reader that gives nothing has said why; this is for the one that forgot.
        (None, None) => Err(ManifestErrors::whole(1, 1, "the file could not be read")),
    }
}

fn entries(node: Node<'_>, text: &str) -> Option<Vec<OldEntry>> {
    if let Value::Object(object) = node.value {
        let words = if object.get("version").is_some() {
            "this file has a version, so it is a manifest of Pinion's already: `pinion manifest check` checks it"
        } else {
            "expected a list of entries, found an object: the old manifest is a list, [{\"common_name\": …}, …]"
        };
        node.problem(words);
        return None;
    }
    if let Value::Array(array) = node.value
        && array.elements.len() > MAX_ENTRIES
    {
        node.problem(format_args!(
            "{} entries are more than the {MAX_ENTRIES} that are imported",
            array.elements.len()
        ));
        return None;
    }
    // Lines are counted from one entry to the next, because each is asked for.
    let (mut number, mut line, mut counted) = (0, 1, 0);
    node.each("a list of entries", |node| {
        number += 1;
        line += text.get(counted..node.at()).unwrap_or_default().matches('\n').count();
        counted = node.at();
        entry(node, number, line)
    })
}

fn entry(node: Node<'_>, number: usize, line: usize) -> Option<OldEntry> {
    let mut notes = Vec::new();
    // What nobody knows here is noted, not refused; a field that is there twice is a mistake all the same.
    let named: Vec<&str> = match node.value {
        Value::Object(object) => object.properties.iter().map(|field| field.name.as_str()).collect(),
        _ => Vec::new(),
    };
    let fields = Fields::of(node, "an entry: an object", &[FIELDS.as_slice(), &named].concat())?;
    for name in named.iter().filter(|name| !FIELDS.contains(name)) {
        notes.push(format!("the field `{}` is not one of the old scripts': nothing was taken from it", shown(name)));
    }
    let mut note = |words: String| notes.push(words);
    let common_name = fields.required("common_name", common_name);
    let sans = read_optional(&fields, "sans", |node| node.each("a list of names", name));
    let guest = read_optional(&fields, "guest_id", |node| vmid(node, &mut note));
    let kind = read_optional(&fields, "guest_type", kind);
    let [certificate, key] = ["cert_path", "key_path"].map(|name| read_optional(&fields, name, text));
    let owners = read_optional(&fields, "owner", owners);
    let permissions = read_optional(&fields, "permissions", |node| permissions(node, &mut note));
    let client = read_optional(&fields, "cert_type", |node| match node.text("\"client\"")? {
        "client" => Some(true),
        "server" | "" => Some(false),
        other => {
            note(format!("cert_type `{}` is not known: the certificate is taken for a server's", shown(other)));
            Some(false)
        }
    });
    let include_ca = read_optional(&fields, "include_ca", |node| node.boolean());
    let command = read_optional(&fields, "post_renewal_command", text);
    let common_name = common_name?;
    let sans = own_names(&fields, &common_name, sans?.unwrap_or_default(), &mut note)?;
    let guest = guest?;
    let kind = kind?;
    if guest.is_some() && kind.is_none() {
        note("there is a guest_id and no guest_type: Pinion asks Proxmox what the guest is".into());
    }
    if guest.is_none() && kind.is_some() {
        note("there is a guest_type and no guest_id".into());
    }
    Some(OldEntry {
        number,
        line,
        common_name,
        sans,
        guest,
        kind,
        certificate: certificate?.flatten(),
        key: key?.flatten(),
        owners: owners?.flatten().unwrap_or_default(),
        permissions: permissions?.flatten(),
        client: client?.unwrap_or(false),
        include_ca: include_ca?.unwrap_or(false),
        command: command?.flatten(),
        notes,
    })
}

/// A field that may be absent or `null`.
fn read_optional<T>(fields: &Fields<'_>, name: &str, read: impl FnOnce(Node<'_>) -> Option<T>) -> Option<Option<T>> {
    fields
        .optional(name, |node| match node.value {
            Value::NullKeyword(_) => Some(None),
            _ => read(node).map(Some),
        })
        .map(Option::flatten)
}

fn common_name(node: Node<'_>) -> Option<SubjectName> {
    let name = name(node)?;
    let length = name.plain().chars().count();
    if length > MAX_COMMON_NAME {
        node.problem(format_args!("a common name has at most {MAX_COMMON_NAME} characters, but this has {length}"));
        return None;
    }
    Some(name)
}

/// A name as the manifest takes it; the old scripts also had openssl's `DNS:` and `IP:`.
fn name(node: Node<'_>) -> Option<SubjectName> {
    let text = node.text("a name in quotes")?.trim();
    let kind = |prefix: &str| text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let rest = |prefix: &str| text.get(prefix.len()..).unwrap_or_default();
    let parsed = if kind("DNS:") {
        format!("dns:{}", rest("DNS:")).parse::<SubjectName>()
    } else if kind("IP:") {
        format!("ip:{}", rest("IP:")).parse()
    } else {
        text.parse()
    };
    parsed.and_then(|name| name.normal()).map_err(|error| node.problem(error)).ok()
}

/// The names beside the common name, each once.
fn own_names(
    fields: &Fields<'_>,
    common: &SubjectName,
    sans: Vec<SubjectName>,
    note: &mut impl FnMut(String),
) -> Option<Vec<SubjectName>> {
    let mut own: Vec<SubjectName> = Vec::new();
    for name in sans {
        if own.contains(&name) {
            note(format!("the name {} is in sans twice", name.plain()));
        } else if name != *common {
            own.push(name);
        }
    }
    let all: Vec<_> = own.iter().cloned().chain([common.clone()]).collect();
    SubjectNames::try_from(all).map_err(|error| fields.problem_with("sans", error)).ok()?;
    Some(own)
}

fn vmid(node: Node<'_>, note: &mut impl FnMut(String)) -> Option<Guest> {
    let number = match node.value {
        Value::NumberLit(number) => number.value.to_owned(),
        Value::StringLit(text) => {
            note("guest_id is a number in quotes".into());
            text.value.to_string()
        }
        _ => return node.expected("a VMID"),
    };
    let vmid = number.parse::<u32>().ok().and_then(|number| Vmid::try_from(number).ok());
    if vmid.is_none() {
        node.problem(format_args!("`{}` is not a VMID: those are 100 to 999999999", shown(&number)));
    }
    vmid.map(Guest::Vmid)
}

fn kind(node: Node<'_>) -> Option<Kind> {
    match node.text("\"lxc\" or \"vm\"")? {
        "lxc" | "ct" => Some(Kind::Lxc),
        "vm" | "qemu" => Some(Kind::Vm),
        other => {
            node.problem(format_args!("`{}` is neither \"lxc\" nor \"vm\"", shown(other)));
            None
        }
    }
}

/// Text that may be empty, which is as if it were absent.
fn text(node: Node<'_>) -> Option<Option<String>> {
    let text = node.text("text")?;
    Some((!text.trim().is_empty()).then(|| text.to_owned()))
}

fn owners(node: Node<'_>) -> Option<Option<Owners>> {
    let Some(text) = text(node)? else { return Some(None) };
    let owners = Owners::parse(&text);
    if owners.is_none() {
        node.problem(format_args!("`{}` is not \"user:group\"", shown(&text)));
    }
    owners.map(Some)
}

fn permissions(node: Node<'_>, note: &mut impl FnMut(String)) -> Option<Option<FileMode>> {
    let text = match node.value {
        Value::NumberLit(number) => {
            note("permissions are a number without quotes: its digits are taken for octal".into());
            number.value.to_owned()
        }
        _ => match text(node)? {
            Some(text) => text,
            None => return Some(None),
        },
    };
    text.parse().map_err(|error| node.problem(error)).ok().map(Some)
}
