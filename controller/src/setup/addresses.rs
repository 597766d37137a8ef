//! The addresses that this host has, of which some are those that guests dial.
//!
//! Answers: which of them would a person write down?
//! Invariant: this is a proposal; nothing is advertised that nobody has agreed to.

use std::{net::IpAddr, path::Path, process::Stdio, time::Duration};

use pinion_proto::process::{self, Ending, Keep, Output, end_group};
use serde::Deserialize;

/// Where iproute2 is.
const PROGRAMS: [&str; 4] = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"];

/// It only asks the kernel.
const PATIENCE: Duration = Duration::from_secs(10);

/// Some hundred bytes for each of thousands of virtual network cards.
const MAX_OUTPUT: usize = 16 * 1024 * 1024;

/// More addresses than a token has room for are nobody's networks with guests.
const MAX_PROPOSED: usize = 16;

/// An address, and the network card that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// `vmbr0`.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
}

/// Every address of this host at which others could reach it; none where nobody can tell.
pub async fn found() -> Vec<Found> {
    let Some(program) = PROGRAMS.iter().map(Path::new).find(|program| program.is_file()) else { return Vec::new() };
    let arguments = ["-json", "address", "show", "up"];
    let Ok(mut child) = process::spawn(program, &arguments, [("LC_ALL", "C")], Stdio::null()).await else {
        return Vec::new();
    };
    let (mut out, mut err) = (Output::new(Keep::AtMost(MAX_OUTPUT)), Output::new(Keep::First(0)));
    match process::talk(&mut child, b"", [&mut out, &mut err], PATIENCE, end_group).await {
        Ok(Ending::Exited(status)) if status.success() => parse(&out.into_bytes()),
        _ => Vec::new(),
    }
}

/// Of these, the addresses of bridges, which is where Proxmox has its guests; where there are none, all. IPv6 only where
/// there is no IPv4: one address for each network is enough.
#[must_use]
pub fn proposed(found: &[Found], is_bridge: impl Fn(&str) -> bool) -> Vec<Found> {
    let of_bridges: Vec<&Found> = found.iter().filter(|found| is_bridge(&found.interface)).collect();
    let candidates = if of_bridges.is_empty() { found.iter().collect() } else { of_bridges };
    let has_ipv4 = candidates.iter().any(|found| found.address.is_ipv4());
    let fits = |found: &&&Found| found.address.is_ipv4() == has_ipv4;
    candidates.iter().filter(fits).take(MAX_PROPOSED).map(|found| (*found).clone()).collect()
}

/// Whether a network card is a bridge for guests. Docker's own are none.
#[must_use]
pub fn is_bridge(interface: &str) -> bool {
    let is_dockers = interface.starts_with("docker") || interface.starts_with("br-");
    // A name has no slash (dev_valid_name of the kernel's net/core/dev.c).
    !is_dockers && Path::new("/sys/class/net").join(interface).join("bridge").is_dir()
}

/// What `ip -json address` prints, as far as it matters here.
#[derive(Deserialize)]
struct Interface {
    #[serde(default)]
    ifname: String,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    local: Option<IpAddr>,
    #[serde(default)]
    scope: String,
    /// It changes by the day (RFC 8981), or is about to go.
    #[serde(default)]
    temporary: bool,
    #[serde(default)]
    deprecated: bool,
}

fn parse(json: &[u8]) -> Vec<Found> {
    let interfaces: Vec<Interface> = serde_json::from_slice(json).unwrap_or_default();
    let addresses = interfaces.into_iter().flat_map(|Interface { ifname, addr_info }| {
        let stays = |info: &Address| info.scope == "global" && !info.temporary && !info.deprecated;
        let found = addr_info.into_iter().filter(stays).filter_map(|info| info.local);
        found.map(move |address| Found { interface: ifname.clone(), address }).collect::<Vec<_>>()
    });
    addresses.filter(|found| !found.address.is_loopback()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = r#"[
        {"ifindex":1,"ifname":"lo","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
        {},
        {"ifname":"eno1","addr_info":[{"family":"inet","local":"192.0.2.4","scope":"global"}]},
        {"ifname":"vmbr0","operstate":"UP","addr_info":[
            {"family":"inet","local":"10.0.0.13","prefixlen":24,"scope":"global","label":"vmbr0"},
            {"family":"inet6","local":"2001:db8::1","scope":"global","temporary":true},
            {"family":"inet6","local":"2001:db8::13","scope":"global","dynamic":true},
            {"family":"inet6","local":"fe80::1","scope":"link"}]},
        {"ifname":"vmbr100","addr_info":[{"family":"inet","local":"172.16.100.1","scope":"global"},{"family":"inet"}]}]"#;

    fn texts(found: &[Found]) -> Vec<String> {
        found.iter().map(|found| format!("{} {}", found.interface, found.address)).collect()
    }

    #[test]
    fn the_bridges_addresses_are_proposed_and_without_bridges_all() {
        let found = parse(PRINTED.as_bytes());
        assert_eq!(texts(&found), ["eno1 192.0.2.4", "vmbr0 10.0.0.13", "vmbr0 2001:db8::13", "vmbr100 172.16.100.1"]);
        let bridges = proposed(&found, |name| name.starts_with("vmbr"));
        assert_eq!(texts(&bridges), ["vmbr0 10.0.0.13", "vmbr100 172.16.100.1"]);
        let all = proposed(&found, |_| false);
        assert_eq!(texts(&all), ["eno1 192.0.2.4", "vmbr0 10.0.0.13", "vmbr100 172.16.100.1"]);
        assert_eq!(texts(&proposed(&found[2..3], |_| false)), ["vmbr0 2001:db8::13"], "better than none");
        assert!(parse(b"Option \"-json\" is unknown").is_empty());
    }
}
