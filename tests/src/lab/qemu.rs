//! A guest in a machine of its own: QEMU, with a kernel, a disk, a clock and a boot that are not the host's.
//!
//! Answers: how does a VM of the lab start, run and end? Invariant: it is as Proxmox starts one, as far as Pinion can
//! tell: the guest agent's virtio port is a Unix socket of QEMU's, the network a tap on the bridge, and a file with the
//! process id in `/run/qemu-server`. The processor is emulated, so that it needs nothing of the machine. Its disk is
//! made from its tree and what was written before its first start; from then on the guest alone writes it.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{namespace::Namespace, spec::Spec};
use crate::{process::Finished, wait};

/// What Debian calls the program, and how the kernel shortens that to 15 letters.
const PROGRAM: &str = "qemu-system-x86_64";
const COMMAND: &str = "qemu-system-x86";

/// Starts it; returns when QEMU runs, which is long before its kernel does.
pub(super) fn start(namespace: &Namespace, spec: &Spec) -> Result<()> {
    let (vmid, home) = (spec.vmid, format!("/var/lib/lxc/{}", spec.vmid));
    let disk = format!("{home}/disk.raw");
    if !has_disk(namespace, spec) {
        // Under another name until it is whole.
        let fresh = format!("{disk}.new");
        let root = format!("{home}/rootfs");
        namespace
            .run(&["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-d", &root, &fresh, DISK_SIZE])
            .context("make the VM's disk")?;
        namespace.run(&["mv", &fresh, &disk])?;
    }
    let run = format!("/run/qemu-server/{vmid}");
    namespace.run(&["mkdir", "-p", &run])?;
    let tree = spec.tree().ensure()?;
    let mut words: Vec<String> = [
        PROGRAM,
        "-accel",
        "tcg,thread=multi",
        // Five levels of page tables cost an emulated processor time, and a small machine needs four.
        "-cpu",
        "max,la57=off",
        "-smp",
        "2",
        "-m",
        "1536",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-daemonize",
    ]
    .map(str::to_owned)
    .into();
    let mut option = |name: &str, value: String| words.extend([format!("-{name}"), value]);
    option("name", spec.name.clone());
    option("pidfile", format!("{run}.pid"));
    option("kernel", newest(&tree, "vmlinuz-")?.display().to_string());
    option("initrd", newest(&tree, "initrd.img-")?.display().to_string());
    option("append", "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off quiet".to_owned());
    option("serial", format!("file:/var/log/lxc/{vmid}.console"));
    // Nothing of it outlives the lab, so nothing has to be on a real disk at any time.
    option("drive", format!("file={disk},format=raw,if=virtio,cache=unsafe"));
    option("device", "virtio-rng-pci".to_owned());
    option("device", "virtio-serial-pci".to_owned());
    option("chardev", format!("socket,id=qga0,path={run}/org.qemu.guest_agent.0,server=on,wait=off"));
    option("device", "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0".to_owned());
    for (index, net) in spec.nets.iter().enumerate() {
        let tap = spec.host_end(index);
        if namespace.try_run(&["ip", "link", "show", &tap])?.code() != 0 {
            namespace.run(&["ip", "tuntap", "add", &tap, "mode", "tap"])?;
            namespace.run(&["ip", "link", "set", &tap, "master", net.bridge, "up"])?;
        }
        option("netdev", format!("tap,id=net{index},ifname={tap},script=no,downscript=no"));
        option("device", format!("virtio-net-pci,netdev=net{index},mac={},romfile=", net.hwaddr));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    namespace.run(&words).map(drop).with_context(|| format!("start VM {vmid}"))
}

/// Waits until its services are up.
pub(super) fn wait_up(namespace: &Namespace, spec: &Spec) -> Result<()> {
    let vmid = spec.vmid;
    let waited = wait::until(&format!("VM {vmid} to be up"), UP, || {
        if !runs(namespace, spec) {
            return Err("QEMU has ended".to_owned());
        }
        let asked = exec(namespace, spec, &["systemctl", "is-system-running"]);
        match asked.map(|finished| finished.stdout.trim().to_owned()) {
            // As for containers: one of its services failed, and who minds asks for it.
            Ok(state) if state == "running" || state == "degraded" => Ok(()),
            Ok(state) => Err(state),
            Err(error) => Err(format!("{error:#}")),
        }
    });
    waited.map_err(|error| {
        let console = fs::read_to_string(namespace.path(&format!("/var/log/lxc/{vmid}.console"))).unwrap_or_default();
        let tail: Vec<&str> = console.lines().rev().take(40).collect();
        anyhow::anyhow!("{error:#}\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"))
    })
}

