//! What a command of an old line does, as far as Pinion knows.

use pinion_proto::{
    containers::{ContainerName, ContainerSignal, SecretName, ServiceName},
    id::Guest,
    spec::{Account, FileMode, GuestPath, Part, Unit},
};

/// One command, and where it ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) guest: Guest,
    pub(super) what: What,
    /// The command as a person can read it, and as a shell can.
    pub(super) shown: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A part is put into a file: from where, and what is said of the file by the way.
    Put { part: Part, from: String, to: GuestPath, account: Owners, mode: Option<FileMode> },
    /// Files get an owner.
    Own { account: Owners, paths: Paths },
    /// Files get permissions.
    Mode { mode: FileMode, paths: Paths },
    /// A unit is notified.
    Service(Unit, Verb),
    /// A container is restarted.
    Container(ContainerName),
    /// A container gets a signal.
    Signal(ContainerSignal),
    /// A secret is made of a part.
    SecretCreated(SecretName, Part),
    /// A secret is removed.
    SecretRemoved,
    /// A Swarm service is updated; what it sees under which name, from which secret.
    SwarmUpdated(ServiceName, Vec<(String, SecretName)>),
    /// The service's own check of its configuration.
    Check,
    /// Nothing that is needed any more.
    Nothing,
    /// Something that Pinion does not know, and why not.
    Left(Left),
}

/// What is left of a line for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    /// Why it is.
    pub(super) why: String,
    /// The command for a shell; none if it cannot be taken out of its line.
    pub(super) command: Option<String>,
}

/// What is done with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verb {
    /// It is asked whether it runs.
    Ask,
    Stop,
    Start,
    Restart,
    Reload,
}

/// An owner and a group, as far as they are said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Owners {
    pub(super) user: Option<Account>,
    pub(super) group: Option<Account>,
}

/// Files that a command names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paths {
    /// Perhaps with `*` and `?`.
    pub(super) all: Vec<String>,
    /// And all that is in them.
    pub(super) recursive: bool,
}

impl Owners {
    /// `user:group`, `user`, `:group`; the older `user.group` is what chown takes, too.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (user, group) = text.split_once(':').or_else(|| text.split_once('.')).unwrap_or((text, ""));
        let account = |text: &str| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) };
        let owners = Self { user: account(user)?, group: account(group)? };
        (owners != Self::default()).then_some(owners)
    }

    /// These, and where they say nothing, those.
    pub(super) fn or(self, other: &Self) -> Self {
        Self { user: self.user.or_else(|| other.user.clone()), group: self.group.or_else(|| other.group.clone()) }
    }
}

impl Paths {
    /// Whether the file is among them.
    pub(super) fn contain(&self, file: &str) -> bool {
        self.all.iter().any(|path| {
            let path = path.trim_end_matches('/');
            path == file
                || is_match(path, file)
                || (self.recursive && file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
        })
    }

    /// Whether one of them is a directory above the file.
    pub(super) fn are_above(&self, file: &str) -> bool {
        self.all
            .iter()
            .any(|path| file.strip_prefix(path.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/')))
    }
}

/// Whether a pattern with `*` and `?` stands for a file; neither matches a `/`.
fn is_match(pattern: &str, file: &str) -> bool {
    let mut pattern = pattern.chars();
    match pattern.next() {
        None => file.is_empty(),
        Some('*') => {
            let within = file.find('/').unwrap_or(file.len());
            let mut starts = file.char_indices().map(|(at, _)| at).chain([file.len()]).take_while(|at| *at <= within);
            starts.any(|at| file.get(at..).is_some_and(|rest| is_match(pattern.as_str(), rest)))
        }
        Some(wanted) => {
            let mut file = file.chars();
            file.next().is_some_and(|found| found == wanted || (wanted == '?' && found != '/'))
                && is_match(pattern.as_str(), file.as_str())
        }
    }
}
