//! What is said on the root process's socket: one call, one answer, each a line of JSON.
//!
//! Invariant: a call holds nothing that could become a path, an option or a command: a VMID is a checked number, a
//! token is checked to be one for that VMID, and a ticket to be one, before anything is done with it.

use std::{fmt, time::Duration};

use pinion_proto::{
    bundle::{Fingerprint, RootCertificate},
    clock::Timestamp,
    id::{TrustDomain, Vmid},
};
use serde::{Deserialize, Serialize};

pub use super::{
    failure::{Cause, Failure},
    listing::{ListedGuest, Listing, Revision},
    secret::Secret,
    web_access::said::{MAX_GOOD_FOR, WebAnswer, WebQuestion, WebRight, WebUser},
};
use crate::inventory::GuestKind;

/// The longest call (bytes): a join token, which is at most 16 KiB, and its verb.
pub const MAX_CALL: u64 = 32 * 1024;

/// The longest answer (bytes): a line about each of 20,000 guests.
pub const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// What the controller may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Call {
    /// Which guests there are and whether they run: [`ChannelAnswer::Guests`], as soon as it is another answer than the caller
    /// has, or after a while.
    Guests {
        /// What the caller has.
        has: Option<Revision>,
    },
    /// Which start of this guest it is that runs: [`ChannelAnswer::Boot`].
    Boot {
        /// The guest.
        guest: Target,
    },
    /// What this guest is and which agent it has: [`ChannelAnswer::Looked`].
    Look {
        /// The guest.
        guest: Target,
    },
    /// Bring the packaged agent in and start it: [`ChannelAnswer::Done`].
    Install {
        /// The guest.
        guest: Target,
    },
    /// Put the agent back that the last install replaced, and start it: [`ChannelAnswer::Done`].
    Restore {
        /// The guest.
        guest: Target,
    },
    /// Take the agent, its unit, its identity and what it remembers out: [`ChannelAnswer::Removed`].
    Remove {
        /// The guest.
        guest: Target,
    },
    /// Let the agent join with this token: [`ChannelAnswer::Done`] once it has its identity.
    Join {
        /// The guest.
        guest: Target,
        /// A join token of that same guest.
        token: Secret,
    },
    /// Sign the authority of this node for agents' identities: [`ChannelAnswer::NodeAuthority`].
    NodeAuthority {
        /// A PKCS #10 request of an ECDSA P-256 key, DER in base64; nothing but the key is taken from it.
        csr: String,
        /// The root that the caller knows: where it knows one, none is made.
        known: Option<Fingerprint>,
        /// The next root, if every guest trusts it: the authority is signed under that one. Left out otherwise, because root
        /// processes of earlier versions do not know the field.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        takes_over: Option<Fingerprint>,
    },
    /// Which identity root follows the present one, if a person began with another: [`ChannelAnswer::NextRoot`].
    NextRoot,
    /// What the user of a ticket or an API token of Proxmox's may do on the page: [`ChannelAnswer::WebAccess`].
    WebAccess(WebQuestion),
}

impl Call {
    /// The verb, for logs.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Guests { .. } => "guests",
            Self::Boot { .. } => "boot",
            Self::Look { .. } => "look",
            Self::Install { .. } => "install",
            Self::Restore { .. } => "restore",
            Self::Remove { .. } => "remove",
            Self::Join { .. } => "join",
            Self::NodeAuthority { .. } => "node-authority",
            Self::NextRoot => "next-root",
            Self::WebAccess(_) => "web-access",
        }
    }

    /// Which guest it is about.
    #[must_use]
    pub fn guest(&self) -> Option<Target> {
        match self {
            Self::Guests { .. } | Self::NodeAuthority { .. } | Self::NextRoot | Self::WebAccess(_) => None,
            Self::Boot { guest }
            | Self::Look { guest }
            | Self::Install { guest }
            | Self::Restore { guest }
            | Self::Remove { guest }
            | Self::Join { guest, .. } => Some(*guest),
        }
    }

    /// How long it may take once it is this call's turn. One step in a guest takes a second or two; a busy host's ten.
    #[must_use]
    pub fn patience(&self) -> Duration {
        Duration::from_secs(match self {
            // It is held for half of that.
            Self::Guests { .. } => 60,
            Self::Boot { .. } | Self::Look { .. } => 60,
            Self::NodeAuthority { .. } | Self::NextRoot | Self::WebAccess(_) => 30,
            // The agent's own dialling of every address is in it.
            Self::Join { .. } => 90,
            Self::Restore { .. } | Self::Remove { .. } => 120,
            // Six megabytes in pieces, each through the guest agent's serial line.
            Self::Install { .. } => 300,
        })
    }
}

/// A guest, and by which tool it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its number.
    pub vmid: Vmid,
    /// Container or virtual machine.
    pub kind: GuestKind,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            GuestKind::Lxc => write!(f, "container {}", self.vmid),
            GuestKind::Qemu => write!(f, "VM {}", self.vmid),
        }
    }
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelAnswer {
    /// To [`Call::Guests`].
    Guests(Listing),
    /// To [`Call::Boot`]: what an agent in it says as its `boot_id`.
    Boot(String),
    /// To [`Call::Look`].
    Looked(Looked),
    /// To [`Call::NodeAuthority`].
    NodeAuthority(Box<NodeAuthority>),
    /// To [`Call::NextRoot`]; none where no other root was asked for, or it has taken over.
    NextRoot(Option<Box<NextRoot>>),
    /// To [`Call::Remove`].
    Removed(Removed),
    /// To [`Call::WebAccess`].
    WebAccess(WebAnswer),
    /// It is so.
    Done,
    /// It is not.
    Failed(Failure),
}

