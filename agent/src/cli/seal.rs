//! `pinion-agent seal`.

use std::sync::Arc;

use pinion_proto::{causes::chain, exit::Exit};

use super::print_json;
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
                print_json(&serde_json::json!({
                    "exit": Exit::Reached.code(),
                    "guest": sealed.guest,
                    "removed": sealed.removed.iter().map(|path| shown(config, path)).collect::<Vec<_>>(),
                    "left": sealed.left,
                    "machine_id": sealed.machine_id,
                }));
            }
            tell(config, &sealed);
            Exit::Reached
        }
        Err(error) => {
            let obstacles = match &error {
                SealError::Obstacles(obstacles) => obstacles.iter().map(ToString::to_string).collect(),
                _ => Vec::new(),
            };
            let (why, remedy) = (chain(&error), error.remedy());
            if json {
                print_json(&serde_json::json!({
                    "exit": Exit::Blocked.code(), "why": why, "obstacles": obstacles, "remedy": remedy,
                }));
            }
            eprintln!("pinion-agent: this guest is not sealed: {why}");
            for obstacle in obstacles {
                eprintln!("  {obstacle}");
            }
            eprintln!("  {remedy}");
            Exit::Blocked
        }
    }
}

fn tell(config: &Config, sealed: &Sealed) {
    for path in &sealed.removed {
        eprintln!("removed {}", shown(config, path));
    }
    for path in &sealed.left {
        eprintln!("left {path}: somebody has changed it since Pinion wrote it");
    }
    match sealed.guest {
        Some(guest) => eprintln!("sealed: this machine no longer has the identity of guest {guest}"),
        None => eprintln!("sealed: there is no identity here"),
    }
    if sealed.machine_id {
        eprintln!("/etc/machine-id is set, and every copy would have this id: run `truncate -s 0 /etc/machine-id`");
    }
}
