//! The way into a virtual machine: `qm guest exec`, which asks the QEMU guest agent in it.
//!
//! What qm does is in qemu-server's `PVE/CLI/qm.pm` and `PVE/QemuServer/Agent.pm`: it prints JSON and ends with 0
//! whatever the command's exit code was; past `--timeout` it prints the command's process id and leaves it running, which
//! is not success; standard input is passed on up to 1 MiB.
//! Invariant: nothing counts as done but an `exited` with its code.

use std::time::Duration;

use serde::Deserialize;

use super::{
    guests::Known,
    protocol::{Cause, Failure, Target},
    reach::{NOT_FOUND, Output, Reach, SHORT, line},
    refusal,
    tool::{Bounds, Tool, Tools},
};

/// A virtual machine.
#[derive(Debug)]
pub(super) struct Qm<'a> {
    pub(super) tools: &'a Tools,
    pub(super) guest: Target,
    /// What is known of all guests.
    pub(super) known: Known,
}

impl Reach for Qm<'_> {
    fn guest(&self) -> Target {
        self.guest
    }

    async fn run(&self, arguments: &[&str], stdin: &[u8], patience: Duration) -> Result<Output, Failure> {
        let vmid = self.guest.vmid.to_string();
        let seconds = patience.as_secs().max(1).to_string();
        let pass: &[&str] = if stdin.is_empty() { &[] } else { &["--pass-stdin", "1"] };
        let whole = [&["guest", "exec", &vmid, "--timeout", &seconds], pass, &["--"], arguments].concat();
        // qm ends by itself first, and says so.
        let bounds = Bounds { patience: patience + GRACE, max: MAX_OUTPUT };
        let ran = self.tools.run(Tool::Qm, &whole, stdin, bounds).await?;
        let stderr = String::from_utf8_lossy(&ran.stderr);
        if ran.code != 0 {
            return self.not_through(ran.code, &stderr).await;
        }
        self.understand(&ran.stdout)
    }

    fn piece(&self) -> usize {
        PIECE
    }

    fn configured_architecture(&self) -> Option<String> {
        self.known.guest(self.guest.vmid).ok()??.arch.clone()
    }
}

/// qm passes on at most 1 MiB; less than that keeps each message on the guest agent's serial line short (bytes).
const PIECE: usize = 768 * 1024;

/// How much longer than `--timeout` qm itself may take: it looks once a second, and asks the guest agent with patience.
const GRACE: Duration = Duration::from_secs(10);

/// What the steps ask a guest is answered in a few KiB; its agent's status is the longest, escaped as JSON (bytes).
const MAX_OUTPUT: usize = 8 * 1024 * 1024;

/// What `qm guest exec` prints.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Reply {
    pid: Option<u64>,
    #[serde(default)]
    exited: Flag,
    exitcode: Option<i32>,
    signal: Option<i32>,
    #[serde(default)]
    out_data: String,
    #[serde(default)]
    err_data: String,
    #[serde(default)]
    out_truncated: Flag,
}

/// Perl's idea of true.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Flag {
    #[default]
    Absent,
    Bool(bool),
    Number(i64),
}

impl Flag {
    fn is_set(&self) -> bool {
        matches!(self, Self::Bool(true) | Self::Number(1..))
    }
}

