//! What is asked about who may look at the page.

use pinion_proto::spec::PlainName;
use serde::{Deserialize, Serialize};

/// A question about who may look at the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AskWeb {
    /// A link that is good once.
    Link {
        /// Whether its session may renew certificates.
        renew: bool,
    },
    /// A lasting token.
    CreateToken {
        /// What it is called.
        name: PlainName,
        /// Whether it may renew certificates.
        renew: bool,
    },
    /// Take a lasting token back.
    RevokeToken(PlainName),
    /// The lasting tokens.
    Tokens,
}

impl AskWeb {
    /// The command that asks for a change; none for those that only look, or let somebody look who may look anyway.
    #[must_use]
    pub(super) fn change(&self) -> Option<&'static str> {
        match self {
            Self::Link { renew: false } | Self::Tokens => None,
            Self::Link { renew: true } => Some("pinion web open --renew"),
            Self::CreateToken { .. } => Some("pinion web token create"),
            Self::RevokeToken(_) => Some("pinion web token revoke"),
        }
    }
}
