//! The table `[notify]` of controller.toml: who is told, and how often.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use pinion_proto::{
    settings::{
        Otherwise::{Value, Words},
        Table, setting,
    },
    spec::PlainName,
};

use super::{ledger::Rhythm, rules::Patience, url::WebUrl};
use crate::settings::{Fields, Pause};

mod targets;

pub use targets::{HOOK_TABLE, HookConfig, MAIL_TABLE, MailConfig, Security, Service, WEBHOOK_TABLE, WebhookConfig};

/// The settings of `[notify]`.
pub const NOTIFY_TABLE: Table = Table {
    name: "notify",
    about: "Who is told when something is wrong, and how often. Without targets, nobody is. docs/alarms.md shows how to \
            set up each kind of target.",
    settings: &[
        setting(
            "group",
            "duration",
            Value("\"30s\""),
            "How long an alarm waits for others that go into the same message, and the shortest time between two such \
             messages. Certificates that are expiring or have expired do not wait.",
        ),
        setting(
            "repeat",
            "duration",
            Value("\"12h\""),
            "How often a target is reminded of alarms that last. It is never reminded of an alarm sooner than that.",
        ),
        setting(
            "clear_after",
            "duration",
            Value("\"2m\""),
            "How long something must be good again before its alarm is over. What comes back sooner is the same alarm.",
        ),
        setting(
            "silent_after",
            "duration",
            Value("\"15m\""),
            "How long a guest may be without a link while something is due in it.",
        ),
        setting("issuer_down_after", "duration", Value("\"1h\""), "How long an issuer may fail to answer."),
        setting("targets", "tables `[notify.targets.NAME]`", Words("none"), "Who is told, under names of your choice."),
    ],
};

/// Who is told, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyConfig {
    /// How messages follow each other.
    pub rhythm: Rhythm,
    /// How long something may last before it is an alarm.
    pub patience: Patience,
    /// The targets by name.
    pub targets: BTreeMap<PlainName, TargetConfig>,
}

/// One target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetConfig {
    /// A request by HTTP.
    Webhook(WebhookConfig),
    /// A mail.
    Mail(MailConfig),
    /// A program on this host.
    Hook(HookConfig),
}

impl Default for NotifyConfig {
    fn default() -> Self {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        Self {
            rhythm: Rhythm { group: Duration::from_secs(30), repeat: minutes(12 * 60), clear_after: minutes(2) },
            patience: Patience { silent_after: minutes(15), issuer_down_after: minutes(60) },
            targets: BTreeMap::new(),
        }
    }
}

impl NotifyConfig {
    /// Reads the table `[notify]`; what is wrong with it is noted there.
    #[must_use]
    pub fn read(table: &Fields<'_>) -> Self {
        table.known(&NOTIFY_TABLE.names());
        let standard = Self::default();
        let pause = |name, otherwise| table.optional(name).map_or(otherwise, |Pause(pause)| pause);
        let read = Self {
            rhythm: Rhythm {
                group: pause("group", standard.rhythm.group),
                repeat: pause("repeat", standard.rhythm.repeat),
                clear_after: pause("clear_after", standard.rhythm.clear_after),
            },
            patience: Patience {
                silent_after: pause("silent_after", standard.patience.silent_after),
                issuer_down_after: pause("issuer_down_after", standard.patience.issuer_down_after),
            },
            targets: table.table("targets").map(|targets| read_targets(&targets)).unwrap_or_default(),
        };
        if read.rhythm.repeat < read.rhythm.group {
            table.problem("repeat", "`repeat` is shorter than `group`, the time between two messages");
        }
        read
    }
}

/// So many targets may there be: each has a task of its own.
const MAX_TARGETS: usize = 32;

fn read_targets(targets: &Fields<'_>) -> BTreeMap<PlainName, TargetConfig> {
    let read = |written: &str| {
        let name = written.parse().map_err(|error| targets.problem_with_name(written, error)).ok();
        let target = TargetConfig::read(&targets.table(written)?);
        Some((name?, target?))
    };
    let read: BTreeMap<PlainName, _> = targets.names().filter_map(read).collect();
    if let Some((name, _)) = read.iter().nth(MAX_TARGETS) {
        targets.problem_with_name(name.as_str(), format_args!("there are more than {MAX_TARGETS} targets"));
    }
    read
}

impl TargetConfig {
    /// Reads a table `[notify.targets.NAME]`; what is wrong with it is noted there.
    #[must_use]
    pub fn read(table: &Fields<'_>) -> Option<Self> {
        let kind: String = table.required("type")?;
        match kind.as_str() {
            "webhook" => WebhookConfig::read(table).map(Self::Webhook),
            "mail" => MailConfig::read(table).map(Self::Mail),
            "hook" => HookConfig::read(table).map(Self::Hook),
            other => {
                let shown = pinion_proto::id::shown(other);
                table.problem(
                    "type",
                    format_args!("`{shown}` is not a type of target: use `webhook`, `mail` or `hook`"),
                );
                None
            }
        }
    }

    /// Its kind, in the word of the configuration.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Mail(_) => "mail",
            Self::Hook(_) => "hook",
        }
    }

    /// The files with the target's secrets, each with its setting; a relative path is below the controller's root directory.
    pub fn secret_files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let files = match self {
            Self::Webhook(config) => {
                [("url_file", config.url_file.as_ref()), ("token_file", config.token_file.as_ref())]
            }
            Self::Mail(config) => [("password_file", config.password_file.as_ref()), ("", None)],
            Self::Hook(_) => [("", None), ("", None)],
        };
        files.into_iter().filter_map(|(setting, file)| Some((setting, file?)))
    }

    /// The roots that it trusts instead of the host's.
    pub(super) fn ca_file(&self) -> Option<&Path> {
        match self {
            Self::Webhook(config) => config.ca_file.as_deref(),
            Self::Mail(config) => config.ca_file.as_deref(),
            Self::Hook(_) => None,
        }
    }
}

/// The URL that a target is configured with, where that is no secret.
pub(super) fn place(target: &TargetConfig) -> String {
    match target {
        TargetConfig::Webhook(WebhookConfig { url: Some(url), .. }) => WebUrl::origin(url),
        TargetConfig::Webhook(WebhookConfig { url_file, .. }) => {
            format!("the URL in {}", url_file.as_deref().unwrap_or(Path::new("url_file")).display())
        }
        TargetConfig::Mail(config) => config.server.to_string(),
        TargetConfig::Hook(config) => config.path.display().to_string(),
    }
}

#[cfg(test)]
mod tests;
