//! A directory with Proxmox's files, the root process that looks at it, and what guests that run are known by.

use std::{
    collections::BTreeMap,
    fs,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    path::PathBuf,
};

use pinion_tests::{
    host::{Host, HostOptions},
    status::StatusJson,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

use crate::root_process::Tools;

/// This host's node.
pub(crate) const NODE: &str = "pve1";

/// `/etc/pve` below a host's root, with files of the shape that pmxcfs makes, and counters that count.
pub(crate) struct Pve {
    directory: PathBuf,
    guests: BTreeMap<u32, (String, &'static str, u64)>,
    version: u64,
    root: PathBuf,
    /// What the containers that run are known by.
    running: BTreeMap<u32, UnixListener>,
    /// The root process and its tools, once they are there.
    pub(crate) tools: Option<Tools>,
}

impl Pve {
    /// Container 101 `gateway` and virtual machine 1001 `docker` on this node, running, for a host that is not started
    /// yet; the root process looks at them, and brings nothing into them.
    pub(crate) fn for_host(host: &Host) -> Self {
        let mut pve = Self::prepare(host, "never");
        pve.tools = Some(Tools::for_host(host));
        pve
    }

    /// The same, before the root process is started; `enroll` says which guests get an agent.
    pub(crate) fn prepare(host: &Host, enroll: &str) -> Self {
        let path = host.root().join("etc/pinion/controller.toml");
        let config = fs::read_to_string(&path).expect("a configuration");
        let section = format!("\n[proxmox]\nnode = \"{NODE}\"\nenroll = \"{enroll}\"\n");
        fs::write(&path, config + &section).expect("written");
        let (directory, root) = (host.root().join("etc/pve"), host.root().to_owned());
        let (guests, running) = (BTreeMap::new(), BTreeMap::new());
        let mut pve = Self { directory, guests, version: 1, root, running, tools: None };
        pve.write(101, NODE, "lxc", "arch: amd64\nhostname: gateway\nostype: debian\nunprivileged: 1\n");
        pve.write(1001, NODE, "qemu-server", "agent: 1\nname: docker\nostype: l26\n");
        for vmid in [101, 1001] {
            pve.power(vmid, true);
        }
        pve
    }

    /// Has a guest of this node run, or not, as far as the host sees.
    pub(crate) fn power(&mut self, vmid: u32, on: bool) {
        let (_, kind, _) = self.guests.get(&vmid).expect("a guest");
        let pid = self.root.join(format!("run/qemu-server/{vmid}.pid"));
        match (*kind, on) {
            ("lxc", true) => {
                let name = format!("{}/var/lib/lxc/{vmid}/command", self.root.display());
                let address = SocketAddr::from_abstract_name(name).expect("an address");
                self.running.insert(vmid, UnixListener::bind_addr(&address).expect("bound"));
            }
            ("lxc", false) => drop(self.running.remove(&vmid)),
            (_, true) => {
                fs::create_dir_all(pid.parent().expect("a parent")).expect("made");
                fs::write(pid, std::process::id().to_string()).expect("written");
            }
            (_, false) => fs::remove_file(pid).expect("removed"),
        }
    }

    /// Works on the files in this directory from now on.
    pub(crate) fn move_to(&mut self, directory: &std::path::Path) {
        directory.clone_into(&mut self.directory);
    }

    /// Where a guest's configuration is.
    pub(crate) fn conf(&self, vmid: u32) -> PathBuf {
        let (node, kind, _) = self.guests.get(&vmid).expect("a guest");
        self.directory.join(format!("nodes/{node}/{kind}/{vmid}.conf"))
    }

    /// Where the list of guests is.
    pub(crate) fn list(&self) -> PathBuf {
        self.directory.join(".vmlist")
    }

    /// Writes a guest's configuration; what it had on another node goes.
    pub(crate) fn write(&mut self, vmid: u32, node: &str, kind: &'static str, text: &str) {
        let before = self.guests.contains_key(&vmid).then(|| self.conf(vmid));
        self.version += 1;
        self.guests.insert(vmid, (node.to_owned(), kind, self.version));
        let path = self.conf(vmid);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        replace(&path, text);
        if let Some(before) = before.filter(|before| *before != path) {
            fs::remove_file(before).expect("removed");
        }
        self.write_list();
    }

    /// Destroys a guest.
    pub(crate) fn destroy(&mut self, vmid: u32) {
        fs::remove_file(self.conf(vmid)).expect("removed");
        self.guests.remove(&vmid);
        self.version += 1;
        self.write_list();
    }

    /// Destroys the last one, as pmxcfs shows it.
    pub(crate) fn destroy_last(&mut self, vmid: u32) {
        self.destroy(vmid);
        assert!(self.guests.is_empty(), "it is the last");
        replace(&self.list(), &format!("{{\n\"version\": {}\n}}\n", self.version));
    }

    /// Makes the list anew.
    pub(crate) fn write_list(&self) {
        let kind = |kind| if kind == "lxc" { "lxc" } else { "qemu" };
        let entry = |(id, (node, directory, version)): (&u32, &(String, &'static str, u64))| {
            format!(r#""{id}": {{ "node": "{node}", "type": "{}", "version": {version} }}"#, kind(*directory))
        };
        let ids: Vec<_> = self.guests.iter().map(entry).collect();
        replace(
            &self.list(),
            &format!("{{\n\"version\": {},\n\"ids\": {{\n{}}}\n\n}}\n", self.version, ids.join(",\n")),
        );
        let version = format!("{{\n\"starttime\": 1760000000,\n\"clinfo\": 2,\n\"vmlist\": {}}}\n", self.version);
        replace(&self.directory.join(".version"), &version);
    }
}

/// As Proxmox writes: beside it, then in its place.
fn replace(path: &std::path::Path, text: &str) {
    let fresh = path.with_extension("tmp");
    fs::write(&fresh, text).expect("written");
    fs::rename(fresh, path).expect("replaced");
}

/// A host with certificates of these names in each of these guests, not started.
pub(crate) fn host(placements: &[(&str, u32)]) -> Host {
    let certificate = |(name, guest): &(&str, u32)| -> Value {
        let file = |kind: &str| json!({ "path": format!("/etc/ssl/{name}.{kind}") });
        json!({ "name": name, "common_name": format!("{name}.internal.example"),
                "placements": [{ "guest": guest, "files": { "cert": file("crt"), "key": file("key") } }] })
    };
    let certificates: Vec<_> = placements.iter().map(certificate).collect();
    Host::prepare(&HostOptions::embedded(&json!(certificates))).expect("a host's files")
}

/// Waits until `pinion status --json` is as `wanted` says.
pub(crate) fn wait_status(host: &Host, what: &str, wanted: impl Fn(&StatusJson) -> bool) -> StatusJson {
    wait::until(what, PATIENCE, || match host.status() {
        Ok(status) if wanted(&status) => Ok(status),
        Ok(status) => Err(format!("{status:?}")),
        Err(error) => Err(format!("{error:#}")),
    })
    .expect("it is told")
}
