//! A host whose only placement is blocked when it is to be, because its guest does not allow its directory.

use std::time::Duration;

use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

/// So often messages come, and so long alarms last until they are over.
pub(crate) const RHYTHM: &str = "\n[notify]\ngroup = \"1s\"\nrepeat = \"3s\"\nclear_after = \"1s\"\n";

/// How long a target may take, in these tests.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct Site {
    pub(crate) host: Host,
    pub(crate) guest: Guest,
}

/// A certificate in files of guest 1001 below a directory.
pub(crate) fn certificate(name: &str, directory: &str) -> Value {
    json!({ "name": name, "common_name": format!("{name}.example"), "placements": [{ "guest": 1001, "files": {
        "cert": { "path": format!("{directory}/{name}.crt") }, "key": { "path": format!("{directory}/{name}.key") } } }] })
}

pub(crate) fn manifest(certificates: &Value) -> Value {
    json!({ "version": 1, "defaults": { "issuer": "embedded" }, "certificates": certificates })
}

impl Site {
    /// With these targets, and nothing wrong.
    pub(crate) fn start(targets: &str) -> Self {
        let host = Host::prepare(&HostOptions::embedded(&json!([]))).expect("a host");
        host.configure(&format!("{RHYTHM}{targets}")).expect("configured");
        let mut host = host;
        host.start_again().expect("it starts");
        let guest = Guest::join(&host, 1001).expect("a guest");
        Self { host, guest }
    }

    /// `web@1001` is blocked from now on.
    pub(crate) fn break_it(&self) {
        self.host.write_manifest(&manifest(&json!([certificate("web", "/forbidden")]))).expect("written");
    }

    /// Nothing is wrong any more.
    pub(crate) fn mend_it(&self) {
        self.host.write_manifest(&manifest(&json!([certificate("web", "/etc/ssl")]))).expect("written");
    }

    /// What `pinion status --json` says of a target, when it is so.
    pub(crate) fn wait_target(&self, name: &str, is: impl Fn(&Value) -> bool) -> Value {
        let look = || {
            let finished = self.host.pinion(&["status", "--json"]).map_err(|error| format!("{error:#}"))?;
            let status: Value = serde_json::from_str(&finished.stdout).map_err(|error| error.to_string())?;
            let targets = status["targets"].as_array().cloned().unwrap_or_default();
            let target = targets.iter().find(|target| target["target"] == name && is(target)).cloned();
            target.ok_or_else(|| format!("{targets:?}\n{}\n{}", status["placements"], self.host.log_tail()))
        };
        wait::until("the target's status", PATIENCE, look).expect("it is so")
    }
}
