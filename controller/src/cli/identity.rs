//! `pinion identity new-root`.

use std::{fs, path::Path, sync::Arc};

use pinion_proto::{
    causes::chain,
    clock::{Clock, SystemClock},
    exit::Exit,
};
use tokio::net::UnixStream;

use super::Session;
use crate::{
    identity::{NewRoot, PIN, ROOT_DOCUMENT, node::PUBLIC_ROOT},
    owner::{self, Owner},
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
            "pinion: the root process has the identity root, so it is not lost; to give it up and have every guest \
             join again, add --at-once --yes"
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
            "this gives up the lost state, and keeps the root process's identity root".to_owned()
        } else {
            format!("this replaces the {what} with a new one")
        };
        eprintln!("pinion: {happens}; {}. If you want this, add --yes", becomes.consequence());
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
        drop(as_owner(host, local, || store::lock_existing(local))?);
        // Where the root process holds the root's key, it has to be told too, which only root can.
        if matches!(becomes, Becomes::Another) && root_process.exists() {
            leave(host, &root_process, &root_process, name, at_once, false)?;
        }
        let pin = host.join(PIN);
        if matches!(becomes, Becomes::Another) && pin.exists() {
            fs::remove_file(&pin).map_err(|source| StoreError::Io { doing: "remove", path: pin, source })?;
        }
        leave(host, local, shared, name, at_once, kept_there)
    };
    match left() {
        Ok(()) => {
            let does = if kept_there {
                "keeps the root process's identity root".to_owned()
            } else {
                format!("creates a new {what}")
            };
            eprintln!("the next start of the controller {does}; {}", becomes.consequence());
            Exit::Reached
        }
        Err(StoreError::Locked { .. }) => running(what),
        Err(error) => {
            eprintln!("pinion: cannot request a new {what}: {}", chain(&error));
            Exit::Internal
        }
    }
}

fn running(what: &str) -> Exit {
    eprintln!(
        "pinion: the controller or the root process is running and uses its {what}: stop both first (systemctl stop \
         pinion pinion-channel)"
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
                "it takes over at the first start after every guest trusts it (`pinion status` says when); no guest \
                 has to join again"
            }
            Self::Embedded => {
                "you must install the new root in every client of its certificates (an existing root is not replaced)"
            }
            Self::Kept => {
                "every guest must join again: on Proxmox guests do this by themselves, elsewhere use `pinion token \
                 create` and `pinion-agent join`; locks and keys of `shared` certificates are lost, and only `pinion \
                 identity new-root --embedded --yes` creates the embedded CA again, if there was one"
            }
            Self::Another => {
                "every guest must join again: on Proxmox guests do this by themselves, elsewhere use `pinion token \
                 create` and `pinion-agent join`"
            }
        }
    }
}

/// Acts as the directory's owner: the controller is another user, and could have put a link there.
fn as_owner<T: Send>(
    host: &Path,
    local: &Path,
    work: impl FnOnce() -> Result<T, StoreError> + Send,
) -> Result<T, StoreError> {
    let failed = |source| StoreError::Io { doing: "act as the owner of", path: local.into(), source };
    Owner::of(host, local).and_then(|owner| owner::act(owner, work)).map_err(failed)?
}

fn leave(host: &Path, local: &Path, shared: &Path, name: &str, at_once: bool, keep: bool) -> Result<(), StoreError> {
    as_owner(host, local, || {
        let store = Arc::new(Store::open(local, shared)?);
        store.write(Area::Local, name, &NewRoot { asked_at: SystemClock.now(), at_once, keep })
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn a_link_in_the_controllers_area_gives_nothing_away() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let root = tempfile::tempdir().expect("a directory");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).expect("open");
        let (state, target) = (root.path().join("state"), root.path().join("shadow"));
        let (local, shared) = (state.join("local"), state.join("shared"));
        fs::create_dir_all(&local).expect("made");
        for directory in [&state, &local] {
            chown(directory, Some(998), Some(998)).expect("given away");
        }
        fs::write(&target, "secret").expect("written");
        let lock = local.join("controller.lock");
        symlink(&target, &lock).expect("a link");
        leave(root.path(), &local, &shared, NEW_ROOT, false, false).expect_err("a link is no lock");
        fs::remove_file(&lock).expect("removed");
        // A link to a directory that only root may write in.
        symlink(root.path(), &shared).expect("a link");
        let left = leave(root.path(), &local, &shared, NEW_ROOT, false, false);
        for untouched in [root.path(), &target] {
            assert_eq!(fs::metadata(untouched).expect("there").uid(), 0, "{left:?}");
        }
        fs::remove_file(&shared).expect("removed");
        leave(root.path(), &local, &shared, NEW_ROOT, false, false).expect("left");
        for theirs in [local.join(format!("{NEW_ROOT}.json")), lock, shared] {
            assert_eq!(fs::metadata(&theirs).expect("there").uid(), 998, "{}", theirs.display());
        }
    }
}
