//! Users and groups of this machine: who has this number, and who is in this group?
//!
//! `/etc/passwd` and `/etc/group` are read here, because a static binary has no name service switch.
//! Invariant: an account that is in neither file (of LDAP, or of systemd's dynamic users) has no name and is in no group.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use thiserror::Error;

/// More accounts than any machine has (bytes).
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// The two files of a guest are seldom larger (bytes).
const USUAL_FILE: usize = 4 * 1024;

/// What the two files said when they were read.
#[derive(Debug, Clone, Default)]
pub struct LocalUsers {
    users: String,
    groups: String,
}

/// A file of accounts that is there and cannot be read.
#[derive(Debug, Error)]
#[error("cannot read {path}", path = path.display())]
pub struct UsersError {
    /// The file that cannot be read: `/etc/passwd` or `/etc/group`.
    pub path: PathBuf,
    /// The system's reason.
    pub source: io::Error,
}

impl LocalUsers {
    /// Reads both files below `root`; a missing one has no names.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub fn read(root: &Path) -> Result<Self, UsersError> {
        let text = |file| {
            let path = root.join(file);
            text(&path).map_err(|source| UsersError { path, source })
        };
        Ok(Self { users: text("etc/passwd")?, groups: text("etc/group")? })
    }

    /// What `/etc/passwd` has for the number of the user of this name.
    #[must_use]
    pub fn user_field(&self, name: &str) -> Option<&str> {
        number_field(&self.users, name)
    }

    /// What `/etc/group` has for the number of the group of this name.
    #[must_use]
    pub fn group_field(&self, name: &str) -> Option<&str> {
        number_field(&self.groups, name)
    }

    /// Every name of a user's number.
    pub fn user_names(&self, uid: u32) -> impl Iterator<Item = &str> {
        names(&self.users, uid)
    }

    /// Every name of a group's number.
    pub fn group_names(&self, gid: u32) -> impl Iterator<Item = &str> {
        names(&self.groups, gid)
    }

    /// The number of the user of this name.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u32> {
        self.user_field(name)?.parse().ok()
    }

    /// The name of the user of this number. Number 0 is root everywhere, also without the file.
    #[must_use]
    pub fn name(&self, uid: u32) -> Option<&str> {
        self.user_names(uid).find(|name| !name.is_empty()).or((uid == 0).then_some("root"))
    }

    /// The name of the group of this number.
    #[must_use]
    pub fn group_name(&self, gid: u32) -> Option<&str> {
        self.group_names(gid).find(|name| !name.is_empty())
    }

    /// The user for people: its name where it has one, and its number.
    #[must_use]
    pub fn shown(&self, uid: u32) -> String {
        match self.name(uid) {
            Some("root") if uid == 0 => "root".to_owned(),
            Some(name) => format!("{name} (uid {uid})"),
            None => format!("uid {uid}"),
        }
    }

    /// Whether the user is in the group, as its primary one, as one of `gids`, or by the group's list of members. No
    /// answer where there is no such group.
    #[must_use]
    pub fn is_member(&self, uid: u32, gids: &[u32], group: &str) -> Option<bool> {
        let mut fields = self.groups.lines().find(|line| line.split(':').next() == Some(group))?.split(':').skip(2);
        let gid: u32 = fields.next()?.parse().ok()?;
        let primary = |line: &str| {
            let mut fields = line.split(':').skip(2);
            fields.next().and_then(|text| text.parse().ok()) == Some(uid)
                && fields.next().and_then(|text| text.parse().ok()) == Some(gid)
        };
        let name = self.name(uid);
        let listed = fields.next().is_some_and(|members| members.split(',').any(|member| Some(member.trim()) == name));
        Some(listed || gids.contains(&gid) || self.users.lines().any(primary))
    }
}

/// The third field of the line that begins with the name (passwd(5), group(5)).
fn number_field<'t>(lines: &'t str, name: &str) -> Option<&'t str> {
    lines.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1))?
    })
}

/// The names of the lines with this number.
fn names(lines: &str, number: u32) -> impl Iterator<Item = &str> {
    lines.lines().filter_map(move |line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then_some(name)
    })
}

fn text(path: &Path) -> io::Result<String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    // Most are smaller: one read each.
    let mut bytes = Vec::with_capacity(USUAL_FILE);
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    // A full name may be in any encoding; names and numbers are ASCII.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> LocalUsers {
        LocalUsers {
            users: "root:x:0:0:root:/root:/bin/sh\npinion:x:998:997::/:/bin/false\nbad:x\n:x:5:5::/:\n\
                    alice:x:1000:1000::/:\nbob:x:1001:995::/:\n"
                .into(),
            groups: "root:x:0:\npinion:x:997:alice,bob\npinion-admin:x:995:alice\nbroken:x:x:alice\nempty:x:994:\n"
                .into(),
        }
    }

    #[test]
    fn names_and_numbers_are_found() {
        let users = users();
        assert_eq!((users.number("pinion"), users.number("bad"), users.number("carol")), (Some(998), None, None));
        assert_eq!((users.name(1000), users.name(5), users.name(7)), (Some("alice"), None, None));
        assert_eq!(
            (users.shown(0), users.shown(998), users.shown(7)),
            ("root".into(), "pinion (uid 998)".into(), "uid 7".into())
        );
        assert_eq!((users.group_name(997), users.group_name(7)), (Some("pinion"), None));
        assert_eq!(LocalUsers::read(Path::new("/nowhere")).expect("no files are no names").name(0), Some("root"));
    }

    #[test]
    fn members_are_those_listed_those_by_their_own_group_and_those_that_have_it_now() {
        let users = users();
        let admin = |uid, gids: &[u32]| users.is_member(uid, gids, "pinion-admin");
        assert_eq!((admin(1000, &[]), admin(1001, &[]), admin(998, &[])), (Some(true), Some(true), Some(false)));
        assert_eq!((admin(7, &[7]), admin(7, &[7, 995])), (Some(false), Some(true)));
        // A user without a name is not the empty member of an empty list.
        assert_eq!(users.is_member(7, &[], "empty"), Some(false));
        assert_eq!((users.is_member(1000, &[], "nobody"), users.is_member(1000, &[], "broken")), (None, None));
    }
}
