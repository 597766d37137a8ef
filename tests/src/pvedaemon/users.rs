//! Who the users are, and what they may do on `/`: tickets, API tokens, privileges.
//!
//! Facts are from pve-common's `PVE/Ticket.pm` and pve-access-control's `PVE/AccessControl.pm` and `PVE/RPCEnvironment.pm`. Other than
//! there, a signature is made with SHA-256, no key is changed each day, and there are no groups, pools or paths below `/`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use pinion_proto::clock::Timestamp;
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize, SigningKey as _};

/// Privileges on `/`, each with whether it is passed on to what is below.
pub type Privileges = BTreeMap<String, bool>;

/// How long a ticket is good (s), and how far ahead a clock may be.
const TICKET_LIFE: i64 = 2 * 3600;
const GRACE: i64 = 300;

/// Some of what `Administrator` has.
const ADMINISTRATOR: [&str; 6] =
    ["Datastore.Allocate", "Permissions.Modify", "Sys.Audit", "Sys.Modify", "VM.Allocate", "VM.Audit"];

#[derive(Debug)]
pub(super) struct Users {
    key: KeyPair,
    users: BTreeMap<String, Privileges>,
    tokens: BTreeMap<String, Token>,
}

#[derive(Debug)]
struct Token {
    secret: String,
    /// What a token with privilege separation has; none of one that has all that its user has.
    own: Option<Privileges>,
}

impl Users {
    pub(super) fn new() -> Result<Self> {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).context("make a key for tickets")?;
        Ok(Self { key, users: BTreeMap::new(), tokens: BTreeMap::new() })
    }

    pub(super) fn set(&mut self, user: &str, privileges: &[&str]) {
        self.users.insert(user.to_owned(), passed_on(privileges));
    }

    pub(super) fn remove(&mut self, user: &str) {
        self.users.remove(user);
    }

    pub(super) fn set_token(&mut self, id: &str, secret: &str, own: Option<&[&str]>) {
        self.tokens.insert(id.to_owned(), Token { secret: secret.to_owned(), own: own.map(passed_on) });
    }

    pub(super) fn remove_token(&mut self, id: &str) {
        self.tokens.remove(id);
    }

    /// A ticket; `data` is the user, or what has still to give its second factor.
    pub(super) fn ticket(&self, data: &str, made: Timestamp) -> Result<String> {
        let plain = format!("PVE:{data}:{:08X}", made.unix());
        Ok(format!("{plain}::{}", self.signature(&plain)?))
    }

    fn signature(&self, plain: &str) -> Result<String> {
        // Signatures of this sort are the same each time.
        Ok(STANDARD.encode(self.key.sign(plain.as_bytes()).context("sign a ticket")?))
    }

    /// Whose ticket this is.
    ///
    /// # Errors
    /// It is not good, in the daemon's words.
    pub(super) fn verify_ticket(&self, ticket: &str, now: Timestamp) -> Result<String, String> {
        let bad = || "permission denied - invalid PVE ticket".to_owned();
        let (plain, signature) = ticket.rsplit_once("::").filter(|_| ticket.starts_with("PVE:")).ok_or_else(bad)?;
        let is_signed = self.signature(plain).is_ok_and(|own| own == signature);
        let (data, time) = plain.strip_prefix("PVE:").and_then(|rest| rest.rsplit_once(':')).ok_or_else(bad)?;
        let made = i64::from_str_radix(time, 16).map_err(|_| bad())?;
        let age = now.unix() - made;
        if !is_signed || age <= -GRACE || age >= TICKET_LIFE {
            return Err(bad());
        }
        // Second factors that are missing have a form of their own, which is no user's name.
        self.enabled(data)
    }

    /// Whose API token this is: its whole name.
    ///
    /// # Errors
    /// It is not good, in the daemon's words.
    pub(super) fn verify_token(&self, token: &str) -> Result<String, String> {
        let (id, secret) = token.rsplit_once('=').ok_or("no tokenid specified")?;
        let (user, name) = id.rsplit_once('!').ok_or("not a valid token ID")?;
        self.enabled(user)?;
        let found = self.tokens.get(id).ok_or_else(|| format!("no such token '{name}' for user '{user}'"))?;
        if found.secret == secret { Ok(id.to_owned()) } else { Err("invalid token value!".to_owned()) }
    }

    fn enabled(&self, user: &str) -> Result<String, String> {
        match self.users.contains_key(user) || user == "root@pam" {
            true => Ok(user.to_owned()),
            false => Err(format!("no such user ('{user}')")),
        }
    }

    /// What a user or token may do on `/`.
    pub(super) fn permissions(&self, who: &str) -> Privileges {
        if who == "root@pam" {
            return passed_on(&ADMINISTRATOR);
        }
        let Some((user, _)) = who.rsplit_once('!') else { return self.users.get(who).cloned().unwrap_or_default() };
        let Some(token) = self.tokens.get(who) else { return Privileges::new() };
        let mut privileges = self.permissions(user);
        if let Some(own) = &token.own {
            privileges.retain(|name, _| own.contains_key(name));
        }
        privileges
    }
}

/// A name with `-` at its end is granted and not passed on.
fn passed_on(names: &[&str]) -> Privileges {
    names.iter().map(|name| (name.trim_end_matches('-').to_owned(), !name.ends_with('-'))).collect()
}
