//! `pinion manifest check` and `pinion manifest schema`.

use std::{collections::BTreeSet, path::Path, time::Duration};

use pinion_proto::{
    causes::chain, errln, exit::Exit, failure::Failure, field_names::did_you_mean, outln, spec::PlainName,
};

use tokio::time::timeout;

use super::{Conversation, documents::ManifestCheck, print_failed, print_json};
use crate::{
    admin::protocol::{Answer, Ask},
    config::Config,
    manifest::{
        self, GuestRef, Manifest,
        file::{self, Loaded},
        source::FileError,
    },
};

/// How a warning about a guest's name begins, on a host without Proxmox.
const NO_GUEST: &str = "controller.toml has no guest named";

/// How long a running controller is waited for: without its answer, less is checked.
const CONTROLLER_PATIENCE: Duration = Duration::from_secs(5);

/// The issuer that is always there.
const DEFAULT_ISSUER: &str = "embedded";

/// Says everything that is wrong with a manifest.
pub(super) async fn check(path: &Path, config: Option<&Config>, json: bool) -> Exit {
    match file::load(path) {
        Ok(Loaded { manifest, files, text }) => {
            let (certificates, placements) = (manifest.certificates.len(), manifest.placement_count());
            let mut warnings = config.map(|config| unknown(&manifest, config)).unwrap_or_default();
            if let Some(config) = config {
                let more = unknown_to_controller(config, text).await;
                // What the configuration says of a guest's name, the controller says too.
                warnings.retain(|warning| !warning.contains(NO_GUEST) || more.is_empty());
                warnings.extend(more);
            }
            for warning in &warnings {
                errln!("{}: warning: {warning}", path.display());
            }
            if json {
                print_json(&ManifestCheck {
                    ok: true,
                    files,
                    certificates: Some(certificates),
                    placements: Some(placements),
                    problems: Vec::new(),
                    warnings: Some(warnings),
                });
            } else {
                let more = if files.len() > 1 { format!(", from {} files", files.len()) } else { String::new() };
                outln!("{}: good: {certificates} certificates in {placements} places{more}", path.display());
            }
            Exit::Reached
        }
        Err(error) => {
            if json {
                let problems = match &error {
                    FileError::Bad(errors) => errors.problems.clone(),
                    _ => Vec::new(),
                };
                print_failed(
                    &ManifestCheck { problems, ..ManifestCheck::default() },
                    &Failure::of(Exit::Usage, &error),
                );
            }
            errln!("{}", chain(&error));
            Exit::Usage
        }
    }
}

/// What the manifest names and this host does not have: issuers, and guests where Proxmox does not list them.
pub(super) fn unknown(manifest: &Manifest, config: &Config) -> Vec<String> {
    let issuers = || config.issuers.keys().map(PlainName::as_str).chain([DEFAULT_ISSUER]);
    let guests = || config.guests.keys().map(String::as_str);
    let mut warnings = BTreeSet::new();
    for certificate in &manifest.certificates {
        if let Some(issuer) = certificate.issuer.as_ref().map(PlainName::as_str)
            && !issuers().any(|known| known == issuer)
        {
            let meant = did_you_mean(issuer, issuers());
            warnings
                .insert(format!("controller.toml has no issuer `{issuer}`, which {} names{meant}", certificate.name));
        }
        for placement in &certificate.placements {
            // Of a host with Proxmox only the running controller knows the guests: `pinion status` says it.
            if let (GuestRef::Name(name), None) = (&placement.guest, &config.proxmox)
                && !guests().any(|known| known.eq_ignore_ascii_case(name.as_str()))
            {
                let meant = did_you_mean(name.as_str(), guests());
                warnings.insert(format!("{NO_GUEST} `{name}`, which {} names{meant}", certificate.name));
            }
        }
    }
    warnings.into_iter().collect()
}

/// What the running controller does not know of it: guests that Proxmox does not list, and recipes. Nothing where no
/// controller answers.
async fn unknown_to_controller(config: &Config, text: String) -> Vec<String> {
    let asked = timeout(CONTROLLER_PATIENCE, Conversation::quiet(config, &Ask::PlanOf(text))).await;
    match asked {
        Ok(Some(Answer::Plan(plan))) => plan.warnings,
        _ => Vec::new(),
    }
}

/// Prints the JSON Schema.
pub(super) fn schema() -> Result<Exit, Failure> {
    let text = serde_json::to_string_pretty(&manifest::schema())
        .map_err(|error| Failure::new(Exit::Internal, "cannot print the schema").cause(error))?;
    outln!("{text}");
    Ok(Exit::Reached)
}
