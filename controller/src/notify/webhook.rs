//! A message to a service that takes JSON by HTTP.
//!
//! Invariant: one request to the address that is configured and to no other: no redirection is followed and no proxy is used.
//! Of the answer, the status counts, and a few bytes of a refusal are read for people.

use std::{error::Error, time::Duration};

use pinion_proto::{causes::chain, printable::Shown};
use reqwest::{Client, Response, StatusCode, header, redirect, retry};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    config::{Service, WebhookConfig},
    failure::SendError,
    files::Files,
    message::Message,
    template::Template,
    url::WebUrl,
};

/// So much of a refusal is read (bytes).
const MAX_ANSWER: usize = 2048;

/// What is known before the request.
struct Request {
    client: Client,
    url: WebUrl,
    /// The header with the token, and the token.
    token: Option<(&'static str, Zeroizing<String>)>,
    body: Value,
}

/// Sends a message.
pub(super) async fn send(
    config: &WebhookConfig,
    files: &Files,
    host: &str,
    message: &Message,
) -> Result<(), SendError> {
    let (config, files, host, message) = (config.clone(), files.clone(), host.to_owned(), message.clone());
    // Files are read where that holds nobody up.
    let prepared = tokio::task::spawn_blocking(move || prepare(&config, &files, &host, &message)).await;
    let Request { client, url, token, body } =
        prepared.map_err(|error| SendError::passing(format!("preparing the message failed: {error}")))??;
    let mut request = client.post(url.reveal()).json(&body);
    if let Some((name, token)) = token {
        let value = header::HeaderValue::from_str(&token);
        let mut value =
            value.map_err(|_| SendError::lasting("the token is no text of a header", "correct `token_file`"))?;
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    let response = request.send().await.map_err(|error| failed(&error))?;
    judge(response).await
}

fn prepare(config: &WebhookConfig, files: &Files, host: &str, message: &Message) -> Result<Request, SendError> {
    let url = match (&config.url, &config.url_file) {
        (Some(url), _) => url.clone(),
        (None, Some(path)) => {
            let text = files.secret(path)?;
            text.parse::<WebUrl>().map_err(|why| SendError::file(&files.path(path), why))?
        }
        (None, None) => return Err(SendError::lasting("there is no address", "write `url` or `url_file`")),
    };
    let (url, topic) = match config.service {
        Service::Ntfy => {
            let (url, topic) = url.ntfy().map_err(|why| SendError::lasting(why, "correct the address"))?;
            (url, Some(topic))
        }
        _ => (url, None),
    };
    let template = template(config, files)?;
    let body = template.body(message, host, topic.as_ref().map(|topic| topic.as_str()));
    let body = body.map_err(|why| SendError::lasting(why.to_string(), "correct `template_file`"))?;
    let header = if config.service == Service::Gotify { "x-gotify-key" } else { "authorization" };
    let token = match &config.token_file {
        Some(path) => {
            let token = files.secret(path)?;
            let bearer = config.service != Service::Gotify;
            Some((header, if bearer { Zeroizing::new(format!("Bearer {}", *token)) } else { token }))
        }
        None => None,
    };
    Ok(Request { client: client(config, files, &url)?, url, token, body })
}

/// The body that the configuration asks for.
///
/// # Errors
/// The administrator's own cannot be read, or is no template.
pub(super) fn template(config: &WebhookConfig, files: &Files) -> Result<Template, SendError> {
    let (text, path) = match &config.template_file {
        Some(path) => (files.text(path)?.into(), Some(path)),
        None => (std::borrow::Cow::Borrowed(shipped(config.service)), None),
    };
    Template::parse(&text).map_err(|why| match path {
        Some(path) => SendError::file(&files.path(path), why),
        None => SendError::lasting(why.to_string(), "this is a bug"),
    })
}

/// The body of a service.
pub(super) fn shipped(service: Service) -> &'static str {
    match service {
        Service::Json => include_str!("templates/json.json"),
        Service::Ntfy => include_str!("templates/ntfy.json"),
        Service::Gotify => include_str!("templates/gotify.json"),
        Service::Slack => include_str!("templates/slack.json"),
        Service::Discord => include_str!("templates/discord.json"),
        Service::Teams => include_str!("templates/teams.json"),
    }
}

fn client(config: &WebhookConfig, files: &Files, url: &WebUrl) -> Result<Client, SendError> {
    let builder = Client::builder()
        .http1_only()
        .https_only(url.reveal().starts_with("https:"))
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .timeout(config.timeout)
        .connect_timeout(config.timeout)
        .pool_idle_timeout(Some(Duration::ZERO))
        .user_agent(concat!("pinion/", env!("CARGO_PKG_VERSION")));
    // Even where it is not used, the client wants to know how TLS is done.
    let mut tls = match url.reveal().starts_with("https:") {
        true => files.tls(config.ca_file.as_deref())?,
        false => files.no_tls()?,
    };
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let client = builder.tls_backend_preconfigured(tls).build();
    client.map_err(|error| SendError::passing(format!("the HTTP client cannot be set up: {}", chain(&error))))
}

/// Why there was no answer; the URL is in none of the causes below the first.
fn failed(error: &reqwest::Error) -> SendError {
    if error.is_timeout() {
        return SendError::passing("it did not answer in time");
    }
    let cause = error.source().map_or_else(|| "the request failed".to_owned(), chain);
    if cause.contains("certificate") {
        let remedy = "name the root that signed its certificate as `ca_file`, or correct the service's certificate";
        return SendError::lasting(cause, remedy);
    }
    SendError::passing(cause)
}

async fn judge(mut response: Response) -> Result<(), SendError> {
    let status = response.status();
    if status.is_success() {
        // Nobody wants to know the rest, however long it is.
        return Ok(());
    }
    if status.is_redirection() {
        let cause = format!("it answered {status}: it wants to be asked elsewhere, and Pinion follows no redirection");
        return Err(SendError::lasting(cause, "write the address that it means into `url`, if you trust it"));
    }
    let mut words = Vec::new();
    while words.len() < MAX_ANSWER
        && let Ok(Some(chunk)) = response.chunk().await
    {
        words.extend(chunk.iter().take(MAX_ANSWER - words.len()));
    }
    let words = String::from_utf8_lossy(&words);
    let cause = match words.trim() {
        "" => format!("it answered {status}"),
        words => format!("it answered {status}: {}", Shown(words)),
    };
    Err(match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => SendError::passing(cause),
        _ if status.is_server_error() => SendError::passing(cause),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            SendError::lasting(cause, "correct the token or the address; Pinion reads their files again each time")
        }
        _ => SendError::lasting(cause, "correct the target's address, `service` or `template_file`"),
    })
}

#[cfg(test)]
mod tests;
