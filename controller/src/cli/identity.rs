//! `pinion identity new-root`.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
    sync::Arc,
};

use pinion_proto::{
    causes::chain,
    clock::{Clock, SystemClock},
    exit::Exit,
};
use tokio::net::UnixStream;

use super::Session;
use crate::{
    identity::{NewRoot, PIN, ROOT_DOCUMENT, node::PUBLIC_ROOT},
    store::{self, Area, NEW_EMBEDDED_ROOT, NEW_ROOT, Store, StoreError},
};

/// Leaves the wish for a new root to the next start of the controller, which spends it.
pub(super) async fn new_root(session: &Session, embedded: bool, at_once: bool, yes: bool) -> Exit {
    let (host, root_process) = (&session.config.root, session.config.root.join("var/lib/pinion-channel"));
    let there = |document: &str| session.config.shared.join(format!("{document}.json")).exists();
    let held_here = !embedded && !at_once && there(ROOT_DOCUMENT);
    let kept_there = !embedded && !at_once && !held_here && root_process.join(format!("{ROOT_DOCUMENT}.json")).exists();
    if kept_there && there(PUBLIC_ROOT) {
        eprintln!(
            "pinion: the identity root is the root process's and is there; to give it up and have every guest join anew, \
             say --at-once --yes"
        );
        return Exit::Usage;
    }
    let what = if embedded { "root of the embedded CA" } else { "identity root" };
    let becomes = match (embedded, held_here, kept_there) {
        (true, ..) => Becomes::Embedded,
        (_, true, _) => Becomes::Next,
        (.., true) => Becomes::Kept,
        _ => Becomes::Another,
    };
    if !yes {
        let happens = if kept_there {
            "the state that is lost is given up, and the root process's identity root goes on".to_owned()
        } else {
            format!("a new {what} takes the place of the one of before")
        };
        eprintln!("pinion: {happens}; {}. If that is what you want, say --yes", becomes.consequence());
        return Exit::Usage;
    }
    if UnixStream::connect(&session.config.socket).await.is_ok() {
        return running(what);
    }
    let (local, shared) = (&session.config.local, &session.config.shared);
    let name = if embedded { NEW_EMBEDDED_ROOT } else { NEW_ROOT };
    // Opened without the shared directory being made: whoever restores it after all finds the place empty.
    let left = || {
        // A controller whose socket does not answer is told before anything is left anywhere.
        drop(store::lock_existing(local)?);
        // Where the root process holds the root's key, it has to be told too, which only root can.
        if matches!(becomes, Becomes::Another) && root_process.exists() {
            leave(&root_process, &root_process, name, at_once, false)?;
        }
        let pin = host.join(PIN);
        if matches!(becomes, Becomes::Another) && pin.exists() {
            fs::remove_file(&pin).map_err(|source| StoreError::Io { doing: "remove", path: pin, source })?;
        }
        leave(local, shared, name, at_once, kept_there)
    };
    match left() {
        Ok(()) => {
            let does = if kept_there {
                "goes on with the root process's identity root".to_owned()
            } else {
                format!("makes a new {what}")
            };
            eprintln!("the next start of the controller {does}, once; {}", becomes.consequence());
            Exit::Reached
        }
        Err(StoreError::Locked { .. }) => running(what),
        Err(error) => {
            eprintln!("pinion: cannot ask for a new {what}: {}", chain(&error));
            Exit::Internal
        }
    }
}

fn running(what: &str) -> Exit {
    eprintln!(
        "pinion: the controller, or the root process, runs, so its {what} is in use: stop both first (systemctl stop pinion \
         pinion-channel)"
    );
    Exit::Blocked
}

/// What the wish comes to.
#[derive(Clone, Copy)]
enum Becomes {
    /// Another root of the embedded CA.
    Embedded,
    /// The root that this controller holds is followed by another.
    Next,
    /// The root process's root goes on, without the controller's state of before.
    Kept,
    /// Another root, and nobody knows it.
    Another,
}

impl Becomes {
    fn consequence(self) -> &'static str {
        match self {
            Self::Next => {
                "it takes over at the first start after every guest trusts it, which `pinion status` tells; nobody joins anew"
            }
            Self::Embedded => {
                "every client of its certificates has to be given the new one (a root that is there is not replaced)"
            }
            Self::Kept => {
                "every guest has to join anew, on Proxmox by itself, elsewhere by `pinion token create` and `pinion-agent \
                 join`; locks and keys of `shared` certificates are lost, and the embedded CA, if there was one, is made anew \
                 only by `pinion identity new-root --embedded --yes`"
            }
            Self::Another => {
                "every guest has to join anew: on Proxmox it does so by itself, elsewhere by `pinion token create` and \
                 `pinion-agent join`"
            }
        }
    }
}

fn leave(local: &Path, shared: &Path, name: &str, at_once: bool, keep: bool) -> Result<(), StoreError> {
    // The controller is another user, and owns its directories: where they are lost, the one above.
    let owner = fs::metadata(local).or_else(|_| fs::metadata(local.parent().unwrap_or(local)));
    let store = Arc::new(Store::open(local, shared)?);
    store.write(Area::Local, name, &NewRoot { asked_at: SystemClock.now(), at_once, keep })?;
    for path in [local.to_owned(), store.file(Area::Local, name)?, local.join("controller.lock"), shared.to_owned()] {
        let owned = match &owner {
            Ok(owner) => chown(&path, Some(owner.uid()), Some(owner.gid())),
            // All of it was made just now, and systemd gives it to its user.
            Err(_) => Ok(()),
        };
        match owned {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Io { doing: "give to the controller's user", path, source });
            }
            _ => {}
        }
    }
    Ok(())
}
