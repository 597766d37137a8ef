//! Placements of all entries, put together into certificates: one for each common name and side of a connection.
//!
//! Invariant: a guest has a certificate once and a path once, as the manifest demands; what gave way is reported.

use std::collections::{BTreeMap, BTreeSet};

use pinion_proto::{
    id::{CertificateName, Guest},
    names::SubjectName,
    spec::{GuestPath, Part},
};

use super::{
    draft::{Draft, Drafts},
    old::OldEntry,
    recipes::OWN_DIRECTORY,
};

/// A certificate to be.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) name: CertificateName,
    pub(super) common_name: SubjectName,
    pub(super) sans: Vec<SubjectName>,
    pub(super) placements: Vec<Placement>,
    client: bool,
}

/// A placement of it, and the entry that it comes from.
#[derive(Debug)]
pub(super) struct Placement {
    /// The index of the entry.
    pub(super) entry: usize,
    /// If they are not the certificate's.
    pub(super) sans: Option<Vec<SubjectName>>,
    pub(super) draft: Draft,
}

/// What an entry became: certificates in guests, by their names.
#[derive(Debug, Default)]
pub(super) struct Fate {
    pub(super) became: Vec<(CertificateName, Guest)>,
    pub(super) look: Vec<String>,
}

/// Puts the placements of all entries together.
pub(super) fn certificates(entries: &[(OldEntry, Drafts)]) -> (Vec<Certificate>, Vec<Fate>) {
    let mut all = Collected::default();
    let mut fates: Vec<Fate> = Vec::new();
    for (index, (entry, drafts)) in entries.iter().enumerate() {
        let mut fate = Fate::default();
        for draft in &drafts.placements {
            all.add(entries, index, entry, draft.clone(), &mut fate);
        }
        fates.push(fate);
    }
    shared_paths_on_host(entries, &mut fates);
    (all.certificates, fates)
}

#[derive(Default)]
struct Collected {
    certificates: Vec<Certificate>,
    names: BTreeSet<String>,
    /// Which entry has a path in a guest.
    paths: BTreeMap<(Guest, String), usize>,
}

impl Collected {
    fn add(
        &mut self,
        entries: &[(OldEntry, Drafts)],
        index: usize,
        entry: &OldEntry,
        mut draft: Draft,
        fate: &mut Fate,
    ) {
        let guest = draft.guest;
        let client = draft.client || draft.recipe.is_some_and(|recipe| recipe.client);
        let alike = |certificate: &&mut Certificate| {
            certificate.common_name == entry.common_name && certificate.client == client
        };
        let number = |entry: usize| entries.get(entry).map_or(0, |(entry, _)| entry.number);
        let mut taken = None;
        for certificate in self.certificates.iter_mut().filter(alike) {
            match certificate.placements.iter().find(|placement| placement.draft.guest == guest) {
                Some(there) if is_same(&there.draft, &draft) && is_same_names(certificate, there, entry) => {
                    fate.look.push(format!("it says what entry {} says: nothing was made of it", number(there.entry)));
                    fate.became.push((certificate.name.clone(), guest));
                    return;
                }
                Some(there) => taken = Some(there.entry),
                None => {
                    let own = (!same_set(&certificate.sans, &entry.sans)).then(|| entry.sans.clone());
                    let first = certificate.placements.first().map_or(index, |placement| placement.entry);
                    if first != index {
                        fate.look.push(format!(
                            "its common name is that of entry {}: it is another placement of that certificate, with a key of its own",
                            number(first)
                        ));
                    }
                    make_room(&mut self.paths, &certificate.name, entry, index, &mut draft, &mut fate.look, number);
                    fate.became.push((certificate.name.clone(), guest));
                    certificate.placements.push(Placement { entry: index, sans: own, draft });
                    return;
                }
            }
        }
        if let Some(first) = taken {
            fate.look.push(format!(
                "entry {} has the same common name in guest {guest}: this one is a certificate of its own",
                number(first)
            ));
        }
        let name = self.name(&entry.common_name, client);
        make_room(&mut self.paths, &name, entry, index, &mut draft, &mut fate.look, number);
        fate.became.push((name.clone(), guest));
        self.certificates.push(Certificate {
            name,
            common_name: entry.common_name.clone(),
            sans: entry.sans.clone(),
            placements: vec![Placement { entry: index, sans: None, draft }],
            client,
        });
    }

