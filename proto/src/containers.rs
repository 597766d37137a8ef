//! What Docker calls things: the words by which a placement names a container, a Swarm service and its secrets.
//!
//! Invariant: each is safe as an argument of its own of the docker command line: none begins with a dash, and none
//! has a character that docker's own options give a meaning to (`,` and `=` in `--secret-add`).

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    id::{shown, string_serde},
    spec::Part,
};

/// The name of a container: two or more letters, digits, `.`, `_`, `-`, starting with a letter or digit
/// (moby, `daemon/names`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerName(Box<str>);

/// The name of a Swarm service, in full: `STACK_SERVICE` where a stack made it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(Box<str>);

/// The name of a secret as its service sees it in `/run/secrets`. Swarm allows 64 characters; the versions that
/// stand behind it are called `NAME-GENERATION`, which takes some of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(Box<str>);

macro_rules! name {
    ($name:ident, $error:ident, $least:literal..=$max:literal) => {
        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ContainerError;

            fn from_str(text: &str) -> Result<Self, ContainerError> {
                let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
                let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
                if begins && ($least..=$max).contains(&text.len()) && text.bytes().all(legal) {
                    Ok(Self(text.into()))
                } else {
                    Err(ContainerError::$error(shown(text)))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        string_serde!($name);
    };
}

name!(ContainerName, Container, 2..=128);
name!(ServiceName, Service, 1..=63);
name!(SecretName, Secret, 1..=44);

/// A signal by which programs read their files anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP, with which most programs read their files again.
    Hup,
    /// Of a program's own choice.
    Usr1,
    /// Of a program's own choice.
    Usr2,
}

impl Signal {
    /// The name that kill(1) and `docker kill --signal` take.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hup => "HUP",
            Self::Usr1 => "USR1",
            Self::Usr2 => "USR2",
        }
    }
}

impl FromStr for Signal {
    type Err = ContainerError;

    fn from_str(text: &str) -> Result<Self, ContainerError> {
        let all = [Self::Hup, Self::Usr1, Self::Usr2];
        all.into_iter().find(|signal| signal.as_str() == text).ok_or_else(|| ContainerError::Signal(shown(text)))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

string_serde!(Signal);

/// A container that reads its files anew by a signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerSignal {
    /// The container that gets the signal.
    pub container: ContainerName,
    /// The signal that is sent.
    pub signal: Signal,
}

/// A Swarm service whose secrets are a placement's parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwarmSecrets {
    /// The Swarm service, as STACK_SERVICE.
    pub service: ServiceName,
    /// What it sees in `/run/secrets`, at least one.
    pub secrets: BTreeMap<Part, SecretName>,
}

/// Text that is not what Docker calls a thing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ContainerError {
    /// The text is not a container's name.
    #[error(
        "`{0}` is not the name of a container: use 2 to 128 letters, digits, `.`, `_`, `-`, starting with a letter or digit"
    )]
    Container(String),
    /// The text is not a Swarm service's name.
    #[error(
        "`{0}` is not the name of a Swarm service: use up to 63 letters, digits, `.`, `_`, `-`, starting with a letter or digit"
    )]
    Service(String),
    /// The text is not a secret's name.
    #[error(
        "`{0}` is not the name of a secret: use up to 44 letters, digits, `.`, `_`, `-`, starting with a letter or digit"
    )]
    Secret(String),
    /// The signal is not one that Pinion sends.
    #[error("`{0}` is not a signal that Pinion may send: use HUP, USR1 or USR2")]
    Signal(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_can_be_taken_for_an_option_or_for_a_part_of_one() {
        for good in ["portainer", "a1", "stack_service.1.x-y"] {
            assert_eq!(good.parse::<ContainerName>().expect(good).to_string(), good);
        }
        for bad in ["", "a", "-f", "--signal", "a b", "a,b", "a=b", "a/b", ".a", "a\n", &"a".repeat(129)] {
            assert!(bad.parse::<ContainerName>().is_err(), "{bad:?}");
        }
        assert!("x".parse::<ServiceName>().is_ok() && "x,y".parse::<ServiceName>().is_err());
        assert!("a".repeat(44).parse::<SecretName>().is_ok() && "a".repeat(45).parse::<SecretName>().is_err());
        assert!("HUP".parse::<Signal>().is_ok() && "KILL".parse::<Signal>().is_err());
    }
}
