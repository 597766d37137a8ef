//! A file's access control list, as far as the agent carries it from a file to the one that takes its place.
//!
//! Invariant: what owner, group and others may do is what the mode says; what the guest's administrator gave to further users
//! and groups stays. Layout of the attribute: Linux, `include/uapi/linux/posix_acl_xattr.h` (version 2); acl(5).

use std::fmt;

use pinion_proto::spec::FileMode;
use serde::{Deserialize, Serialize};

/// The extended attribute.
pub const ATTRIBUTE: &str = "system.posix_acl_access";

/// The longest that is carried (bytes): 500 entries.
pub const MAX: usize = HEADER + 500 * ENTRY;

const VERSION: [u8; 4] = 2u32.to_le_bytes();
const HEADER: usize = 4;
const ENTRY: usize = 8;

const USER_OBJ: u16 = 0x01;
const GROUP_OBJ: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// A list with entries beyond what a mode says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Acl(Vec<u8>);

impl Acl {
    /// Reads the attribute; none when it says no more than a mode, or is of a version that nobody knows.
    #[must_use]
    pub fn parse(attribute: &[u8]) -> Option<Self> {
        let entries = attribute.strip_prefix(&VERSION)?;
        let acl = Self(attribute.to_vec());
        let is_extended = acl.entries().any(|(tag, _)| tag == MASK);
        (entries.len().is_multiple_of(ENTRY) && attribute.len() <= MAX && is_extended).then_some(acl)
    }

    /// The mode of its file, whose group bits the kernel shows as the list's mask: what the group itself may do instead.
    #[must_use]
    pub fn mode(&self, shown: u32) -> u32 {
        let group =
            self.entries().find(|(tag, _)| *tag == GROUP_OBJ).map(|(_, permissions)| u32::from(permissions & 7));
        group.map_or(shown, |group| (shown & !0o070) | (group << 3))
    }

    /// The attribute for a file of this mode.
    #[must_use]
    pub fn attribute(&self, mode: FileMode) -> Vec<u8> {
        let mut attribute = self.0.clone();
        for entry in attribute.get_mut(HEADER..).unwrap_or_default().chunks_exact_mut(ENTRY) {
            let [tag_low, tag_high, low, high, ..] = entry else { continue };
            let shift = match u16::from_le_bytes([*tag_low, *tag_high]) {
                USER_OBJ => 6,
                GROUP_OBJ => 3,
                OTHER => 0,
                _ => continue,
            };
            let permissions = u16::try_from((mode.bits() >> shift) & 7).unwrap_or_default();
            [*low, *high] = permissions.to_le_bytes();
        }
        attribute
    }

    /// Each entry's tag and permissions.
    fn entries(&self) -> impl Iterator<Item = (u16, u16)> {
        self.0.get(HEADER..).unwrap_or_default().chunks_exact(ENTRY).filter_map(|entry| match entry {
            [tag_low, tag_high, low, high, ..] => {
                Some((u16::from_le_bytes([*tag_low, *tag_high]), u16::from_le_bytes([*low, *high])))
            }
            _ => None,
        })
    }
}

impl fmt::Debug for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries()).finish()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A list that lets user 4711 read, with owner rw-, group r--, others nothing.
    pub(crate) fn one_reader() -> Vec<u8> {
        let entry = |tag: u16, permissions: u16, id: u32| {
            let mut bytes = [tag.to_le_bytes(), permissions.to_le_bytes()].concat();
            bytes.extend(id.to_le_bytes());
            bytes
        };
        let entries = [
            entry(USER_OBJ, 6, u32::MAX),
            entry(0x02, 4, 4711),
            entry(GROUP_OBJ, 0, u32::MAX),
            entry(MASK, 4, u32::MAX),
            entry(OTHER, 0, u32::MAX),
        ];
        [VERSION.to_vec(), entries.concat()].concat()
    }

    #[test]
    fn a_list_is_carried_with_the_mode_of_the_new_file() {
        let acl = Acl::parse(&one_reader()).expect("a list");
        assert_eq!(acl.mode(0o640), 0o600, "the mask is no right of the group's");
        assert_eq!(acl.attribute("0600".parse().expect("a mode")), one_reader());
        let other = Acl::parse(&acl.attribute("0644".parse().expect("a mode"))).expect("a list");
        assert_eq!(other.entries().map(|(_, permissions)| permissions).collect::<Vec<_>>(), [6, 4, 4, 4, 4]);
    }

    #[test]
    fn what_says_no_more_than_a_mode_or_is_no_list_is_none() {
        let plain = [VERSION.to_vec(), one_reader()[HEADER..HEADER + ENTRY].to_vec()].concat();
        let mut cut = one_reader();
        cut.pop();
        let other_version = [vec![3, 0, 0, 0], one_reader()[HEADER..].to_vec()].concat();
        for bytes in [Vec::new(), vec![2], VERSION.to_vec(), plain, cut, other_version, one_reader().repeat(200)] {
            assert_eq!(Acl::parse(&bytes), None, "{bytes:?}");
        }
    }
}
