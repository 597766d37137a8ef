//! Join tokens: what an operator, or the hypervisor's channel, carries to a new agent.
//!
//! Answers: with which secret may this guest ask for an identity, from whom, and how does it know them?
//! Invariant: the secret is shown only by [`JoinToken::to_text`], into memory that is wiped.

use std::{fmt, net::SocketAddr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    bundle::{CertificateError, RootCertificate},
    id::Guest,
    message::JoinSecret,
};

/// What a token's text starts with; the number changes with the form of what follows.
const PREFIX: &str = "pinion-join-1.";

/// Room for the largest root and every address, in base64 (bytes).
const MAX_TEXT: usize = 16 * 1024;

/// More addresses than a controller has networks.
const MAX_CONTROLLERS: usize = 16;

/// The right to join as one guest, once, for some minutes.
///
/// As text it is one line: `pinion-join-1.` and base64url without padding (RFC 4648 section 5) of
/// `{"guest":"101","secret":base64url,"root":base64url DER,"controllers":["10.0.0.13:7443"]}`.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// For whom it was made.
    pub guest: Guest,
    /// Shown once; the controller keeps only its hash.
    pub secret: JoinSecret,
    /// The root of Pinion's own identities, by which the agent knows the controller.
    pub root: RootCertificate,
    /// Where the controller listens: at least one address, at most 16, tried in order.
    pub controllers: Vec<SocketAddr>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    guest: Guest,
    secret: Zeroizing<String>,
    root: String,
    controllers: Vec<SocketAddr>,
}

