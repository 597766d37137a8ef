//! A directory with Proxmox's files, and a controller that looks at it.

use std::{collections::BTreeMap, fs, path::PathBuf};

use pinion_tests::{
    host::{Host, HostOptions},
    status::Status,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

/// This host's node.
pub(crate) const NODE: &str = "pve1";

/// `/etc/pve` below a host's root, with files of the shape that pmxcfs makes, and counters that count.
pub(crate) struct Pve {
    directory: PathBuf,
    guests: BTreeMap<u32, (String, &'static str, u64)>,
    version: u64,
}

impl Pve {
    /// Container 101 `gateway` and virtual machine 1001 `docker` on this node, for a host that is not started yet.
    pub(crate) fn for_host(host: &Host) -> Self {
        let path = host.root().join("etc/pinion/controller.toml");
        let config = fs::read_to_string(&path).expect("a configuration");
        fs::write(&path, format!("{config}\n[proxmox]\nnode = \"{NODE}\"\n")).expect("written");
        let directory = host.root().join("etc/pve");
        let mut pve = Self { directory, guests: BTreeMap::new(), version: 1 };
        pve.write(101, NODE, "lxc", "arch: amd64\nhostname: gateway\nostype: debian\nunprivileged: 1\n");
        pve.write(1001, NODE, "qemu-server", "agent: 1\nname: docker\nostype: l26\n");
        pve
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
pub(crate) fn wait_status(host: &Host, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
    wait::until(what, PATIENCE, || match host.status() {
        Ok(status) if wanted(&status) => Ok(status),
        Ok(status) => Err(format!("{status:?}")),
        Err(error) => Err(format!("{error:#}")),
    })
    .expect("it is told")
}
