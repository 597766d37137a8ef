//! The steps of a line in one place, put together: which files there are, who is notified, and what is left.

use std::collections::BTreeMap;

use pinion_proto::{
    containers::{ContainerName, ContainerSignal, SecretName, ServiceName},
    spec::{FileMode, GuestPath, Part, Unit},
};

use super::{
    sources::is_temporary,
    step::{Left, Owners, Paths, Step, Verb, What},
};

/// What a line did in one place.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) files: BTreeMap<Part, Placed>,
    /// Each unit once, in their order, with the last command about it as a person reads it.
    pub(super) units: Vec<(Unit, Verb, String)>,
    pub(super) containers: Vec<ContainerName>,
    pub(super) signals: Vec<ContainerSignal>,
    pub(super) secrets: Vec<(SecretName, Part)>,
    pub(super) swarm: Vec<(ServiceName, Vec<(String, SecretName)>)>,
    /// Each with the command as a person reads it.
    pub(super) left: Vec<(Left, String)>,
    /// Commands that Pinion's own work takes the place of.
    pub(super) done: Vec<String>,
    pub(super) look: Vec<String>,
}

/// A file of the certificate.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) to: GuestPath,
    pub(super) account: Owners,
    pub(super) mode: Option<FileMode>,
    /// Every path that it had.
    names: Vec<String>,
}

impl Placed {
    /// A file of which only the path is known.
    pub(super) fn at(to: GuestPath) -> Self {
        Self { names: vec![to.as_str().to_owned()], to, account: Owners::default(), mode: None }
    }
}

/// Puts the steps of one place together; where they put no file anywhere, those that are `known` are meant.
pub(super) fn gather<'s>(steps: impl Iterator<Item = &'s Step> + Clone, known: impl FnOnce(&mut Gathered)) -> Gathered {
    let mut all = Gathered::default();
    // Files first: their owners may be said before they are moved.
    for step in steps.clone() {
        if let What::Put { part, from, to, account, mode } = &step.what {
            all.put(*part, from, Placed { account: account.clone(), mode: *mode, ..Placed::at(to.clone()) }, step);
        }
    }
    if all.files.is_empty() {
        known(&mut all);
    }
    for step in steps {
        all.take(step);
    }
    all.pair_stops();
    for part in [Part::Fullchain, Part::Key, Part::Ca] {
        if let Some(file) = all.files.get(&part).filter(|file| is_temporary(file.to.as_str())) {
            all.look.push(format!("nothing takes {} from there", file.to.as_str()));
            all.files.remove(&part);
        }
    }
    all
}

impl Gathered {
    fn put(&mut self, part: Part, from: &str, file: Placed, step: &Step) {
        let Some(before) = self.files.get_mut(&part) else {
            let names = [file.names, vec![from.to_owned()]].concat();
            self.files.insert(part, Placed { names, ..file });
            return;
        };
        let moved = is_temporary(before.to.as_str()) || (from == before.to.as_str() && step.shown.starts_with("mv "));
        if moved || file.to == before.to {
            let names = [before.names.clone(), file.names].concat();
            *before = Placed {
                to: file.to,
                account: file.account.or(&before.account),
                mode: file.mode.or(before.mode),
                names,
            };
            return;
        }
        let why = format!("it makes a second copy of {}, and a placement has one", before.to.as_str());
        let words = ["cp", before.to.as_str(), file.to.as_str()];
        let command = shlex::try_join(words).ok();
        self.left.push((Left { why, command }, step.shown.clone()));
    }

    fn take(&mut self, step: &Step) {
        match &step.what {
            What::Put { .. } => {}
            What::Own { account, paths } => {
                self.change(step, paths, |file| file.account = account.clone().or(&file.account))
            }
            What::Mode { mode, paths } => self.change(step, paths, |file| file.mode = Some(*mode)),
            What::Service(unit, verb) => match self.units.iter_mut().find(|(known, ..)| known == unit) {
                Some((_, known, shown)) => (*known, *shown) = (both(*known, *verb), step.shown.clone()),
                None => self.units.push((unit.clone(), *verb, step.shown.clone())),
            },
            What::Container(name) => self.containers.push(name.clone()),
            What::Signal(signal) => self.signals.push(signal.clone()),
            What::SecretCreated(name, part) => self.secrets.push((name.clone(), *part)),
            What::SwarmUpdated(service, seen) => self.swarm.push((service.clone(), seen.clone())),
            What::SecretRemoved | What::Check | What::Nothing => {}
            What::Left(left) => {
                self.left.push((left.clone(), step.shown.clone()));
                return;
            }
        }
        if !self.done.contains(&step.shown) && !self.left.iter().any(|(_, shown)| *shown == step.shown) {
            self.done.push(step.shown.clone());
        }
    }

    /// Changes the files that a command names.
    fn change(&mut self, step: &Step, paths: &Paths, change: impl Fn(&mut Placed)) {
        let mut found = false;
        for file in self.files.values_mut().filter(|file| file.names.iter().any(|name| paths.contain(name))) {
            change(file);
            found = true;
        }
        if found {
            if paths.all.iter().any(|path| path.contains(['*', '?'])) {
                self.look.push(format!("`{}` may also have changed other files", step.shown));
            }
            return;
        }
        if self.files.values().any(|file| paths.are_above(file.to.as_str())) {
            self.look.push(format!("owners and permissions of directories are not taken over: `{}`", step.shown));
            return;
        }
        let why = "its files are not this certificate's".to_owned();
        self.left.push((Left { why, command: Some(step.shown.clone()) }, step.shown.clone()));
    }

    /// A stop belongs to a start; alone it is left.
    fn pair_stops(&mut self) {
        let (stopped, units): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.units).into_iter().partition(|(_, verb, _)| *verb == Verb::Stop);
        self.units = units;
        for (.., shown) in stopped {
            self.done.retain(|done| *done != shown);
            let left = Left { why: "Pinion does not stop units".into(), command: Some(shown.clone()) };
            self.left.push((left, shown));
        }
        self.units.retain(|(_, verb, _)| *verb != Verb::Ask);
    }
}

/// What two commands do with a unit.
fn both(one: Verb, other: Verb) -> Verb {
    match (one, other) {
        (Verb::Stop, Verb::Start) | (Verb::Start, Verb::Stop) => Verb::Restart,
        (Verb::Restart, _) | (_, Verb::Restart) => Verb::Restart,
        _ => one.max(other),
    }
}
