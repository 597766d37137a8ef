//! Who asks, and may they?
//!
//! Answers: with which right does this request come, or what is it refused with?
//! Invariants: a request is answered only if it names this listener as its host, so that no page from elsewhere reaches it
//! under a name of its own (DNS rebinding). One that changes something needs a session with that right, the session's CSRF token,
//! and an `Origin` that is this page. Refusals say nothing about guests or versions.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::access::{Right, WebAccess, WebSession};

/// The name of the session's cookie.
const COOKIE: &str = "pinion_session";

/// The names of Proxmox's cookie: Proxmox VE's, and with the prefix that Proxmox's newer products give theirs.
const PROXMOX_COOKIES: [&str; 2] = ["PVEAuthCookie", "__Host-PVEAuthCookie"];

/// The longest secret that is looked at (bytes).
const MAX_SECRET: usize = 128;

/// From where a request comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Visitor {
    /// Somebody with a session in a browser.
    Session(WebSession),
    /// Somebody with a lasting token, such as a scraper.
    Token(Right),
}

impl Visitor {
    /// The CSRF token of their forms, if they may renew.
    pub(super) fn renews(&self) -> Option<&str> {
        match self {
            Self::Session(WebSession { right: Right::Renew, csrf, .. }) => Some(csrf),
            Self::Session(_) | Self::Token(_) => None,
        }
    }

    /// The user of Proxmox's, if they signed in so.
    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Self::Session(session) => session.proxmox.as_ref().map(|user| user.name.as_str()),
            Self::Token(_) => None,
        }
    }
}

/// Under which names the page may be asked for, and how.
#[derive(Debug, Clone)]
pub(super) struct Site {
    /// `127.0.0.1:7444`, `localhost:7444`, and further names with the port.
    pub(super) hosts: Vec<String>,
    /// Whether it speaks TLS.
    pub(super) is_tls: bool,
}

impl Site {
    /// Whether a request means this site.
    ///
    /// # Errors
    /// It means another one.
    pub(super) fn host<'h>(&self, headers: &'h HeaderMap) -> Result<&'h str, StatusCode> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else {
            return Err(StatusCode::BAD_REQUEST);
        };
        let is_ours = self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host));
        if is_ours { Ok(host) } else { Err(StatusCode::MISDIRECTED_REQUEST) }
    }

    /// Whether a request that changes something comes from this site.
    ///
    /// # Errors
    /// It comes from elsewhere, or does not say from where.
    pub(super) fn origin(&self, headers: &HeaderMap) -> Result<(), StatusCode> {
        let scheme = if self.is_tls { "https" } else { "http" };
        let host = self.host(headers)?;
        let wanted = format!("{scheme}://{host}");
        let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
        // Browsers send it with every POST.
        if origin.is_some_and(|origin| origin.eq_ignore_ascii_case(&wanted)) {
            Ok(())
        } else {
            Err(StatusCode::FORBIDDEN)
        }
    }

    /// The cookie that gives a browser this session.
    pub(super) fn cookie(&self, secret: &str) -> HeaderValue {
        let secure = if self.is_tls { "; Secure" } else { "" };
        let text = format!("{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict{secure}");
        let mut value = HeaderValue::from_str(&text).expect("letters, digits and signs of ASCII");
        value.set_sensitive(true);
        value
    }
}

/// The cookie that takes a session away.
pub(super) fn no_cookie() -> HeaderValue {
    HeaderValue::from_static("pinion_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
}

/// Who asks; none without a good cookie or token.
pub(super) fn visitor(access: &WebAccess, headers: &HeaderMap) -> Option<Visitor> {
    if let Some(token) = bearer(headers) {
        return access.token(token).map(Visitor::Token);
    }
    session_secret(headers).and_then(|secret| access.session(secret)).map(Visitor::Session)
}

/// Whether the browser sends Proxmox's cookie here, because this page and Proxmox's have one name.
pub(super) fn has_proxmox_cookie(headers: &HeaderMap) -> bool {
    cookies(headers).any(|(name, _)| PROXMOX_COOKIES.contains(&name))
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

/// The secret in the session's cookie.
pub(super) fn session_secret(headers: &HeaderMap) -> Option<&str> {
    cookies(headers)
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, secret)| secret)
        .filter(|secret| secret.len() <= MAX_SECRET)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && token.len() <= MAX_SECRET).then(|| token.trim())
}
