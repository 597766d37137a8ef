//! What may break a rule, and why.
//!
//! Invariant: the list only gets shorter. An exception that nothing needs any more fails the check, and so does one whose
//! amount has grown.

/// A rule that something may break.
#[derive(Debug)]
pub(super) struct Exception {
    /// The rule's name.
    pub(super) rule: &'static str,
    /// As the rule names it.
    pub(super) subject: &'static str,
    /// At most so much of it: lines, files, times.
    pub(super) amount: usize,
    /// Why it may.
    pub(super) reason: &'static str,
}

/// All of them, by rule.
pub(super) const EXCEPTIONS: &[Exception] = &[
    except(
        "generated-code",
        "agent/src/link/mod.rs",
        1,
        "the generated client of the contract Link is made and called here; `wire` has its messages",
    ),
    except(
        "generated-code",
        "agent/src/link/join.rs",
        1,
        "the generated client of the contract Join is made and called here; `wire` has its messages",
    ),
    except(
        "generated-code",
        "controller/src/link/service.rs",
        1,
        "the contracts' generated servers are implemented here; `wire` has their messages",
    ),
    except(
        "proxmox-paths",
        "agent/src/recipe/protected.rs",
        1,
        "the agent on a Proxmox host keeps files of the cluster out of recipes, and does not know the controller",
    ),
    except(
        "proxmox-paths",
        "agent/src/install/share.rs",
        1,
        "the agent on a Proxmox host says why pmxcfs refuses a write, and does not know the controller",
    ),
    except(
        "proxmox-paths",
        "controller/src/config/proxmox.rs",
        1,
        "the configuration's default, which `inventory/proxmox` is given",
    ),
    except("mutable-world", "controller/src/reconcile/links.rs", 1, "what comes over the links is what becomes known"),
    except("mutable-world", "controller/src/reconcile/perform.rs", 1, "it applies what the parts say is to change"),
    except("mutable-world", "controller/src/reconcile/waiting.rs", 1, "who asks for a renewal waits for a number"),
];

const fn except(rule: &'static str, subject: &'static str, amount: usize, reason: &'static str) -> Exception {
    Exception { rule, subject, amount, reason }
}
