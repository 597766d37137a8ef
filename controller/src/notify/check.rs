//! What of a target's settings cannot work on this host, for `pinion config check`.
//!
//! Invariant: nobody is contacted, no program is run and no secret is read.

use std::path::Path;

use super::{
    config::{NotifyConfig, TargetConfig},
    failure::SendError,
    files::Files,
    hook, webhook,
};

/// Everything but the files with secrets, each with its setting.
#[must_use]
pub fn findings(config: &NotifyConfig, root: &Path) -> Vec<(String, String)> {
    let files = Files::below(root);
    let mut found = Vec::new();
    for (name, target) in &config.targets {
        let mut find = |setting: &str, error: SendError| {
            found.push((format!("notify.targets.{name}.{setting}"), error.cause().to_owned()));
        };
        match target {
            TargetConfig::Webhook(config) => {
                if let Err(error) = webhook::template(config, &files) {
                    find("template_file", error);
                }
            }
            TargetConfig::Hook(config) => {
                if let Err(error) = hook::open(&files.path(&config.path)) {
                    find("path", error);
                }
            }
            TargetConfig::Mail(_) => {}
        }
        if let Some(file) = target.ca_file()
            && let Err(error) = files.tls(Some(file))
        {
            find("ca_file", error);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::settings;

    #[test]
    fn what_a_target_needs_is_looked_at_before_it_is_needed() {
        let kept = tempfile::tempdir().expect("a directory");
        let directory = kept.path().canonicalize().expect("a real path");
        let shown = directory.display();
        let text = format!(
            "[targets.a]\ntype = 'webhook'\nurl = 'https://x.example/'\ntemplate_file = '{shown}/t'\nca_file = '{shown}/ca'\n\
             [targets.b]\ntype = 'hook'\npath = '{shown}/hook'\n"
        );
        let config = settings::read(&text, NotifyConfig::read).expect("good");
        let look = || {
            let found = findings(&config, Path::new("/"));
            found.into_iter().map(|(setting, why)| format!("{setting}: {why}\n")).collect::<String>()
        };
        let said = look();
        for words in ["a.template_file: cannot use", "a.ca_file: cannot use", "b.path: cannot use"] {
            assert!(said.contains(words), "{words} in {said}");
        }
        fs::write(directory.join("t"), r#"{"text": "{{titel}}"}"#).expect("written");
        fs::write(directory.join("ca"), "x").expect("written");
        fs::write(directory.join("hook"), "#!/bin/sh\n").expect("written");
        fs::set_permissions(directory.join("hook"), fs::Permissions::from_mode(0o775)).expect("set");
        let said = look();
        for words in ["no placeholder `titel`", "no certificate in it", "can write to"] {
            assert!(said.contains(words), "{words} in {said}");
        }
    }
}
