//! The guest agent's protocol, as `qm` speaks it through QEMU's socket.
//!
//! Invariant: a connection for each command, begun with `guest-sync-delimited`, because the agent may
//! still have an answer for whoever asked before.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    process,
    time::Duration,
};

use serde_json::{Value, json};

use super::Failure;

/// Where a VM's agent listens.
pub(super) fn socket(vmid: &str) -> String {
    format!("/run/qemu-server/{vmid}/org.qemu.guest_agent.0")
}

/// Whether the agent answers within the three seconds that `qm` gives it.
pub(super) fn answers(vmid: &str) -> bool {
    command(vmid, "guest-ping", &json!({}), Duration::from_secs(3)).is_ok()
}

/// Runs a command; its `return`, or the agent's own refusal.
pub(super) fn execute(vmid: &str, name: &str, arguments: &Value) -> Result<Value, Failure> {
    // The time that QMPClient gives to all commands that it does not know better.
    let answer = command(vmid, name, arguments, Duration::from_secs(5))
        .map_err(|reason| Failure::died(format!("VM {vmid} qga command '{name}' failed - {reason}")))?;
    if let Some(reason) = answer.pointer("/error/desc").and_then(Value::as_str) {
        return Err(Failure::died(format!("Agent error: {reason}")));
    }
    Ok(answer.get("return").cloned().unwrap_or(Value::Null))
}

/// An answer that belongs to this command and to nobody's before.
fn command(vmid: &str, name: &str, arguments: &Value, max: Duration) -> Result<Value, String> {
    let stream = UnixStream::connect(socket(vmid))
        .map_err(|error| format!("unable to connect to VM {vmid} qga socket - {error}"))?;
    let silent = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => "got timeout".to_owned(),
        _ => "client closed connection".to_owned(),
    };
    stream.set_read_timeout(Some(max)).and(stream.set_write_timeout(Some(max))).map_err(silent)?;
    let id = process::id();
    let sync = json!({ "execute": "guest-sync-delimited", "arguments": { "id": id } });
    let asked = json!({ "execute": name, "arguments": arguments });
    (&stream).write_all(format!("{sync}\n{asked}\n").as_bytes()).map_err(silent)?;
    let mut reader = BufReader::new(&stream);
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).map_err(silent)?;
        if line.is_empty() {
            return Err("client closed connection".into());
        }
        // A byte 0xff stands before the answer to the synchronisation.
        let Some(start) = line.iter().rposition(|byte| *byte == 0xff) else { continue };
        let synced: Value = serde_json::from_slice(&line[start + 1..]).map_err(|error| error.to_string())?;
        if synced["return"] == json!(id) {
            break;
        }
    }
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).map_err(silent)?;
    serde_json::from_slice(&line).map_err(|error| error.to_string())
}
