//! Who is let in, and what everybody else is told.
//!
//! Answers: does a request mean this page, and who asks?
//! Invariant: what is said to those who are not let in names no guest and no version.

use std::sync::atomic::Ordering;

use axum::{
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use tracing::warn;

use super::{
    gate::{self, Visitor},
    login::NoLogin,
    pages,
    site::Shown,
};

/// Whether a request means this site, and this site alone.
pub(super) fn meant(shown: &Shown, headers: &HeaderMap) -> Result<(), Box<Response>> {
    if let Err(status) = shown.site.host(headers) {
        return Err(Box::new(refused(status, "This is not the address of this page. Use the one in `[web]`.\n")));
    }
    if !gate::has_proxmox_cookie(headers) {
        return Ok(());
    }
    if !shown.shares_cookies.swap(true, Ordering::Relaxed) {
        warn!(
            "A browser sends Proxmox's cookie to the page, because Proxmox is reached under the same host name: give the page a \
             name of its own (`names` or `proxmox_login` in `[web]`)"
        );
    }
    match shown.login {
        None => Ok(()),
        Some(_) => Err(Box::new(refused(
            StatusCode::MISDIRECTED_REQUEST,
            "Your browser sends Proxmox's cookie to this page, because Proxmox is reached under the same host name. \
             Give the page a name of its own: `proxmox_login` in `[web]`.\n",
        ))),
    }
}

/// Who asks, as far as they may still look.
pub(super) async fn visitor(shown: &Shown, headers: &HeaderMap) -> Result<Option<Visitor>, NoLogin> {
    let visitor = gate::visitor(&shown.web.access, headers);
    match (visitor, gate::session_secret(headers), &shown.login) {
        (Some(Visitor::Session(session)), Some(secret), Some(login)) => {
            login.confirmed(secret, session).await.map(Visitor::Session).map(Some)
        }
        (visitor, _, _) => Ok(visitor),
    }
}

/// Asks for another way in.
pub(super) fn signed_out(shown: &Shown, status: StatusCode, said: &str) -> Response {
    pages::sign_in(status, said, shown.login.is_some())
}

/// Says why somebody is not let in by Proxmox's login, and asks for another way in.
pub(super) fn not_let_in(shown: &Shown, why: &NoLogin) -> Response {
    let (status, said) = match why {
        NoLogin::NoCredential => (
            StatusCode::BAD_REQUEST,
            "This is neither an API token of Proxmox VE (USER@REALM!NAME=SECRET) nor a ticket.".to_owned(),
        ),
        NoLogin::TooMany => {
            (StatusCode::TOO_MANY_REQUESTS, "There were too many tries to sign in. Try again in a minute.".to_owned())
        }
        NoLogin::Unknown => (
            StatusCode::UNAUTHORIZED,
            "Proxmox does not accept this API token or ticket: it is wrong, was removed, or has expired.".to_owned(),
        ),
        NoLogin::MayNot(user) => (
            StatusCode::FORBIDDEN,
            format!(
                "{user} may not look: Sys.Audit on / is missing. If it was granted just now, try again in a minute."
            ),
        ),
        NoLogin::Unanswered => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Proxmox cannot be asked now who you are. Try again in a moment; journalctl -u pinion says why.".to_owned(),
        ),
    };
    signed_out(shown, status, &said)
}

/// Refuses in these words.
pub(super) fn refused(status: StatusCode, why: &'static str) -> Response {
    (status, why).into_response()
}
