//! Who may read a private key: nobody but its owner and, where a service needs it, its group.
//!
//! Invariant: this is asked of every file of every placement, whatever named its mode: manifest, recipe or controller.

use pinion_proto::spec::{FileMode, Part};

use super::JobError;

/// Whether a part may have this mode. `kept`: a file without a private key was writable by everybody before, and stays so.
///
/// # Errors
/// Everybody could read the private key in it, or write the file.
pub(super) fn mode(part: Part, mode: FileMode, kept: bool) -> Result<(), JobError> {
    let others = match part.is_secret() {
        true => EVERYTHING,
        false if kept => 0,
        false => WRITE,
    };
    if mode.bits() & others != 0 { Err(JobError::Mode { part, mode }) } else { Ok(()) }
}

/// Whether everybody's programs could read a part that belongs to this user and group and has this mode: what belongs to
/// `nobody` belongs to every service that runs as nobody, and to every file of a user that this guest does not know. Of
/// both come all names that the guest has for the number, however the account was asked for.
#[must_use]
pub fn is_exposed(part: Part, mode: FileMode, owner: (&[&str], u32), group: (&[&str], u32)) -> bool {
    let anybody = |(names, number): (&[&str], u32), anybodys: &[&str]| {
        number == OVERFLOW || names.iter().any(|name| anybodys.contains(name))
    };
    let by_owner = anybody(owner, &["nobody", "nfsnobody"]);
    let by_group = mode.bits() & GROUP != 0 && anybody(group, &["nobody", "nogroup", "nfsnobody", "users"]);
    part.is_secret() && (by_owner || by_group)
}

/// Permission bits for others, and for the group.
const EVERYTHING: u32 = 0o007;
const WRITE: u32 = 0o002;
const GROUP: u32 = 0o070;

/// The number of a user or group that has none here (`/proc/sys/kernel/overflowuid`), which is `nobody`'s on most systems.
const OVERFLOW: u32 = 65534;

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(bits: u32) -> FileMode {
        FileMode::from_bits(bits).expect("permission bits")
    }

    #[test]
    fn no_bit_for_others_is_taken_on_a_private_key_and_no_writing_on_any_file() {
        for bits in 0..=0o777 {
            for part in Part::ALL {
                let bad = if part.is_secret() { bits & 0o007 != 0 } else { bits & 0o002 != 0 };
                assert_eq!(mode(part, self::bits(bits), true).is_err(), bad && part.is_secret(), "{part} {bits:o}");
                assert_eq!(mode(part, self::bits(bits), false).is_err(), bad, "{part} {bits:o}");
            }
        }
    }

    #[test]
    fn a_private_key_belongs_to_somebody() {
        let exposed = |part: Part, mode: u32, owner: (&str, u32), group: (&str, u32)| {
            is_exposed(part, bits(mode), (&[owner.0], owner.1), (&[group.0], group.1))
        };
        let (root, nobody) = (("root", 0), ("nobody", 65534));
        for secret in [Part::Key, Part::Combined] {
            assert!(exposed(secret, 0o600, nobody, root) && exposed(secret, 0o400, ("nobody", 99), root));
            assert!(exposed(secret, 0o600, ("65534", 65534), root) && exposed(secret, 0o640, root, ("nogroup", 65534)));
            assert!(exposed(secret, 0o640, root, ("users", 100)) && !exposed(secret, 0o600, root, ("users", 100)));
            assert!(!exposed(secret, 0o640, root, ("www-data", 33)) && !exposed(secret, 0o600, ("vllm", 990), root));
        }
        assert!(!exposed(Part::Fullchain, 0o644, nobody, nobody));
        assert!(is_exposed(Part::Key, bits(0o640), (&["root"], 0), (&["everyone", "users"], 100)));
        assert!(is_exposed(Part::Key, bits(0o600), (&[], 65534), (&[], 0)));
    }
}
