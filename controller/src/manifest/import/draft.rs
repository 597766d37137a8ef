//! An entry of the old manifest as placements: one in each place where its line did something.

use std::collections::BTreeMap;

use pinion_proto::{
    id::Guest,
    spec::{Account, FileMode, FileSpec, GuestPath, Part, Reload},
};

use super::{
    choose::{Choice, choose},
    command,
    gather::{Gathered, Placed, gather},
    old::{Kind, OldEntry},
    recipes::{self, Recipe},
    sources::Sources,
    step::{Left, Step, What},
};

/// The first number that Proxmox gives to unprivileged containers, and how many.
const SHIFTED: std::ops::Range<u32> = 100_000..165_536;

/// One placement to be.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) guest: Guest,
    pub(super) recipe: Option<&'static Recipe>,
    /// What differs from the recipe, or everything without one.
    pub(super) files: BTreeMap<Part, FileSpec>,
    /// All that is notified; empty where the recipe says it.
    pub(super) reloads: Vec<Reload>,
    pub(super) client: bool,
    /// What is left of the line, each with the command as a person reads it.
    pub(super) left: Vec<(Left, String)>,
    /// Commands that Pinion's own work takes the place of.
    pub(super) done: Vec<String>,
    /// What is left ran only if all before it succeeded.
    pub(super) chained: bool,
    pub(super) why: Vec<String>,
    pub(super) look: Vec<String>,
}

/// What an entry became.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    pub(super) placements: Vec<Draft>,
    /// What ran on the host, where no placement of this entry is.
    pub(super) host: Vec<(Left, String)>,
    pub(super) look: Vec<String>,
}

/// Makes placements of an entry.
pub(super) fn drafts(entry: &OldEntry) -> Drafts {
    let sources = Sources::new(entry.certificate.as_deref(), entry.key.as_deref());
    let line = entry.command.as_deref().map(|command| command::read(command, sources)).unwrap_or_default();
    let mut drafts = Drafts { look: entry.notes.clone(), ..Drafts::default() };
    let guests = guests(entry, &line.steps, &mut drafts.look);
    for guest in &guests {
        let steps = line.steps.iter().filter(|step| step.guest == *guest);
        // The parts of secrets need no files of the guest's.
        let has_secrets = steps.clone().any(|step| matches!(step.what, What::SecretCreated(..)));
        let all = gather(steps, |all| {
            if !has_secrets {
                known_paths(entry, *guest, all);
            }
        });
        drafts.placements.push(draft(entry, *guest, all, line.chained));
    }
    if !guests.contains(&Guest::Host) {
        on_the_host(&line.steps, &mut drafts);
    }
    if let Some(command) = &entry.command {
        kind(entry, command, &mut drafts.look);
    }
    drafts
}

/// Where the entry has placements: in the guests that it or its line names, or else on the host.
fn guests(entry: &OldEntry, steps: &[Step], look: &mut Vec<String>) -> Vec<Guest> {
    let mut guests: Vec<Guest> = Vec::new();
    for step in steps.iter().filter(|step| step.guest != Guest::Host) {
        if !guests.contains(&step.guest) {
            guests.push(step.guest);
        }
    }
    match entry.guest {
        Some(guest) if guests.is_empty() => guests.push(guest),
        Some(guest) if !guests.contains(&guest) => {
            let named = guests.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
            look.push(format!(
                "guest_id is {guest}, and the command runs in guest {named}: the certificate goes to {named}"
            ));
        }
        Some(_) => {}
        None if guests.is_empty() => guests.push(Guest::Host),
        None => look.push("there is no guest_id: the guest is the one that the command names".into()),
    }
    if guests.len() > 1 {
        let all = guests.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        look.push(format!(
            "the command runs in several guests: each of {all} gets a certificate with a key of its own"
        ));
    }
    guests
}

