//! Who asks on the controller's socket, and what may they ask?
//!
//! The socket is for root and the group `pinion` to open. Of these, root, the user that the controller runs as, and members
//! of the group `pinion-admin` may change something; all others may look. Where the group does not exist, only root and
//! the controller's own user are left.
//! Invariant: the kernel says who asks (SO_PEERCRED), never the question; a verb that is not known to be for looking only
//! needs an administrator.
//!
//! Membership is read from `/etc/passwd` and `/etc/group` at each question, so that whoever is taken out of the group is
//! refused at once, sessions that are open included. Groups of a directory service (LDAP) are not seen unless they are the
//! caller's effective group (`sg pinion-admin -c …`): the kernel's list of a peer's groups (SO_PEERGROUPS) has no safe
//! binding in the libraries used here.

use std::path::PathBuf;

use pinion_proto::{causes::chain, users::LocalUsers};
use rustix::process::geteuid;
use tokio::net::unix::UCred;
use tracing::warn;

use super::protocol::Ask;
pub use crate::caller::Caller;

/// Its members may change something.
pub const ADMIN_GROUP: &str = "pinion-admin";

/// Decides who may ask what.
#[derive(Debug)]
pub struct Access {
    /// The directory that stands for `/`.
    root: PathBuf,
    /// The user that the controller runs as.
    own: u32,
}

impl Access {
    /// By the accounts below `root`, for a controller that runs as this process's user.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root, own: geteuid().as_raw() }
    }

    /// Who asks this.
    ///
    /// # Errors
    /// They may not, in words.
    pub(super) fn admit(&self, peer: UCred, ask: &Ask) -> Result<Caller, String> {
        let users = self.users();
        let caller = Caller { uid: peer.uid(), name: users.name(peer.uid()).map(ToOwned::to_owned) };
        match ask.change() {
            Some(verb) => self.may_change(&users, &caller, peer.gid(), verb).map(|()| caller),
            None => Ok(caller),
        }
    }

    fn may_change(&self, users: &LocalUsers, caller: &Caller, gid: u32, verb: &str) -> Result<(), String> {
        if caller.uid == 0 || caller.uid == self.own {
            return Ok(());
        }
        let name = caller.name.as_deref().unwrap_or("USER");
        let remedy = match users.is_member(caller.uid, &[gid], ADMIN_GROUP) {
            Some(true) => return Ok(()),
            Some(false) => format!("to allow it, run `usermod -aG {ADMIN_GROUP} {name}`"),
            None => format!(
                "this group does not exist: run `systemd-sysusers`, which creates it from Pinion's sysusers.d file, \
                 then `usermod -aG {ADMIN_GROUP} {name}`"
            ),
        };
        Err(format!("`{verb}` needs root or a member of the group {ADMIN_GROUP}, and {caller} is neither; {remedy}"))
    }

    fn users(&self) -> LocalUsers {
        LocalUsers::read(&self.root).unwrap_or_else(|error| {
            warn!(
                error = chain(&error),
                "Cannot read /etc/passwd and /etc/group: only root and the controller's own user may change something"
            );
            LocalUsers::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn access(group: &str) -> (tempfile::TempDir, Access) {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join("etc")).expect("made");
        let users = "root:x:0:0::/:\npinion:x:998:998::/:\nalice:x:1000:1000::/:\nbob:x:1001:1001::/:\n";
        fs::write(root.path().join("etc/passwd"), users).expect("written");
        fs::write(root.path().join("etc/group"), format!("pinion:x:998:alice,bob\n{group}")).expect("written");
        let access = Access { root: root.path().to_owned(), own: 998 };
        (root, access)
    }

    fn may(access: &Access, uid: u32, gid: u32) -> Result<(), String> {
        let users = access.users();
        let caller = Caller { uid, name: users.name(uid).map(ToOwned::to_owned) };
        access.may_change(&users, &caller, gid, "ensure")
    }

    #[test]
    fn root_the_controllers_own_user_and_admins_may_change_something() {
        let (_root, access) = access("pinion-admin:x:995:alice\n");
        for (uid, gid) in [(0, 0), (998, 998), (1000, 1000), (1001, 995)] {
            assert_eq!(may(&access, uid, gid), Ok(()), "{uid} {gid}");
        }
        let refused = may(&access, 1001, 1001).expect_err("bob is no admin");
        assert!(refused.contains("pinion-admin") && refused.contains("bob (uid 1001)"), "{refused}");
        // Being in the controller's group is for looking only.
        may(&access, 7, 998).expect_err("a stranger in the group pinion");
    }

    #[test]
    fn without_the_group_only_root_and_the_controllers_own_user_may() {
        let (_root, access) = access("");
        assert_eq!((may(&access, 0, 0), may(&access, 998, 998)), (Ok(()), Ok(())));
        let refused = may(&access, 1000, 1000).expect_err("there are no admins");
        assert!(refused.contains("systemd-sysusers"), "{refused}");
    }

    #[test]
    fn who_is_taken_out_of_the_group_is_refused_at_once() {
        let (root, access) = access("pinion-admin:x:995:alice\n");
        assert_eq!(may(&access, 1000, 1000), Ok(()));
        fs::write(root.path().join("etc/group"), "pinion-admin:x:995:\n").expect("written");
        may(&access, 1000, 1000).expect_err("not any more");
    }

    #[test]
    fn everybody_may_look_and_a_change_names_the_command() {
        let (_root, access) = access("pinion-admin:x:995:alice\n");
        let users = access.users();
        let bob = Caller { uid: 1001, name: users.name(1001).map(ToOwned::to_owned) };
        let refused = access.may_change(&users, &bob, 1001, "pinion purge").expect_err("bob is no admin");
        assert!(refused.starts_with("`pinion purge` needs root"), "{refused}");
        assert!(refused.contains("`usermod -aG pinion-admin bob`"), "{refused}");
    }

    #[test]
    fn without_the_accounts_only_root_and_the_controllers_own_user_change_something() {
        let (root, access) = access("pinion-admin:x:995:alice\n");
        fs::remove_dir_all(root.path().join("etc")).expect("removed");
        assert_eq!((may(&access, 0, 0), may(&access, 998, 998)), (Ok(()), Ok(())));
        let refused = may(&access, 1000, 1000).expect_err("nobody knows who is an admin");
        assert!(refused.contains("uid 1000"), "{refused}");
    }

    #[test]
    fn a_caller_is_shown_by_name_and_number_and_root_by_its_name() {
        for (uid, name, shown) in [
            (0, Some("root"), "root"),
            (1000, Some("alice"), "alice (uid 1000)"),
            (1000, None, "uid 1000"),
            (0, None, "uid 0"),
        ] {
            assert_eq!(Caller { uid, name: name.map(ToOwned::to_owned) }.to_string(), shown);
        }
    }
}
