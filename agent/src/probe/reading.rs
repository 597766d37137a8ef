//! What a server sends before TLS, as far as it is read, and why that is not what a connection turns to TLS by.
//!
//! Invariants: nothing of a server's text is reported; a bounded part of it is read, byte by byte, so that nothing behind the
//! turn is taken for it.

use std::io;

use pinion_proto::spec::StartTls;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line that is read (bytes): twice what RFC 5321, section 4.5.3.1.5, allows a reply.
pub(super) const MAX_LINE: usize = 1024;

/// So many lines may stand before the answer: capabilities and greetings take a dozen.
pub(super) const MAX_LINES: usize = 64;

/// Why a connection does not turn to TLS.
#[derive(Debug, Error)]
pub(super) enum StartTlsError {
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("the server closed the connection")]
    Closed,
    #[error("the server sent a line of more than {MAX_LINE} bytes")]
    Line,
    #[error("the server sent more than {MAX_LINES} lines without an answer")]
    Lines,
    #[error("the server sent a message of more than {MAX_LINE} bytes")]
    Message,
    #[error("the server does not offer TLS")]
    NotOffered,
    #[error("the server refuses TLS")]
    Refused,
    #[error("the server does not speak {}", .0.as_str())]
    Other(StartTls),
}

/// A line without its end.
pub(super) async fn line(stream: &mut (impl AsyncRead + Unpin)) -> Result<String, StartTlsError> {
    let mut bytes = Vec::new();
    loop {
        match byte(stream).await? {
            b'\n' => {
                let text = bytes.strip_suffix(b"\r").unwrap_or(&bytes);
                return Ok(String::from_utf8_lossy(text).into_owned());
            }
            _ if bytes.len() == MAX_LINE => return Err(StartTlsError::Line),
            other => bytes.push(other),
        }
    }
}

pub(super) async fn byte(stream: &mut (impl AsyncRead + Unpin)) -> Result<u8, StartTlsError> {
    let mut byte = [0];
    let read = stream.read(&mut byte).await?;
    if read == 0 { Err(StartTlsError::Closed) } else { Ok(byte[0]) }
}

/// So many bytes, or nothing where that is more than is read of a message.
pub(super) async fn message(stream: &mut (impl AsyncRead + Unpin), length: usize) -> Result<Vec<u8>, StartTlsError> {
    if length > MAX_LINE {
        return Err(StartTlsError::Message);
    }
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        bytes.push(byte(stream).await?);
    }
    Ok(bytes)
}
