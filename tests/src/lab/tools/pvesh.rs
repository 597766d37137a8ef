//! `pvesh get /cluster/resources`.
//!
//! Invariant: as on Proxmox, which guests there are and how they are configured is of this moment, and what runs is what
//! `pvestatd` has last broadcast, up to 10 s ago; a guest that it has not seen yet is `unknown`. It takes a second, which
//! the real one spends on starting Perl and its modules, and this one asleep.

use std::{
    collections::BTreeMap,
    fs,
    process::ExitCode,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{
    Failure,
    grammar::{Kind, Parameter, Tool, Verb},
    node, sorted,
};
use crate::lab::conf::Conf;

/// Does what the command line asks.
#[must_use]
pub fn main() -> ExitCode {
    super::run("pvesh", |arguments| {
        // The real one looks for the path's handler before it reads its arguments.
        if let [verb, path, ..] = arguments
            && ["get", "set", "create", "delete"].contains(&verb.as_str())
            && (verb != "get" || path.trim_matches('/') != "cluster/resources")
        {
            return Err(Failure { text: format!("No '{verb}' handler defined for '{path}'\n"), code: 1 });
        }
        let asked = TOOL.parse(arguments)?;
        let format = asked.get("output-format").unwrap_or("text");
        if !format.starts_with("json") {
            return Err(Failure::died("the lab's pvesh prints JSON only: --output-format json"));
        }
        thread::sleep(START);
        let wanted = asked.get("type").is_none_or(|kind| kind == "vm");
        let all = sorted(&Value::Array(if wanted { resources() } else { Vec::new() }));
        let text = if format == "json" { serde_json::to_string(&all) } else { serde_json::to_string_pretty(&all) };
        println!("{}", text.map_err(|error| Failure::died(error.to_string()))?);
        Ok(0)
    })
}

static TOOL: Tool = Tool {
    name: "pvesh",
    verbs: &[Verb {
        words: &["get"],
        arguments: &[Parameter { name: "api_path", kind: Kind::Text }],
        options: &[
            Parameter { name: "human-readable", kind: Kind::Flag },
            Parameter { name: "noborder", kind: Kind::Flag },
            Parameter { name: "noheader", kind: Kind::Flag },
            Parameter { name: "noproxy", kind: Kind::Flag },
            Parameter { name: "output-format", kind: Kind::OneOf(&["text", "json", "json-pretty", "yaml"]) },
            Parameter { name: "quiet", kind: Kind::Flag },
            Parameter { name: "type", kind: Kind::OneOf(&["vm", "storage", "node", "sdn"]) },
        ],
    }],
    others: &["create", "delete", "help", "ls", "set", "usage"],
    aliases: &[],
};

/// Where the lab writes down what runs on nodes that it has not got.
const ELSEWHERE: &str = "/run/pinion-lab/elsewhere";

/// How long the real one takes to begin.
const START: Duration = Duration::from_secs(1);

/// What `pvestatd` has broadcast: when, in seconds since 1970, and the states of this node's guests.
const BROADCAST: &str = "/run/pinion-lab/broadcast.json";

/// How often `pvestatd` looks, in seconds.
const EVERY: u64 = 10;

/// The states as they were last broadcast; who asks after the time for another has it made.
fn broadcast(here: &str) -> BTreeMap<u32, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let known: Option<(u64, BTreeMap<u32, String>)> =
        fs::read(BROADCAST).ok().and_then(|text| serde_json::from_slice(&text).ok());
    // At the moments of a clock, as if it looked by itself.
    if let Some((_, states)) = known.filter(|(at, _)| at / EVERY == now / EVERY) {
        return states;
    }
    let guests = [node::Kind::Container, node::Kind::Machine].into_iter().flat_map(|kind| node::list(here, kind));
    let states: BTreeMap<u32, String> =
        guests.map(|(vmid, _)| (vmid, node::status(&vmid.to_string()).to_owned())).collect();
    let fresh = format!("{BROADCAST}.{}", std::process::id());
    let text = serde_json::to_vec(&(now, &states)).unwrap_or_default();
    fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, BROADCAST)).ok();
    states
}

/// Every guest of every node, by number.
fn resources() -> Vec<Value> {
    let here = node::name();
    let states = broadcast(&here);
    let nodes = fs::read_dir("/etc/pve/nodes").into_iter().flatten().flatten();
    let mut all = BTreeMap::new();
    for name in nodes.filter_map(|entry| entry.file_name().into_string().ok()) {
        for kind in [node::Kind::Container, node::Kind::Machine] {
            for (vmid, conf) in node::list(&name, kind) {
                let status = if name == here {
                    states.get(&vmid).cloned().unwrap_or_else(|| "unknown".to_owned())
                } else {
                    let told = fs::read_to_string(format!("{ELSEWHERE}/{vmid}")).unwrap_or_default();
                    if told.is_empty() { "unknown".to_owned() } else { told }
                };
                all.insert(vmid, entry(vmid, kind, &name, &status, &conf));
            }
        }
    }
    all.into_values().collect()
}

fn entry(vmid: u32, kind: node::Kind, node: &str, status: &str, conf: &Conf) -> Value {
    let running = status == "running";
    let key = |name: &str| conf.current.get(name);
    let mut entry = json!({
        "cpu": if running { 0.01 } else { 0.0 },
        "disk": 0,
        "diskread": 0,
        "diskwrite": 0,
        "id": format!("{}/{vmid}", kind.listed()),
        "maxcpu": 2,
        "maxdisk": 8_589_934_592_u64,
        "maxmem": 536_870_912,
        "mem": if running { 104_857_600 } else { 0 },
        "name": key(kind.name_key()).map_or_else(|| format!("CT{vmid}"), str::to_owned),
        "netin": 0,
        "netout": 0,
        "node": node,
        "status": status,
        "template": u8::from(key("template") == Some("1")),
        "type": kind.listed(),
        "uptime": u8::from(running),
        "vmid": vmid,
    });
    for known in ["lock", "tags"] {
        if let Some(value) = key(known) {
            entry[known] = json!(value);
        }
    }
    entry
}