impl JoinToken {
    /// Reads a token's text; white space around it is passed over.
    ///
    /// # Errors
    /// Not a token, one of a newer form, or one that was cut off or altered.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim_ascii();
        if text.len() > MAX_TEXT {
            return Err(TokenError::TooLong(text.len()));
        }
        let Some(rest) = text.strip_prefix(PREFIX) else {
            let newer = text.starts_with("pinion-join-");
            return Err(if newer { TokenError::Newer } else { TokenError::NotAToken });
        };
        let json = Zeroizing::new(URL_SAFE_NO_PAD.decode(rest).map_err(|_| TokenError::Damaged)?);
        let wire: Wire = serde_json::from_slice(&json).map_err(|_| TokenError::Damaged)?;
        let mut secret = Zeroizing::new([0; 32]);
        let decoded = URL_SAFE_NO_PAD.decode_slice(wire.secret.as_bytes(), secret.as_mut_slice());
        if decoded != Ok(secret.len()) {
            return Err(TokenError::Damaged);
        }
        if wire.controllers.is_empty() || wire.controllers.len() > MAX_CONTROLLERS {
            return Err(TokenError::Controllers(wire.controllers.len()));
        }
        let root = URL_SAFE_NO_PAD.decode(&wire.root).map_err(|_| TokenError::Damaged)?;
        let root = RootCertificate::parse(&root).map_err(TokenError::Root)?;
        Ok(Self { guest: wire.guest, secret: JoinSecret(secret), root, controllers: wire.controllers })
    }

    /// The token as one line of text, without a line end.
    ///
    /// # Errors
    /// No controller's address, too many, or a root too large to be carried.
    pub fn to_text(&self) -> Result<Zeroizing<String>, TokenError> {
        if self.controllers.is_empty() || self.controllers.len() > MAX_CONTROLLERS {
            return Err(TokenError::Controllers(self.controllers.len()));
        }
        let wire = Wire {
            guest: self.guest,
            secret: Zeroizing::new(URL_SAFE_NO_PAD.encode(self.secret.0.as_slice())),
            root: URL_SAFE_NO_PAD.encode(self.root.der()),
            controllers: self.controllers.clone(),
        };
        let json = Zeroizing::new(serde_json::to_vec(&wire).map_err(|_| TokenError::Damaged)?);
        // Room for all of it from the start: a string that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + json.len().div_ceil(3) * 4));
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(json.as_slice(), &mut text);
        if text.len() > MAX_TEXT { Err(TokenError::TooLong(text.len())) } else { Ok(text) }
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "join token of guest {}", self.guest)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("guest", &self.guest)
            .field("controllers", &self.controllers)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// Why text is not a join token. Never repeats the text: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// The text does not begin as a join token does.
    #[error(
        "this is not a join token: a token starts with `{PREFIX}`; create one with `pinion token create --guest \
        G`"
    )]
    NotAToken,
    /// Of a newer form.
    #[error("this join token has a newer format than this program reads: upgrade pinion-agent")]
    Newer,
    /// Cut off or altered.
    #[error("this join token is damaged, perhaps cut off: copy the whole line, or create a new one")]
    Damaged,
    /// The text is longer than any join token.
    #[error("{0} bytes are more than a join token may have ({MAX_TEXT})")]
    TooLong(usize),
    /// None, or too many.
    #[error("a join token names 1 to {MAX_CONTROLLERS} addresses of its controller, not {0}")]
    Controllers(usize),
    /// The root in it.
    #[error("this join token's root cannot be used")]
    Root(#[source] CertificateError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("a root");
        JoinToken {
            guest: "101".parse().expect("a guest"),
            secret: JoinSecret(Zeroizing::new([7; 32])),
            root: RootCertificate::parse(root.der()).expect("a root"),
            controllers: vec!["10.0.0.13:7443".parse().expect("v4"), "[fd00::1]:7443".parse().expect("v6")],
        }
    }

    #[test]
    fn a_token_reads_back_from_its_one_line() {
        let token = token();
        let text = token.to_text().expect("text");
        assert!(!text.contains(char::is_whitespace));
        assert_eq!(JoinToken::parse(&format!("  {}\r\n", *text)), Ok(token));
    }

    #[test]
    fn what_is_cut_off_or_altered_is_no_token() {
        let text = token().to_text().expect("text");
        for cut in 0..text.len() {
            assert!(JoinToken::parse(&text[..cut]).is_err(), "cut at {cut}");
        }
        assert_eq!(JoinToken::parse(&text.replacen("join-1", "join-2", 1)), Err(TokenError::Newer));
        assert_eq!(JoinToken::parse("hunter2"), Err(TokenError::NotAToken));
        assert_eq!(JoinToken::parse(&"x".repeat(20_000)), Err(TokenError::TooLong(20_000)));
    }

    #[test]
    fn a_token_names_its_controller() {
        let mut none = token();
        none.controllers.clear();
        assert_eq!(none.to_text().err(), Some(TokenError::Controllers(0)));
        let mut many = token();
        many.controllers = vec![many.controllers[0]; 17];
        assert_eq!(many.to_text().err(), Some(TokenError::Controllers(17)));
    }

    #[test]
    fn the_secret_is_not_shown() {
        let token = token();
        let shown = format!("{token} {token:?}");
        assert!(!shown.contains("BwcH") && !shown.contains('7'.to_string().repeat(12).as_str()), "{shown}");
    }

    /// A root whose certificate is so many bytes larger than the smallest.
    fn root_with(bytes: usize) -> RootCertificate {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let comment = rcgen::CustomExtension::from_oid_content(&[2, 16, 840, 1, 113_730, 1, 13], vec![0; bytes]);
        params.custom_extensions.push(comment);
        RootCertificate::parse(params.self_signed(&key).expect("a root").der()).expect("a root")
    }

    #[test]
    fn sixteen_addresses_are_carried_and_seventeen_are_not_read() {
        let mut token = token();
        token.controllers = vec![token.controllers[0]; MAX_CONTROLLERS];
        let text = token.to_text().expect("as many as there may be");
        assert_eq!(JoinToken::parse(&text).as_ref(), Ok(&token));
        for count in [0, MAX_CONTROLLERS + 1] {
            let addresses = vec!["10.0.0.13:7443"; count];
            let altered = altered(&text, |wire| wire["controllers"] = addresses.clone().into());
            assert_eq!(JoinToken::parse(&altered), Err(TokenError::Controllers(count)));
        }
    }

    /// The text with another document in it.
    fn altered(text: &str, change: impl FnOnce(&mut serde_json::Value)) -> String {
        let json = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX).expect("a token")).expect("base64");
        let mut wire = serde_json::from_slice(&json).expect("JSON");
        change(&mut wire);
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(wire.to_string()))
    }

    #[test]
    fn what_is_in_a_token_is_right_or_it_is_damaged() {
        let text = token().to_text().expect("text");
        assert!(JoinToken::parse(&altered(&text, |_| ())).is_ok());
        let secret = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![7; bytes]);
        for damaged in [
            altered(&text, |wire| wire["secret"] = secret(31).into()),
            altered(&text, |wire| wire["secret"] = secret(33).into()),
            altered(&text, |wire| wire["secret"] = "".into()),
            altered(&text, |wire| wire["secret"] = "not base64!".into()),
            altered(&text, |wire| wire["root"] = "not base64!".into()),
            altered(&text, |wire| wire["guest"] = "7".into()),
            altered(&text, |wire| wire["more"] = true.into()),
            altered(&text, |wire| wire["controllers"] = vec!["pinion.example:7443"].into()),
        ] {
            assert_eq!(JoinToken::parse(&damaged), Err(TokenError::Damaged), "{damaged}");
        }
        let other = altered(&text, |wire| wire["root"] = secret(40).into());
        assert!(matches!(JoinToken::parse(&other), Err(TokenError::Root(_))), "{other}");
    }

    #[test]
    fn the_longest_token_is_read_and_no_longer_one_is_made() {
        let mut token = token();
        let address = |digits: usize| format!("10.0.0.13:1{}", "0".repeat(digits)).parse().expect("an address");
        token.controllers = vec![address(0); MAX_CONTROLLERS];
        // A root with which not much is missing; digits of ports make up for it, one character after the other.
        let fits = |bytes: &usize| {
            let token = JoinToken { root: root_with(*bytes), ..token.clone() };
            token.to_text().is_ok().then_some(token)
        };
        let mut token = (8_000..9_500).rev().step_by(25).find_map(|bytes| fits(&bytes)).expect("a root that fits");
        let mut max = 0;
        for added in 0..4 * MAX_CONTROLLERS {
            token.controllers[added / 4] = address(added % 4 + 1);
            match token.to_text() {
                Ok(text) => {
                    assert_eq!(JoinToken::parse(&text).as_ref(), Ok(&token));
                    max = text.len();
                }
                Err(error) => {
                    assert_eq!((max, error), (MAX_TEXT, TokenError::TooLong(MAX_TEXT + 1)));
                    return;
                }
            }
        }
        panic!("the longest was {max}");
    }

    #[test]
    fn text_is_measured_without_the_white_space_around_it() {
        let spaces = " ".repeat(MAX_TEXT);
        let text = token().to_text().expect("text");
        assert!(JoinToken::parse(&format!("{spaces}{}{spaces}", *text)).is_ok());
        assert_eq!(JoinToken::parse(&"x".repeat(MAX_TEXT)), Err(TokenError::NotAToken));
        assert_eq!(JoinToken::parse(&"x".repeat(MAX_TEXT + 1)), Err(TokenError::TooLong(MAX_TEXT + 1)));
    }

    #[test]
    fn the_text_is_made_at_its_full_size_because_growing_leaves_copies_of_the_secret() {
        let text = token().to_text().expect("text");
        assert!((text.len()..text.len() + 4).contains(&text.capacity()), "{} {}", text.len(), text.capacity());
    }

    #[test]
    fn a_token_is_shown_by_its_guest_and_addresses() {
        let token = token();
        assert_eq!(token.to_string(), "join token of guest 101");
        let debug = format!("{token:?}");
        assert!(debug.contains("101") && debug.contains("10.0.0.13:7443"), "{debug}");
    }
}