/// What the line did on the host, for placements that are elsewhere.
fn on_the_host(steps: &[Step], drafts: &mut Drafts) {
    for step in steps.iter().filter(|step| step.guest == Guest::Host) {
        match &step.what {
            What::Nothing | What::Check => {}
            What::Put { to, .. } => drafts.look.push(format!(
                "the command made a copy on the host, {}: if something still reads it, add a placement with \"host\": true",
                to.as_str()
            )),
            What::Own { .. } | What::Mode { .. } => {
                drafts.look.push(format!("there is no copy on the host any more, so `{}` is left out", step.shown));
            }
            What::Left(left) => drafts.host.push((left.clone(), step.shown.clone())),
            _ => {
                let why = "it ran on the host, and the certificate is in a guest".to_owned();
                drafts.host.push((Left { why, command: Some(step.shown.clone()) }, step.shown.clone()));
            }
        }
    }
}

/// Whether the kind of guest is the one that the command reaches.
fn kind(entry: &OldEntry, command: &str, look: &mut Vec<String>) {
    let wrong = match entry.kind {
        Some(Kind::Lxc) if command.contains("qm guest") => "lxc, and the command reaches a VM (`qm guest`)",
        Some(Kind::Vm) if command.contains("pct ") => "vm, and the command reaches a container (`pct`)",
        _ => return,
    };
    look.push(format!("guest_type is {wrong}"));
}

fn draft(entry: &OldEntry, guest: Guest, mut all: Gathered, chained: bool) -> Draft {
    let mut why = Vec::new();
    let Choice { recipe, reloads, client, why: chosen } = choose(&mut all, guest, &entry.common_name, entry.client);
    why.push(chosen);
    why.extend(recipe.and_then(|recipe| recipe.note).map(str::to_owned));
    if entry.include_ca {
        with_roots(recipe, &mut all);
    }
    if guest == Guest::Host {
        all.look.push("it is on the host, where an agent must run: see docs/proxmox.md".into());
    }
    let has = |part| all.files.contains_key(&part);
    if has(Part::Fullchain) != has(Part::Key) {
        let (known, other) = if has(Part::Key) { ("key", "certificate") } else { ("certificate", "key") };
        all.look.push(format!("the place of the {known} is known, and that of the {other} is not: set its \"path\""));
    }
    for recipe in all.units.iter().filter_map(|(unit, ..)| recipes::for_unit(unit.as_str())) {
        all.look.push(format!("Pinion has a recipe `{recipe}` for this service: see docs/recipes.md"));
    }
    let files = files(entry, guest, recipe, &mut all);
    if let Some(probe) = recipe.and_then(|recipe| recipe.probe) {
        all.look.push(format!(
            "Pinion checks what {probe} serves: set \"probe\" if the service listens elsewhere or on more ports"
        ));
    } else if !reloads.is_empty() && !client {
        all.look
            .push("nothing says where the service listens: add \"probe\", so that Pinion sees what it serves".into());
    }
    let client = client && !recipe.is_some_and(|recipe| recipe.client);
    let Gathered { left, done, look, .. } = all;
    Draft { guest, recipe, files, reloads, client, left, done, chained, why, look }
}

/// The paths of the entry itself, where the line says none.
fn known_paths(entry: &OldEntry, guest: Guest, all: &mut Gathered) {
    let parts = [(Part::Fullchain, &entry.certificate, "cert_path"), (Part::Key, &entry.key, "key_path")];
    for (part, path, field) in parts {
        let Some(path) = path else {
            if guest == Guest::Host {
                all.look.push(format!("there is no {field}"));
            }
            continue;
        };
        let inside = ["/etc/", "/opt/", "/srv/", "/var/lib/"].iter().any(|start| path.starts_with(start));
        match path.parse::<GuestPath>() {
            Ok(to) if guest == Guest::Host => drop(all.files.insert(part, Placed::at(to))),
            Ok(to) if inside => {
                all.look.push(format!("the command does not say where the files are in guest {guest}: {field}, {path}, is taken"));
                all.files.insert(part, Placed::at(to));
            }
            Ok(_) => all.look.push(format!(
                "{field}, {path}, is a copy on the host, which is no longer made: the service must read its files where the \
                 recipe puts them"
            )),
            Err(error) => all.look.push(format!("{field} is left out: {error}")),
        }
    }
}

