//! Users and groups of the guest, by name or number.
//!
//! `/etc/passwd` and `/etc/group` are read here, because a static binary has no name service switch.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use pinion_proto::spec::Account;

use super::InstallError;

/// More accounts than any guest has (bytes).
const MOST: u64 = 4 * 1024 * 1024;

/// The account database.
#[derive(Debug)]
pub struct Accounts {
    users: String,
    groups: String,
}

impl Accounts {
    /// Reads both files below `root`; a missing one has no names.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub fn read(root: &Path) -> Result<Self, InstallError> {
        Ok(Self { users: text(&root.join("etc/passwd"))?, groups: text(&root.join("etc/group"))? })
    }

    /// A user's number.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn user(&self, account: &Account) -> Result<u32, InstallError> {
        number(&self.users, account).ok_or_else(|| InstallError::Account { kind: "user", account: account.clone() })
    }

    /// A group's number.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn group(&self, account: &Account) -> Result<u32, InstallError> {
        number(&self.groups, account).ok_or_else(|| InstallError::Account { kind: "group", account: account.clone() })
    }

    /// Every name of a user's number.
    #[must_use]
    pub fn user_names(&self, uid: u32) -> Vec<&str> {
        names(&self.users, uid)
    }

    /// Every name of a group's number.
    #[must_use]
    pub fn group_names(&self, gid: u32) -> Vec<&str> {
        names(&self.groups, gid)
    }
}

/// The names of the lines with this number.
fn names(lines: &str, number: u32) -> Vec<&str> {
    let named = |line| {
        let mut fields = str::split(line, ':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then_some(name)
    };
    lines.lines().filter_map(named).collect()
}

/// The third field of the line that begins with the name (passwd(5), group(5)).
fn number(lines: &str, account: &Account) -> Option<u32> {
    let listed = lines.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(account.as_str())).then(|| fields.nth(1))?
    });
    match listed {
        Some(number) => number.parse().ok(),
        // Number 0 is root everywhere, also in a root file system without the two files.
        None if account.as_str() == "root" => Some(0),
        // u32::MAX means `leave as it is` to chown(2).
        None => account.as_str().parse().ok().filter(|number| *number != u32::MAX),
    }
}

fn text(path: &Path) -> Result<String, InstallError> {
    let failed = |source| InstallError::Accounts { path: path.into(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes).map_err(failed)?;
    // A full name may be in any encoding; names and numbers are ASCII.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found() {
        let accounts = Accounts {
            users:
                "root:x:0:0:root:/root:/bin/sh\nvllm:x:990:991::/:/bin/false\nllm:x:990:1::/:/x\nbad:x\nfull:x:x:y\n"
                    .into(),
            groups: "root:x:0:\nwww-data:x:33:nginx,a\n".into(),
        };
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
