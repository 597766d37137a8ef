//! A ticket or an API token of Proxmox's, as far as its form says.
//!
//! Answers: could this be one, whose does it say it is, and how is it sent?
//! Invariant: what is none never gets further. Whether it is good, only Proxmox knows.
//!
//! Facts are from pve-access-control's `PVE/AccessControl.pm` (`verify_ticket`, `verify_token`) and `PVE/Auth/Plugin.pm`
//! (`verify_username`), pve-common's `PVE/Ticket.pm`, and pve-http-server's `PVE/APIServer/Formatter.pm` (`extract_auth_value`).

use std::time::Duration;

use http::{HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use pinion_proto::{clock::Timestamp, printable::is_printable};
use thiserror::Error;
use zeroize::Zeroizing;

use super::super::secret::Secret;
use crate::digest::Digest;

/// The longest that is looked at (bytes). A signature of RSA with 4096 bits has 684 letters, a user's name 64.
pub(crate) const MAX_CREDENTIAL: usize = 1024;

/// The longest name of a user with its realm (bytes), and of a token.
const MAX_NAME: usize = 64;

/// How long a ticket is good (`$ticket_lifetime`).
const TICKET_LIFE: Duration = Duration::from_secs(2 * 60 * 60);

/// What Proxmox unescapes again. `@`, `!` and `=` stay, so that an API token is sent as every client sends it.
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@').remove(b'!').remove(b'=');

/// It is neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this is neither a ticket of Proxmox (PVE:USER@REALM:…) nor an API token (USER@REALM!NAME=SECRET)")]
pub(crate) struct NoCredential;

/// A ticket or an API token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    text: Secret,
    user: String,
    /// When a ticket was made; none of an API token.
    made: Option<Timestamp>,
}

impl Credential {
    /// Reads it.
    pub(crate) fn parse(text: &str) -> Result<Self, NoCredential> {
        if text.len() > MAX_CREDENTIAL {
            return Err(NoCredential);
        }
        let (user, made) = match text.strip_prefix("PVE:") {
            Some(ticket) => ticket_of(ticket).map(|(user, made)| (user, Some(made))),
            None => token_of(text).map(|user| (user, None)),
        }
        .ok_or(NoCredential)?;
        Ok(Self { text: Secret::new(Zeroizing::new(text.to_owned())), user: user.to_owned(), made })
    }

    /// By what it is known where it is not itself.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(self.text.reveal())
    }

    /// Whose it says it is: with an API token, the token's name too.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// When it ends at the latest.
    pub(super) fn ends(&self) -> Option<Timestamp> {
        self.made.map(|made| made + TICKET_LIFE)
    }

    /// The header that Proxmox reads it from.
    pub(super) fn header(&self) -> (HeaderName, HeaderValue) {
        let (name, word) = match self.made {
            Some(_) => (header::COOKIE, "PVEAuthCookie"),
            None => (header::AUTHORIZATION, "PVEAPIToken"),
        };
        let text = Zeroizing::new(format!("{word}={}", utf8_percent_encode(self.text.reveal(), ESCAPED)));
        let mut value = HeaderValue::from_str(&text).expect("only ASCII is left");
        value.set_sensitive(true);
        (name, value)
    }
}

/// `USER@REALM:TIME::SIGNATURE`, and no other of the forms in which Proxmox signs something: with `!` in the user's place are
/// those of people who have still to give their second factor.
fn ticket_of(ticket: &str) -> Option<(&str, Timestamp)> {
    let mut parts = ticket.split(':');
    let (user, time, empty, signature) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hexadecimal = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
    let is_base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let is_one = parts.next().is_none()
        && is_user(user)
        && !user.contains('!')
        && time.len() == 8
        && time.bytes().all(is_hexadecimal)
        && empty.is_empty()
        && !signature.is_empty()
        && signature.bytes().all(is_base64);
    let made = i64::from_str_radix(time, 16).ok().filter(|_| is_one)?;
    Some((user, Timestamp::from_unix(made)))
}

/// `USER@REALM!NAME=SECRET`: what is before `=`.
fn token_of(token: &str) -> Option<&str> {
    let (id, secret) = token.rsplit_once('=')?;
    let (user, name) = id.rsplit_once('!')?;
    let is_secret = !secret.is_empty() && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (is_secret && is_user(user) && is_realm(name) && name.len() <= MAX_NAME).then_some(id)
}

