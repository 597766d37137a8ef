//! Every path: who may ask for it, and who answers.
//!
//! Invariant: a path that is not listed before `guard` is answered only to a visitor (`gate`).

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Form, Router,
    extract::{DefaultBodyLimit, Path, Query, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state, map_response},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use serde::Deserialize;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{
    ask::Unanswered,
    entry::{meant, not_let_in, refused, signed_out, visitor},
    gate::{self, Peer, Visitor},
    headers, live,
    pages::{self, Filter},
    site::Shown,
};
use crate::{admin::protocol::Selection, events::Event, metrics::exposition::CONTENT_TYPE};

type Site = State<Arc<Shown>>;

/// The longest form (bytes): a token, or a CSRF token and a tick.
const MAX_FORM: usize = 1024;

/// The longest form with a ticket of Proxmox's (bytes): each of its letters may be escaped.
const MAX_LOGIN_FORM: usize = 4 * 1024;

/// A form has come by then.
const FORM_TIME: Duration = Duration::from_secs(10);

const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/live.js");
const ICON: &str = include_str!("assets/icon.svg");

pub(super) fn router(shown: Arc<Shown>) -> Router {
    let guarded = Router::new()
        .route("/", get(overview))
        .route("/placements", get(placements))
        .route("/placements/{name}", get(placement))
        .route("/placements/{name}/renew", post(renew))
        .route("/guests", get(guests))
        .route("/issuers", get(issuers))
        .route("/events", get(events))
        .route("/timeline", get(timeline))
        .route("/live", get(stream))
        .route("/sign-out", post(sign_out))
        .route("/readyz", get(ready))
        .route("/assets/style.css", get(|| async { asset("text/css; charset=utf-8", STYLE) }))
        .route("/assets/live.js", get(|| async { asset("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/assets/icon.svg", get(|| async { asset("image/svg+xml", ICON) }))
        .fallback(|| async { pages::error(StatusCode::NOT_FOUND, "There is no such page.") })
        .layer(from_fn_with_state(shown.clone(), guard));
    let open = Router::new()
        .route("/open/{secret}", get(open))
        .route("/sign-in", post(sign_in))
        .route("/sign-in/proxmox", post(sign_in_at_proxmox).layer(DefaultBodyLimit::max(MAX_LOGIN_FORM)))
        .route("/metrics", get(metrics))
        .layer(from_fn_with_state(shown.clone(), own_host));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .merge(open)
        .merge(guarded)
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(map_response(|mut response: Response| async move {
            headers::add(response.headers_mut());
            response
        }))
        .with_state(shown)
}

/// Lets in whoever means this site.
async fn own_host(State(shown): Site, request: Request, next: Next) -> Response {
    match meant(&shown, request.headers()) {
        Ok(()) => within_time(request, next).await,
        Err(refused) => *refused,
    }
}

/// A form that does not come is not waited for.
async fn within_time(request: Request, next: Next) -> Response {
    match timeout(FORM_TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_) => refused(StatusCode::REQUEST_TIMEOUT, "This request took too long.\n"),
    }
}

/// Lets in whoever may look; what they may do besides is in the extension [`Visitor`].
async fn guard(State(shown): Site, mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    if let Err(refused) = meant(&shown, headers) {
        return *refused;
    }
    let visitor = match visitor(&shown, headers).await {
        Ok(Some(visitor)) => visitor,
        Ok(None) => return signed_out(&shown, StatusCode::UNAUTHORIZED, ""),
        Err(why) => return not_let_in(&shown, &why),
    };
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    if changes && let Err(status) = shown.site.origin(headers) {
        return refused(status, "This request does not come from Pinion's own page.\n");
    }
    request.extensions_mut().insert(visitor);
    if changes { within_time(request, next).await } else { next.run(request).await }
}

fn asset(kind: &'static str, content: &'static str) -> Response {
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "private, max-age=60")];
    (headers, content).into_response()
}

/// Opens a link that `pinion web open` has printed.
async fn open(State(shown): Site, Path(secret): Path<String>) -> Response {
    match shown.web.access.open_link(&secret) {
        Some(session) => begin(&shown, &session),
        None => signed_out(
            &shown,
            StatusCode::UNAUTHORIZED,
            "This link was opened before, or is too old. Run pinion web open for another one.",
        ),
    }
}

#[derive(Deserialize)]
struct SignIn {
    token: String,
}

async fn sign_in(State(shown): Site, headers: HeaderMap, Form(form): Form<SignIn>) -> Response {
    if let Err(status) = shown.site.origin(&headers) {
        return refused(status, "This request does not come from Pinion's own page.\n");
    }
    match shown.web.access.sign_in(form.token.trim()) {
        Some(session) => begin(&shown, &session),
        None => signed_out(&shown, StatusCode::UNAUTHORIZED, "This token is not valid, or was taken back."),
    }
}

#[derive(Deserialize)]
struct ProxmoxSignIn {
    /// An API token or a ticket.
    credential: Zeroizing<String>,
}

async fn sign_in_at_proxmox(
    State(shown): Site,
    Extension(from): Extension<Peer>,
    headers: HeaderMap,
    Form(form): Form<ProxmoxSignIn>,
) -> Response {
    if let Err(status) = shown.site.origin(&headers) {
        return refused(status, "This request does not come from Pinion's own page.\n");
    }
    let Some(login) = &shown.login else {
        return pages::error(StatusCode::NOT_FOUND, "Proxmox's login is off: `proxmox_login` in `[web]`.");
    };
    match login.sign_in(&form.credential, from.0).await {
        Ok(session) => begin(&shown, &session),
        Err(why) => not_let_in(&shown, &why),
    }
}

