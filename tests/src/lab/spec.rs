//! The guests of the lab: their numbers, names and addresses.

use super::{base::Tree, pve::Kind};

/// In each agent.toml of the lab, before its tables.
pub(super) const RESTARTS: &str = "restarts_per_hour = 100";

/// A guest, as it is made.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its number.
    pub vmid: u32,
    /// How it is reached.
    pub kind: Kind,
    /// Its name, in Proxmox and inside.
    pub name: String,
    /// Its network interfaces: `eth0`, `eth1`.
    pub nets: Vec<Net>,
    /// Its tags in Proxmox: `a;b`.
    pub tags: String,
    /// What runs in it.
    pub role: Role,
    /// What starts its services.
    pub init: Init,
    /// What it runs in.
    pub body: Body,
}

/// A network interface.
#[derive(Debug, Clone)]
pub struct Net {
    /// The host's bridge.
    pub bridge: &'static str,
    /// `10.0.0.101/24`.
    pub address: String,
    /// `BC:24:11:00:01:01`: Proxmox's own prefix.
    pub hwaddr: String,
    /// What Proxmox is told of the address.
    pub dhcp: bool,
}

/// What a guest is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// nginx on 443 and 8443.
    Gateway,
    /// step-ca on 9000.
    Authority,
    /// dockerd on 2376.
    Docker,
    /// As that; it may manage a Swarm, which refuses to let containers live on without dockerd.
    Manager,
    /// Traefik on 443, which asks the dockerd in 1002.
    Traefik,
    /// HAProxy on 443, Caddy on 8443 and PostgreSQL on 5432.
    Services,
    /// A service under a unit of its own: `vllm.service` on 8000.
    Unit,
    /// Nothing of its own.
    Empty,
    /// A Debian 12 alone, as Proxmox VE 8 is based on it, with nginx.
    Debian12,
    /// A Debian 13 alone, as Proxmox VE 9 is based on it, with nginx.
    Debian13,
    /// A Debian 12 with nginx that Ansible reaches over SSH.
    Managed,
}

/// What starts a guest's services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// As in most guests.
    Systemd,
    /// As in Alpine; here in a Debian.
    OpenRc,
    /// An init that runs one script when it starts, and knows nothing of services.
    Script,
}

/// What a guest runs in, whatever it is reached as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// A container of the host's kernel.
    Container,
    /// An emulated machine with a kernel of its own.
    Machine,
}

impl Init {
    /// The command that succeeds in a guest once its services are up, where systemd does not start them.
    pub(super) fn is_up(self) -> &'static [&'static str] {
        match self {
            // Its directory `rc.starting` is there until every service of the runlevel has been started.
            Self::OpenRc => {
                &["sh", "-c", "[ \"$(rc-status --runlevel)\" = default ] && [ ! -e /run/openrc/rc.starting ]"]
            }
            Self::Systemd | Self::Script => &["test", "-e", "/run/nginx.pid"],
        }
    }
}

impl Spec {
    /// 101: the gateway, unprivileged, on both networks.
    #[must_use]
    pub fn gateway() -> Self {
        let mut spec = Self::container(101, "gateway", Role::Gateway);
        spec.nets.push(Net {
            bridge: "vmbr100",
            address: "172.16.100.101/24".into(),
            hwaddr: hwaddr(101, 1),
            dhcp: false,
        });
        spec
    }

    /// 103: the certificate authority, unprivileged.
    #[must_use]
    pub fn authority() -> Self {
        Self::container(103, "step-ca", Role::Authority)
    }

    /// 1001: dockerd, reached as a VM; 10.0.0.111.
    #[must_use]
    pub fn first_docker() -> Self {
        Self::machine(1001, "docker", "10.0.0.111/24")
    }

    /// 1002: dockerd, reached as a VM; 10.0.0.102.
    #[must_use]
    pub fn second_docker() -> Self {
        Self::machine(1002, "docker-worker", "10.0.0.102/24")
    }

