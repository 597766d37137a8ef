//! The tables `[notify.targets.NAME]`, one for each kind of target.

use std::{net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use lettre::Address;
use pinion_proto::settings::{
    Otherwise::{Required, Value, Words},
    Setting, Table, setting,
};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{
    notify::url::WebUrl,
    settings::{Fields, Pause},
};

/// How long one message may take.
const TIMEOUT: Duration = Duration::from_secs(15);

const TIMEOUT_SETTING: Setting =
    setting("timeout", "duration", Value("\"15s\""), "How long one message may take, up to 5 minutes.");

const CA_FILE_SETTING: Setting = setting(
    "ca_file",
    "path",
    Words("the host's root certificates"),
    "A file with root certificates, as PEM. Only these are trusted then.",
);

/// The settings of a webhook.
pub const WEBHOOK_TABLE: Table = Table {
    name: "notify.targets.NAME, with type = \"webhook\"",
    about: "A service that takes JSON by HTTP POST. Pinion follows no redirection and uses no proxy. One of `url` and \
            `url_file` must be there.",
    settings: &[
        setting("type", "`webhook`", Required, "The kind of target."),
        setting("url", "URL", Words("none"), "The address, with https or http. For ntfy, its path is the topic."),
        setting(
            "url_file",
            "path",
            Words("none"),
            "A file with the address, if that contains a secret, as those of Slack, Discord and Teams do. Only the user \
             `pinion` may read it.",
        ),
        setting(
            "service",
            "`json`, `ntfy`, `gotify`, `slack`, `discord` or `teams`",
            Value("\"json\""),
            "Which service the address belongs to; `json` sends everything that a template could contain.",
        ),
        setting(
            "template_file",
            "path",
            Words("the service's own"),
            "A JSON document of yours with placeholders, which is sent instead.",
        ),
        setting(
            "token_file",
            "path",
            Words("none"),
            "A file with a token, sent as `Authorization: Bearer`, or to Gotify as `X-Gotify-Key`. Only the user `pinion` \
             may read it.",
        ),
        CA_FILE_SETTING,
        TIMEOUT_SETTING,
    ],
};

/// The settings of a mail target.
pub const MAIL_TABLE: Table = Table {
    name: "notify.targets.NAME, with type = \"mail\"",
    about: "Mail by SMTP. On a Proxmox host, the local Postfix passes mail to root on to where Proxmox VE sends its own \
            notifications.",
    settings: &[
        setting("type", "`mail`", Required, "The kind of target."),
        setting("to", "list of addresses", Value("[\"root@localhost\"]"), "Who gets the mail."),
        setting("from", "address", Words("`pinion@` and this host's name"), "The sender."),
        setting("server", "address or name, with port", Value("\"127.0.0.1:25\""), "The mail server."),
        setting(
            "security",
            "`none`, `starttls` or `tls`",
            Words("`none` for a server on this host, otherwise `starttls`"),
            "Whether the connection is encrypted: not, after STARTTLS, or from its beginning (port 465). Pinion never falls \
             back to an unencrypted connection.",
        ),
        setting("user", "text", Words("none"), "The user name, if the server wants one. Needs `password_file`."),
        setting(
            "password_file",
            "path",
            Words("none"),
            "A file with that user's password. Only the user `pinion` may read it.",
        ),
        CA_FILE_SETTING,
        TIMEOUT_SETTING,
    ],
};

/// The settings of a hook.
pub const HOOK_TABLE: Table = Table {
    name: "notify.targets.NAME, with type = \"hook\"",
    about: "A program on this host. Pinion runs it as the user of `pinion serve` and inside the sandbox of its unit, without \
            a shell, with the message as JSON at its standard input.",
    settings: &[
        setting("type", "`hook`", Required, "The kind of target."),
        setting(
            "path",
            "absolute path",
            Required,
            "The program. Neither it nor a directory above it may be writable by anybody but root.",
        ),
        TIMEOUT_SETTING,
    ],
};

/// A service that takes JSON by HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookConfig {
    /// The address; none where it is in a file.
    pub url: Option<WebUrl>,
    /// The file with the address.
    pub url_file: Option<PathBuf>,
    /// Whose address it is.
    pub service: Service,
    /// The administrator's own body.
    pub template_file: Option<PathBuf>,
    /// The file with a token.
    pub token_file: Option<PathBuf>,
    /// Roots that are trusted instead of the host's.
    pub ca_file: Option<PathBuf>,
    /// How long one message may take.
    pub timeout: Duration,
}

/// A mail server, and who gets mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailConfig {
    /// Who gets the mail.
    pub to: Vec<Address>,
    /// Who sends it; none for this host's own.
    pub from: Option<Address>,
    /// The server.
    pub server: Server,
    /// How the connection is encrypted.
    pub security: Security,
    /// The user's name.
    pub user: Option<String>,
    /// The file with the user's password.
    pub password_file: Option<PathBuf>,
    /// Roots that are trusted instead of the host's.
    pub ca_file: Option<PathBuf>,
    /// How long one message may take.
    pub timeout: Duration,
}

/// A program on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookConfig {
    /// The program.
    pub path: PathBuf,
    /// How long it may take.
    pub timeout: Duration,
}

