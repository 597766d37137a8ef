//! `qm`: status, guest exec, guest exec-status, guest cmd, agent, list, config.
//!
//! Invariant: `guest exec` succeeds whatever the command's own exit code is, and also when it gave up
//! waiting: then it prints the process id, and the command runs on. Output beyond ASCII comes out as if each
//! byte were a character, because the real one decodes base64 and then encodes the bytes as UTF-8.

use std::{
    io::{self, Read as _},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize as _;
use serde_json::{Value, json, ser::PrettyFormatter};

use super::{
    Failure, agent,
    grammar::{Asked, Kind, Parameter, Tool, Verb},
    node, sorted, start,
};

/// Does what the command line asks.
#[must_use]
pub fn main() -> ExitCode {
    super::run("qm", |arguments| {
        let asked = TOOL.parse(arguments)?;
        let vmid = asked.text("vmid");
        match asked.verb.words {
            ["status"] => status(vmid, asked.flag("verbose") == Some(true)),
            ["guest", "exec"] => exec(vmid, &asked),
            ["guest", "exec-status"] => {
                available(vmid)?;
                let pid = asked.text("pid").parse().unwrap_or(0);
                print(&exec_status(vmid, pid)?)
            }
            ["guest", "cmd"] => {
                available(vmid)?;
                print(&agent::execute(vmid, &format!("guest-{}", asked.text("command")), &json!({}))?)
            }
            ["start"] => start::start(node::Kind::Machine, vmid),
            ["config"] => {
                node::print_config(&node::load(node::Kind::Machine, vmid)?);
                Ok(0)
            }
            _ => Ok(list()),
        }
    })
}

const VMID: Parameter = Parameter { name: "vmid", kind: Kind::Vmid };

static TOOL: Tool = Tool {
    name: "qm",
    verbs: &[
        Verb {
            words: &["config"],
            arguments: &[VMID],
            options: &[
                Parameter { name: "current", kind: Kind::Flag },
                Parameter { name: "snapshot", kind: Kind::Text },
            ],
        },
        Verb {
            words: &["guest", "cmd"],
            arguments: &[VMID, Parameter { name: "command", kind: Kind::OneOf(COMMANDS) }],
            options: &[],
        },
        Verb {
            words: &["guest", "exec"],
            arguments: &[VMID, Parameter { name: "extra-args", kind: Kind::Rest }],
            options: &[
                Parameter { name: "pass-stdin", kind: Kind::Flag },
                Parameter { name: "synchronous", kind: Kind::Flag },
                Parameter { name: "timeout", kind: Kind::Count },
            ],
        },
        Verb {
            words: &["guest", "exec-status"],
            arguments: &[VMID, Parameter { name: "pid", kind: Kind::Count }],
            options: &[],
        },
        Verb { words: &["list"], arguments: &[], options: &[Parameter { name: "full", kind: Kind::Flag }] },
        Verb { words: &["start"], arguments: &[VMID], options: &[] },
        Verb { words: &["status"], arguments: &[VMID], options: &[Parameter { name: "verbose", kind: Kind::Flag }] },
    ],
    others: &[
        "cleanup",
        "clone",
        "cloudinit",
        "create",
        "delsnapshot",
        "destroy",
        "disk",
        "help",
        "import",
        "importovf",
        "listsnapshot",
        "migrate",
        "monitor",
        "mtunnel",
        "nbdstop",
        "pending",
        "reboot",
        "remote-migrate",
        "reset",
        "resume",
        "rollback",
        "sendkey",
        "set",
        "showcmd",
        "shutdown",
        "snapshot",
        "stop",
        "suspend",
        "template",
        "terminal",
        "unlock",
        "vncproxy",
        "wait",
    ],
    aliases: &[("agent", &["guest", "cmd"])],
};

/// What the agent may be asked without arguments.
const COMMANDS: &[&str] = &[
    "fsfreeze-freeze",
    "fsfreeze-status",
    "fsfreeze-thaw",
    "fstrim",
    "get-fsinfo",
    "get-host-name",
    "get-memory-block-info",
    "get-memory-blocks",
    "get-osinfo",
    "get-time",
    "get-timezone",
    "get-users",
    "get-vcpus",
    "info",
    "network-get-interfaces",
    "ping",
    "shutdown",
    "suspend-disk",
    "suspend-hybrid",
    "suspend-ram",
];

/// What `--pass-stdin` takes at most.
const MAX_INPUT: usize = 1024 * 1024;

fn status(vmid: &str, verbose: bool) -> Result<u8, Failure> {
    let conf = node::load(node::Kind::Machine, vmid)?;
    let status = node::status(vmid);
    if verbose {
        let name = conf.current.get("name").unwrap_or_default();
        println!("name: {name}\nqmpstatus: {status}\nstatus: {status}\nvmid: {vmid}");
    } else {
        println!("status: {status}");
    }
    Ok(0)
}

/// Configured, running, and answering: in this order.
fn available(vmid: &str) -> Result<(), Failure> {
    let conf = node::load(node::Kind::Machine, vmid)?;
    if conf.current.get("agent").is_none() {
        return Err(Failure::died("No QEMU guest agent configured"));
    }
    if node::init(vmid).is_none() {
        return Err(Failure::died(format!("VM {vmid} is not running")));
    }
    if !agent::answers(vmid) {
        return Err(Failure::died("QEMU guest agent is not running"));
    }
    Ok(())
}

fn exec(vmid: &str, asked: &Asked) -> Result<u8, Failure> {
    let waits = asked.flag("synchronous").unwrap_or(true);
    if asked.get("timeout").is_some() && !waits {
        let text = "400 Parameter verification failed.\nsynchronous: needs to be set for 'timeout'\n\
                    qm guest exec <vmid> [<extra-args>] [OPTIONS]\n";
        return Err(Failure { text: text.to_owned(), code: 255 });
    }
    let input = if asked.flag("pass-stdin") == Some(true) { Some(input()?) } else { None };
    let mut arguments = json!({ "capture-output": true });
    if let Some((program, rest)) = asked.rest.split_first() {
        arguments["path"] = json!(program);
        arguments["arg"] = json!(rest);
    }
    if let Some(input) = input {
        arguments["input-data"] = json!(STANDARD.encode(input));
    } else if asked.rest.is_empty() {
        node::load(node::Kind::Machine, vmid)?;
        return Err(Failure::died("command or input-data (or both) required"));
    }
    available(vmid)?;
    let started = agent::execute(vmid, "guest-exec", &arguments)?;
    let pid = started["pid"].as_u64().unwrap_or(0);
    if !waits {
        return print(&json!({ "pid": pid }));
    }
    let max = asked.get("timeout").map_or(30, |text| text.parse().unwrap_or(u64::MAX));
    let began = Instant::now();
    while max == 0 || began.elapsed() < Duration::from_secs(max) {
        let seen = exec_status(vmid, pid)?;
        if seen["exited"] == json!(1) {
            return print(&seen);
        }
        thread::sleep(Duration::from_secs(1));
    }
    eprintln!("timeout reached, returning pid");
    print(&json!({ "pid": pid }))
}

/// Standard input to its end, or to where it is too much.
fn input() -> Result<Vec<u8>, Failure> {
    let mut input = Vec::new();
    let max = u64::try_from(MAX_INPUT).unwrap_or(u64::MAX) + 1;
    io::stdin().lock().take(max).read_to_end(&mut input).map_err(|error| Failure::died(error.to_string()))?;
    if input.len() > MAX_INPUT {
        return Err(Failure::died("'input-data' (STDIN) is limited to 1 MiB, aborting"));
    }
    Ok(input)
}

/// How far a command is, with what it printed as characters.
fn exec_status(vmid: &str, pid: u64) -> Result<Value, Failure> {
    let mut seen = agent::execute(vmid, "guest-exec-status", &json!({ "pid": pid }))?;
    for key in ["out-data", "err-data"] {
        if let Some(bytes) = seen[key].as_str().and_then(|text| STANDARD.decode(text).ok()) {
            seen[key] = json!(bytes.into_iter().map(char::from).collect::<String>());
        }
    }
    for value in seen.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
        if let Some(truth) = value.as_bool() {
            *value = json!(u8::from(truth));
        }
    }
    Ok(seen)
}

