//! The table `[web]`: the page and the metrics.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use pinion_proto::{
    names::SubjectName,
    settings::{
        Otherwise::{Value, Words},
        Table, setting,
    },
};
use serde::{Deserialize, Deserializer, de};

use super::proxmox::host_name;
use crate::{settings::Fields, web::tls::PairFiles};

/// The port of every example.
const PORT: u16 = 7444;

/// node_exporter reads files with this ending only.
const TEXTFILE_ENDING: &str = "prom";

pub(super) const WEB: Table = Table {
    name: "web",
    about: "The page for browsers, the metrics and the health checks.",
    settings: &[
        setting("enabled", "`true` or `false`", Value("true"), "`false` opens no port."),
        setting(
            "listen",
            "address and port",
            Value("\"127.0.0.1:7444\""),
            "Where the page is. An address that other machines reach needs `certificate` and `key`.",
        ),
        setting(
            "names",
            "list of host names",
            Words("none"),
            "Further names under which browsers ask for the page, besides `listen` and `localhost`. Requests for other \
             names are refused.",
        ),
        setting(
            "certificate",
            "file",
            Words("none: the page speaks HTTP"),
            "The page's own certificate chain, PEM. Let Pinion renew it: as a placement of this host. It is read again when it \
             changes.",
        ),
        setting("key", "file", Words("none"), "The private key of `certificate`, PEM, readable by the user `pinion`."),
        setting(
            "metrics_from",
            "list of addresses",
            Words("none"),
            "Who may read `/metrics` without a token, for example `127.0.0.1`: every local user then can.",
        ),
        setting(
            "textfile",
            "file",
            Words("none"),
            "A file that gets the metrics every 15 seconds, for the textfile collector of a node_exporter; also with \
             `enabled = false`. Its name ends in `.prom`.",
        ),
        setting(
            "renew",
            "`true` or `false`",
            Value("false"),
            "Whether people with a session for it can renew certificates on the page. Everything else only looks.",
        ),
        setting(
            "proxmox_login",
            "host name",
            Words("none: Proxmox's login is off"),
            "People with a ticket or an API token of Proxmox VE may look if they have `Sys.Audit` on `/`, and renew if they \
             also have `Sys.Modify`. The page then answers under this name only; use it for nothing else on this \
             host. Needs `certificate` and `key`. Both processes read this setting: restart `pinion-channel` and \
             `pinion` after a change.",
        ),
    ],
};

/// The page and the metrics.
#[derive(Debug, Clone)]
pub struct WebConfig {
    /// Where they are; none where they are switched off.
    pub listen: Option<SocketAddr>,
    /// Further names.
    pub names: Vec<String>,
    /// The files of the pair, for an address that others reach.
    pub pair: Option<PairFiles>,
    /// Who may read the metrics without a token.
    pub metrics_from: Vec<IpAddr>,
    /// A file that gets the metrics.
    pub textfile: Option<PathBuf>,
    /// Whether certificates can be renewed.
    pub renew: bool,
    /// The page's only name, where people may sign in with Proxmox's login.
    pub proxmox_login: Option<HostName>,
}

/// A host's name in lower case, for which a browser keeps cookies of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(Box<str>);