/// Whose body a webhook gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Anybody's: everything that there is.
    #[default]
    Json,
    /// ntfy (docs.ntfy.sh, "Publish as JSON").
    Ntfy,
    /// Gotify (`POST /message`).
    Gotify,
    /// Slack's incoming webhooks.
    Slack,
    /// Discord's webhooks.
    Discord,
    /// A workflow of Teams, "When a Teams webhook request is received".
    Teams,
}

/// How a connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// Not at all.
    None,
    /// From the command STARTTLS on (RFC 3207).
    Starttls,
    /// From the beginning (RFC 8314).
    Tls,
}

/// A mail server: an address or a name, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// An IP address without brackets, or a name.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Server {
    fn is_on_this_host(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = pinion_proto::id::shown(text);
        let why = || format!("`{shown}` is not a server and its port, such as 127.0.0.1:25 or mail.example:587");
        let (host, port) = text.rsplit_once(':').ok_or_else(why)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(why)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address.parse::<std::net::Ipv6Addr>().map_err(|_| why())?.to_string(),
            None => host.to_owned(),
        };
        let is_name = |host: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            !host.is_empty() && host.len() <= 253 && host.chars().all(plain)
        };
        if host.parse::<IpAddr>().is_err() && !is_name(&host) {
            return Err(why());
        }
        Ok(Self { host, port })
    }
}

impl<'de> Deserialize<'de> for Server {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// An address of a mail, as it is written.
struct Mailbox(Address);

impl<'de> Deserialize<'de> for Mailbox {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let shown = pinion_proto::id::shown(&text);
        let read = |error| D::Error::custom(format!("`{shown}` is not an address such as root@localhost: {error}"));
        text.parse().map(Self).map_err(read)
    }
}

impl WebhookConfig {
    pub(super) fn read(table: &Fields<'_>) -> Option<Self> {
        table.known(&WEBHOOK_TABLE.names());
        let (url, url_file) = (table.optional("url"), table.optional("url_file"));
        let written = ["url", "url_file"].map(|name| table.names().any(|other| other == name));
        match written {
            [false, false] => table.problem("type", "a webhook needs `url` or `url_file`"),
            [true, true] => table.problem("url_file", "`url` is there too: write one of them"),
            _ => {}
        }
        let read = Self {
            url,
            url_file,
            service: table.optional("service").unwrap_or_default(),
            template_file: table.optional("template_file"),
            token_file: table.optional("token_file"),
            ca_file: table.optional("ca_file"),
            timeout: timeout(table),
        };
        if let Some(url) = &read.url
            && read.service == Service::Ntfy
            && let Err(why) = url.ntfy()
        {
            table.problem("url", why);
        }
        (read.url.is_some() || read.url_file.is_some()).then_some(read)
    }
}

impl MailConfig {
    pub(super) fn read(table: &Fields<'_>) -> Option<Self> {
        table.known(&MAIL_TABLE.names());
        let to: Option<Vec<Mailbox>> = match table.names().any(|name| name == "to") {
            true => table.optional("to"),
            false => "root@localhost".parse().map(|root| vec![Mailbox(root)]).ok(),
        };
        let local = || Server { host: "127.0.0.1".to_owned(), port: 25 };
        let server: Server = table.optional("server").unwrap_or_else(local);
        let usual = if server.is_on_this_host() { Security::None } else { Security::Starttls };
        let read = Self {
            to: to?.into_iter().map(|Mailbox(address)| address).collect(),
            from: table.optional("from").map(|Mailbox(address)| address),
            security: table.optional("security").unwrap_or(usual),
            server,
            user: table.optional("user"),
            password_file: table.optional("password_file"),
            ca_file: table.optional("ca_file"),
            timeout: timeout(table),
        };
        if read.to.is_empty() || read.to.len() > MAX_RECIPIENTS {
            table.problem("to", format_args!("write at least one address, and {MAX_RECIPIENTS} at most"));
        }
        if read.user.is_some() != read.password_file.is_some() {
            let name = if read.user.is_some() { "user" } else { "password_file" };
            table.problem(name, "`user` and `password_file` belong together: write both or none");
        }
        if read.user.is_some() && read.security == Security::None && !read.server.is_on_this_host() {
            table.problem("security", "a password is not sent over an unencrypted connection to another host");
        }
        Some(read)
    }
}

/// One mail has so many recipients at most.
const MAX_RECIPIENTS: usize = 50;

impl HookConfig {
    pub(super) fn read(table: &Fields<'_>) -> Option<Self> {
        table.known(&HOOK_TABLE.names());
        let (path, timeout) = (table.required::<PathBuf>("path"), timeout(table));
        let path = path?;
        if !path.is_absolute() || path.file_name().is_none() {
            table.problem("path", "write an absolute path to a file");
        }
        Some(Self { path, timeout })
    }
}

/// No message takes longer, whatever the file says.
const MAX_TIMEOUT: Duration = Duration::from_secs(300);

fn timeout(table: &Fields<'_>) -> Duration {
    let Pause(timeout) = table.optional("timeout").unwrap_or(Pause(TIMEOUT));
    if timeout > MAX_TIMEOUT {
        table.problem("timeout", "a message may take 5m at most");
    }
    timeout
}