/// Runs a command in it to its end: through its guest agent, because there is no other way in.
pub(super) fn exec(namespace: &Namespace, spec: &Spec, words: &[&str]) -> Result<Finished> {
    let vmid = spec.vmid.to_string();
    let qm = ["qm", "guest", "exec", &vmid, "--timeout", "120", "--"];
    let told = namespace.run(&[&qm, words].concat())?;
    let told: Value = serde_json::from_str(&told.stdout).with_context(|| format!("read what qm told: {told}"))?;
    ensure!(told["exited"] == 1, "a command in VM {vmid} did not end: {told}");
    let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
    let code = told["exitcode"].as_i64().and_then(|code| i32::try_from(code).ok()).unwrap_or(128);
    // As wait(2) has it: the exit code is in the second byte.
    let command = words.join(" ");
    Ok(Finished {
        command,
        status: ExitStatus::from_raw(code << 8),
        stdout: text("out-data"),
        stderr: text("err-data"),
    })
}

/// Ends it in order, as `qm shutdown` does, or at once when that takes too long.
pub(super) fn stop(namespace: &Namespace, spec: &Spec) -> Result<()> {
    // Its answer may not come any more.
    namespace.try_run(&["qm", "guest", "cmd", &spec.vmid.to_string(), "shutdown"])?;
    let ended =
        wait::until("the VM to shut down", SHUTDOWN, || if runs(namespace, spec) { Err("it runs") } else { Ok(()) });
    if ended.is_ok() { Ok(()) } else { kill(namespace, spec) }
}

/// Ends it as a power cut does.
pub(super) fn kill(namespace: &Namespace, spec: &Spec) -> Result<()> {
    let Some(pid) = pid(namespace, spec) else { bail!("VM {} does not run", spec.vmid) };
    namespace.run(&["kill", "-9", &pid])?;
    wait::until("QEMU to end", SHUTDOWN, || if runs(namespace, spec) { Err("it runs") } else { Ok(()) })
}

/// Whether it runs.
pub(super) fn runs(namespace: &Namespace, spec: &Spec) -> bool {
    pid(namespace, spec).is_some()
}

/// Whether it has been started, so that its files are on a disk of its own.
pub(super) fn has_disk(namespace: &Namespace, spec: &Spec) -> bool {
    namespace.home_of(spec.vmid).join("disk.raw").exists()
}

/// QEMU's process, unless it has ended and the number is another's now.
fn pid(namespace: &Namespace, spec: &Spec) -> Option<String> {
    let file = namespace.path(&format!("/run/qemu-server/{}.pid", spec.vmid));
    let pid = fs::read_to_string(file).ok()?.trim().to_owned();
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (name.trim() == COMMAND).then_some(pid)
}

/// The one file in the tree's `/boot` whose name begins so; with several, the last.
fn newest(tree: &Path, prefix: &str) -> Result<PathBuf> {
    let boot = tree.join("boot");
    let entries = fs::read_dir(&boot).with_context(|| format!("list {}", boot.display()))?;
    let fits = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    let found = entries.flatten().map(|entry| entry.path()).filter(fits).max();
    found.with_context(|| format!("there is no {prefix}* in {}", boot.display()))
}

/// Sparse: what is in the tree, and room for what dockerd and Pinion write.
const DISK_SIZE: &str = "3G";

/// An emulated processor takes a minute for systemd and dockerd, and longer on a busy machine.
const UP: Duration = Duration::from_secs(900);

/// An emulated systemd stops dockerd first.
const SHUTDOWN: Duration = Duration::from_secs(90);
