//! What all views share: what is around them, moments, and what a list is narrowed to; and the pages for those who may not look.

use askama::Template;
use axum::{
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use pinion_proto::{clock::Timestamp, relative};
use serde::Deserialize;

use super::super::{gate::Visitor, site::Shown};

/// What every view says around itself.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) title: String,
    /// The path of the view in the navigation.
    pub(super) here: &'static str,
    pub(super) host: String,
    pub(super) version: &'static str,
    pub(super) now: Moment,
    /// The CSRF token of its forms; empty for who has no session.
    pub(super) csrf: String,
    pub(super) is_session: bool,
    /// The user of Proxmox's; empty for everybody else.
    pub(super) user: String,
}

impl Frame {
    pub(super) fn new(shown: &Shown, visitor: &Visitor, title: impl Into<String>, here: &'static str) -> Self {
        let now = shown.web.clock.now();
        let (csrf, is_session) = match visitor {
            Visitor::Session(session) => (session.csrf.clone(), true),
            Visitor::Token(_) => (String::new(), false),
        };
        Self {
            title: title.into(),
            here,
            host: shown.web.host.clone(),
            version: env!("CARGO_PKG_VERSION"),
            now: Moment::of(now, now),
            csrf,
            is_session,
            user: visitor.user().unwrap_or_default().to_owned(),
        }
    }
}

/// A moment as people think of it, with the exact one at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) exact: String,
    pub(super) relative: String,
    pub(super) is_past: bool,
}

impl Moment {
    pub(super) fn of(at: Timestamp, now: Timestamp) -> Self {
        Self { exact: at.to_string(), relative: relative::from_now(at, now), is_past: at < now }
    }
}

/// What a list is narrowed to, as its form says.
#[derive(Debug, Clone, Default, Deserialize)]
pub(in crate::web) struct Filter {
    /// In the names.
    #[serde(default)]
    pub(super) q: String,
    /// A state's word.
    #[serde(default)]
    pub(super) state: String,
    /// The column to sort by.
    #[serde(default)]
    pub(super) sort: String,
}

impl Filter {
    /// Whether any of these contains what was typed.
    pub(in crate::web) fn finds<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> bool {
        let wanted = self.q.trim().to_lowercase();
        wanted.is_empty() || texts.into_iter().any(|text| text.to_lowercase().contains(&wanted))
    }
}

/// The path of a placement's view.
pub(in crate::web) fn path_of(placement: &str) -> String {
    let escaped: String = placement
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'@' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    format!("/placements/{escaped}")
}

/// What whoever has no session sees: how to get one.
#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'s> {
    said: &'s str,
    style: &'static str,
    /// Whether Proxmox's login is on.
    has_login: bool,
}

/// The style of the page without a session, which may load nothing.
const SIGN_IN_STYLE: &str = include_str!("sign_in.css");

/// The policy for that page: its own style and its own form.
fn sign_in_policy() -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, SIGN_IN_STYLE.as_bytes());
    format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        STANDARD.encode(digest)
    )
}

/// Asks for a token, and says how to get a link; with Proxmox's login, asks for what that takes too.
pub(in crate::web) fn sign_in(status: StatusCode, said: &str, has_login: bool) -> Response {
    match (SignInPage { said, style: SIGN_IN_STYLE, has_login }).render() {
        Ok(html) => (status, [(header::CONTENT_SECURITY_POLICY, sign_in_policy())], Html(html)).into_response(),
        Err(_) => status.into_response(),
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'s> {
    said: &'s str,
}

/// Says that there is no such page, or none now.
pub(in crate::web) fn error(status: StatusCode, said: &str) -> Response {
    match (ErrorPage { said }).render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(_) => status.into_response(),
    }
}