/// A file with the roots, where the recipe has none.
fn with_roots(recipe: Option<&'static Recipe>, all: &mut Gathered) {
    let has = recipe.is_some_and(|recipe| recipe.files.iter().any(|file| file.0 == Part::Ca));
    if has || all.files.contains_key(&Part::Ca) {
        return;
    }
    let certificate = all.files.get(&Part::Fullchain).map(|file| file.to.as_str().to_owned());
    let directory =
        certificate.as_deref().and_then(|path| path.rsplit_once('/')).map_or("/etc/pinion/certs", |(to, _)| to);
    if let Ok(to) = format!("{directory}/ca.pem").parse::<GuestPath>() {
        all.look.push(format!("include_ca is set, and the command puts the CA nowhere: it goes to {}", to.as_str()));
        all.files.insert(Part::Ca, Placed::at(to));
    }
}

/// What the placement says of its files.
fn files(
    entry: &OldEntry,
    guest: Guest,
    recipe: Option<&'static Recipe>,
    all: &mut Gathered,
) -> BTreeMap<Part, FileSpec> {
    let mut files = BTreeMap::new();
    let mut look = Vec::new();
    for (part, placed) in &all.files {
        let default = recipe.and_then(|recipe| recipe.files.iter().find(|file| file.0 == *part));
        let (mode, user, group) = match default {
            Some((_, _, mode, user, group)) => (*mode, *user, *group),
            None if part.is_secret() => ("0600", "root", "root"),
            None => ("0644", "root", "root"),
        };
        let own = placed.account.clone().or(&entry.owners);
        let [own_user, own_group] =
            [own.user, own.group].map(|account| account.map(|account| inside(account, guest, *part, &mut look)));
        let own_mode = placed.mode.or(entry.permissions).and_then(|own| safe(own, *part, mode, &mut look));
        let path = recipe.and_then(|recipe| recipe.path(*part, &entry.common_name));
        let spec = FileSpec {
            path: (path.as_deref() != Some(placed.to.as_str())).then(|| placed.to.clone()),
            mode: own_mode.filter(|own| own.to_string() != mode),
            owner: own_user.filter(|own| own.as_str() != user),
            group: own_group.filter(|own| own.as_str() != group),
            ..FileSpec::default()
        };
        if spec != FileSpec::default() {
            files.insert(*part, spec);
        }
    }
    // Where no file is known, the entry's own owner holds for those of the recipe.
    if all.files.is_empty() && entry.permissions.is_some() {
        look.push("permissions were those of the copy on the host: the recipe's are taken".into());
    }
    all.look.append(&mut look);
    files
}

/// An account as the guest knows it.
fn inside(account: Account, guest: Guest, part: Part, look: &mut Vec<String>) -> Account {
    let text = account.as_str();
    if matches!(text, "nobody" | "nogroup") && part.is_secret() {
        look.push(format!("the agent gives no key to `{text}`: set the service's own user or group"));
    }
    let number = text.parse::<u32>().ok().filter(|number| guest != Guest::Host && SHIFTED.contains(number));
    let Some(number) = number else { return account };
    let own = (number - SHIFTED.start).to_string();
    look.push(format!("{text} is a number of the host's for an unprivileged container: in the guest it is {own}"));
    own.parse().unwrap_or(account)
}

/// Permissions that the manifest takes; none for the recipe's.
fn safe(mode: FileMode, part: Part, default: &str, look: &mut Vec<String>) -> Option<FileMode> {
    if part.is_secret() && mode.bits() & 0o007 != 0 {
        look.push(format!("{mode} lets every user read the key: it becomes {default}"));
        return None;
    }
    let safe = FileMode::from_bits(mode.bits() & 0o775).unwrap_or(mode);
    if safe != mode {
        look.push(format!("{mode} lets every user write the certificate: it becomes {safe}"));
    }
    Some(safe)
}
