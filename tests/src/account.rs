//! The users that services run as, and threads that are one of them to the kernel.
//!
//! Invariant: a thread that has become another user never becomes root again; the process's other threads stay who they were,
//! because Linux keeps credentials for each thread (credentials(7)).

use std::fs;

use anyhow::{Context, Result};
use rustix::{
    process::{Gid, Uid, getuid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

/// A user of the machine's, with its own group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// The machine's user of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn of(name: &str) -> Result<Self> {
        let machine = fs::read_to_string("/etc/passwd").context("read the machine's users")?;
        let line = machine.lines().find(|line| line.split(':').next() == Some(name));
        let mut numbers = line.with_context(|| format!("the machine has no user {name}"))?.split(':').skip(2);
        let mut number = || numbers.next().and_then(|number| number.parse().ok()).context("a user has numbers");
        Ok(Self { user: number()?, group: number()? })
    }

    /// Its group's number.
    #[must_use]
    pub fn group(self) -> u32 {
        self.group
    }

    /// Makes this thread the user's, with no other group and no capability, for as long as it lives. Whoever is not root
    /// stays who it is: then every account of a guest's is its own.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn take_over(self) -> Result<()> {
        if !getuid().is_root() {
            return Ok(());
        }
        let (user, group) = (Uid::from_raw(self.user), Gid::from_raw(self.group));
        set_thread_groups(&[group]).context("leave root's groups")?;
        set_thread_res_gid(group, group, group).context("take the user's group")?;
        set_thread_res_uid(user, user, user).context("become the user")
    }
}

#[cfg(test)]
mod tests {
    use std::{io::ErrorKind, os::unix::fs::PermissionsExt, thread};

    use super::*;

    #[test]
    fn one_thread_is_refused_what_the_others_may_read() {
        if !getuid().is_root() {
            return;
        }
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).expect("root's alone");
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                Account::of("www-data").and_then(Account::take_over).expect("another user");
                fs::read(file.path()).map_err(|error| error.kind())
            });
            assert_eq!(other.join().expect("it ends"), Err(ErrorKind::PermissionDenied));
        });
        fs::read(file.path()).expect("root may");
    }
}
