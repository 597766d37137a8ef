//! Which versions there are on this host and in guests, as its own programs tell.

use std::{collections::BTreeMap, path::Path, time::Duration};

use pinion_proto::id::Guest;

use super::{
    answers::Answers,
    report::{Area, Findings, few},
};
use crate::{
    enroll::is_older,
    system_program::{Bounds, find, run},
};

/// Such programs answer in milliseconds, unless the disk is at its end.
pub(crate) const BOUNDS: Bounds = Bounds { patience: Duration::from_secs(10), max: 64 * 1024 };

pub(super) async fn versions(root: &Path, answers: &Answers, found: &mut Findings) {
    const AREA: Area = Area::Programs;
    let own = env!("CARGO_PKG_VERSION");
    let mut told = format!("This command is pinion {own}");
    if root == Path::new("/") && find("dpkg-query").is_some() {
        let packages = ["--show", "--showformat=${Package} ${Version} ${db:Status-Status}\\n", "pinion*"];
        let listed = run("dpkg-query", &packages, BOUNDS).await.unwrap_or_default();
        let installed: Vec<_> = listed.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
        told += &match installed.as_slice() {
            [] => "; no package of Pinion is installed".to_owned(),
            packages => format!("; the packages are {}", packages.join(", ")),
        };
    }
    found.good(AREA, told + ".");
    let Ok(status) = &answers.status else { return };
    if status.version != own {
        let message = format!("The controller that runs is pinion {}, and this command is {own}.", status.version);
        found.problem(AREA, message, "run `systemctl restart pinion-channel pinion`");
    }
    let mut others: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for guest in &status.guests {
        match guest.agent_version.as_deref().filter(|version| *version != own) {
            // Nobody but a person upgrades what is on the host.
            Some(version) if guest.guest == Guest::Host => {
                let message = format!("The agent of version {version} runs on this host.");
                found.note(AREA, message, format!("upgrade the package pinion-agent on this host to {own}"));
            }
            Some(version) => others.entry(version).or_default().push(guest.guest.to_string()),
            None => {}
        }
    }
    for (version, guests) in others {
        let message = format!("Agents of version {version} run in {}.", few(&guests));
        let remedy = if is_older(version, own) {
            "on Proxmox, Pinion upgrades them by itself, one guest first; elsewhere, upgrade the package there"
        } else {
            "they are newer than the controller: upgrade the package pinion here; or, on Proxmox, `pinion guest enroll \
             GUEST` brings this version's agent into a guest"
        };
        found.note(AREA, message, remedy.to_owned());
    }
}
