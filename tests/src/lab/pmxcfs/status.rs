//! The files that pmxcfs makes when they are read: `.version`, `.vmlist`, `.members` and their like, and its links.
//!
//! Invariant: as pve-cluster's `status.c` and `cfs-plug-func.c`. Such a file's text is made when its attributes are asked for,
//! and read as it was made then; the kernel asks at most once a second, for each file by itself. So each is up to a second old,
//! independently of the others.

use std::fmt::Write as _;

use super::tree::Tree;

/// A node of the cluster and its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
}

/// What the files tell that is not in the shared files.
#[derive(Debug)]
pub(super) struct Local {
    /// This node's name.
    pub(super) node: String,
    /// All nodes, this one first; one without others is in no cluster.
    pub(super) peers: Vec<Peer>,
    /// When the server started, in seconds since 1970.
    pub(super) started: u64,
}

/// Made when they are read, with their modes.
pub(super) const MADE: [(&str, u16); 6] = [
    (".version", 0o440),
    (".members", 0o440),
    (".vmlist", 0o440),
    (".rrd", 0o440),
    (".clusterlog", 0o440),
    (".debug", 0o640),
];

/// Links, and what follows `nodes/NODE` in them.
pub(super) const LINKS: [(&str, &str); 4] =
    [("local", ""), ("qemu-server", "/qemu-server"), ("openvz", "/openvz"), ("lxc", "/lxc")];

/// The files whose changes `.version` counts (`memdb_change_array`).
const COUNTED: [&str; 42] = [
    "corosync.conf",
    "corosync.conf.new",
    "storage.cfg",
    "user.cfg",
    "domains.cfg",
    "notifications.cfg",
    "priv/notifications.cfg",
    "priv/shadow.cfg",
    "priv/acme/plugins.cfg",
    "priv/tfa.cfg",
    "priv/token.cfg",
    "priv/ipam.db",
    "priv/macs.db",
    "datacenter.cfg",
    "vzdump.cron",
    "vzdump.conf",
    "jobs.cfg",
    "ha/crm_commands",
    "ha/manager_status",
    "ha/resources.cfg",
    "ha/groups.cfg",
    "ha/fence.cfg",
    "status.cfg",
    "replication.cfg",
    "ceph.conf",
    "sdn/vnets.cfg",
    "sdn/zones.cfg",
    "sdn/controllers.cfg",
    "sdn/subnets.cfg",
    "sdn/ipams.cfg",
    "sdn/mac-cache.json",
    "sdn/pve-ipam-state.json",
    "sdn/dns.cfg",
    "sdn/fabrics/openfabric.cfg",
    "sdn/fabrics/ospf.cfg",
    "sdn/.running-config",
    "virtual-guest/cpu-models.conf",
    "virtual-guest/profiles.cfg",
    "firewall/cluster.fw",
    "mapping/directory.cfg",
    "mapping/pci.cfg",
    "mapping/usb.cfg",
];

impl Local {
    /// The text of one of [`MADE`].
    pub(super) fn text(&self, name: &str, tree: &Tree, quorate: bool) -> String {
        match name {
            ".version" => self.version(tree),
            ".members" => self.members(quorate),
            ".vmlist" => tree.guests().text(),
            ".clusterlog" => "{\n\"data\": [\n\n]\n}\n".to_owned(),
            ".debug" => "0\n".to_owned(),
            _ => String::new(),
        }
    }

    /// The target of one of [`LINKS`].
    pub(super) fn target(&self, below: &str) -> String {
        format!("nodes/{}{below}", self.node)
    }

    fn version(&self, tree: &Tree) -> String {
        let (started, cluster) = (self.started, if self.is_alone() { 0 } else { 2 });
        let mut text = format!(
            "{{\n\"starttime\": {started},\n\"clinfo\": {cluster},\n\"vmlist\": {},\n",
            tree.guests().version()
        );
        for path in COUNTED {
            // Each is at 1 when the server has read its database.
            writeln!(text, "\"{path}\": {},", tree.changes(path) + 1).expect("a String takes everything");
        }
        text + &format!("\"kvstore\": {{\n\"{}\": {{\n\"tasklist\": 1}}\n}}\n}}\n", self.node)
    }

    fn members(&self, quorate: bool) -> String {
        if self.is_alone() {
            return format!("{{\n\"nodename\": \"{}\",\n\"version\": 0\n}}\n", self.node);
        }
        let mut text = format!(
            "{{\n\"nodename\": \"{}\",\n\"version\": 2,\n\"cluster\": {{ \"name\": \"lab\", \"version\": 1, \"nodes\": {}, \
             \"quorate\": {} }},\n\"nodelist\": {{\n",
            self.node,
            self.peers.len(),
            u8::from(quorate)
        );
        for (index, Peer { name, address }) in self.peers.iter().enumerate() {
            let comma = if index == 0 { "" } else { ",\n" };
            let online = u8::from(quorate || *name == self.node);
            let id = index + 1;
            write!(text, "{comma}  \"{name}\": {{ \"id\": {id}, \"online\": {online}, \"ip\": \"{address}\"}}")
                .expect("a String takes everything");
        }
        text + "\n  }\n}\n"
    }

    fn is_alone(&self) -> bool {
        self.peers.len() < 2
    }
}