impl Qm<'_> {
    fn understand(&self, printed: &[u8]) -> Result<Output, Failure> {
        let reply: Reply = serde_json::from_slice(printed).map_err(|error| {
            let said = line(&String::from_utf8_lossy(printed));
            let text = format!("`qm guest exec` printed no reply for {}: {error}: {said}", self.guest);
            Failure::new(Cause::Unexpected, text)
        })?;
        if !reply.exited.is_set() {
            let pid =
                reply.pid.map_or_else(String::new, |pid| format!("; it still runs in the guest as process {pid}"));
            let text = format!("a command in {} did not end in time{pid}", self.guest);
            return Err(Failure::new(Cause::TimedOut, text));
        }
        if reply.out_truncated.is_set() {
            let text = format!("a command in {} printed more than the guest agent returns", self.guest);
            return Err(Failure::new(Cause::Unexpected, text));
        }
        let code = match (reply.exitcode, reply.signal) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128_i32.saturating_add(signal),
            (None, None) => {
                let text = format!("`qm guest exec` does not say how a command in {} ended", self.guest);
                return Err(Failure::new(Cause::Unexpected, text));
            }
        };
        Ok(Output { code, stdout: bytes_again(&reply.out_data), stderr: bytes_again(&reply.err_data) })
    }

    /// The guest agent did not run the command, or could not be asked.
    async fn not_through(&self, code: i32, stderr: &str) -> Result<Output, Failure> {
        // What the guest agent says when it finds no such program; it is an answer of the guest's.
        if stderr.contains("Failed to execute child process") {
            let code = if stderr.contains("Exec format error") { 126 } else { NOT_FOUND };
            return Ok(Output { code, stdout: String::new(), stderr: stderr.to_owned() });
        }
        match refusal::meaning(stderr, self.guest, &self.known) {
            Some(_) if stderr.contains("has been disabled") && self.is_frozen().await => {
                let text = format!("{}: its file systems are frozen for a backup or snapshot", self.guest);
                Err(Failure::new(Cause::Locked, text))
            }
            // Whatever keeps the guest agent from answering, qm says that it is not running.
            Some(Failure { cause: Cause::NoGuestAgent | Cause::AgentBusy, .. }) if self.is_paused().await => {
                let text = format!("{} is paused, so nothing in it runs", self.guest);
                Err(Failure::new(Cause::Paused, text))
            }
            Some(failure) => Err(failure),
            None => Err(refusal::unforeseen("qm guest exec", self.guest, code, stderr)),
        }
    }

    /// Whether QEMU runs and the machine in it does not: paused by a person, by a full storage, or after an I/O error. Of
    /// `qm status`, `status` says `running` then, and `qmpstatus` what is so (`vmstatus` of qemu-server's
    /// `PVE/QemuServer.pm`).
    async fn is_paused(&self) -> bool {
        let vmid = self.guest.vmid.to_string();
        let arguments = ["status", &vmid, "--verbose"];
        let ran = self.tools.run(Tool::Qm, &arguments, b"", Bounds { patience: SHORT, max: MAX_STATUS }).await;
        let Ok(ran) = ran else { return false };
        let said = String::from_utf8_lossy(&ran.stdout);
        let mut words = said.lines().filter_map(|line| line.strip_prefix("qmpstatus:"));
        ran.code == 0 && words.any(|word| PAUSED.contains(&word.trim()))
    }

    /// While file systems are frozen the guest agent disables what would write to them.
    async fn is_frozen(&self) -> bool {
        let vmid = self.guest.vmid.to_string();
        let arguments = ["guest", "cmd", &vmid, "fsfreeze-status"];
        let ran = self.tools.run(Tool::Qm, &arguments, b"", Bounds { patience: SHORT, max: 4096 }).await;
        ran.is_ok_and(|ran| ran.code == 0 && String::from_utf8_lossy(&ran.stdout).trim() == "frozen")
    }
}

/// A few lines for each of a machine's disks and cards (bytes).
const MAX_STATUS: usize = 256 * 1024;

/// QEMU's words (`RunState` of its `run-state.json`) for a machine whose processors stand still.
const PAUSED: [&str; 5] = ["paused", "suspended", "io-error", "watchdog", "internal-error"];

/// qm takes each byte of the output for a character of its own (Latin-1) and writes that as UTF-8.
fn bytes_again(text: &str) -> String {
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    match bytes {
        Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::GuestKind;

    fn understand(printed: &str) -> Result<Output, Failure> {
        let guest = Target { vmid: 1001.try_into().expect("a VMID"), kind: GuestKind::Qemu };
        Qm { tools: &Tools::default(), guest, known: Known::default() }.understand(printed.as_bytes())
    }

    #[test]
    fn a_reply_is_the_commands_own_word() {
        let reply = r#"{"err-data":"no\n","exitcode":3,"exited":1,"out-data":"caf\u00c3\u00a9"}"#;
        let expected = Output { code: 3, stdout: "café".to_owned(), stderr: "no\n".to_owned() };
        assert_eq!(understand(reply), Ok(expected));
        assert_eq!(understand(r#"{"exited":true,"signal":9}"#).expect("an end").code, 137);
    }

    #[test]
    fn what_has_not_exited_has_not_succeeded() {
        for (printed, cause) in [
            (r#"{"pid":4711}"#, Cause::TimedOut),
            (r#"{"pid":4711,"exited":0,"exitcode":0}"#, Cause::TimedOut),
            (r#"{"exited":false}"#, Cause::TimedOut),
            (r#"{"exited":1}"#, Cause::Unexpected),
            (r#"{"exited":1,"exitcode":0,"out-data":"x","out-truncated":1}"#, Cause::Unexpected),
            (r#"{"exited":1,"exitcode":"0"}"#, Cause::Unexpected),
            ("", Cause::Unexpected),
            ("[]", Cause::Unexpected),
            ("timeout reached, returning pid", Cause::Unexpected),
        ] {
            assert_eq!(understand(printed).expect_err(printed).cause, cause, "{printed}");
        }
    }
}
