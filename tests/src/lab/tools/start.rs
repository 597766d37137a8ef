//! `pct start` and `qm start`, with the guest's hookscript before and after.
//!
//! Invariant: as in `PVE::LXC::vm_start`, `PVE::QemuServer::vm_start` and `PVE::GuestHelpers`: a hookscript that fails
//! before the start prevents it, one that fails after it is told and changes nothing, and the tool waits for both.

use std::{fs, path::PathBuf, process::Command};

use super::{
    Failure,
    node::{self, Kind},
};

/// Where the storage `local` has its snippets.
const SNIPPETS: &str = "/var/lib/vz/snippets";

/// Starts a stopped guest of this node; returns when its init runs.
pub(super) fn start(kind: Kind, vmid: &str) -> Result<u8, Failure> {
    let conf = node::load(kind, vmid)?;
    let (word, template) = match kind {
        Kind::Container => ("CT", "CT"),
        Kind::Machine => ("VM", "vm"),
    };
    if node::init(vmid).is_some() {
        return Err(Failure::died(format!("{word} {vmid} already running")));
    }
    if let Some(lock) = conf.current.get("lock") {
        return Err(Failure::died(format!("{word} is locked ({lock})")));
    }
    if conf.current.get("template") == Some("1") {
        return Err(Failure::died(format!("you can't start a {template} if it's a template")));
    }
    let hookscript = conf.current.get("hookscript");
    hook(hookscript, vmid, "pre-start").map_err(Failure::died)?;
    boot(kind, vmid).map_err(Failure::died)?;
    if let Err(failed) = hook(hookscript, vmid, "post-start") {
        eprintln!("{failed}");
    }
    Ok(0)
}

fn boot(kind: Kind, vmid: &str) -> Result<(), String> {
    if kind == Kind::Machine {
        let place = format!("/run/qemu-server/{vmid}");
        fs::create_dir_all(&place).map_err(|error| format!("unable to make {place}: {error}"))?;
    }
    let log = format!("/var/log/lxc/{vmid}.log");
    let started = Command::new("lxc-start").args(["-n", vmid, "-l", "INFO", "-o", &log]).status();
    match started {
        // QEMU writes its own; a machine that is a container has its init in it.
        Ok(status) if status.success() && kind == Kind::Machine => match node::init(vmid) {
            Some(init) => {
                let place = format!("/run/qemu-server/{vmid}.pid");
                fs::write(&place, format!("{init}\n")).map_err(|error| format!("unable to write {place}: {error}"))
            }
            None => Err(format!("startup for container '{vmid}' failed")),
        },
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!("startup for container '{vmid}' failed")),
    }
}

/// Calls the guest's hookscript, if it has one, and waits for it.
fn hook(hookscript: Option<&str>, vmid: &str, phase: &str) -> Result<(), String> {
    let Some(name) = hookscript.and_then(|volume| volume.strip_prefix("local:snippets/")) else { return Ok(()) };
    let script = PathBuf::from(SNIPPETS).join(name);
    let failed = |why: String| format!("hookscript error for {vmid} on {phase}: {why}");
    let ended = Command::new(&script).args([vmid, phase]).status();
    let ended = ended.map_err(|error| failed(format!("script '{}' does not run: {error}", script.display())))?;
    if ended.success() {
        Ok(())
    } else {
        Err(failed(format!("command '{} {vmid} {phase}' failed: {ended}", script.display())))
    }
}
