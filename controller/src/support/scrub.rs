//! Taking secrets out of a text: those that are known, and those that are known by their form.
//!
//! Invariant: what is taken out is replaced by [`REDACTED`]; a text that was cleaned has none of it any more.

use zeroize::Zeroizing;

use super::redact::REDACTED;

/// Shorter ones are parts of ordinary words (characters).
const MIN_SECRET: usize = 5;

/// Shorter ones are no tokens (characters).
const MIN_TOKEN: usize = 16;

/// Where a private key begins and ends, as PEM (RFC 7468); line ends may be escaped, as in JSON.
const PEM: (&str, &str) = ("-----BEGIN ", "-----END ");
const PRIVATE: &str = "PRIVATE KEY-----";

/// What stands before a token: of Pinion's own, of HTTP (RFC 9110 section 11.4), and of a JSON Web Token's head.
const BEFORE_TOKENS: [&str; 7] = ["pinion-join-1.", "Bearer ", "bearer ", "Basic ", "basic ", "eyJ", "token="];

/// The secrets that are known.
#[derive(Debug, Default)]
pub(super) struct Scrub(Vec<Zeroizing<String>>);

impl Scrub {
    /// One more that is known.
    pub(super) fn secret(&mut self, secret: &str) {
        let mut add = |secret: &str| {
            if secret.chars().count() >= MIN_SECRET {
                self.0.push(Zeroizing::new(secret.to_owned()));
            }
        };
        add(secret);
        // As JSON has it, if that is something else; and each line of a longer one.
        add(serde_json::Value::from(secret).to_string().trim_matches('"'));
        secret.lines().map(str::trim).filter(|line| line.len() < secret.len()).for_each(add);
        // What contains another goes first.
        self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// The text without secrets, and how many were taken out.
    pub(super) fn clean(&self, text: &str) -> (String, usize) {
        let (mut text, mut removed) = keys(text);
        for secret in &self.0 {
            let count = text.matches(secret.as_str()).count();
            if count > 0 {
                text = text.replace(secret.as_str(), REDACTED);
                removed += count;
            }
        }
        for before in BEFORE_TOKENS {
            let (cleaned, count) = tokens(&text, before);
            (text, removed) = (cleaned, removed + count);
        }
        let (text, count) = logins(&text);
        (text, removed + count)
    }
}

/// Takes private keys out.
fn keys(text: &str) -> (String, usize) {
    let (mut out, mut rest, mut removed) = (String::with_capacity(text.len()), text, 0);
    while let Some(at) = rest.find(PEM.0) {
        let (before, from) = rest.split_at(at);
        out += before;
        let label = from.get(PEM.0.len()..).unwrap_or_default();
        let is_private = label.find("-----").is_some_and(|end| label[..end + 5].ends_with(PRIVATE));
        if !is_private {
            out += PEM.0;
            rest = label;
            continue;
        }
        removed += 1;
        out += REDACTED;
        // One that was cut off ends with the text.
        let end = from.find(PEM.1).and_then(|end| Some(end + from[end..].find(PRIVATE)? + PRIVATE.len()));
        rest = end.map_or("", |end| &from[end..]);
    }
    out += rest;
    (out, removed)
}

/// Takes out what follows these words, if it is as long as a token.
fn tokens(text: &str, before: &str) -> (String, usize) {
    let (mut out, mut rest, mut removed) = (String::with_capacity(text.len()), text, 0);
    while let Some(at) = rest.find(before) {
        let (head, from) = rest.split_at(at + before.len());
        let is_part =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+' | b'/' | b'=' | b'~');
        let length = from.bytes().take_while(|byte| is_part(*byte)).count();
        out += head;
        if length >= MIN_TOKEN {
            out += REDACTED;
            removed += 1;
        } else {
            out += &from[..length];
        }
        rest = &from[length..];
    }
    out += rest;
    (out, removed)
}

/// Takes out who logs in at an address: `https://user:password@host`.
fn logins(text: &str) -> (String, usize) {
    let (mut out, mut rest, mut removed) = (String::with_capacity(text.len()), text, 0);
    while let Some(at) = rest.find("://") {
        let (head, from) = rest.split_at(at + 3);
        out += head;
        let end =
            from.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '?' | '#')).unwrap_or(from.len());
        match from[..end].rfind('@') {
            Some(at) => {
                out += REDACTED;
                removed += 1;
                rest = &from[at..];
            }
            None => rest = from,
        }
    }
    out += rest;
    (out, removed)
}
