//! Could anybody but root, or the user that this process runs as, have changed a file?
//!
//! Invariant: owner and mode of one name are judged here; `open` looks at every name on the way to the file that it opens.

mod open;

use rustix::process::geteuid;
use thiserror::Error;

pub use open::{Distrust, Opened, open};

/// Who else could have changed a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Doubt {
    /// Its owner, who is neither root nor this process's user.
    #[error("belongs to user {0}, not to root")]
    Owner(u32),
    /// Its group, or everybody.
    #[error("can be written by users other than root (mode {:04o})", .0 & 0o7777)]
    Mode(u32),
}

/// What a name is for the file that is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// The file itself, or the directory that it is in.
    End,
    /// A directory on the way. With the sticky bit nobody exchanges what is another's there.
    OnTheWay,
    /// A symbolic link, whose mode says nothing.
    Link,
}

/// Judges a name by its owner and its mode.
///
/// # Errors
/// Somebody else could have changed it.
pub fn check(owner: u32, mode: u32, name: Name) -> Result<(), Doubt> {
    if owner != 0 && owner != geteuid().as_raw() {
        return Err(Doubt::Owner(owner));
    }
    let is_open = match name {
        Name::End => mode & 0o022 != 0,
        Name::OnTheWay => mode & 0o022 != 0 && mode & 0o1000 == 0,
        Name::Link => false,
    };
    if is_open { Err(Doubt::Mode(mode)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_this_user_are_trusted() {
        let own = geteuid().as_raw();
        let other = own + 1;
        for name in [Name::End, Name::OnTheWay, Name::Link] {
            assert_eq!(
                [0, own, other].map(|owner| check(owner, 0o755, name)),
                [Ok(()), Ok(()), Err(Doubt::Owner(other))]
            );
        }
        for (mode, at_the_end, on_the_way) in [
            (0o755, true, true),
            (0o644, true, true),
            (0o775, false, false),
            (0o757, false, false),
            (0o720, false, false),
            (0o702, false, false),
            (0o1777, false, true),
            (0o4755, true, true),
        ] {
            let is_trusted = |name| check(0, mode, name).is_ok();
            assert_eq!((is_trusted(Name::End), is_trusted(Name::OnTheWay)), (at_the_end, on_the_way), "{mode:o}");
            assert!(is_trusted(Name::Link), "{mode:o}");
        }
        assert_eq!(Doubt::Mode(0o100_775).to_string(), "can be written by users other than root (mode 0775)");
    }
}
