//! Every setting of controller.toml: what it is called, what it is, what holds without it, and what it decides.
//!
//! Invariant: the reader (`written`) knows the names from here alone, and docs/reference/configuration.md is made of these
//! tables. A test writes every default into a file, and nothing changes.

use pinion_proto::settings::{
    Otherwise::{Value, Words},
    Table, setting,
};

use super::{proxmox::PROXMOX, web::WEB};
use crate::{
    issuer::{EMBEDDED_TABLE, STEP_CA_TABLE},
    notify::config::{HOOK_TABLE, MAIL_TABLE, NOTIFY_TABLE, WEBHOOK_TABLE},
};

/// All tables of the file.
pub const TABLES: [Table; 12] = [
    TOP,
    STEP_CA_TABLE,
    EMBEDDED_TABLE,
    RETRY,
    GUESTS,
    PROXMOX,
    CHANNEL,
    NOTIFY_TABLE,
    WEBHOOK_TABLE,
    MAIL_TABLE,
    HOOK_TABLE,
    WEB,
];

pub(super) const TOP: Table = Table {
    name: "",
    about: "The controller itself. The file may be absent: then every default applies.",
    settings: &[
        setting(
            "trust_domain",
            "name",
            Words("eight random hexadecimal digits and `.pinion`, another one for each installation"),
            "Part of the agents' identities: `spiffe://bea0d546.pinion/guest/1001`. Read once, when the identity CA is \
             created.",
        ),
        setting("listen", "address and port", Value("\"0.0.0.0:7443\""), "Where the controller waits for agents."),
        setting(
            "advertise",
            "list of addresses or host names, with ports",
            Words("`listen`, if that is one address"),
            "The addresses that agents dial, in join tokens and over the link: addresses of this host, one for each \
             network with guests. A host name is resolved every minute.",
        ),
        setting(
            "issuers",
            "tables `[issuers.NAME]`",
            Words("the issuer `embedded`, which is always there"),
            "The CAs that sign, under the names that the manifest uses.",
        ),
        setting("retry", "table", Words("its defaults"), "The pauses after failures, below."),
        setting("guests", "table", Words("none"), "Names for guests, below."),
        setting(
            "proxmox",
            "table",
            Words("its defaults where `pvesh` or `pmxcfs` is installed; otherwise Proxmox is not used"),
            "Proxmox, below.",
        ),
        setting("channel", "table", Words("its defaults"), "The root process, below."),
        setting("notify", "table", Words("no alarms are sent"), "The targets of alarms, below."),
        setting("web", "table", Words("its defaults"), "The page and the metrics, below."),
    ],
};

pub(super) const RETRY: Table = Table {
    name: "retry",
    about: "How long the controller waits after a failure. It never gives up.",
    settings: &[
        setting(
            "initial",
            "duration",
            Value("\"30s\""),
            "The pause after the first failure. It doubles after each more.",
        ),
        setting("max", "duration", Value("\"1h\""), "The longest pause; not shorter than `initial`."),
    ],
};

pub(super) const GUESTS: Table = Table {
    name: "guests",
    about: "Names that the manifest may use for guests, each with a VMID, such as `gateway = 101`. If Proxmox has a guest \
            of that name, the name means that guest.",
    settings: &[],
};

pub(super) const CHANNEL: Table = Table {
    name: "channel",
    about: "The root process, `pinion channel`.",
    settings: &[
        setting(
            "user",
            "user's name or number",
            Value("\"pinion\""),
            "The user of `pinion serve`. The root process answers only this user and root.",
        ),
        setting(
            "tools",
            "path",
            Words("`/usr/sbin`, `/usr/bin`"),
            "The directory of `pct` and `qm`, if they are elsewhere.",
        ),
        setting(
            "pvedaemon",
            "address and port",
            Value("\"127.0.0.1:85\""),
            "Where Proxmox's pvedaemon listens on this machine, if `proxmox_login` in `[web]` is on. A process of root's must \
             listen there.",
        ),
        setting(
            "identity_root",
            "boolean",
            Value("true"),
            "Whether the root process creates and keeps the identity root of a new installation. Read once.",
        ),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// The file with every default that is a value, but those of some tables.
    fn written(without: &[&str]) -> String {
        let mut text = String::new();
        for table in TABLES.iter().filter(|table| !without.contains(&table.name)) {
            if !table.name.is_empty() {
                text += &format!("[{}]\n", table.name);
            }
            for setting in table.settings {
                if let Value(value) = setting.default {
                    text += &format!("{} = {value}\n", setting.name);
                }
            }
        }
        text
    }

    fn loaded(text: Option<&str>, required: &str) -> String {
        let root = tempfile::tempdir().expect("a directory");
        let directory = root.path().join("etc/pinion");
        std::fs::create_dir_all(&directory).expect("made");
        if let Some(text) = text {
            std::fs::write(directory.join("controller.toml"), format!("{text}{required}")).expect("written");
        }
        let config = Config::load(root.path()).unwrap_or_else(|error| panic!("{error}\n{text:?}"));
        format!("{config:?}").replace(&root.path().display().to_string(), "")
    }

    #[test]
    fn what_the_reference_calls_a_default_changes_nothing_when_it_is_written() {
        let named = [STEP_CA_TABLE, EMBEDDED_TABLE, WEBHOOK_TABLE, MAIL_TABLE, HOOK_TABLE].map(|table| table.name);
        let nothing = loaded(Some("[proxmox]\n"), "");
        assert_eq!(loaded(Some(&written(&named)), ""), nothing);
        // An issuer and a target have settings that must be there.
        let step_ca = format!(
            "type = \"step-ca\"\nurl = \"https://10.0.0.10:9000\"\nfingerprint = \"{}\"\nprovisioner = \"pinion\"\n\
             password_file = \"/etc/pinion/password\"\n",
            "ab".repeat(32)
        );
        for (table, name, required) in [
            (STEP_CA_TABLE, "issuers.ca", step_ca.as_str()),
            (WEBHOOK_TABLE, "notify.targets.x", "type = \"webhook\"\nurl = \"https://x.example/\"\n"),
            (MAIL_TABLE, "notify.targets.x", "type = \"mail\"\n"),
            (HOOK_TABLE, "notify.targets.x", "type = \"hook\"\npath = \"/etc/pinion/x\"\n"),
        ] {
            let others: Vec<_> = TABLES.iter().map(|other| other.name).filter(|other| *other != table.name).collect();
            let written = written(&others).replace(table.name, name);
            assert_eq!(loaded(Some(&written), required), loaded(Some(&format!("[{name}]\n")), required), "{name}");
        }
    }
}
