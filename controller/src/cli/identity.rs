//! `pinion identity new-root`.

use std::{fs, path::Path};

use pinion_proto::{
    causes::chain,
    clock::{Clock, SystemClock},
    errln,
    exit::Exit,
    failure::Failure,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use super::{Session, args::IdentityVerb};
use crate::{
    channel::identity::DIRECTORY,
    identity::{NEXT_OF_ROOT_PROCESS, NewRoot, NextWish, PIN, PUBLIC_ROOT, ROOT_DOCUMENT, stored_domain},
    owner::{self, Owner},
    store::{self, Area, NEW_EMBEDDED_ROOT, NEW_ROOT, NEXT_ROOT, Store, StoreError},
};

/// Does it.
pub(super) async fn run(session: &Session, verb: IdentityVerb) -> Result<Exit, Failure> {
    let IdentityVerb::NewRoot { embedded, at_once, to_root_process, yes } = verb;
    let wanted = match (embedded, at_once, to_root_process) {
        (true, ..) => Wanted::Embedded,
        (_, true, _) => Wanted::AtOnce,
        (.., true) => Wanted::OfRootProcess,
        _ => Wanted::Next,
    };
    new_root(session, wanted, yes).await
}

/// Which root is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Another identity root, held where the present one is.
    Next,
    /// Another identity root, and the present one is given up.
    AtOnce,
    /// An identity root of the root process's.
    OfRootProcess,
    /// Another root of the embedded CA.
    Embedded,
}

/// Leaves the wish for a new root to the next start of the controller, or of the root process, which spends it.
async fn new_root(session: &Session, wanted: Wanted, yes: bool) -> Result<Exit, Failure> {
    let (host, root_process) = (&session.config.root, session.config.root.join(DIRECTORY));
    let there = |document: &str| session.config.shared.join(format!("{document}.json")).exists();
    let roots = Roots {
        own: there(ROOT_DOCUMENT),
        public: there(PUBLIC_ROOT),
        of_root_process: root_process.join(format!("{ROOT_DOCUMENT}.json")).exists(),
        moving: there(NEXT_OF_ROOT_PROCESS),
    };
    let becomes = becomes(wanted, roots).map_err(|why| Failure::new(Exit::Usage, why))?;
    let what = if wanted == Wanted::Embedded { "root of the embedded CA" } else { "identity root" };
    if !yes {
        let words = format!("{}; {}", becomes.happens(what), becomes.consequence());
        return Err(Failure::new(Exit::Usage, words).remedy("if you want this, add --yes"));
    }
    if UnixStream::connect(&session.config.socket).await.is_ok() {
        return Err(running(what));
    }
    let (local, shared) = (&session.config.local, &session.config.shared);
    let name = if wanted == Wanted::Embedded { NEW_EMBEDDED_ROOT } else { NEW_ROOT };
    let wish = |keep| NewRoot { asked_at: SystemClock.now(), at_once: wanted == Wanted::AtOnce, keep };
    // Opened without the shared directory being made: whoever restores it after all finds the place empty.
    let left = || {
        // A controller whose socket does not answer is told before anything is left anywhere.
        drop(as_owner(host, local, || store::lock_existing(local))?);
        match becomes {
            Becomes::Followed | Becomes::Moved => {
                let mut of_controller = None;
                if becomes == Becomes::Moved {
                    of_controller = as_owner(host, local, || stored_domain(&Store::open(local, shared)?))?;
                }
                let wish = NextWish { asked_at: SystemClock.now(), of_controller };
                // The controller asks that process, and so is told last.
                leave(host, (&root_process, &root_process), NEXT_ROOT, &wish)?;
                leave(host, (local, shared), NEXT_ROOT, &wish)
            }
            Becomes::Another => {
                // Where the root process holds the root's key, it has to be told too, which only root can.
                if root_process.exists() {
                    leave(host, (&root_process, &root_process), name, &wish(false))?;
                }
                let pin = host.join(PIN);
                if pin.exists() {
                    fs::remove_file(&pin).map_err(|source| StoreError::Io { doing: "remove", path: pin, source })?;
                }
                leave(host, (local, shared), name, &wish(false))
            }
            Becomes::Embedded | Becomes::Next | Becomes::Kept => {
                leave(host, (local, shared), name, &wish(becomes == Becomes::Kept))
            }
        }
    };
    match left() {
        Ok(()) => {
            errln!("the next start of {}; {}", becomes.does(what), becomes.consequence());
            if let Some(next) = becomes.next_steps() {
                errln!("{next}");
            }
            Ok(Exit::Reached)
        }
        Err(StoreError::Locked { .. }) => Err(running(what)),
        Err(error) => Err(Failure::new(Exit::Internal, format!("cannot request a new {what}"))
            .cause(chain(&error))
            .or_root(&error)),
    }
}

fn running(what: &str) -> Failure {
    let words = format!("the controller or the root process is running and uses its {what}");
    Failure::new(Exit::Blocked, words).remedy("stop both first (systemctl stop pinion pinion-channel)")
}

/// Which roots there are.
#[derive(Debug, Clone, Copy, Default)]
struct Roots {
    /// The controller's own, with its key.
    own: bool,
    /// One that the controller knows to be the root process's.
    public: bool,
    /// The root process's, with its key.
    of_root_process: bool,
    /// Whether one of the root process's is on its way.
    moving: bool,
}

/// What the wish comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Becomes {
    /// Another root of the embedded CA.
    Embedded,
    /// The root that this controller holds is followed by another.
    Next,
    /// The root process's root is followed by another.
    Followed,
    /// The root that this controller holds is followed by one of the root process's.
    Moved,
    /// The root process's root goes on, without the controller's state of before.
    Kept,
    /// Another root, and nobody knows it.
    Another,
}

