//! The same line means the same here and there.

use super::*;

static TOOL: Tool = Tool {
    name: "qm",
    verbs: &[
        Verb { words: &["status"], arguments: &[VMID], options: &[VERBOSE] },
        Verb { words: &["guest", "exec"], arguments: &[VMID, REST], options: &[PASS, TIMEOUT] },
        Verb { words: &["guest", "cmd"], arguments: &[VMID, COMMAND], options: &[] },
    ],
    others: &["start", "stop"],
    aliases: &[("agent", &["guest", "cmd"])],
};
const VMID: Parameter = Parameter { name: "vmid", kind: Kind::Vmid };
const REST: Parameter = Parameter { name: "extra-args", kind: Kind::Rest };
const VERBOSE: Parameter = Parameter { name: "verbose", kind: Kind::Flag };
const PASS: Parameter = Parameter { name: "pass-stdin", kind: Kind::Flag };
const TIMEOUT: Parameter = Parameter { name: "timeout", kind: Kind::Count };
const COMMAND: Parameter = Parameter { name: "command", kind: Kind::OneOf(&["info", "ping"]) };

fn parse(line: &str) -> Result<Asked, Failure> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    TOOL.parse(&words)
}

fn refusal(line: &str) -> String {
    let failure = parse(line).expect_err("refused");
    assert_eq!(failure.code, 255, "{line}");
    failure.text
}

#[test]
fn options_stand_anywhere_and_may_be_short_and_end_at_two_dashes() {
    for line in [
        "guest exec 1001 --pass-stdin 1 --timeout 5 -- dd -n",
        "guest exec --pass-stdin --timeout=5 1001 -- dd -n",
        "gu ex -pass 1 -TIME 5 1001 -- dd -n",
    ] {
        let asked = parse(line).expect("taken");
        assert_eq!(asked.flag("pass-stdin"), Some(true), "{line}");
        assert_eq!(asked.text("timeout"), "5", "{line}");
        assert_eq!(asked.rest, ["dd", "-n"], "{line}");
    }
    assert_eq!(parse("agent 1001 ping").expect("an alias").verb.words, ["guest", "cmd"]);
}

#[test]
fn what_the_real_tools_refuse_is_refused_in_their_words() {
    for (line, words) in [
        ("", "ERROR: no command specified\nUSAGE: qm <COMMAND> [ARGS] [OPTIONS]\n"),
        ("sta 1001", "ERROR: unknown command 'qm sta'"),
        ("guest", "ERROR: incomplete command 'qm guest'"),
        ("guest execute 1001", "ERROR: unknown command 'qm guest execute'"),
        (
            "guest exec 1001 ls -l",
            "Unknown option: l\n400 unable to parse option\nqm guest exec <vmid> [<extra-args>] [OPTIONS]\n",
        ),
        ("guest exec", "400 not enough arguments\n"),
        ("status 1001 now", "400 too many arguments\nqm status <vmid> [OPTIONS]\n"),
        (
            "status 42",
            "400 Parameter verification failed.\nvmid: invalid format - value does not look like a valid VM ID\n",
        ),
        ("status one", "vmid: type check ('integer') failed - got 'one'\n"),
        ("status 1001 --verbose maybe", "400 unable to parse boolean option\n"),
        ("guest exec 1001 --timeout -1 -- ls", "timeout: value must have a minimum value of 0\n"),
        ("guest exec 1001 --timeout", "Option timeout requires an argument\n"),
        ("guest cmd 1001 pong", "command: value 'pong' does not have a value in the enumeration 'info, ping'\n"),
        ("start 1001", "the lab has no `qm start`\n"),
    ] {
        let text = refusal(line);
        assert!(text.contains(words), "{line}: {text}");
    }
}
