//! What is wrong with a word of a spec, in words for an administrator.

use thiserror::Error;

/// Text that is not what a spec may hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpecError {
    /// No such part.
    #[error(
        "`{0}` is not a file part: use cert, chain, fullchain, key, ca, combined, der, pkcs12, jks or encrypted_key"
    )]
    Part(String),
    /// No such layout.
    #[error("`{0}` is not a layout: use symlink or copy")]
    Layout(String),
    /// No such usage.
    #[error("`{0}` is not a usage: use server, client or both")]
    Usage(String),
    /// Not a path.
    #[error("`{0}` is not an absolute path without `.`, `..`, `//`, a trailing `/` or control characters")]
    Path(String),
    /// Not a mount point.
    #[error(
        "`{0}` is not a mount point: use an absolute path such as /mnt/pve/nfs, or / where nothing has to be mounted"
    )]
    MountPoint(String),
    /// Not a mode.
    #[error("`{0}` is not a file mode: use octal permission bits such as 0640, at most 0777")]
    Mode(String),
    /// Not a plain name.
    #[error("`{0}` is not a name: use up to 63 letters, digits, `.`, `_`, `-`, starting with a letter or digit")]
    PlainName(String),
    /// Not an account.
    #[error("`{0}` is not a user or group: use its name or number")]
    Account(String),
    /// Not a unit.
    #[error("`{0}` is not a service unit: use its full name, for example nginx.service")]
    Unit(String),
    /// Not a protocol.
    #[error("`{0}` is not a protocol for `starttls`: use smtp, imap, pop3, postgres, mysql, ldap or ftp")]
    StartTls(String),
    /// No version.
    #[error("`{0}` is not a version of the PROXY protocol: use v1 or v2")]
    ProxyProtocol(String),
    /// No time to come back, or too much.
    #[error("a service cannot have {0} s to come back: `settle` is at least 1 s and at most 1 h")]
    Settle(u64),
}
