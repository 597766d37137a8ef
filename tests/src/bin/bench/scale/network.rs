//! The loopback of this network namespace, which can be cut.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};

/// A fresh namespace's loopback is down. The route of the kernel's own would have all connections come from 127.0.0.1; by
/// this one each comes from the address that it goes to.
pub(super) fn up() -> Result<()> {
    run("ip", &["link", "set", "lo", "up"])?;
    run("ip", &["route", "replace", "table", "local", "local", "127.0.0.0/8", "dev", "lo", "scope", "host"])
}

/// From now on every packet is lost, and nobody is told: a queue that no packet fits into (tc-tbf(8)).
pub(super) fn cut() -> Result<()> {
    run("tc", &["qdisc", "add", "dev", "lo", "root", "tbf", "rate", "8bit", "burst", "1", "limit", "1"])
}

pub(super) fn mend() -> Result<()> {
    run("tc", &["qdisc", "del", "dev", "lo", "root"])
}

/// What it has carried so far (bytes), with the headers of IP and TCP.
pub(super) fn carried() -> Result<u64> {
    let path = "/proc/net/dev";
    let text = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("find lo in {path}"))
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let status = Command::new(program).args(arguments).status().with_context(|| format!("start `{program}`"))?;
    ensure!(status.success(), "`{program} {}` failed", arguments.join(" "));
    Ok(())
}
