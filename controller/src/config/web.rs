//! The table `[web]`: the page and the metrics.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use pinion_proto::settings::{
    Otherwise::{Value, Words},
    Table, setting,
};

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
        };
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
    fn a_pair_that_is_not_there_is_found_by_the_check() {
        let (root, _) = load("[web]\nlisten = \"10.0.0.13:7444\"\ncertificate = \"/a\"\nkey = \"/b\"\n");
        let report = check::check(root.path());
        assert!(report.findings.iter().any(|found| found.setting == "web.certificate"), "{:?}", report.findings);
    }
}