/// What a wish comes to where these roots are; in words, why it cannot be fulfilled.
fn becomes(wanted: Wanted, roots: Roots) -> Result<Becomes, &'static str> {
    let Roots { own, public, of_root_process, moving } = roots;
    Ok(match wanted {
        Wanted::Embedded => Becomes::Embedded,
        Wanted::AtOnce => Becomes::Another,
        Wanted::Next if own => Becomes::Next,
        Wanted::Next if of_root_process && public => Becomes::Followed,
        Wanted::Next if of_root_process => Becomes::Kept,
        Wanted::Next => Becomes::Another,
        Wanted::OfRootProcess if own && of_root_process && !moving => {
            return Err(
                "the controller has the identity root, and the root process has another one that is not in use: move \
                 /var/lib/pinion-channel/identity-ca.json away first",
            );
        }
        Wanted::OfRootProcess if own => Becomes::Moved,
        Wanted::OfRootProcess if of_root_process => return Err("the root process already has the identity root"),
        Wanted::OfRootProcess => return Err("there is no identity root to move to the root process"),
    })
}

impl Becomes {
    fn happens(self, what: &str) -> String {
        match self {
            Self::Kept => "this gives up the lost state, and keeps the root process's identity root".to_owned(),
            Self::Moved => "this moves the identity root to the root process, which creates a new one".to_owned(),
            _ => format!("this replaces the {what} with a new one"),
        }
    }

    /// Whose start does what.
    fn does(self, what: &str) -> String {
        match self {
            Self::Kept => "the controller keeps the root process's identity root".to_owned(),
            Self::Followed | Self::Moved => format!("the root process creates a new {what}"),
            _ => format!("the controller creates a new {what}"),
        }
    }

    fn consequence(self) -> &'static str {
        match self {
            Self::Next | Self::Followed => {
                "it takes over at the first start after every guest trusts it (`pinion status` says when); no guest \
                 has to join again"
            }
            Self::Moved => {
                "it takes over at the first start after every guest trusts it (`pinion status` says when); then the \
                 controller's key is removed; no guest has to join again"
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

    /// What a person does until a root has taken over that follows another.
    fn next_steps(self) -> Option<&'static str> {
        match self {
            Self::Next => Some(
                "Now: `systemctl start pinion`. `pinion status` counts the guests that trust the new root and names \
                 the missing ones. When none is missing: `systemctl restart pinion`",
            ),
            Self::Followed | Self::Moved => Some(
                "Now: `systemctl start pinion-channel pinion`. `pinion status` counts the guests that trust the new root and names \
                 the missing ones. When none is missing: `systemctl restart pinion`, while pinion-channel runs",
            ),
            Self::Embedded | Self::Kept | Self::Another => None,
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

fn leave<T: Serialize + DeserializeOwned + Sync>(
    host: &Path,
    (local, shared): (&Path, &Path),
    name: &str,
    wish: &T,
) -> Result<(), StoreError> {
    as_owner(host, local, || Store::open(local, shared)?.write(Area::Local, name, wish))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn what_a_wish_comes_to_depends_on_who_has_which_root() {
        let nothing = Roots::default();
        let own = Roots { own: true, ..nothing };
        let there = Roots { public: true, of_root_process: true, ..nothing };
        let state_lost = Roots { of_root_process: true, ..nothing };
        let (strange, moving) = (Roots { own: true, ..state_lost }, Roots { own: true, moving: true, ..there });
        for (wanted, roots, expected) in [
            (Wanted::Next, own, Becomes::Next),
            (Wanted::Next, there, Becomes::Followed),
            (Wanted::Next, Roots { moving: true, ..there }, Becomes::Followed),
            (Wanted::Next, state_lost, Becomes::Kept),
            (Wanted::Next, nothing, Becomes::Another),
            (Wanted::AtOnce, own, Becomes::Another),
            (Wanted::AtOnce, there, Becomes::Another),
            (Wanted::OfRootProcess, own, Becomes::Moved),
            (Wanted::OfRootProcess, moving, Becomes::Moved),
            (Wanted::Embedded, own, Becomes::Embedded),
        ] {
            assert_eq!(becomes(wanted, roots), Ok(expected), "{wanted:?} with {roots:?}");
        }
        for (roots, words) in [(strange, "not in use"), (there, "already"), (nothing, "no identity root")] {
            let why = becomes(Wanted::OfRootProcess, roots).expect_err("refused");
            assert!(why.contains(words), "{roots:?}: {why}");
        }
    }

    #[test]
    fn a_link_in_the_controllers_area_gives_nothing_away() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let wish = NewRoot { asked_at: SystemClock.now(), at_once: false, keep: false };
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
        leave(root.path(), (&local, &shared), NEW_ROOT, &wish).expect_err("a link is no lock");
        fs::remove_file(&lock).expect("removed");
        // A link to a directory that only root may write in.
        symlink(root.path(), &shared).expect("a link");
        let left = leave(root.path(), (&local, &shared), NEW_ROOT, &wish);
        for untouched in [root.path(), &target] {
            assert_eq!(fs::metadata(untouched).expect("there").uid(), 0, "{left:?}");
        }
        fs::remove_file(&shared).expect("removed");
        leave(root.path(), (&local, &shared), NEW_ROOT, &wish).expect("left");
        for theirs in [local.join(format!("{NEW_ROOT}.json")), lock, shared] {
            assert_eq!(fs::metadata(&theirs).expect("there").uid(), 998, "{}", theirs.display());
        }
    }
}
