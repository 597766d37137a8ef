//! The section `[proxmox]`: where its files are, and which guests are enrolled without being asked for.

use std::path::{Path, PathBuf};

use pinion_proto::settings::{Otherwise, Table, setting};
use serde::Deserialize;

use crate::settings::Fields;

/// The settings of the section.
pub(super) const PROXMOX: Table = Table {
    name: "proxmox",
    about: "Both processes read this table: restart `pinion-channel` and `pinion` after a change.",
    settings: &[
        setting(
            "enroll",
            "`manifest`, `tagged` or `never`",
            Otherwise::Value("\"manifest\""),
            "Which guests Pinion enrols by itself: all that the manifest names, those of them that have the tag, or \
             none.",
        ),
        setting("tag", "text", Otherwise::Value("\"pinion\""), "That tag."),
        setting(
            "node",
            "name",
            Otherwise::Words("the host's name up to its first dot"),
            "This node's name in the cluster.",
        ),
        setting("directory", "path", Otherwise::Value("\"/etc/pve\""), "The directory with Proxmox's files."),
    ],
};

/// Where Proxmox's files are when nothing else is said.
const DIRECTORY: &str = "/etc/pve";

/// What only a Proxmox host has, below its `/`: pve-manager's and pve-cluster's programs. Not /etc/pve: it is empty while
/// pmxcfs is away, at each start of the host for a moment.
const PROGRAMS: [&str; 3] = ["usr/bin/pvesh", "usr/sbin/pvesh", "usr/bin/pmxcfs"];

/// The tag of guests that are enrolled by it.
const TAG: &str = "pinion";

/// What Proxmox is to this controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxmox {
    /// Which guests get their agent through the hypervisor.
    pub enroll: Enroll,
    /// The tag that [`Enroll::Tagged`] looks for.
    pub tag: String,
    /// This node's name in the cluster.
    pub node: String,
    /// Where pmxcfs is: the root process alone looks there.
    pub directory: PathBuf,
}

/// Which guests get their agent through the hypervisor, without a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enroll {
    /// Those that the manifest names.
    #[default]
    Manifest,
    /// Of those, the ones that have the tag.
    Tagged,
    /// No guest: you enrol each with `pinion guest enroll`.
    Never,
}

/// What the file may say.
#[derive(Debug, Default)]
pub(super) struct WrittenProxmox {
    enroll: Option<Enroll>,
    tag: Option<String>,
    node: Option<String>,
    directory: Option<PathBuf>,
}

impl WrittenProxmox {
    /// Reads the section `[proxmox]`; mistakes are noted in it.
    pub(super) fn read(section: &Fields<'_>) -> Self {
        section.known(&PROXMOX.names());
        Self {
            enroll: section.optional("enroll"),
            tag: section.optional("tag"),
            node: section.optional("node"),
            directory: section.optional("directory"),
        }
    }
}

impl Proxmox {
    /// What is meant: without the section, Proxmox where its programs are. Directories are below `root`.
    pub(super) fn settled(root: &Path, written: Option<WrittenProxmox>) -> Option<Self> {
        let asked = written.is_some();
        let written = written.unwrap_or_default();
        let directory = written.directory.as_deref().unwrap_or(Path::new(DIRECTORY));
        let directory = root.join(directory.strip_prefix("/").unwrap_or(directory));
        if !asked && !PROGRAMS.iter().any(|program| root.join(program).exists()) {
            return None;
        }
        Some(Self {
            enroll: written.enroll.unwrap_or_default(),
            tag: written.tag.unwrap_or_else(|| TAG.to_owned()),
            node: written.node.unwrap_or_else(host_name),
            directory,
        })
    }
}

/// The host's name up to its first dot, which is what Proxmox calls a node.
pub(super) fn host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ConfigError};

    fn load(files: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        let config = Config::load(root.path());
        config.map(|mut config| {
            // Told without the directory of this test.
            if let Some(proxmox) = &mut config.proxmox {
                proxmox.directory = proxmox.directory.strip_prefix(root.path()).expect("below it").into();
            }
            config
        })
    }

    #[test]
    fn proxmox_is_used_where_it_is_and_where_it_is_asked_for() {
        assert_eq!(load(&[]).expect("loaded").proxmox, None);
        for program in PROGRAMS {
            // pmxcfs may come later: that there is no /etc/pve yet says nothing.
            let found = load(&[(program, "")]).expect("loaded").proxmox.expect("found");
            assert_eq!((found.enroll, found.tag.as_str()), (Enroll::Manifest, "pinion"));
            assert_eq!((found.directory.to_str(), found.node.is_empty()), (Some("etc/pve"), false));
        }
        let asked = load(&[("etc/pinion/controller.toml", "[proxmox]\nenroll = \"tagged\"\nnode = \"pve1\"\n")]);
        let asked = asked.expect("loaded").proxmox.expect("asked for, and told when it is not there");
        assert_eq!((asked.enroll, asked.node.as_str()), (Enroll::Tagged, "pve1"));
    }

    #[test]
    fn a_wrong_setting_is_told_with_its_place() {
        let error = load(&[("etc/pinion/controller.toml", "[proxmox]\nenroll = \"always\"\n")]).expect_err("no such");
        let text = error.to_string();
        assert!(text.contains("controller.toml:2:10") && text.contains("manifest"), "{text}");
    }
}