fn begin(shown: &Shown, session: &str) -> Response {
    let mut response = Redirect::to("/").into_response();
    response.headers_mut().insert(header::SET_COOKIE, shown.site.cookie(session));
    response
}

async fn sign_out(State(shown): Site, headers: HeaderMap) -> Response {
    let unused = gate::session_secret(&headers).and_then(|secret| shown.web.access.sign_out(secret));
    if let (Some(digest), Some(login)) = (unused, &shown.login) {
        login.forget(digest).await;
    }
    let mut response = signed_out(&shown, StatusCode::OK, "You are signed out.");
    response.headers_mut().insert(header::SET_COOKIE, gate::no_cookie());
    response
}

async fn metrics(State(shown): Site, Extension(from): Extension<Peer>, headers: HeaderMap) -> Response {
    let is_open = shown.metrics_from.contains(&from.0.to_canonical());
    if !is_open && !matches!(visitor(&shown, &headers).await, Ok(Some(_))) {
        return refused(
            StatusCode::UNAUTHORIZED,
            "Metrics need a token (pinion web token create NAME), or this address in `[web] metrics_from`.\n",
        );
    }
    match shown.web.gather().await.map(|gathered| gathered.text()) {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE))], text).into_response(),
        Ok(Err(_)) | Err(_) => unavailable(),
    }
}

async fn ready(State(shown): Site) -> Response {
    if shown.web.is_ready().await { "ready\n".into_response() } else { unavailable() }
}

fn unavailable() -> Response {
    refused(StatusCode::SERVICE_UNAVAILABLE, "The controller does not answer now: it is busy, starts or stops.\n")
}

async fn stream(State(shown): Site) -> Response {
    match live::stream(&shown.web.events, &shown.streams) {
        Some(stream) => stream,
        None => refused(StatusCode::SERVICE_UNAVAILABLE, "Too many pages are open.\n"),
    }
}

async fn overview(State(shown): Site, Extension(visitor): Extension<Visitor>) -> Response {
    let events = shown.web.recent(pages::MAX_RECENT, |_| true).await;
    page(shown.web.everything().await.map(|it| pages::overview(&shown, &visitor, &it, &events)))
}

async fn placements(
    State(shown): Site,
    Extension(visitor): Extension<Visitor>,
    Query(filter): Query<Filter>,
) -> Response {
    page(shown.web.everything().await.map(|it| pages::placements(&shown, &visitor, &it, &filter)))
}

async fn placement(State(shown): Site, Extension(visitor): Extension<Visitor>, Path(name): Path<String>) -> Response {
    let answers = async {
        let status = shown.web.status(Selection::new(vec![name.clone()], Vec::new())).await?;
        let plan = shown.web.plan().await?;
        let placements = status.placements.clone();
        let events = shown.web.recent(pages::MAX_OWN_EVENTS, move |event| pages::is_about(&placements, event)).await;
        Ok(pages::placement(&shown, &visitor, &status, &plan, &events, &name))
    };
    page(answers.await)
}

async fn guests(State(shown): Site, Extension(visitor): Extension<Visitor>, Query(filter): Query<Filter>) -> Response {
    page(shown.web.everything().await.map(|it| pages::guests(&shown, &visitor, &it, &filter)))
}

async fn issuers(State(shown): Site, Extension(visitor): Extension<Visitor>) -> Response {
    page(shown.web.everything().await.map(|it| pages::issuers(&shown, &visitor, &it)))
}

async fn timeline(State(shown): Site, Extension(visitor): Extension<Visitor>) -> Response {
    page(shown.web.everything().await.map(|it| pages::timeline(&shown, &visitor, &it)))
}

async fn events(State(shown): Site, Extension(visitor): Extension<Visitor>, Query(filter): Query<Filter>) -> Response {
    let wanted = filter.clone();
    let is_meant = move |event: &Event| wanted.finds([event.text.as_str(), event.kind.as_str()]);
    let events = shown.web.recent(pages::MAX_EVENTS, is_meant).await;
    page(Ok(pages::events(&shown, &visitor, &events, &filter)))
}

#[derive(Deserialize)]
struct Renew {
    csrf: String,
    /// The box that confirms it.
    #[serde(default)]
    sure: String,
}

/// The one thing that changes something.
async fn renew(
    State(shown): Site,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
    Form(form): Form<Renew>,
) -> Response {
    let may = shown.renew && visitor.renews().is_some_and(|csrf| csrf == form.csrf);
    if !may {
        return refused(
            StatusCode::FORBIDDEN,
            "Renewing needs `renew = true` in `[web]`, a session with that right, and the form of this page.\n",
        );
    }
    if form.sure != "yes" {
        return pages::error(
            StatusCode::BAD_REQUEST,
            "Tick the box first: a renewal notifies or restarts the service.",
        );
    }
    match shown.web.renew(name.clone(), visitor.user()).await {
        Ok(()) => Redirect::to(&pages::path_of(&name)).into_response(),
        Err(error) => unanswered(&error),
    }
}

fn page(page: Result<Result<String, askama::Error>, Unanswered>) -> Response {
    match page {
        Ok(Ok(html)) => Html(html).into_response(),
        Ok(Err(_)) => pages::error(StatusCode::INTERNAL_SERVER_ERROR, "This page could not be made. This is a bug."),
        Err(error) => unanswered(&error),
    }
}

fn unanswered(error: &Unanswered) -> Response {
    match error {
        Unanswered::Silent => pages::error(
            StatusCode::SERVICE_UNAVAILABLE,
            "The controller does not answer now: it is busy, starts or stops. Try again in a moment.",
        ),
        Unanswered::NoSuchName(why) => pages::error(StatusCode::NOT_FOUND, why),
    }
}