/// The authority of a node, as it was just signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAuthority {
    /// Its certificate, DER in base64.
    pub certificate: String,
    /// The root that has signed it.
    pub root: RootCertificate,
    /// Whose identities the root is for.
    pub trust_domain: TrustDomain,
    /// Whether the root was there before this call.
    #[serde(default)]
    pub existed: bool,
}

/// The identity root that follows the present one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextRoot {
    /// The root, signed by itself.
    pub root: RootCertificate,
    /// Its subject and key, signed by the root process's present root (DER in base64); none where the present root is the
    /// controller's own, which signs that itself.
    pub endorsement: Option<String>,
}

/// What a guest is, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// Which binary it runs.
    pub architecture: Architecture,
    /// Who starts its services.
    pub init: Init,
    /// The agent in it, when there is one.
    pub agent: Option<FoundAgent>,
}

/// The agent in a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundAgent {
    /// The running daemon's version; the program's, when none runs; empty when the program does not say.
    pub version: String,
    /// Whether it holds an identity: expired and refused ones included.
    pub joined: bool,
    /// Whether its daemon answers.
    pub running: bool,
    /// The last second of its identity, where its daemon says so.
    #[serde(default)]
    pub expires: Option<Timestamp>,
}

/// What became of the agent in a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Whether there was anything to remove.
    pub was_there: bool,
    /// What stays, by its paths in the guest: what a person wrote, and files from before Pinion.
    #[serde(default)]
    pub kept: Vec<String>,
}

/// A processor, by the name that packages have for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// `x86_64`.
    Amd64,
    /// `aarch64`.
    Arm64,
    /// Another, as `uname -m` names it.
    Other(String),
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::Other(name) => name,
        })
    }
}

/// Who starts a guest's services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// systemd.
    Systemd,
    /// OpenRC, as on Alpine.
    OpenRc,
    /// Something else.
    Other,
}

impl Init {
    /// What a person should know of an agent that was brought into such a guest.
    #[must_use]
    pub fn note(self) -> Option<&'static str> {
        match self {
            Self::Systemd | Self::OpenRc => None,
            Self::Other => Some(
                "neither systemd nor OpenRC starts services in this guest: /etc/pinion/start-agent started the \
                 agent, and the guest's own start-up must call it at each boot",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::digest::Digest;

    fn target(text: &str) -> serde_json::Result<Call> {
        serde_json::from_str(text)
    }

    #[test]
    fn calls_read_back_as_they_were_written() {
        let guest = Target { vmid: Vmid::try_from(101).expect("a VMID"), kind: GuestKind::Lxc };
        let token = Secret::new(Zeroizing::new("hunter2".to_owned()));
        let has = Some(Revision { run: 7, number: 3 });
        for call in [
            Call::Guests { has: None },
            Call::Guests { has },
            Call::Boot { guest },
            Call::Look { guest },
            Call::Join { guest, token },
            Call::NodeAuthority { csr: "AA==".into(), known: None, takes_over: Some(Fingerprint::of(b"x")) },
            Call::NextRoot,
            Call::WebAccess(WebQuestion::Ticket(Secret::new(Zeroizing::new("PVE:…".to_owned())))),
            Call::WebAccess(WebQuestion::Again(Digest::of("PVE:…"))),
            Call::WebAccess(WebQuestion::Forget(Digest::of("PVE:…"))),
        ] {
            let text = serde_json::to_string(&call).expect("JSON");
            assert_eq!(target(&text).expect("a call"), call, "{text}");
        }
    }

    #[test]
    fn programs_of_an_earlier_version_are_understood_and_understand() {
        // As the version before said it and knows it: it refuses any other field.
        let before = r#"{"node-authority":{"csr":"AA==","known":null}}"#;
        let call = Call::NodeAuthority { csr: "AA==".into(), known: None, takes_over: None };
        assert_eq!(target(before).expect("a call"), call);
        assert_eq!(serde_json::to_string(&call).expect("JSON"), before);
    }

    #[test]
    fn what_is_not_exactly_a_call_is_none() {
        for bad in [
            r#"{"look":{"guest":{"vmid":99,"kind":"lxc"}}}"#,
            r#"{"look":{"guest":{"vmid":-101,"kind":"lxc"}}}"#,
            r#"{"look":{"guest":{"vmid":"101; reboot","kind":"lxc"}}}"#,
            r#"{"look":{"guest":{"vmid":101,"kind":"docker"}}}"#,
            r#"{"look":{"guest":{"vmid":101,"kind":"lxc","path":"/etc/shadow"}}}"#,
            r#"{"look":{"guest":{"vmid":101,"kind":"lxc"},"command":"id"}}"#,
            r#"{"run":{"guest":{"vmid":101,"kind":"lxc"}}}"#,
            r#"{"join":{"guest":{"vmid":101,"kind":"lxc"}}}"#,
            r#"["guests"]"#,
            r#"{"next-root":{"root":"AA=="}}"#,
            r#"{"node-authority":{"csr":"AA==","known":null,"takes_over":"/etc/shadow"}}"#,
            r#"{"guests":{"has":{"run":1,"number":2,"path":"/etc/shadow"}}}"#,
            r#"{"boot":{"guest":{"vmid":101,"kind":"lxc"},"command":"id"}}"#,
            r#"{"web-access":{"ticket":"PVE:…","url":"http://10.0.0.1/"}}"#,
            r#"{"web-access":{"again":"AA=="}}"#,
            r#"{"web-access":"root@pam"}"#,
        ] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let guest = Target { vmid: Vmid::try_from(101).expect("a VMID"), kind: GuestKind::Lxc };
        let call = Call::Join { guest, token: Secret::new(Zeroizing::new("hunter2".to_owned())) };
        assert!(!format!("{call:?}").contains("hunter2"));
    }
}
