//! Removes the agent from an evicted guest, and reports what was removed and what remains.
//!
//! Answers: is the agent gone, what stays in the guest, and if it could not be reached, what can a person do?
//! Invariant: this comes after the eviction, never before it: otherwise Pinion would bring the agent in again by itself.

use pinion_proto::{
    id::Guest,
    stage::{Halt, Trouble},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    channel::{
        client::Client,
        protocol::{Cause, Failure, Target},
    },
    inventory::Inventory,
};

/// What became of the agent in a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentRemoval {
    /// Whether the guest has no agent any more.
    pub gone: bool,
    /// What was done and what stays, in lines.
    pub lines: Vec<String>,
    /// Why the agent could not be removed, where Pinion tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
}

/// Takes the agent out of a guest, where there is a hypervisor.
pub(super) async fn remove(channel: Option<&Client>, inventory: &Inventory, guest: Guest) -> AgentRemoval {
    let (Some(channel), Guest::Vmid(vmid)) = (channel, guest) else {
        let why = if guest == Guest::Host { "this host's own agent" } else { "there is no hypervisor to reach it" };
        let line = format!(
            "Pinion does not remove the agent of {} ({why}): run `apt purge pinion-agent` there, or, if it was not \
             installed as a package, stop it and remove /usr/bin/pinion-agent, its unit and /var/lib/pinion-agent",
            named(guest)
        );
        return AgentRemoval { gone: false, lines: vec![line], trouble: None };
    };
    let Some(info) = inventory.guest(vmid) else {
        if inventory.is_complete() {
            let line = format!("there is no guest {guest} on this cluster any more, and so no agent in it");
            return AgentRemoval { gone: true, lines: vec![line], trouble: None };
        }
        let why = "the guests of this host are not known yet";
        return stays(guest, Halt::Waiting, why.into(), &format!("wait a moment, then {}", again(guest)));
    };
    if info.template {
        let why = format!("guest {guest} is a template, and never runs");
        let what = "remove the agent from the guest that you made it from, and make the template again";
        return stays(guest, Halt::Blocked, why, what);
    }
    let Some(kind) = info.kind else {
        let why = format!("Proxmox does not say whether guest {guest} is a container or a VM");
        return stays(guest, Halt::Waiting, why, &again(guest));
    };
    match channel.remove(Target { vmid, kind }).await {
        Ok(removed) => {
            let mut lines = vec![if removed.was_there {
                format!("the agent, its unit, its identity and its state are removed from guest {guest}")
            } else {
                format!("there is no agent in guest {guest}")
            }];
            lines.push(
                "the certificates and keys that Pinion installed stay there, and services keep serving them; nothing \
                 renews them any more"
                    .into(),
            );
            if !removed.kept.is_empty() {
                lines.push(format!("these stay there, too: {}", removed.kept.join(", ")));
            }
            AgentRemoval { gone: true, lines, trouble: None }
        }
        Err(failure) => {
            let remedy = remedy(guest, &failure);
            stays(guest, failure.cause.halt(), failure.text, &remedy)
        }
    }
}

/// The agent is still there, or may be.
fn stays(guest: Guest, halt: Halt, cause: String, remedy: &str) -> AgentRemoval {
    let remains = format!(
        "what remains in guest {guest}: /usr/bin/pinion-agent, its unit, /etc/pinion and /var/lib/pinion-agent; its \
         identity no longer works, and the certificates that it installed are not renewed any more"
    );
    let attempt = format!("remove the agent from guest {guest}");
    let trouble = Trouble { halt, attempt, cause, remedy: remedy.to_owned(), retry_at: None };
    AgentRemoval { gone: false, lines: vec![remains], trouble: Some(trouble) }
}

fn named(guest: Guest) -> String {
    if guest == Guest::Host { "the host".into() } else { format!("guest {guest}") }
}

fn again(guest: Guest) -> String {
    format!("run `pinion guest evict {guest}` again")
}