    /// All four.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![Self::gateway(), Self::authority(), Self::first_docker(), Self::second_docker()]
    }

    /// All four, with 1001 in a real machine.
    #[must_use]
    pub fn all_with_machine() -> Vec<Self> {
        vec![Self::gateway(), Self::authority(), Self::first_docker().in_qemu(), Self::second_docker()]
    }

    /// What a whole installation has: every shipped recipe has its service in one of them, or on the host.
    #[must_use]
    pub fn whole() -> Vec<Self> {
        let at = |spec: Self, address: &str| {
            let nets = spec.nets.iter().cloned().map(|net| Net { address: address.into(), ..net }).collect();
            Self { nets, ..spec }
        };
        vec![
            Self::gateway(),
            // 10.0.0.102 is 1002's.
            at(Self::container(102, "traefik", Role::Traefik), "10.0.0.122/24"),
            Self::authority(),
            Self::container(107, "services", Role::Services),
            at(Self::container(801, "vllm", Role::Unit), "10.0.0.81/24"),
            Self { role: Role::Manager, ..Self::first_docker() },
            Self::second_docker(),
        ]
    }

    /// An unprivileged container at `10.0.0.VMID`; its number is below 255.
    #[must_use]
    pub fn container(vmid: u32, name: &str, role: Role) -> Self {
        let net = Net { bridge: "vmbr0", address: format!("10.0.0.{vmid}/24"), hwaddr: hwaddr(vmid, 0), dhcp: true };
        Self {
            vmid,
            kind: Kind::Container,
            name: name.into(),
            nets: vec![net],
            tags: "lab".into(),
            role,
            init: Init::Systemd,
            body: Body::Container,
        }
    }

    /// nginx in an unprivileged container without systemd.
    #[must_use]
    pub fn without_systemd(vmid: u32, name: &str, init: Init) -> Self {
        Self { init, ..Self::container(vmid, name, Role::Gateway) }
    }

    /// A guest with dockerd that is reached as a VM.
    #[must_use]
    pub fn machine(vmid: u32, name: &str, address: &str) -> Self {
        let net = Net { bridge: "vmbr0", address: address.into(), hwaddr: hwaddr(vmid, 0), dhcp: true };
        Self {
            vmid,
            kind: Kind::Machine,
            name: name.into(),
            nets: vec![net],
            tags: "docker;lab".into(),
            role: Role::Docker,
            init: Init::Systemd,
            body: Body::Container,
        }
    }

    /// The same VM in a real machine.
    #[must_use]
    pub fn in_qemu(self) -> Self {
        Self { body: Body::Machine, ..self }
    }

    /// What its root file system lies on.
    #[must_use]
    pub fn tree(&self) -> Tree {
        match (self.kind, self.init, self.body) {
            (Kind::Container, Init::Systemd, _) if self.role == Role::Services => Tree::Services,
            (Kind::Container, Init::Systemd, _) => Tree::Plain,
            (Kind::Container, Init::OpenRc | Init::Script, _) => Tree::WithoutSystemd,
            (Kind::Machine, _, Body::Container) => match self.role {
                Role::Debian12 => Tree::Bookworm,
                Role::Debian13 => Tree::Trixie,
                Role::Managed => Tree::Managed,
                _ => Tree::Docker,
            },
            (Kind::Machine, _, Body::Machine) => Tree::Machine,
        }
    }

    /// The host's end of an interface, named as Proxmox names it.
    #[must_use]
    pub fn host_end(&self, index: usize) -> String {
        match self.kind {
            Kind::Container => format!("veth{}i{index}", self.vmid),
            Kind::Machine => format!("tap{}i{index}", self.vmid),
        }
    }
}

/// An address that says whose it is; Proxmox draws its own at random below the same prefix.
#[must_use]
pub fn hwaddr(vmid: u32, index: usize) -> String {
    format!("BC:24:11:{:02X}:{:02X}:{index:02X}", (vmid >> 8) & 0xff, vmid & 0xff)
}
