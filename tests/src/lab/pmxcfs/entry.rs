//! One change of the files, as it is logged and as several nodes would send it to each other.
//!
//! Answers: what can happen to the files? Invariant: an entry carries everything that its effect depends on, the time and
//! the node included, so that replaying the same entries in the same order makes the same files on whatever node.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A change, who made it, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The node on which it was asked for.
    pub node: String,
    /// That node's count of its own entries, from 1 on: no entry of a node is applied twice or left out.
    pub sequence: u64,
    /// Seconds since 1970 by that node's clock.
    pub at: u64,
    /// What changes.
    pub operation: Operation,
}

/// What changes. Paths are relative to the mount point and begin with no slash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// The node's server has started: the time that locks are held is counted anew from here.
    Start,
    /// A new, empty file.
    Create {
        /// The file.
        path: String,
    },
    /// A new directory.
    MakeDirectory {
        /// The directory.
        path: String,
    },
    /// Bytes of a file that exists.
    Write {
        /// The file.
        path: String,
        /// Where the bytes go.
        offset: u64,
        /// The bytes.
        #[serde(serialize_with = "encode", deserialize_with = "decode")]
        data: Vec<u8>,
    },
    /// The length of a file that exists.
    Truncate {
        /// The file.
        path: String,
        /// Its new length.
        size: u64,
    },
    /// Another name, in place of whatever has it.
    Rename {
        /// The name so far.
        from: String,
        /// The new one.
        to: String,
    },
    /// A file or an empty directory goes.
    Delete {
        /// Which.
        path: String,
    },
    /// The time of the last change; for a directory in `priv/lock`, its holder holds it still.
    Touch {
        /// Of what.
        path: String,
        /// Seconds since 1970.
        time: u64,
    },
    /// Somebody wants a lock that its holder may have left: it goes if it was held for 120 s without a [`Operation::Touch`].
    Unlock {
        /// The lock's directory.
        path: String,
    },
}

fn encode<S: Serializer>(data: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(data))
}

fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
}
