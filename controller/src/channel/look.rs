//! What a guest is, and which agent it has.
//!
//! Invariant: nothing is changed by looking.

use pinion_proto::{clock::Timestamp, id::is_plain_name};
use serde::Deserialize;

use super::{
    protocol::{Architecture, Cause, Failure, FoundAgent, Init, Looked},
    reach::{Output, Reach, SHORT, lacks, line},
};

/// The agent's program in a guest.
pub(super) const AGENT: &str = "/usr/bin/pinion-agent";

/// There as long as systemd runs (sd_booted(3)).
pub(super) const SYSTEMD: &str = "/run/systemd/system";

/// What OpenRC's scripts are run by.
pub(super) const OPENRC: &str = "/sbin/openrc-run";

/// The agent's identity, where its configuration does not put it elsewhere.
pub(super) const IDENTITY: &str = "/var/lib/pinion-agent/identity.json";

/// What there is in a guest.
pub(super) async fn look(reach: &impl Reach) -> Result<Looked, Failure> {
    let architecture = architecture(reach).await?;
    let found = there(reach, &[SYSTEMD, OPENRC, AGENT, IDENTITY]).await?;
    let agent = if found.contains(&AGENT) { Some(agent(reach, found.contains(&IDENTITY)).await?) } else { None };
    Ok(Looked { architecture, init: init(&found), agent })
}

/// The guest's processor, as its kernel names it; where it has no `uname`, as Proxmox's configuration names it.
pub(super) async fn architecture(reach: &impl Reach) -> Result<Architecture, Failure> {
    let asks = ["uname", "-m"];
    let output = reach.run(&asks, b"", SHORT).await?;
    let named = match reach.configured_architecture() {
        Some(configured) if output.is_missing() => configured,
        _ if output.succeeded() => output.stdout,
        _ if output.is_missing() => return Err(lacks(reach.guest(), &asks)),
        _ => {
            let (guest, code, why) = (reach.guest(), output.code, output.complaint());
            let text = format!("cannot ask for the processor in {guest}: exit code {code}: {why}");
            return Err(Failure::new(Cause::Refused, text));
        }
    };
    Ok(match named.trim() {
        "x86_64" | "amd64" => Architecture::Amd64,
        "aarch64" | "arm64" => Architecture::Arm64,
        other if is_plain_name(other) => Architecture::Other(other.to_owned()),
        other => {
            let text = format!("`uname -m` in {} names no processor: `{}`", reach.guest(), line(other));
            return Err(Failure::new(Cause::Unexpected, text));
        }
    })
}

/// Who starts the guest's services, by which of [`SYSTEMD`] and [`OPENRC`] there are.
pub(super) fn init(found: &[&str]) -> Init {
    if found.contains(&SYSTEMD) {
        Init::Systemd
    } else if found.contains(&OPENRC) {
        Init::OpenRc
    } else {
        Init::Other
    }
}

/// Which of these paths there are. `ls` fails when one is not, and lists the others all the same.
pub(super) async fn there<'p>(reach: &impl Reach, paths: &[&'p str]) -> Result<Vec<&'p str>, Failure> {
    let asks = [&["ls", "-d"], paths].concat();
    let output = reach.run(&asks, b"", SHORT).await?;
    if output.is_missing() {
        return Err(lacks(reach.guest(), &asks));
    }
    let listed = |path: &&&str| output.stdout.lines().any(|line| line == **path);
    let found: Vec<&str> = paths.iter().filter(listed).copied().collect();
    // Both GNU's and busybox's complain about each that is missing; a silent failure is another.
    if !output.succeeded() && output.stderr.is_empty() && found.is_empty() {
        let text = format!("cannot list files in {}: exit code {}", reach.guest(), output.code);
        return Err(Failure::new(Cause::Unexpected, text));
    }
    Ok(found)
}

/// What `pinion-agent status --json` prints, as far as it matters here.
#[derive(Deserialize)]
struct Status {
    version: String,
    guest: Option<serde_json::Value>,
    identity_not_after: Option<Timestamp>,
}

async fn agent(reach: &impl Reach, has_identity: bool) -> Result<FoundAgent, Failure> {
    let status = reach.run(&[AGENT, "status", "--json"], b"", SHORT).await?;
    if status.succeeded()
        && let Ok(Status { version, guest, identity_not_after: expires }) = serde_json::from_str(&status.stdout)
    {
        return Ok(FoundAgent { version: line(&version), joined: guest.is_some(), running: true, expires });
    }
    let version = reach.run(&[AGENT, "--version"], b"", SHORT).await?;
    Ok(FoundAgent { version: version_of(&version), joined: has_identity, running: false, expires: None })
}

/// The last word of `pinion-agent 0.1.0`; nothing from a program that is broken.
fn version_of(output: &Output) -> String {
    let words = output.stdout.trim().strip_prefix("pinion-agent ").filter(|_| output.succeeded());
    line(words.unwrap_or_default())
}