impl HostName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn first_label(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for HostName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse() {
            Ok(SubjectName::Dns(name)) if !name.contains('*') => Ok(Self(name)),
            _ => {
                let shown = pinion_proto::id::shown(&text);
                Err(de::Error::custom(format!("`{shown}` is not a host name such as \"pinion.internal.example\"")))
            }
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct WrittenWeb {
    enabled: Option<bool>,
    listen: Option<SocketAddr>,
    names: Vec<String>,
    pair: Option<PairFiles>,
    metrics_from: Vec<IpAddr>,
    textfile: Option<PathBuf>,
    renew: bool,
    proxmox_login: Option<HostName>,
}

impl WrittenWeb {
    pub(super) fn read(web: &Fields<'_>) -> Self {
        web.known(&WEB.names());
        let read = Self {
            enabled: web.optional("enabled"),
            listen: web.optional("listen"),
            names: web.optional("names").unwrap_or_default(),
            pair: match (web.optional("certificate"), web.optional("key")) {
                (Some(certificate), Some(key)) => Some(PairFiles { certificate, key }),
                (Some::<PathBuf>(_), None) => {
                    web.problem("certificate", "`certificate` needs `key`, the file with its private key");
                    None
                }
                (None, Some::<PathBuf>(_)) => {
                    web.problem("key", "`key` needs `certificate`, the file with its certificate chain");
                    None
                }
                (None, None) => None,
            },
            metrics_from: web.optional("metrics_from").unwrap_or_default(),
            textfile: web.optional("textfile"),
            renew: web.optional("renew").unwrap_or_default(),
            proxmox_login: web.optional("proxmox_login"),
        };
        read.check_login(web);
        if let Some(textfile) = &read.textfile
            && !(textfile.is_absolute() && textfile.extension().is_some_and(|ending| ending == TEXTFILE_ENDING))
        {
            let why = "write a path from `/` on that ends in `.prom`: node_exporter reads no other files, for example \
                       /var/lib/prometheus/node-exporter/pinion.prom";
            web.problem("textfile", why);
        }
        if let Some(listen) = read.listen.filter(|listen| !listen.ip().is_loopback())
            && read.pair.is_none()
        {
            let why = format!(
                "other machines can reach {listen}, so the page needs `certificate` and `key` there: name the files of a \
                 placement of this host, or use a loopback address and a forwarded port (ssh -L)"
            );
            web.problem("listen", why);
        }
        read
    }

    /// With Proxmox's login the page must have a name of its own: browsers send a name's cookies to everything under it.
    fn check_login(&self, web: &Fields<'_>) {
        let Some(name) = &self.proxmox_login else { return };
        if self.pair.is_none() {
            let why = "`proxmox_login` needs `certificate` and `key`: without TLS, everybody on the way could read what people \
                       sign in with";
            web.problem("proxmox_login", why);
        }
        if !self.names.is_empty() {
            web.problem("names", "with `proxmox_login`, the page answers under that name only: remove `names`");
        }
        if name.first_label().eq_ignore_ascii_case(&host_name()) {
            let why = format!(
                "{} is this host's own name, so browsers would send Proxmox's cookie to the page: give the page a \
                 name of its own, for example pinion.{0}",
                name.as_str()
            );
            web.problem("proxmox_login", why);
        }
    }

    pub(super) fn settled(self, root: &Path) -> WebConfig {
        let listen = self.listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)));
        let below = |path: PathBuf| root.join(path.strip_prefix("/").unwrap_or(&path));
        let pair = self.pair.map(|pair| PairFiles { certificate: below(pair.certificate), key: below(pair.key) });
        WebConfig {
            listen: self.enabled.unwrap_or(true).then_some(listen),
            names: self.names,
            pair,
            metrics_from: self.metrics_from,
            textfile: self.textfile.map(below),
            renew: self.renew,
            proxmox_login: self.proxmox_login,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigError, check};

    fn load(text: &str) -> (tempfile::TempDir, Result<Config, ConfigError>) {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(root.path().join("etc/pinion")).expect("made");
        std::fs::write(root.path().join("etc/pinion/controller.toml"), text).expect("written");
        let config = Config::load(root.path());
        (root, config)
    }

    #[test]
    fn the_page_is_on_loopback_unless_it_has_a_pair_and_one_line_switches_it_off() {
        let listen = |text: &str| load(text).1.expect("good").web.listen.map(|listen| listen.to_string());
        assert_eq!(listen("[web]\n").as_deref(), Some("127.0.0.1:7444"));
        assert_eq!(listen("[web]\nenabled = false\n"), None);
        let with_pair = "[web]\nlisten = \"10.0.0.13:7444\"\ncertificate = \"/a\"\nkey = \"/b\"\n";
        assert_eq!(listen(with_pair).as_deref(), Some("10.0.0.13:7444"));
        for (text, words) in [
            ("[web]\nlisten = \"0.0.0.0:7444\"\n", "needs `certificate` and `key`"),
            ("[web]\ncertificate = \"/a\"\n", "needs `key`"),
            ("[web]\nkey = \"/b\"\n", "needs `certificate`"),
            ("[web]\nmetrics_from = [\"localhost\"]\n", "metrics_from"),
        ] {
            let error = load(text).1.expect_err("a mistake").to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn proxmoxs_login_has_a_name_of_its_own_and_tls() {
        let with = |more: &str| load(&format!("[web]\ncertificate = \"/a\"\nkey = \"/b\"\n{more}\n")).1;
        let login = with("proxmox_login = \"Pinion.lan.example\"").expect("good").web.proxmox_login.expect("a name");
        assert_eq!(login.as_str(), "pinion.lan.example");
        assert_eq!(with("").expect("good").web.proxmox_login, None, "it is off unless it is asked for");
        let own = format!("{}.lan.example", super::host_name());
        for (text, words) in [
            ("proxmox_login = \"10.0.0.13\"", "not a host name"),
            ("proxmox_login = \"*.lan.example\"", "not a host name"),
            ("proxmox_login = \"https://pinion.lan.example\"", "not a host name"),
            ("proxmox_login = \"pinion.lan.example\"\nnames = [\"pve1.lan.example\"]", "remove `names`"),
            (&format!("proxmox_login = \"{own}\""), "this host's own name"),
        ] {
            let error = with(text).expect_err("a mistake").to_string();
            assert!(error.contains(words), "{error}");
        }
        let error = load("[web]\nproxmox_login = \"pinion.lan.example\"\n").1.expect_err("a mistake").to_string();
        assert!(error.contains("needs `certificate` and `key`"), "{error}");
    }

    #[test]
    fn pvedaemon_is_on_this_machine() {
        let address = |text: &str| load(text).1.map(|config| config.channel.pvedaemon.to_string());
        assert_eq!(address("[channel]\n").expect("good"), "127.0.0.1:85");
        assert_eq!(address("[channel]\npvedaemon = \"127.0.0.1:8585\"\n").expect("good"), "127.0.0.1:8585");
        let error = address("[channel]\npvedaemon = \"10.0.0.13:85\"\n").expect_err("a mistake").to_string();
        assert!(error.contains("on this machine"), "{error}");
    }

    #[test]
    fn a_pair_that_is_not_there_is_found_by_the_check() {
        let (root, _) = load("[web]\nlisten = \"10.0.0.13:7444\"\ncertificate = \"/a\"\nkey = \"/b\"\n");
        let report = check::check(root.path());
        assert!(report.findings.iter().any(|found| found.setting == "web.certificate"), "{:?}", report.findings);
    }
}
