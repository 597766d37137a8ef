//! controller.toml without what could be a secret.
//!
//! Invariant: a text is shown only if its setting is in [`SHOWN`]; numbers and switches always are. A setting that is new to
//! this list is redacted. Comments are not shown.

use std::{fmt::Write as _, path::PathBuf};

use toml::{Table, Value};
use zeroize::Zeroizing;

/// The settings whose texts are no secrets. `*` is a name of the administrator's.
const SHOWN: [&str; 39] = [
    "trust_domain",
    "listen",
    "advertise",
    "issuers.*.type",
    "issuers.*.url",
    "issuers.*.fingerprint",
    "issuers.*.provisioner",
    "issuers.*.password_file",
    "issuers.*.key_file",
    "issuers.*.timeout",
    "issuers.*.roots_every",
    "retry.initial",
    "retry.max",
    "proxmox.enroll",
    "proxmox.tag",
    "proxmox.node",
    "proxmox.directory",
    "channel.user",
    "channel.tools",
    "channel.pvedaemon",
    "notify.group",
    "notify.repeat",
    "notify.clear_after",
    "notify.silent_after",
    "notify.issuer_down_after",
    "notify.targets.*.type",
    "notify.targets.*.service",
    "notify.targets.*.url_file",
    "notify.targets.*.template_file",
    "notify.targets.*.token_file",
    "notify.targets.*.ca_file",
    "notify.targets.*.timeout",
    "notify.targets.*.server",
    "notify.targets.*.security",
    "notify.targets.*.password_file",
    "notify.targets.*.path",
    "web.listen",
    "web.names",
    "web.proxmox_login",
];

/// The settings that name files without secrets.
const PUBLIC: [&str; 2] = ["ca_file", "template_file"];

/// What stands for a text that is not shown.
pub(super) const REDACTED: &str = "(redacted)";

/// A configuration without its secrets.
#[derive(Debug, Default)]
pub(crate) struct Redacted {
    /// Its settings, one a line.
    pub(crate) text: String,
    /// The texts that were redacted.
    pub(super) secrets: Vec<Zeroizing<String>>,
    /// The files with secrets that it names, whether or not this program understands it.
    pub(super) files: Vec<PathBuf>,
}

/// The settings of a configuration, as lines that TOML understands. Of a file that is no TOML nothing is shown, and every
/// text in quotation marks counts as a secret.
pub(crate) fn redacted(text: &str) -> Redacted {
    let mut out = Redacted::default();
    match text.parse::<Table>() {
        Ok(table) => out.table("", "", &table),
        Err(_) => {
            out.text = "# controller.toml is no TOML, so nothing of it is shown; doctor.txt has its mistakes\n".into();
            for quoted in text.lines().flat_map(|line| line.split(['"', '\'']).skip(1).step_by(2)) {
                out.secrets.push(Zeroizing::new(quoted.to_owned()));
                out.files.extend(quoted.starts_with('/').then(|| quoted.into()));
            }
        }
    }
    out
}

impl Redacted {
    /// `path` is as it is written, `general` has `*` for names of the administrator's.
    fn table(&mut self, path: &str, general: &str, table: &Table) {
        for (name, value) in table {
            let shown_name = if is_bare(name) { name.clone() } else { quoted(name) };
            let step =
                |path: &str, name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            let general_name =
                if matches!(general, "issuers" | "guests" | "notify.targets") { "*" } else { name.as_str() };
            let (path, general) = (step(path, &shown_name), step(general, general_name));
            if let Some(file) = value.as_str().filter(|_| name.ends_with("_file") && !PUBLIC.contains(&name.as_str())) {
                self.files.push(file.into());
            }
            match value {
                Value::Table(table) => self.table(&path, &general, table),
                value => {
                    let value = self.value(&general, value);
                    // Writing to a String cannot fail.
                    writeln!(self.text, "{path} = {value}").ok();
                }
            }
        }
    }

    fn value(&mut self, general: &str, value: &Value) -> String {
        match value {
            Value::String(text) if SHOWN.contains(&general) => quoted(&without_user(text)),
            Value::String(text) => {
                self.secrets.push(Zeroizing::new(text.clone()));
                quoted(REDACTED)
            }
            Value::Array(values) => {
                let values: Vec<_> = values.iter().map(|value| self.value(general, value)).collect();
                format!("[{}]", values.join(", "))
            }
            Value::Table(table) => {
                let mut values = Vec::new();
                for (name, value) in table {
                    let name = if is_bare(name) { name.clone() } else { quoted(name) };
                    values.push(format!("{name} = {}", self.value(&format!("{general}.{name}"), value)));
                }
                format!("{{ {} }}", values.join(", "))
            }
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Boolean(switch) => switch.to_string(),
            Value::Datetime(moment) => moment.to_string(),
        }
    }
}

/// An address without who logs in there, and without what is asked there.
fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

fn is_bare(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// A basic string of TOML: the escapes of JSON are among its own.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::SHOWN;
    use crate::config::TABLES;

    #[test]
    fn what_is_shown_are_settings_that_exist() {
        let settings: Vec<String> = TABLES
            .iter()
            .flat_map(|table| {
                // `issuers.NAME, with type = "step-ca"`.
                let name = table.name.split(',').next().unwrap_or_default().replace("NAME", "*");
                let before = if name.is_empty() { name } else { format!("{name}.") };
                table.settings.iter().map(move |setting| format!("{before}{}", setting.name))
            })
            .collect();
        for shown in SHOWN {
            assert!(settings.iter().any(|setting| setting == shown), "{shown} is no setting: {settings:?}");
        }
    }
}
