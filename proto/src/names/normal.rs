//! One spelling for each name, before anybody signs it.
//!
//! Answers: how does a CA write this name? A CA reads what it is asked for and writes it anew: an IPv4 address within IPv6
//! becomes an IPv4 address (Go's `net.IP`), and a URI is put together from its parts (Go's `net/url`). A certificate with
//! another spelling would not be what was ordered.
//! Invariant: only what a person writes is changed or refused here; what a certificate or an earlier document says is read
//! as it is.

use super::{NameError, SubjectName};
use crate::id::shown;

impl SubjectName {
    /// The name as CAs write it.
    ///
    /// # Errors
    /// A URI that a CA would write otherwise, or not take.
    pub fn normal(self) -> Result<Self, NameError> {
        match self {
            Self::Ip(address) => Ok(Self::Ip(address.to_canonical())),
            Self::Uri(text) => match uri(&text) {
                Ok(uri) => Ok(Self::Uri(uri.into())),
                Err(why) => Err(NameError::Spelling { name: shown(&text), why }),
            },
            other @ (Self::Dns(_) | Self::Email(_)) => Ok(other),
        }
    }
}

/// Scheme and host in lower case (RFC 3986 section 6.2.2.1); nothing that would be left out or encoded anew.
fn uri(text: &str) -> Result<String, &'static str> {
    let (scheme, rest) = text.split_once(':').ok_or("it has no scheme")?;
    if rest.contains('#') {
        return Err("a URI in a certificate has no fragment: leave out `#` and what follows");
    }
    is_made_of_uri_characters(rest)?;
    let scheme = scheme.to_ascii_lowercase();
    let Some(hierarchy) = rest.strip_prefix("//") else { return Ok(format!("{scheme}:{rest}")) };
    let end = hierarchy.find(['/', '?']).unwrap_or(hierarchy.len());
    let (authority, path) = hierarchy.split_at(end);
    let (user, place) = match authority.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, authority),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if user.is_some_and(|user| user.is_empty() || !user.bytes().all(is_plain)) {
        return Err("a user in a URI has letters, digits, `-`, `.`, `_` and `~` only");
    }
    let host = host(place)?;
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    Ok(format!("{scheme}://{user}{host}{path}"))
}

/// The host with its port, in lower case.
fn host(place: &str) -> Result<String, &'static str> {
    let (host, port) = match place.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((address, port)) => {
            let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
            if !is_address || !(port.is_empty() || port.starts_with(':')) {
                return Err("what is in [ ] is not an IPv6 address");
            }
            (place.get(..address.len() + 2).unwrap_or(place), port.strip_prefix(':'))
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    if host.is_empty() {
        return Err("it has no host");
    }
    if host.contains('%') || (host.contains(['[', ']']) && !host.starts_with('[')) {
        return Err("its host has characters that a host name does not have");
    }
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("its port is not a number");
    }
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Ok(format!("{}{port}", host.to_ascii_lowercase()))
}

/// RFC 3986 section 2: everything else is written as `%` with two hexadecimal digits.
fn is_made_of_uri_characters(text: &str) -> Result<(), &'static str> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next(), bytes.next()];
            if !digits.iter().all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit())) {
                return Err("`%` is not followed by two hexadecimal digits");
            }
        } else if !byte.is_ascii_alphanumeric() && !b"-._~:/?[]@!$&'()*+,;=".contains(&byte) {
            return Err("it has a character that a URI may have only as `%` with two hexadecimal digits");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(text: &str) -> Result<String, NameError> {
        text.parse::<SubjectName>().expect(text).normal().map(|name| name.to_string())
    }

    #[test]
    fn each_name_has_the_spelling_that_a_ca_gives_it() {
        for (written, name) in [
            ("::ffff:10.0.0.5", "ip:10.0.0.5"),
            ("::FFFF:a00:5", "ip:10.0.0.5"),
            ("::10.0.0.5", "ip:::a00:5"),
            ("2001:DB8::1", "ip:2001:db8::1"),
            ("A.Example", "dns:a.example"),
            ("Ops@Example.ORG", "email:Ops@example.org"),
            ("HTTP://OK.lan", "uri:http://ok.lan"),
            ("Https://Me@Web.Lan:8443/Path%2fA?X=Y", "uri:https://Me@web.lan:8443/Path%2fA?X=Y"),
            ("https://[FD00::1]:8443/A", "uri:https://[fd00::1]:8443/A"),
            ("SPIFFE://X/Y", "uri:spiffe://x/Y"),
            ("urn:test:X", "uri:urn:test:X"),
            ("uri:URN:Test:X", "uri:urn:Test:X"),
            ("uri:SIP:Alice@Example.org", "uri:sip:Alice@Example.org"),
        ] {
            let once = normal(written).expect(written);
            assert_eq!(once, name, "{written}");
            assert_eq!(normal(&once).expect(written), once, "once is enough");
        }
    }

    #[test]
    fn a_uri_that_a_ca_would_write_otherwise_is_refused() {
        for text in [
            "http://ok.lan/#",
            "http://ok.lan/a#b",
            "http://ok.lan/{a}",
            "http://ok.lan/\"a\"",
            "http://ok.lan/%zz",
            "http://ok.lan/%4",
            "http://o%6b.lan/",
            "http://us%65r@ok.lan/",
            "http://user:secret@ok.lan/",
            "http://@ok.lan/",
            "http://:80/",
            "http://ok.lan:http/",
            "http://ok.lan:/",
            "http://[fe80::1%25eth0]/",
            "http://[ok]/",
            "http://[::1]x/",
            "http://?a",
        ] {
            let refused = normal(text).expect_err(text);
            assert!(matches!(refused, NameError::Spelling { .. }), "{text}: {refused}");
        }
    }
}
