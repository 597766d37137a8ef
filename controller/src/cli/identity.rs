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
    identity::{NewRoot, PIN},
    store::{Area, NEW_EMBEDDED_ROOT, NEW_ROOT, Store, StoreError},
};

/// Leaves the wish for a new root to the next start of the controller, which spends it.
pub(super) async fn new_root(session: &Session, embedded: bool, at_once: bool, yes: bool) -> Exit {
    let (host, root_process) = (&session.config.root, session.config.root.join("var/lib/pinion-channel"));
    let held_here = !embedded && !at_once && session.config.shared.join("identity-ca.json").exists();
    if !embedded && !at_once && !held_here && root_process.join("identity-ca.json").exists() {
        eprintln!(
            "pinion: the identity root is the root process's and is there; to give it up and have every guest join anew, \
             say --at-once --yes"
        );
        return Exit::Usage;
    }
    let what = if embedded { "root of the embedded CA" } else { "identity root" };
    if !yes {
        eprintln!(
            "pinion: a new {what} takes the place of the one of before; {}. If that is what you want, say --yes",
            consequence(embedded, held_here)
        );
        return Exit::Usage;
    }
    if UnixStream::connect(&session.config.socket).await.is_ok() {
        eprintln!(
            "pinion: the controller runs, so its {what} is in use: stop it first (systemctl stop pinion pinion-channel)"
        );
        return Exit::Usage;
    }
    let (local, shared) = (&session.config.local, &session.config.shared);
    let name = if embedded { NEW_EMBEDDED_ROOT } else { NEW_ROOT };
    // Opened without the shared directory being made: whoever restores it after all finds the place empty.
    let left = || {
        // Where the root process holds the root's key, it has to be told too, which only root can.
        if !embedded && !held_here && root_process.exists() {
            leave(&root_process, &root_process, name, at_once)?;
        }
        let pin = host.join(PIN);
        if !embedded && !held_here && pin.exists() {
            fs::remove_file(&pin).map_err(|source| StoreError::Io { doing: "remove", path: pin, source })?;
        }
        leave(local, shared, name, at_once)
    };
    match left() {
        Ok(()) => {
            eprintln!(
                "the next start of the controller makes a new {what}, once; {}",
                consequence(embedded, held_here)
            );
            Exit::Reached
        }
        Err(error) => {
            eprintln!("pinion: cannot ask for a new {what}: {}", chain(&error));
            Exit::Internal
        }
    }
}

fn consequence(embedded: bool, held_here: bool) -> &'static str {
    if held_here {
        "it takes over at the first start after every guest trusts it, which `pinion status` tells; nobody joins anew"
    } else if embedded {
        "every client of its certificates has to be given the new one (a root that is there is not replaced)"
    } else {
        "every guest has to join anew: on Proxmox it does so by itself, elsewhere by `pinion token create` and \
         `pinion-agent join`"
    }
}

fn leave(local: &Path, shared: &Path, name: &str, at_once: bool) -> Result<(), StoreError> {
    let store = Arc::new(Store::open(local, shared)?);
    store.write(Area::Local, name, &NewRoot { asked_at: SystemClock.now(), at_once })?;
    // The controller is another user, and owns its directories.
    for path in [store.file(Area::Local, name)?, local.join("controller.lock"), shared.to_owned()] {
        let owned = fs::metadata(local).and_then(|owner| chown(&path, Some(owner.uid()), Some(owner.gid())));
        match owned {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Io { doing: "give to the controller's user", path, source });
            }
            _ => {}
        }
    }
    Ok(())
}