    /// A name that no other certificate has: the first label, or else all of the common name.
    fn name(&mut self, common_name: &SubjectName, client: bool) -> CertificateName {
        let whole = plain(&common_name.plain().replace("*.", "wildcard."));
        let short = match common_name {
            SubjectName::Dns(name) if !name.starts_with("*.") => name.split('.').next().map(plain).unwrap_or_default(),
            _ => whole.clone(),
        };
        let marked = |name: String| if client && !name.contains("client") { format!("{name}-client") } else { name };
        let candidates = [marked(short), marked(whole.clone())].into_iter();
        let numbered = (2..).map(|number| format!("{}-{number}", marked(whole.clone())));
        for candidate in candidates.chain(numbered) {
            if let Ok(name) = candidate.parse::<CertificateName>()
                && self.names.insert(candidate)
            {
                return name;
            }
        }
        unreachable!("the numbers do not end")
    }
}

/// Letters, digits, `.`, `_` and `-` of a name, with room for what may follow: `-client`, a number, and in a hook's name
/// `-reload`. All of it has 63 at most.
fn plain(name: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let name: String = name.chars().map(legal).take(40).collect();
    let name = name.trim_start_matches(['.', '_', '-']);
    if name.is_empty() { "certificate".into() } else { name.to_owned() }
}

fn is_same(one: &Draft, other: &Draft) -> bool {
    one.recipe.map(|recipe| recipe.name) == other.recipe.map(|recipe| recipe.name)
        && one.files == other.files
        && one.reloads == other.reloads
        && one.left == other.left
}

fn is_same_names(certificate: &Certificate, there: &Placement, entry: &OldEntry) -> bool {
    same_set(there.sans.as_ref().unwrap_or(&certificate.sans), &entry.sans)
}

fn same_set(one: &[SubjectName], other: &[SubjectName]) -> bool {
    one.len() == other.len() && one.iter().all(|name| other.contains(name))
}

/// Gives files other paths where another entry has theirs in this guest.
fn make_room(
    paths: &mut BTreeMap<(Guest, String), usize>,
    name: &CertificateName,
    entry: &OldEntry,
    index: usize,
    draft: &mut Draft,
    look: &mut Vec<String>,
    number: impl Fn(usize) -> usize,
) {
    let parts: BTreeSet<Part> = draft
        .files
        .keys()
        .copied()
        .chain(draft.recipe.iter().flat_map(|recipe| recipe.files.iter().map(|file| file.0)))
        .collect();
    for part in parts {
        let own = draft.files.get(&part).and_then(|file| file.path.as_ref()).map(|path| path.as_str().to_owned());
        let Some(path) = own.or_else(|| draft.recipe?.path(part, &entry.common_name)) else { continue };
        let Some(first) = paths.get(&(draft.guest, path.clone())) else {
            paths.insert((draft.guest, path), index);
            continue;
        };
        let ending = match part {
            Part::Key => "key",
            Part::Ca => "ca.crt",
            _ => "crt",
        };
        let free = (1..).map(|number| if number == 1 { String::new() } else { format!("-{number}") });
        let free = free.map(|number| format!("{OWN_DIRECTORY}/{name}{number}.{ending}"));
        let mut free = free.filter(|path| !paths.contains_key(&(draft.guest, path.clone())));
        let Some(Ok(to)) = free.next().map(|path| path.parse::<GuestPath>()) else { continue };
        look.push(format!(
            "entry {} has {path} in guest {} already: this one's {part} goes to {}, so check which of them the service reads",
            number(*first),
            draft.guest,
            to.as_str()
        ));
        paths.insert((draft.guest, to.as_str().to_owned()), index);
        let file = draft.files.entry(part).or_default();
        file.path = Some(to);
    }
}

/// Copies on the host that several entries wrote: each run left those of the last.
fn shared_paths_on_host(entries: &[(OldEntry, Drafts)], fates: &mut [Fate]) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for ((entry, _), fate) in entries.iter().zip(fates) {
        for path in [&entry.certificate, &entry.key].into_iter().flatten() {
            match seen.get(path.as_str()) {
                Some(first) => fate.look.push(format!("its copy on the host, {path}, is that of entry {first}, too")),
                None => drop(seen.insert(path, entry.number)),
            }
        }
    }
}
