//! Users and groups of the guest, by name or number, as files are given to them.

use std::path::Path;

use pinion_proto::{spec::Account, users::LocalUsers};

use super::InstallError;

/// The account database.
#[derive(Debug)]
pub struct Accounts(LocalUsers);

impl Accounts {
    /// Reads both files below `root`; a missing one has no names.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub fn read(root: &Path) -> Result<Self, InstallError> {
        let users = LocalUsers::read(root);
        users.map(Self).map_err(|error| InstallError::Accounts { path: error.path, source: error.source })
    }

    /// A user's number.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn user(&self, account: &Account) -> Result<u32, InstallError> {
        let listed = self.0.user_field(account.as_str());
        number(listed, account).ok_or_else(|| InstallError::Account { kind: "user", account: account.clone() })
    }

    /// A group's number.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn group(&self, account: &Account) -> Result<u32, InstallError> {
        let listed = self.0.group_field(account.as_str());
        number(listed, account).ok_or_else(|| InstallError::Account { kind: "group", account: account.clone() })
    }

    /// Every name of a user's number.
    #[must_use]
    pub fn user_names(&self, uid: u32) -> Vec<&str> {
        self.0.user_names(uid).collect()
    }

    /// Every name of a group's number.
    #[must_use]
    pub fn group_names(&self, gid: u32) -> Vec<&str> {
        self.0.group_names(gid).collect()
    }
}

/// An account's number: as its line says, where it has one.
fn number(listed: Option<&str>, account: &Account) -> Option<u32> {
    match listed {
        Some(number) => number.parse().ok(),
        // Number 0 is root everywhere, also in a root file system without the two files.
        None if account.as_str() == "root" => Some(0),
        // u32::MAX means `leave as it is` to chown(2).
        None => account.as_str().parse().ok().filter(|number| *number != u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("etc")).expect("made");
        let users =
            "root:x:0:0:root:/root:/bin/sh\nvllm:x:990:991::/:/bin/false\nllm:x:990:1::/:/x\nbad:x\nfull:x:x:y\n";
        std::fs::write(root.path().join("etc/passwd"), users).expect("written");
        std::fs::write(root.path().join("etc/group"), "root:x:0:\nwww-data:x:33:nginx,a\n").expect("written");
        let accounts = Accounts::read(root.path()).expect("two files");
        let user = |name: &str| accounts.user(&name.parse().expect(name)).ok();
        assert_eq!((user("root"), user("vllm"), user("1234")), (Some(0), Some(990), Some(1234)));
        assert_eq!((user("bad"), user("full"), user("vll"), user("4294967295")), (None, None, None, None));
        assert_eq!(accounts.group(&"www-data".parse().expect("a name")).ok(), Some(33));
        assert_eq!((accounts.user_names(990), accounts.group_names(33)), (vec!["vllm", "llm"], vec!["www-data"]));
        assert!(accounts.user_names(991).is_empty());
        let empty = Accounts::read(Path::new("/nowhere")).expect("no files are no names");
        assert_eq!(empty.user(&"root".parse().expect("a name")).ok(), Some(0));
    }
}
