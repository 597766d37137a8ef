//! A hypervisor in a box: a Proxmox-like host with real guests, in namespaces of its own.
//!
//! Answers: does it work where it is meant to? Real are the kernel's containers, systemd in every guest,
//! nginx, step-ca, dockerd and the guest agent. [`tools`] stand in for `pct`, `qm` and `pvesh`, and [`pmxcfs`]
//! for what is mounted at `/etc/pve`. A VM is a privileged container that is reached as a VM is, or
//! ([`Spec::in_qemu`]) an emulated machine. Invariant: what the lab is made of ends with its value, however its process
//! ends; the next lab begins from nothing.
//!
//! Begin with [`Lab::up`]; [`Lab::command`] runs programs on its host, [`Lab::exec`] in its guests. What an
//! operator does to guests is in [`life`], what happens to their network in [`network`], to their CA in
//! [`rollover`], and Pinion itself in [`installation`].

mod base;
pub mod booted;
mod bridges;
pub mod conf;
mod container;
mod guest_conf;
pub mod installation;
pub mod life;
pub mod namespace;
pub mod network;
pub mod operator;
pub mod place;
pub mod pmxcfs;
mod proxies;
pub mod pve;
mod qemu;
pub mod relay;
pub mod remains;
pub mod rollover;
mod services;
pub mod slow_service;
mod snakeoil;
mod without_systemd;
pub mod spec;
pub mod tools;
pub mod whole;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use pinion_proto::bundle::RootCertificate;

pub use base::Tree;
pub use services::{AUTHORITY, GATEWAY_NAME, GUEST_AGENT, GUEST_AGENT_UNIT};
pub use spec::{Body, Init, Role, Spec};

use crate::{
    ca,
    host::StepCaIssuer,
    process::{Finished, copy_program},
};
use container::Container;
use guest_conf::conf;
use namespace::Namespace;
use place::Place;
use tools::{MISCHIEF, Mischief};

/// A running lab.
#[derive(Debug)]
pub struct Lab {
    guests: BTreeMap<u32, Container>,
    files: pve::Files,
    namespace: Namespace,
    took: Duration,
}

impl Lab {
    /// A lab with these guests, all up with their services; waits while too many others are there.
    ///
    /// # Errors
    /// Not root, a package is missing, or a guest does not come up.
    pub fn up(specs: Vec<Spec>) -> Result<Self> {
        Self::up_at(Place::free, specs)
    }

    /// The lab that a person has, of which there is one.
    ///
    /// # Errors
    /// As [`Self::up`].
    pub fn kept(specs: Vec<Spec>) -> Result<Self> {
        Self::up_at(Place::kept, specs)
    }

    fn up_at(place: impl FnOnce() -> Result<Place>, specs: Vec<Spec>) -> Result<Self> {
        // Built before the clock starts: that happens once.
        for spec in &specs {
            spec.tree().ensure()?;
        }
        let place = place()?;
        let began = Instant::now();
        let namespace = Namespace::open(place)?;
        bridges::create(&namespace)?;
        let files = pve::Files::create(&namespace)?;
        let mut lab = Self { guests: BTreeMap::new(), files, namespace, took: Duration::ZERO };
        for spec in specs {
            let vmid = spec.vmid;
            lab.add(spec, None)?;
            services::prepare(&lab.namespace, lab.guest(vmid)?)?;
            lab.guest(vmid)?.start(&lab.namespace)?;
        }
        let (guests, namespace) = (&lab.guests, &lab.namespace);
        thread::scope(|scope| {
            let each = guests.values().map(|guest| {
                scope.spawn(move || {
                    guest.wait_up(namespace)?;
                    services::finish(namespace, guest)
                })
            });
            // All of them begin before the first is waited for.
            let waiting: Vec<_> = each.collect();
            waiting
                .into_iter()
                .try_for_each(|one| one.join().unwrap_or_else(|_| Err(anyhow!("a guest's thread failed"))))
        })?;
        lab.took = began.elapsed();
        Ok(lab)
    }

