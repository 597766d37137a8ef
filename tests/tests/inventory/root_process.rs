//! The real root process, with scripts for Proxmox's tools and directories for guests.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use pinion_tests::{host::Host, process::Process};
use rustix::process::{Pid, Signal, geteuid, kill_process};

/// `pinion channel` for a host that is not started yet.
pub(crate) struct Tools {
    process: Process,
    directory: PathBuf,
}

impl Tools {
    pub(crate) fn for_host(host: &Host) -> Self {
        let directory = host.root().join("tools");
        fs::create_dir_all(directory.join("guests")).expect("made");
        for tool in ["pct", "qm"] {
            let script = include_str!("../../../controller/src/channel/tests/hypervisor.sh");
            fs::write(directory.join(tool), script).expect("written");
            fs::set_permissions(directory.join(tool), fs::Permissions::from_mode(0o755)).expect("executable");
        }
        let settings = format!("\n[channel]\nuser = \"{}\"\ntools = \"{}\"\n", geteuid().as_raw(), directory.display());
        host.configure(&settings).expect("written");
        Self { process: host.start_channel().expect("it listens"), directory }
    }

    /// A running guest with this version of the agent, which has not joined.
    pub(crate) fn add(&self, vmid: u32, agent: &str) {
        for directory in ["usr/bin", "run/systemd/system", "var/lib/pinion-agent"] {
            fs::create_dir_all(self.guest(vmid).join(directory)).expect("made");
        }
        fs::write(self.guest(vmid).join("machine"), "x86_64\n").expect("written");
        // As the script reads it: a program's first 20 bytes, and its version.
        let program = format!("{}{agent}", " ".repeat(20));
        for place in ["usr/bin/pinion-agent", "running"] {
            fs::write(self.guest(vmid).join(place), &program).expect("written");
        }
    }

    /// The directory that is a guest.
    pub(crate) fn guest(&self, vmid: u32) -> PathBuf {
        self.directory.join("guests").join(vmid.to_string())
    }

    /// How many of the tools ran at once, at most, those of this guest left out. By their own words: what is seen from
    /// outside, process by process, is never one moment.
    pub(crate) fn max_at_once(&self, but: u32) -> usize {
        let turns = fs::read_to_string(self.directory.join("turns")).expect("turns");
        let but = but.to_string();
        let (mut now, mut max) = (0_usize, 0);
        for (what, vmid) in turns.lines().filter_map(|line| line.split_once(' ')) {
            if vmid == but {
                continue;
            }
            now = if what == "begin" { now + 1 } else { now.saturating_sub(1) };
            max = max.max(now);
        }
        max
    }

    /// Ends the root process.
    pub(crate) fn stop(&mut self) {
        self.process.stop().expect("it stops");
    }

    /// Starts it again.
    pub(crate) fn start_again(&mut self, host: &Host) {
        self.process = host.start_channel().expect("it listens");
    }
}

impl Drop for Tools {
    fn drop(&mut self) {
        // A guest that hangs leaves processes that outlive the tool on purpose; gone already, where the root process
        // has ended them in time.
        let guests = fs::read_dir(self.directory.join("guests")).into_iter().flatten().flatten();
        for guest in guests {
            let pids = fs::read_to_string(guest.path().join("pids")).unwrap_or_default();
            for pid in pids.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
                // The number may be another's by now.
                let command = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
                let command = String::from_utf8_lossy(&command);
                if command == "sleep\x001000\0" || command.contains(&*self.directory.to_string_lossy()) {
                    kill_process(pid, Signal::KILL).ok();
                }
            }
        }
    }
}
