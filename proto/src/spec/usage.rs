//! Which side of a TLS connection a placement's certificate is for.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::error::SpecError;
use crate::id::shown;

/// Which side of a TLS connection shows a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Usage {
    /// A server.
    Server,
    /// A client.
    Client,
    /// Both, as between peers.
    Both,
}

impl Usage {
    /// Every usage.
    pub const ALL: [Self; 3] = [Self::Server, Self::Client, Self::Both];

    /// The manifest's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Both => "both",
        }
    }
}

impl FromStr for Usage {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        Self::ALL.into_iter().find(|usage| usage.as_str() == text).ok_or_else(|| SpecError::Usage(shown(text)))
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
