//! Which of two agents is the older one.

/// Whether `one` is an earlier version than `other`. A version that cannot be read is older than one that can.
pub(crate) fn is_older(one: &str, other: &str) -> bool {
    numbers(one) < numbers(other)
}

/// `1.2.3` as numbers; what follows a `-` or `+` does not count.
fn numbers(version: &str) -> Option<[u32; 3]> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let mut parts = core.trim().split('.').map(|part| part.parse().ok());
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_older("0.9.12", "0.10.0"));
        assert!(!is_older("0.10.0", "0.10.0"));
        assert!(!is_older("0.10.0+build7", "0.10.0"));
        assert!(!is_older("1.0.0", "0.10.0"), "a newer agent is left as it is");
        assert!(is_older("", "0.1.0"), "an agent that does not say which it is");
    }
}
