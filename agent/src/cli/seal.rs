//! `pinion-agent seal`.

use std::sync::Arc;

use pinion_proto::{causes::chain, errln, exit::Exit, failure::Failure};

use super::{documents::SealDocument, print_failed, print_json};
use crate::{
    config::Config,
    install::files::{Files, RealFiles},
    seal::{self, SealError, Sealed, shown},
};

/// Makes this guest safe to be copied.
pub(super) fn seal(config: &Config, json: bool) -> Exit {
    let files: Arc<dyn Files> = Arc::new(RealFiles);
    match seal::seal(config, &files) {
        Ok(sealed) => {
            if json {
                print_json(&SealDocument {
                    exit: Exit::Reached.code(),
                    guest: sealed.guest,
                    removed: Some(sealed.removed.iter().map(|path| shown(config, path)).collect()),
                    left: Some(&sealed.left),
                    machine_id: Some(sealed.machine_id),
                    ..SealDocument::default()
                });
            }
            for line in lines(config, &sealed) {
                errln!("{line}");
            }
            Exit::Reached
        }
        Err(error) => {
            let obstacles: Vec<String> = match &error {
                SealError::Obstacles(obstacles) => obstacles.iter().map(ToString::to_string).collect(),
                _ => Vec::new(),
            };
            let (why, remedy) = (chain(&error), error.remedy());
            if json {
                let document = SealDocument {
                    exit: Exit::Blocked.code(),
                    why: Some(why.clone()),
                    obstacles: Some(obstacles.clone()),
                    remedy: Some(remedy.clone()),
                    ..SealDocument::default()
                };
                let failure =
                    Failure::new(Exit::Blocked, "this guest is not sealed").cause(&why).remedy(remedy.clone());
                print_failed(&document, &failure);
            }
            errln!("pinion-agent: this guest is not sealed: {why}");
            for obstacle in obstacles {
                errln!("  {obstacle}");
            }
            errln!("  {remedy}");
            Exit::Blocked
        }
    }
}

/// What was done, for people.
fn lines(config: &Config, sealed: &Sealed) -> Vec<String> {
    let mut lines: Vec<_> = sealed.removed.iter().map(|path| format!("removed {}", shown(config, path))).collect();
    lines.extend(sealed.left.iter().map(|path| format!("left {path}: somebody has changed it since Pinion wrote it")));
    lines.push(match sealed.guest {
        Some(guest) => format!("sealed: this machine no longer has the identity of guest {guest}"),
        None => "sealed: there is no identity here".into(),
    });
    if sealed.machine_id {
        let words = "/etc/machine-id is set, and every copy would have this id: run `truncate -s 0 /etc/machine-id`";
        lines.push(words.into());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_removed_and_left_is_said_as_the_guest_sees_it() {
        let (_root, config) = Config::for_test();
        let mut sealed = Sealed {
            guest: Some("101".parse().expect("a guest")),
            removed: vec![config.root.join("var/lib/pinion-agent/identity.json")],
            left: vec!["/etc/ssl/x.pem".parse().expect("a path")],
            machine_id: true,
        };
        let said = lines(&config, &sealed);
        assert_eq!(
            said[..3],
            [
                "removed /var/lib/pinion-agent/identity.json",
                "left /etc/ssl/x.pem: somebody has changed it since Pinion wrote it",
                "sealed: this machine no longer has the identity of guest 101",
            ]
        );
        assert!(said[3].contains("truncate -s 0 /etc/machine-id"), "{said:?}");
        (sealed.guest, sealed.machine_id) = (None, false);
        assert_eq!(lines(&config, &sealed)[2..], ["sealed: there is no identity here"]);
    }
}