/// Nothing is tried again by itself here, whatever the cause's own remedy says.
fn remedy(guest: Guest, failure: &Failure) -> String {
    let again = again(guest);
    let first = match failure.cause {
        Cause::NotRunning => "start the guest",
        Cause::WrongNode => {
            return format!("run `pinion guest evict {guest}` on that node, or move the guest to this one");
        }
        Cause::Paused => "resume the VM (`qm resume VMID`)",
        Cause::NoGuestAgent => {
            return format!(
                "install and start qemu-guest-agent in the VM, enable it in the VM's options (`qm set {guest} --agent \
                 1`), and {again}; or remove the agent in the VM by hand"
            );
        }
        Cause::Locked | Cause::AgentBusy | Cause::Busy => "wait until that is over",
        Cause::Packaged => return failure.cause.remedy().into(),
        Cause::NoTools => return "remove the agent from the container's image".into(),
        other => return format!("{}; then {again}", other.remedy()),
    };
    format!("{first}, then {again}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pinion_proto::id::Vmid;

    use super::*;
    use crate::inventory::{GuestInfo, GuestKind};

    fn guest(number: u32) -> (Vmid, Guest) {
        let vmid = Vmid::try_from(number).expect("a VMID");
        (vmid, Guest::Vmid(vmid))
    }

    async fn removed(inventory: &Inventory, guest: Guest) -> AgentRemoval {
        // Nobody listens there.
        let client = Client::new(std::path::Path::new("/nonexistent/channel.sock"));
        remove(Some(&client), inventory, guest).await
    }

    #[tokio::test]
    async fn what_cannot_be_reached_is_told_with_what_remains() {
        let (vmid, at) = guest(101);
        let web = GuestInfo { kind: Some(GuestKind::Lxc), ..GuestInfo::default() };
        let all = |info: GuestInfo| Inventory::complete([(vmid, info)].into(), &BTreeMap::new());
        let away = removed(&all(web.clone()), at).await;
        let trouble = away.trouble.expect("nobody answers");
        assert!(trouble.cause.contains("the root process cannot be reached"), "{trouble}");
        assert!(trouble.remedy.ends_with("then run `pinion guest evict 101` again"), "{trouble}");
        assert!(!away.gone && away.lines[0].contains("/var/lib/pinion-agent"), "{:?}", away.lines);

        let template = removed(&all(GuestInfo { template: true, ..web }), at).await;
        assert!(template.trouble.is_some_and(|trouble| trouble.cause.contains("template")));
        let unknown = removed(&all(GuestInfo::default()), at).await;
        assert!(unknown.trouble.is_some_and(|trouble| trouble.halt == Halt::Waiting));
        let gone = removed(&all(GuestInfo::default()), guest(102).1).await;
        assert!(gone.gone && gone.trouble.is_none(), "a guest that was destroyed has no agent: {gone:?}");
        let early = removed(&Inventory::awaited(BTreeMap::new()), at).await;
        assert!(!early.gone && early.trouble.is_some(), "nobody knows yet: {early:?}");
    }

    #[tokio::test]
    async fn the_host_and_guests_without_a_hypervisor_are_left_to_a_person() {
        for (channel, whom) in [(None, guest(101).1), (Some(Client::new("/nonexistent".as_ref())), Guest::Host)] {
            let told = remove(channel.as_ref(), &Inventory::default(), whom).await;
            assert!(!told.gone && told.trouble.is_none(), "{told:?}");
            assert!(told.lines[0].contains("apt purge pinion-agent"), "{told:?}");
        }
    }

    #[test]
    fn no_remedy_promises_that_it_goes_on_by_itself() {
        for cause in [
            Cause::NotRunning,
            Cause::WrongNode,
            Cause::Locked,
            Cause::NoGuestAgent,
            Cause::AgentBusy,
            Cause::Paused,
            Cause::NoTools,
            Cause::TimedOut,
            Cause::ToolMissing,
            Cause::Packaged,
            Cause::Refused,
            Cause::Unexpected,
        ] {
            let told = remedy(guest(101).1, &Failure::new(cause, "so"));
            assert!(!told.contains("Pinion continues") && !told.contains("tries again"), "{cause:?}: {told}");
        }
    }
}
