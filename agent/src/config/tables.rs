//! Every setting of agent.toml: what it is called, what it is, what holds without it, and what it decides.
//!
//! Invariant: these are the settings that the reader (`written`) takes, no more and no less, and their defaults are its: tests
//! compare the two. docs/reference/configuration.md is made of these tables.

use pinion_proto::settings::{
    Otherwise::{Value, Words},
    Table, setting,
};

/// All tables of the file.
pub const TABLES: [Table; 4] = [TOP, ALLOW, RETRY, DOCTOR];

const TOP: Table = Table {
    name: "",
    about: "The agent itself. The file may be absent: then every default applies. The agent reads it when it starts.",
    settings: &[
        setting(
            "check_every",
            "duration",
            Value("\"60s\""),
            "How often the agent checks the installed files and the served certificate.",
        ),
        setting(
            "hook_timeout",
            "duration",
            Value("\"60s\""),
            "The time limit for a hook, a check, or a call of docker. Under systemd, a reload or restart has the unit's \
             own timeouts, and this time if that is longer.",
        ),
        setting(
            "gather",
            "duration",
            Value("\"2s\""),
            "How long the agent waits for another certificate that is on its way, so that several for one service need \
             one reload.",
        ),
        setting(
            "restarts_per_hour",
            "number, at least 1",
            Value("3"),
            "How often the agent may restart a unit, container or Swarm service in an hour, whatever the controller \
             requests.",
        ),
        setting(
            "state",
            "path",
            Value("\"/var/lib/pinion-agent\""),
            "The identity, and the record of what is installed.",
        ),
        setting(
            "socket",
            "path",
            Value("\"/run/pinion-agent/agent.sock\""),
            "The socket on which the agent answers `await` and `status`.",
        ),
        setting("hooks", "path", Value("\"/etc/pinion/hooks.d\""), "The directory of your hooks."),
        setting("recipes", "path", Value("\"/etc/pinion/recipes.d\""), "The directory of your recipes."),
        setting("docker", "path", Value("\"/run/docker.sock\""), "dockerd's socket."),
        setting("allow", "table", Words("its defaults"), "What a controller may have done here, below."),
        setting("retry", "table", Words("its defaults"), "The pauses after failures, below."),
        setting("doctor", "table", Words("its defaults"), "What `pinion doctor` may have looked at here, below."),
    ],
};

const OF_RECIPE: &str = "those of the placement's recipe";

const ALLOW: Table = Table {
    name: "allow",
    about: "What a controller may have done in this guest. A list without `extra_` replaces the default: then only its \
            entries are allowed, and recipes add nothing to it. A list with `extra_` adds its entries.",
    settings: &[
        setting(
            "directories",
            "list of paths",
            Words("`/etc/pinion/certs`, directories below `/etc/ssl`, and those of the placement's recipe"),
            "The agent may write files in and below these.",
        ),
        setting("extra_directories", "list of paths", Value("[]"), "More of them."),
        setting("units", "list of units", Words(OF_RECIPE), "Units that the agent may reload and restart."),
        setting("extra_units", "list of units", Value("[]"), "More of them."),
        setting(
            "containers",
            "list of names",
            Words(OF_RECIPE),
            "Containers that the agent may restart or send a signal to.",
        ),
        setting("extra_containers", "list of names", Value("[]"), "More of them."),
        setting(
            "swarm_services",
            "list of names",
            Words(OF_RECIPE),
            "Swarm services that the agent may give new secrets.",
        ),
        setting("extra_swarm_services", "list of names", Value("[]"), "More of them."),
        setting(
            "touch",
            "list of paths",
            Words(OF_RECIPE),
            "Files and directories that the agent may touch, and everything below them.",
        ),
        setting("extra_touch", "list of paths", Value("[]"), "More of them."),
        setting(
            "probe",
            "list of addresses",
            Value("[]"),
            "Addresses that the agent may probe besides loopback and the guest's own: `10.0.0.5`, `10.0.0.0/24`, \
             `10.0.0.5:8443`.",
        ),
        setting("extra_probe", "list of addresses", Value("[]"), "More of them."),
        setting(
            "hooks",
            "boolean, or list of names",
            Value("true"),
            "Which hooks the agent may run: all, none, or those of the list.",
        ),
        setting(
            "trust",
            "boolean",
            Value("true"),
            "Whether the agent may install roots here, for entries with `\"trust\": true` and as a file `ca` next to a \
             certificate.",
        ),
        setting(
            "discover",
            "boolean",
            Value("false"),
            "Whether `pinion discover` may have the agent shake hands with each service that listens here, once, and look \
             at certificates in the allowed directories. Without it, the agent only lists who listens.",
        ),
    ],
};

const DOCTOR: Table = Table {
    name: "doctor",
    about: "What `pinion doctor` on the host may have looked at in this guest. The agent changes nothing, and reports no \
            content of files.",
    settings: &[
        setting(
            "controllers",
            "boolean",
            Value("true"),
            "Whether the controller's addresses with which this guest joined can be reached from here.",
        ),
        setting("disk", "boolean", Value("true"), "How much room there is where the agent writes."),
        setting("files", "boolean", Value("true"), "Owners and modes of the agent's configuration and state."),
    ],
};

const RETRY: Table = Table {
    name: "retry",
    about: "How long the agent waits after a failure. It never gives up.",
    settings: &[
        setting(
            "initial",
            "duration",
            Value("\"1s\""),
            "The pause after the first failure. It doubles after each more.",
        ),
        setting("max", "duration", Value("\"5m\""), "The longest pause while a placement waits."),
        setting("blocked", "duration", Value("\"1h\""), "The longest pause while a placement is blocked."),
    ],
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Config;

    fn parsed(text: &str) -> Result<Config, String> {
        let lines = |mistakes: Vec<_>| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        Config::parse("/".into(), text).map_err(lines)
    }

    #[test]
    fn what_the_reference_calls_a_default_changes_nothing_when_it_is_written() {
        let mut text = String::new();
        for table in TABLES {
            if !table.name.is_empty() {
                text += &format!("[{}]\n", table.name);
            }
            for setting in table.settings {
                if let Value(value) = setting.default {
                    text += &format!("{} = {value}\n", setting.name);
                }
            }
        }
        assert_eq!(parsed(&text), Ok(Config::shipped("/".into())));
    }

    #[test]
    fn the_reference_has_the_settings_that_the_reader_takes() {
        for table in TABLES {
            let header = if table.name.is_empty() { String::new() } else { format!("[{}]\n", table.name) };
            let error = parsed(&format!("{header}no_such_setting = 1\n")).expect_err("not known");
            // ``unknown field `x`, expected one of `a`, `b` ``
            let (_, expected) = error.split_once("expected ").expect("what the reader takes");
            let taken: BTreeSet<_> = expected.split('`').skip(1).step_by(2).collect();
            assert_eq!(taken, table.names().into_iter().collect(), "[{}]", table.name);
        }
    }
}
