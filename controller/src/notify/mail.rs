//! A message as a mail, by SMTP.
//!
//! Invariant: a server that says a lot, or says it slowly, costs a bounded number of bytes and the target's time; no mail
//! and no password goes over a connection that is not encrypted as the configuration says.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use lettre::{
    Address, Message as Mail,
    message::{Mailbox, header},
    transport::smtp::{
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, AsyncTokioStream, Certificate, CertificateStore, TlsParameters},
        extension::ClientId,
    },
};
use pinion_proto::causes::chain;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::{
    alarm::Severity,
    config::{MailConfig, Security},
    failure::SendError,
    files::Files,
    message::Message,
};

/// A whole conversation with a server is a page, with the certificates of its handshake (bytes).
const MAX_HEARD: usize = 16 * 1024;

/// Its lines. The library reads an answer anew with each of them, so that many would cost time. In what is encrypted, one
/// byte in 256 looks like an end of a line.
const MAX_LINES: usize = 256;

/// The text of a mail (bytes).
const MAX_TEXT: usize = 48 * 1024;

/// What is known before the connection.
struct Prepared {
    envelope: lettre::address::Envelope,
    mail: Vec<u8>,
    password: Option<Zeroizing<String>>,
    security: Secured,
}

/// How the connection is encrypted, with what that needs.
enum Secured {
    No,
    Starttls(Box<TlsParameters>),
    Tls(TlsConnector, ServerName<'static>),
}

/// Sends a message.
pub(super) async fn send(config: &MailConfig, files: &Files, host: &str, message: &Message) -> Result<(), SendError> {
    let prepared = {
        let (config, files, host, message) = (config.clone(), files.clone(), host.to_owned(), message.clone());
        // Files are read where that holds nobody up.
        tokio::task::spawn_blocking(move || prepare(&config, &files, &host, &message)).await
    };
    let Prepared { envelope, mail, password, security } =
        prepared.map_err(|error| SendError::passing(format!("preparing the mail failed: {error}")))??;
    let hello = ClientId::Domain(host_name(host));
    let broken = |error: io::Error| SendError::passing(error.to_string());
    let stream = TcpStream::connect((config.server.host.as_str(), config.server.port)).await.map_err(broken)?;
    let peer = stream.peer_addr().map_err(broken)?;
    let stream: Box<dyn AsyncTokioStream> = match &security {
        Secured::Tls(connector, name) => {
            let stream = connector.connect(name.clone(), stream).await.map_err(|error| untrusted(error.to_string()))?;
            Box::new(Limited::new(stream, peer))
        }
        Secured::No | Secured::Starttls(_) => Box::new(Limited::new(stream, peer)),
    };
    let mut connection = AsyncSmtpConnection::connect_with_transport(stream, &hello).await.map_err(|e| refused(&e))?;
    if let Secured::Starttls(parameters) = security {
        if !connection.can_starttls() {
            let remedy = "use `security = \"tls\"` with its port for that, or `none` if you trust the network between";
            return Err(SendError::lasting("the server does not offer STARTTLS", remedy));
        }
        connection.starttls(*parameters, &hello).await.map_err(|error| refused(&error))?;
    }
    if let (Some(user), Some(password)) = (&config.user, &password) {
        let credentials = Credentials::new(user.clone(), password.to_string());
        let mechanisms = [Mechanism::Plain, Mechanism::Login];
        connection.auth(&mechanisms, &credentials).await.map_err(|error| refused(&error))?;
    }
    connection.send(&envelope, &mail).await.map_err(|error| refused(&error))?;
    // It has the mail; how it says goodbye matters to nobody.
    drop(connection.quit().await);
    Ok(())
}

fn prepare(config: &MailConfig, files: &Files, host: &str, message: &Message) -> Result<Prepared, SendError> {
    let mail = compose(config, host, message)?;
    let password = config.password_file.as_ref().map(|path| files.secret(path)).transpose()?;
    let security = match config.security {
        Security::None => Secured::No,
        Security::Tls => {
            let name = ServerName::try_from(config.server.host.clone());
            let name = name.map_err(|error| SendError::lasting(error.to_string(), "correct `server`"))?;
            Secured::Tls(TlsConnector::from(Arc::new(files.tls(config.ca_file.as_deref())?)), name)
        }
        Security::Starttls => Secured::Starttls(Box::new(starttls(config, files)?)),
    };
    Ok(Prepared { envelope: mail.envelope().clone(), mail: mail.formatted(), password, security })
}

fn starttls(config: &MailConfig, files: &Files) -> Result<TlsParameters, SendError> {
    let mut builder = TlsParameters::builder(config.server.host.clone()).certificate_store(CertificateStore::None);
    for root in files.roots(config.ca_file.as_deref())? {
        // One that cannot be read is not trusted, and that is all.
        if let Ok(root) = Certificate::from_der(root.to_vec()) {
            builder = builder.add_root_certificate(root);
        }
    }
    builder.build_rustls().map_err(|error| SendError::lasting(chain(&error), "correct `ca_file`"))
}

/// The mail, with all that keeps machines from answering it (RFC 3834).
fn compose(config: &MailConfig, host: &str, message: &Message) -> Result<Mail, SendError> {
    let from = match &config.from {
        Some(from) => from.clone(),
        None => Address::new("pinion", host_name(host)).map_err(|error| unfit(&error))?,
    };
    let mut mail = Mail::builder()
        .from(Mailbox::new(Some("Pinion".to_owned()), from))
        .subject(message.title(host))
        .message_id(None)
        .header(AutoSubmitted)
        .header(header::ContentType::TEXT_PLAIN);
    if message.severity() == Severity::Critical {
        mail = mail.header(Importance);
    }
    for to in &config.to {
        mail = mail.to(Mailbox::new(None, to.clone()));
    }
    mail.body(message.text(MAX_TEXT) + "\n").map_err(|error| unfit(&error))
}

fn unfit(error: &dyn std::error::Error) -> SendError {
    SendError::lasting(format!("the mail cannot be composed: {error}"), "correct `from` and `to`")
}

/// The name by which this host calls itself to a mail server.
fn host_name(host: &str) -> String {
    let is_name = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
    if is_name { host.to_owned() } else { "localhost".to_owned() }
}

/// `Auto-Submitted: auto-generated` (RFC 3834 section 5).
#[derive(Debug, Clone, Copy)]
struct AutoSubmitted;

/// `Importance: high` (RFC 2156 section 2).
#[derive(Debug, Clone, Copy)]
struct Importance;

impl header::Header for AutoSubmitted {
    fn name() -> header::HeaderName {
        header::HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> header::HeaderValue {
        header::HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl header::Header for Importance {
    fn name() -> header::HeaderName {
        header::HeaderName::new_from_ascii_str("Importance")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> header::HeaderValue {
        header::HeaderValue::new(Self::name(), "high".to_owned())
    }
}

fn refused(error: &lettre::transport::smtp::Error) -> SendError {
    let cause = chain(error);
    if error.is_tls() || cause.contains("certificate") {
        untrusted(cause)
    } else if error.is_permanent() {
        SendError::lasting(cause, "correct `to`, `from`, `user` or `password_file`, or the server's rules")
    } else if error.is_client() {
        SendError::lasting(cause, "correct the target's settings")
    } else {
        SendError::passing(cause)
    }
}

fn untrusted(cause: String) -> SendError {
    if !cause.contains("certificate") {
        return SendError::passing(cause);
    }
    let remedy = "name the root that signed its certificate as `ca_file`, and the name in its certificate as `server`";
    SendError::lasting(cause, remedy)
}

/// A connection on which only so much is heard.
#[derive(Debug)]
struct Limited<S> {
    stream: S,
    peer: SocketAddr,
    /// So many bytes and lines may still come.
    bytes: usize,
    lines: usize,
}

impl<S> Limited<S> {
    fn new(stream: S, peer: SocketAddr) -> Self {
        Self { stream, peer, bytes: MAX_HEARD, lines: MAX_LINES }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug> AsyncTokioStream for Limited<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Limited<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let heard = buffer.filled().get(before..).unwrap_or_default();
        let lines = heard.iter().filter(|byte| **byte == b'\n').count();
        let (bytes, lines) = (self.bytes.checked_sub(heard.len()), self.lines.checked_sub(lines));
        let (Some(bytes), Some(lines)) = (bytes, lines) else {
            let why = format!("the server says more than {MAX_HEARD} bytes or {MAX_LINES} lines");
            return Poll::Ready(Err(io::Error::other(why)));
        };
        (self.bytes, self.lines) = (bytes, lines);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Limited<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