    /// How long [`Self::up`] took once the guests' trees were there.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.took
    }

    /// A command on the lab's host, as root there; not started yet. It becomes the process itself.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        self.namespace.command(name)
    }

    /// Runs a command on the lab's host to its end; an exit code is no error.
    ///
    /// # Errors
    /// It cannot be started, or does not end within two minutes.
    pub fn run(&self, words: &[&str]) -> Result<Finished> {
        self.namespace.try_run(words)
    }

    /// A path of the lab's host as it is reached from outside: `/etc/pve/.vmlist`.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.namespace.path(inside)
    }

    /// Where its files are while it runs, outside.
    #[must_use]
    pub fn live(&self) -> &Path {
        self.namespace.live()
    }

    /// The process that holds the lab's namespaces, for those who enter them by other means.
    #[must_use]
    pub fn init(&self) -> u32 {
        self.namespace.init()
    }

    /// A command in a guest, past every channel; not started yet.
    ///
    /// # Errors
    /// There is no such guest.
    pub fn guest_command(&self, vmid: u32, name: &str) -> Result<Command> {
        Ok(self.guest(vmid)?.command(&self.namespace, name))
    }

    /// Runs a command in a guest to its end, past every channel; an exit code is no error.
    ///
    /// # Errors
    /// There is no such guest, or the command does not end within a minute.
    pub fn exec(&self, vmid: u32, words: &[&str]) -> Result<Finished> {
        self.guest(vmid)?.exec(&self.namespace, words)
    }

    /// Runs a line of shell in a guest as its operator would, to its end.
    ///
    /// # Errors
    /// It fails, with what it said.
    pub fn sh(&self, vmid: u32, line: &str) -> Result<String> {
        let finished = self.exec(vmid, &["sh", "-c", line])?.succeeded();
        finished.map(|finished| finished.stdout).with_context(|| format!("in guest {vmid}"))
    }

    /// A file of a guest, which need not run.
    ///
    /// # Errors
    /// There is no such guest, or the file cannot be read.
    pub fn read(&self, vmid: u32, path: &str) -> Result<String> {
        let guest = self.guest(vmid)?;
        ensure!(!guest.is_on_its_disk(&self.namespace), "the files of VM {vmid} are on its own disk");
        let file = guest.root(&self.namespace).join(path.trim_start_matches('/'));
        fs::read_to_string(&file).with_context(|| format!("read {path} of guest {vmid}"))
    }

    /// Writes a file of a guest, which need not run, for its root.
    ///
    /// # Errors
    /// There is no such guest, or the file cannot be written.
    pub fn write(&self, vmid: u32, path: &str, mode: u32, text: &[u8]) -> Result<()> {
        self.guest(vmid)?.write(&self.namespace, path, mode, 0, text)
    }

    /// Puts a program or another file of the machine into the lab's host: `/usr/bin/pinion`.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn install(&self, from: &Path, inside: &str) -> Result<()> {
        let place = self.path(inside);
        let parent = place.parent().context("a place is in a directory")?;
        fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        copy_program(from, &place).with_context(|| format!("put {} into the lab as {inside}", from.display()))
    }

    /// How a controller on the lab's host finds guest 103's step-ca; the password is in its `/etc`.
    ///
    /// # Errors
    /// There is no 103 that runs step-ca.
    pub fn issuer(&self) -> Result<StepCaIssuer> {
        let password_file = PathBuf::from("/etc/pinion-lab/step-ca-password");
        let place = self.path("/etc/pinion-lab/step-ca-password");
        fs::create_dir_all(self.path("/etc/pinion-lab"))
            .and_then(|()| fs::write(&place, ca::PASSWORD))
            .with_context(|| format!("write {}", place.display()))?;
        Ok(StepCaIssuer {
            url: AUTHORITY.to_owned(),
            fingerprint: self.authority_root()?.fingerprint().to_string(),
            provisioner: "admin".into(),
            password_file,
            revoke_replaced: false,
            roots_every: None,
        })
    }

    /// The root certificate of guest 103's step-ca.
    ///
    /// # Errors
    /// There is no 103 that runs step-ca.
    pub fn authority_root(&self) -> Result<RootCertificate> {
        Ok(RootCertificate::from_pem(&self.read(103, "/etc/step-ca/certs/root_ca.crt")?)?)
    }

    /// From now on a tool misbehaves: `pct`, or `pct.101` for one guest.
    ///
    /// # Errors
    /// It cannot be written down.
    pub fn make_mischief(&self, tool: &str, mischief: &Mischief) -> Result<()> {
        let file = self.path(MISCHIEF).join(tool);
        fs::write(&file, mischief.to_string()).with_context(|| format!("write {}", file.display()))
    }

    /// The tool works again.
    ///
    /// # Errors
    /// It did no mischief.
    pub fn end_mischief(&self, tool: &str) -> Result<()> {
        let file = self.path(MISCHIEF).join(tool);
        fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))
    }

    /// Makes a guest, stopped: from nothing, or from what another one's upper directory held.
    fn add(&mut self, spec: Spec, from: Option<&Path>) -> Result<()> {
        let (vmid, kind, conf) = (spec.vmid, spec.kind, conf(&spec)?);
        let container = Container::create(&self.namespace, spec, from).with_context(|| format!("make guest {vmid}"))?;
        self.guests.insert(vmid, container);
        self.files.add(vmid, kind, &conf)
    }

    fn guest(&self, vmid: u32) -> Result<&Container> {
        self.guests.get(&vmid).with_context(|| format!("the lab has no guest {vmid}"))
    }
}
