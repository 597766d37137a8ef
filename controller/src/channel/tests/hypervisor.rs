//! A hypervisor in a directory: the tools are a shell script, a guest is a directory.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use pinion_proto::{
    bundle::RootCertificate,
    clock::SystemClock,
    id::{Guest, Vmid},
    lines,
    message::JoinSecret,
    token::JoinToken,
};
use rustix::process::geteuid;
use tempfile::TempDir;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::package::package_in;
use crate::{
    channel::{
        client::Client,
        protocol::{Listing, Secret, Target},
        server::Server,
    },
    config::Config,
    inventory::GuestKind,
};

/// The tools, the package and a running server.
pub(super) struct Hypervisor {
    pub(super) client: Client,
    root: TempDir,
    _server: JoinSet<()>,
}

impl Hypervisor {
    /// With a server that has the usual patience.
    pub(super) fn new() -> Self {
        Self::with(None, geteuid().as_raw())
    }

    /// With a server whose verbs take this long at most, and which answers this user besides root.
    pub(super) fn with(patience: Option<Duration>, user: u32) -> Self {
        let root = tempfile::Builder::new().prefix("pinion-channel-").tempdir().expect("a directory");
        package_in(root.path(), "1.0");
        let tools = root.path().join("tools");
        fs::create_dir_all(tools.join("guests")).expect("made");
        fs::create_dir_all(root.path().join("etc/pve")).expect("made");
        fs::write(tools.join("calls"), "").expect("written");
        for tool in ["pct", "qm"] {
            let path = tools.join(tool);
            fs::write(&path, include_str!("hypervisor.sh")).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        }
        fs::create_dir_all(root.path().join("etc/pinion")).expect("made");
        let config = "[proxmox]\nnode = \"pve1\"\n";
        fs::write(root.path().join("etc/pinion/controller.toml"), config).expect("written");
        let mut config = Config::load(root.path()).expect("a configuration");
        config.channel.tools = Some(tools);
        let (mut server, watcher) = Server::new(&config, user, Arc::new(SystemClock));
        server.verbs.patience = patience;
        let listener = lines::bind(&config.channel.socket, 0o600).expect("a socket");
        let mut tasks = JoinSet::new();
        tasks.spawn(watcher);
        tasks.spawn(async move {
            let mut calls = JoinSet::new();
            Arc::new(server).serve(&listener, &mut calls).await;
        });
        Self { client: Client::new(&config.channel.socket), root, _server: tasks }
    }

    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }

    /// A running guest with nothing of Pinion's in it.
    pub(super) fn add(&self, number: u32, kind: GuestKind, machine: &str) -> Target {
        let guest = Target { vmid: Vmid::try_from(number).expect("a VMID"), kind };
        for directory in
            ["usr/bin", "etc/systemd/system", "etc/init.d", "run/systemd/system", "var/lib/pinion-agent", "sbin"]
        {
            fs::create_dir_all(self.path(guest, directory)).expect("made");
        }
        self.write(guest, "machine", machine);
        guest
    }

    /// Where a guest's file is.
    pub(super) fn path(&self, guest: Target, path: &str) -> PathBuf {
        self.root().join("tools/guests").join(guest.vmid.to_string()).join(path.trim_start_matches('/'))
    }

    pub(super) fn write(&self, guest: Target, path: &str, content: &str) {
        fs::write(self.path(guest, path), content).expect("written");
    }

    pub(super) fn read(&self, guest: Target, path: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(guest, path)).unwrap_or_default()).into_owned()
    }

    /// Every file of the guest by its path, but for those that the tools need.
    pub(super) fn names(&self, guest: Target, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(guest, directory)).expect("a directory");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// How the tools were called since the last time.
    pub(super) fn calls(&self) -> Vec<String> {
        let path = self.root().join("tools/calls");
        let calls = fs::read_to_string(&path).expect("calls").lines().map(str::to_owned).collect();
        fs::write(&path, "").expect("written");
        calls
    }

    /// Waits until the root process knows as much of the guests as `wanted` says.
    pub(super) async fn known(&self, wanted: impl Fn(&Listing) -> bool) -> Listing {
        let mut has = None;
        let waited = tokio::time::timeout(Duration::from_secs(60), async {
            loop {
                let listing = self.client.guests(has).await.expect("it answers");
                if wanted(&listing) {
                    return listing;
                }
                has = Some(listing.revision);
            }
        });
        waited.await.expect("it is known in time")
    }

    /// What all nodes know of the guests.
    pub(super) fn list(&self, guests: &BTreeMap<u32, (&str, &str)>) {
        let ids: serde_json::Map<String, serde_json::Value> = guests
            .iter()
            .map(|(vmid, (node, kind))| {
                (vmid.to_string(), serde_json::json!({"node": node, "type": kind, "version": 1}))
            })
            .collect();
        let list = serde_json::json!({"version": 1, "ids": ids});
        fs::write(self.root().join("etc/pve/.vmlist"), list.to_string()).expect("written");
    }
}

/// A join token of this guest.
pub(super) fn token(guest: u32) -> Secret {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).expect("a root");
    let token = JoinToken {
        guest: Guest::Vmid(Vmid::try_from(guest).expect("a VMID")),
        secret: JoinSecret(Zeroizing::new([7; 32])),
        root: RootCertificate::parse(root.der()).expect("a root"),
        controllers: vec!["10.0.0.13:7443".parse().expect("an address")],
    };
    Secret::new(token.to_text().expect("a token"))
}
