//! Entries of a manifest for what was found and nobody manages.
//!
//! Invariant: what is printed is a manifest that is accepted: an entry that would not be is left out, and told.

use std::collections::{BTreeMap, BTreeSet};

use pinion_proto::{
    examination::{Examined, Listener, SeenCertificate},
    id::Guest,
};
use serde_json::{Value, json};

use crate::{admin::protocol::ExaminedGuest, manifest::Manifest};

/// The recipes of programs, by the program's name in the kernel (at most 15 characters).
const RECIPES: [(&str, &str); 14] = [
    ("nginx", "nginx"),
    ("apache2", "apache"),
    ("httpd", "apache"),
    ("haproxy", "haproxy"),
    ("caddy", "caddy"),
    ("postgres", "postgresql"),
    ("dovecot", "dovecot"),
    ("master", "postfix"),
    ("mariadbd", "mariadb"),
    ("mosquitto", "mosquitto"),
    ("slapd", "openldap"),
    ("redis-server", "redis"),
    ("grafana", "grafana"),
    ("dockerd", "docker"),
];

/// Where files go if no recipe says.
const RECIPE: &str = "files";

/// As many probes as a placement may have.
const MAX_PROBES: usize = 16;

/// A manifest, and what a person should know about it.
pub(super) struct Entries {
    pub(super) text: String,
    pub(super) notes: Vec<String>,
}

/// What would make Pinion manage what nobody manages, or only `watch` it.
pub(super) fn of(found: &[ExaminedGuest], watch: bool) -> Entries {
    let (mut entries, mut notes, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
    for guest in found {
        match (&guest.examined, &guest.unanswered) {
            (Some(examined), _) => {
                notes.extend(examined.left_out.iter().map(|left_out| format!("guest {}: {left_out}", guest.guest)));
                for (seen, listeners) in unmanaged(examined) {
                    let Some(entry) = entry(guest.guest, seen, &listeners, &mut names, watch) else {
                        let at = listeners.first().map(|listener| listener.address.to_string()).unwrap_or_default();
                        notes.push(format!(
                            "guest {}: no entry for {at}: its names are none of a manifest's",
                            guest.guest
                        ));
                        continue;
                    };
                    entries.push(entry.clone());
                    if watch {
                        continue;
                    }
                    let files = examined.certificates.iter().filter(|file| file.holds.serial == seen.serial);
                    let name = entry["name"].as_str().unwrap_or_default().to_owned();
                    notes.extend(files.map(|file| format!("{name}: its certificate is now in {}", file.path)));
                }
            }
            (None, why) => notes.push(format!("guest {}: {}", guest.guest, why.as_deref().unwrap_or("no answer"))),
        }
    }
    let text = serde_json::to_string_pretty(&manifest(&entries)).unwrap_or_default();
    Entries { text, notes }
}

/// The certificates that are served and not managed, each with those who serve it.
fn unmanaged(examined: &Examined) -> Vec<(&SeenCertificate, Vec<&Listener>)> {
    let mut by_certificate: BTreeMap<(&str, &str), (&SeenCertificate, Vec<&Listener>)> = BTreeMap::new();
    for listener in &examined.listeners {
        let Some(seen) = listener.shows.as_ref().filter(|seen| seen.managed.is_none()) else { continue };
        let key = (seen.issuer.as_str(), seen.serial.as_str());
        by_certificate.entry(key).or_insert_with(|| (seen, Vec::new())).1.push(listener);
    }
    by_certificate.into_values().collect()
}

fn entry(
    guest: Guest,
    seen: &SeenCertificate,
    at: &[&Listener],
    names: &mut BTreeSet<String>,
    watch: bool,
) -> Option<Value> {
    let recipe = at.iter().find_map(|listener| RECIPES.iter().find(|(program, _)| *program == listener.program));
    let recipe = recipe.map_or(RECIPE, |(_, recipe)| recipe);
    let probes: Vec<Value> = at.iter().take(MAX_PROBES).map(|listener| probe(listener)).collect();
    let mut placement = if watch { json!({ "probe": probes }) } else { json!({ "recipe": recipe, "probe": probes }) };
    match guest {
        Guest::Host => placement["host"] = json!(true),
        Guest::Vmid(vmid) => placement["guest"] = json!(vmid.to_string().parse::<u32>().ok()?),
    }
    // A common name is short and no wildcard where there is a choice; the rest are more names.
    let common = seen.names.iter().find(|name| name.len() <= 64 && !name.starts_with('*'));
    let common = common.or_else(|| seen.names.iter().find(|name| name.len() <= 64));
    // What is only watched may have any name, or none.
    let common = common.or_else(|| seen.names.first().filter(|_| watch)).or(watch.then_some(&seen.serial))?;
    let sans: Vec<_> = seen.names.iter().filter(|name| *name != common).collect();
    let name = unique(common, names);
    let mut entry = json!({ "name": name, "placements": [placement] });
    if watch {
        entry["watch"] = json!(true);
    } else {
        entry["common_name"] = json!(common);
        if !sans.is_empty() {
            entry["sans"] = json!(sans);
        }
    }
    // The manifest's own reader has the last word.
    let text = manifest(&[entry.clone()]).to_string();
    Manifest::parse(text.as_bytes()).is_ok().then(|| {
        names.insert(name);
        entry
    })
}

/// Where a person reaches the service from inside the guest.
fn probe(listener: &Listener) -> Value {
    let (ip, port) = (listener.address.ip(), listener.address.port());
    let connect = match ip.is_unspecified() {
        true if ip.is_ipv4() => format!("127.0.0.1:{port}"),
        true => format!("[::1]:{port}"),
        false => listener.address.to_string(),
    };
    match listener.starttls {
        Some(protocol) => json!({ "connect": connect, "starttls": protocol.as_str() }),
        None => json!({ "connect": connect }),
    }
}

/// A name for people, of a host's name: its first label, with a number if that is taken.
fn unique(common: &str, taken: &BTreeSet<String>) -> String {
    let label = common.trim_start_matches("*.").split('.').next().unwrap_or_default();
    let label = if common.parse::<std::net::IpAddr>().is_ok() { common } else { label };
    let is_fit = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let clean: String = label.chars().filter(is_fit).take(50).collect();
    let clean = clean.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let base = if clean.is_empty() { "certificate" } else { clean };
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    std::iter::once(base.to_owned()).chain(numbered).find(|name| !taken.contains(name)).unwrap_or_default()
}

fn manifest(entries: &[Value]) -> Value {
    json!({ "version": 1, "certificates": entries })
}
