//! `pvesh get /cluster/resources`.

use std::{collections::BTreeMap, fs, process::ExitCode};

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

/// Every guest of every node, by number.
fn resources() -> Vec<Value> {
    let here = node::name();
    let nodes = fs::read_dir("/etc/pve/nodes").into_iter().flatten().flatten();
    let mut all = BTreeMap::new();
    for name in nodes.filter_map(|entry| entry.file_name().into_string().ok()) {
        for kind in [node::Kind::Container, node::Kind::Machine] {
            for (vmid, conf) in node::list(&name, kind) {
                let status = if name == here {
                    node::status(&vmid.to_string()).to_owned()
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