fn is_user(text: &str) -> bool {
    let Some((name, realm)) = text.rsplit_once('@') else { return false };
    let is_letter = |c: char| is_printable(c) && !c.is_whitespace() && !matches!(c, ':' | '/');
    text.len() <= MAX_NAME && !name.is_empty() && name.chars().all(is_letter) && is_realm(realm)
}

/// A realm's name, and a token's.
fn is_realm(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && text.len() >= 2
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(text: &str) -> String {
        let (name, value) = Credential::parse(text).expect("one").header();
        format!("{name}: {}", value.to_str().expect("ASCII"))
    }

    #[test]
    fn a_ticket_says_whose_it_is_and_when_it_ends() {
        let ticket = Credential::parse("PVE:anna@pve:65A1B2C3::aB3+/9==").expect("a ticket");
        assert_eq!(ticket.user(), "anna@pve");
        assert_eq!(ticket.ends(), Some(Timestamp::from_unix(0x65A1_B2C3 + 7200)));
        assert_eq!(
            sent("PVE:anna@pve:65A1B2C3::aB3+/9=="),
            "cookie: PVEAuthCookie=PVE%3Aanna@pve%3A65A1B2C3%3A%3AaB3%2B%2F9=="
        );
        let strange = Credential::parse("PVE:änna;Domain=x@corp.example:65A1B2C3::AA==").expect("a ticket");
        assert_eq!(strange.user(), "änna;Domain=x@corp.example");
        assert!(sent("PVE:änna;Domain=x@corp.example:65A1B2C3::AA==").contains("%3B"), "it ends no value");
    }

    #[test]
    fn an_api_token_is_sent_as_it_is() {
        let text = "anna@pve!page=12345678-9abc-def0-1234-56789abcdef0";
        let token = Credential::parse(text).expect("a token");
        assert_eq!((token.user(), token.ends()), ("anna@pve!page", None));
        assert_eq!(sent(text), format!("authorization: PVEAPIToken={text}"));
    }

    #[test]
    fn what_is_neither_is_refused() {
        let long = format!("PVE:anna@pve:65A1B2C3::{}", "A".repeat(MAX_CREDENTIAL));
        let named = format!("PVE:{}@pve:65A1B2C3::AA==", "a".repeat(61));
        for text in [
            "",
            "hunter2",
            "PVE:",
            "PVE:anna@pve:65A1B2C3:AA==",
            "PVE:anna@pve:65A1B2C3::",
            "PVE:anna@pve:65a1b2c3::AA==",
            "PVE:anna@pve:65A1B2C::AA==",
            "PVE:anna@pve:65A1B2C3::AA==::AA==",
            "PVE:anna@pve:65A1B2C3::AA==\r\nHost: x",
            "PVE:anna@pve:65A1B2C3::AA== x",
            "PVE:anna:65A1B2C3::AA==",
            "PVE:@pve:65A1B2C3::AA==",
            "PVE:an na@pve:65A1B2C3::AA==",
            "PVE:an\u{202e}na@pve:65A1B2C3::AA==",
            "PVE:anna@p:65A1B2C3::AA==",
            "PVE:!tfa!%7B%7D:65A1B2C3::AA==",
            "PVE:tfa!anna@pve:65A1B2C3::AA==",
            "PVE:u2f!anna@pve!verified:65A1B2C3::AA==",
            "PVEVNC:65A1B2C3::AA==",
            "PMG:anna@pve:65A1B2C3::AA==",
            "anna@pve=12345678-9abc-def0-1234-56789abcdef0",
            "anna!page=12345678-9abc-def0-1234-56789abcdef0",
            "anna@pve!1=12345678-9abc-def0-1234-56789abcdef0",
            "anna@pve!page=",
            "anna@pve!page=1234 5678",
            &long,
            &named,
        ] {
            assert_eq!(Credential::parse(text), Err(NoCredential), "{text}");
        }
    }

    #[test]
    fn it_is_not_shown() {
        let credential = Credential::parse("anna@pve!page=hunter2").expect("a token");
        assert!(!format!("{credential:?} {:?}", credential.header()).contains("hunter2"));
    }
}