/// An answer as `qm` prints it: nothing for nothing, else indented by three, with sorted keys.
fn print(answer: &Value) -> Result<u8, Failure> {
    match answer {
        Value::Null => {}
        Value::Object(map) if map.is_empty() => {}
        Value::String(text) if text.trim().is_empty() => {}
        Value::String(text) => println!("{}", text.trim_end_matches('\n')),
        Value::Object(_) | Value::Array(_) => {
            let mut out = Vec::new();
            let mut writer = serde_json::Serializer::with_formatter(&mut out, PrettyFormatter::with_indent(b"   "));
            sorted(answer).serialize(&mut writer).map_err(|error| Failure::died(error.to_string()))?;
            println!("{}", spaced(&String::from_utf8_lossy(&out)));
        }
        other => println!("{other}"),
    }
    Ok(0)
}

/// Perl's JSON has a space before the colon too.
fn spaced(text: &str) -> String {
    let line = |line: &str| match line.split_once("\": ") {
        Some((key, value)) if key.trim_start().starts_with('"') => format!("{key}\" : {value}"),
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn list() -> u8 {
    let guests = node::list(&node::name(), node::Kind::Machine);
    if guests.is_empty() {
        return 0;
    }
    println!("{:>10} {:<20} {:<10} {:<10} {:>12} {:<10}", "VMID", "NAME", "STATUS", "MEM(MB)", "BOOTDISK(GB)", "PID");
    for (vmid, conf) in guests {
        let id = vmid.to_string();
        let (name, memory) = (conf.current.get("name"), conf.current.get("memory"));
        let pid = node::init(&id).unwrap_or(0);
        println!(
            "{vmid:>10} {:<20} {:<10} {:<10} {:>12.2} {pid:<10}",
            name.unwrap_or_default(),
            node::status(&id),
            memory.unwrap_or("512"),
            8.0
        );
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_set_off_as_perl_does_and_values_are_left_alone() {
        assert_eq!(
            spaced("{\n   \"out-data\": \"a\\\": b\",\n   \"n\": 1\n}"),
            "{\n   \"out-data\" : \"a\\\": b\",\n   \"n\" : 1\n}"
        );
    }
}
