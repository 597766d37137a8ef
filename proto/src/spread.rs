//! Numbers that are a function of a name: for jitter that two runs, and two nodes, agree on.
//!
//! Invariant: the same name has the same number for ever, whatever release of a library or of Rust this is built with.

use std::time::Duration;

/// A number from 0 to `max`, both included, that is a function of these bytes.
#[must_use]
pub fn number(name: impl IntoIterator<Item = u8>, max: u64) -> u64 {
    // FNV-1a, and the finaliser of SplitMix64 because the name's last bytes must reach every bit. It is written
    // out here because it must not change with a release of a library or of Rust.
    let mut hash = name
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    max.checked_add(1).map_or(hash, |sides| hash % sides)
}

/// A duration of at most `max`, in whole milliseconds, that is a function of these bytes.
#[must_use]
pub fn duration(name: impl IntoIterator<Item = u8>, max: Duration) -> Duration {
    Duration::from_millis(number(name, u64::try_from(max.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_same_number_for_ever() {
        let number = |name: &str, max| number(name.bytes(), max);
        assert_eq!([number("", u64::MAX), number("web", 1_000_000)], [NOTHING, WEB]);
        assert_eq!(number("web", 0), 0);
        let found: std::collections::BTreeSet<_> = (0..1000).map(|n: u32| number(&n.to_string(), 9)).collect();
        assert_eq!(found, (0..=9).collect(), "each number comes, and no other");
        assert_eq!(duration("web".bytes(), Duration::from_millis(1_000_000)), Duration::from_millis(WEB));
    }

    const NOTHING: u64 = 17_665_956_581_633_026_203;
    const WEB: u64 = 704_398;
}
