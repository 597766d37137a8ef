//! From the old manifest's bytes to the new manifest, its hooks and the report.

use pinion_proto::{
    id::{CertificateName, Guest},
    names::SubjectName,
    spec::{PlainName, Reload, Usage},
};
use thiserror::Error;

use super::{
    super::{Manifest, ManifestErrors},
    allow,
    certificates::{Certificate, Fate, Placement, certificates},
    draft::{Drafts, drafts},
    hook::{Commands, Hook, hook},
    old::{self, OldEntry},
    output::{Document, Entry, Place, Plain},
    report::{Became, EntryReport, Report},
};

/// A manifest, and all that is to be said about it.
#[derive(Debug)]
pub struct Imported {
    /// The new manifest's text.
    pub manifest: String,
    /// What became of each entry.
    pub report: Report,
}

/// Why there is nothing to write.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The old manifest is bad.
    #[error(transparent)]
    Bad(#[from] ManifestErrors),
    /// What was made of it is no manifest.
    #[error("the imported manifest is not valid; this is a bug")]
    Made(#[source] ManifestErrors),
    /// What was made of it cannot be written.
    #[error("the imported manifest cannot be written as JSON; this is a bug")]
    Json(#[from] serde_json::Error),
}

/// Makes a manifest of an old one; its certificates are signed by this issuer.
///
/// # Errors
/// Everything that is wrong with the old manifest.
pub fn import(bytes: &[u8], issuer: PlainName) -> Result<Imported, ImportError> {
    let entries: Vec<(OldEntry, Drafts)> = old::read(bytes)?
        .into_iter()
        .map(|entry| {
            let drafts = drafts(&entry);
            (entry, drafts)
        })
        .collect();
    let (certificates, fates) = certificates(&entries);
    let mut hooks = Vec::new();
    let written = certificates.iter().map(|certificate| written(certificate, &entries, &mut hooks)).collect();
    for (entry, drafts) in entries.iter().filter(|(_, drafts)| !drafts.host.is_empty()) {
        let commands = Commands { left: &drafts.host, done: &[], chained: false };
        if let Ok(name) = format!("entry-{}", entry.number).parse() {
            hooks.push(hook(name, Guest::Host, entry, &commands, false));
        }
    }
    let manifest = Document::new(issuer, written).text()?;
    Manifest::parse(manifest.as_bytes()).map_err(ImportError::Made)?;
    let report = Report {
        entries: entries
            .into_iter()
            .zip(fates)
            .enumerate()
            .map(|(index, (entry, fate))| report(index, entry, fate, &certificates, &hooks))
            .collect(),
        allow: allow::needed(&certificates),
        placements: certificates.iter().map(|certificate| certificate.placements.len()).sum(),
        certificates: certificates.len(),
        hooks,
    };
    Ok(Imported { manifest, report })
}

/// A certificate as the manifest has it; what is left of its lines becomes hooks.
fn written(certificate: &Certificate, entries: &[(OldEntry, Drafts)], hooks: &mut Vec<Hook>) -> Entry {
    let plain = |names: &[SubjectName]| names.iter().map(Plain::from).collect::<Vec<_>>();
    let placements = certificate.placements.iter().map(|placement| {
        let draft = &placement.draft;
        let mut reloads = draft.reloads.clone();
        if !draft.left.is_empty()
            && let Some((entry, _)) = entries.get(placement.entry)
            && let Ok(name) = hook_name(&certificate.name).parse::<PlainName>()
        {
            if reloads.is_empty() {
                reloads.extend(draft.recipe.and_then(|recipe| recipe.reload()));
            }
            reloads.push(Reload::Hook(name.clone()));
            let commands = Commands { left: &draft.left, done: &draft.done, chained: draft.chained };
            hooks.push(hook(name, draft.guest, entry, &commands, true));
        }
        let mut place = Place::new(draft.guest, &draft.files, reloads);
        place.recipe = draft.recipe.map(|recipe| recipe.name);
        place.sans = placement.sans.as_deref().map(plain);
        place.usage = draft.client.then_some(Usage::Client.as_str());
        place
    });
    Entry {
        placements: placements.collect(),
        name: certificate.name.clone(),
        common_name: Plain::from(&certificate.common_name),
        sans: plain(&certificate.sans),
    }
}

fn hook_name(certificate: &CertificateName) -> String {
    format!("{}-reload", certificate.as_str())
}

fn report(
    index: usize,
    (entry, drafts): (OldEntry, Drafts),
    fate: Fate,
    certificates: &[Certificate],
    hooks: &[Hook],
) -> EntryReport {
    let own = |placement: &&Placement| placement.entry == index;
    let mut became = Vec::new();
    for (name, guest) in fate.became {
        let certificate = certificates.iter().find(|certificate| certificate.name == name);
        let placements = certificate.map(|certificate| certificate.placements.as_slice()).unwrap_or_default();
        let placement = placements.iter().find(|placement| placement.draft.guest == guest);
        let hook = hook_name(&name);
        let is_ours = |found: &&Hook| found.named && found.guest == guest && found.name.as_str() == hook;
        became.push(Became {
            placement: format!("{}@{guest}", name.as_str()),
            recipe: placement.and_then(|placement| placement.draft.recipe).map(|recipe| recipe.name),
            hook: hooks.iter().find(is_ours).map(|hook| hook.file.clone()),
        });
    }
    let placed =
        || certificates.iter().flat_map(|certificate| &certificate.placements).filter(own).map(|found| &found.draft);
    let why: Vec<_> = placed().flat_map(|draft| draft.why.iter().cloned()).collect();
    let mut look_at = drafts.look;
    look_at.extend(fate.look);
    for draft in placed() {
        look_at.extend(draft.look.iter().cloned());
        look_at.extend(draft.left.iter().map(left));
    }
    look_at.extend(drafts.host.iter().map(left));
    let mut each: Vec<String> = Vec::new();
    for words in look_at {
        if !each.contains(&words) {
            each.push(words);
        }
    }
    EntryReport {
        entry: entry.number,
        line: entry.line,
        common_name: entry.common_name.plain(),
        became,
        why,
        look_at: each,
    }
}

fn left((left, shown): &(super::step::Left, String)) -> String {
    format!("not taken over, because {}: `{shown}`", left.why)
}
