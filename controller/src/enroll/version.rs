//! Which of two agents is the older one, and which agents a controller works with.
//!
//! Invariant: controller and agents may differ by [`MAX_BEHIND`] minor versions within one major version, the agent being
//! the older one; docs/agent.md says the same.

/// So many minor versions may an agent be behind.
const MAX_BEHIND: u32 = 2;

/// Why an agent of version `agent` is none that a controller of version `controller` is meant to work with, if so.
pub(crate) fn misfit(agent: &str, controller: &str) -> Option<&'static str> {
    let (Some(agent), Some(controller)) = (numbers(agent), numbers(controller)) else {
        return Some("does not report its version");
    };
    let ([agent_major, agent_minor, _], [major, minor, _]) = (agent, controller);
    if (agent_major, agent_minor) > (major, minor) {
        Some("is newer than the controller")
    } else if agent_major < major || minor - agent_minor > MAX_BEHIND {
        Some("is too old")
    } else {
        None
    }
}

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

    #[test]
    fn an_agent_may_be_two_minor_versions_behind_and_not_ahead() {
        for (agent, controller, fits) in [
            ("0.3.0", "0.3.0", true),
            ("0.3.9", "0.3.0", true),
            ("0.1.0", "0.3.0", true),
            ("0.0.9", "0.3.0", false),
            ("0.4.0", "0.3.0", false),
            ("1.0.0", "0.3.0", false),
            ("0.9.0", "1.0.0", false),
            ("", "0.3.0", false),
        ] {
            assert_eq!(misfit(agent, controller).is_none(), fits, "{agent} with {controller}");
        }
    }
}
