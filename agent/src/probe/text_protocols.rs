//! Protocols of lines that turn to TLS: SMTP, IMAP, POP3, FTP.
//!
//! Invariant: no more is said than it takes.

use pinion_proto::spec::StartTls;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::reading::{MAX_LINES, StartTlsError, line};

/// RFC 3207: greeting, EHLO, STARTTLS, 220.
pub(super) async fn smtp(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), StartTlsError> {
    expect_reply(stream, "220", |_| {}).await?;
    stream.write_all(b"EHLO pinion-probe.invalid\r\n").await?;
    let mut offered = false;
    expect_reply(stream, "250", |text| offered |= text.trim().eq_ignore_ascii_case("STARTTLS")).await?;
    if !offered {
        return Err(StartTlsError::NotOffered);
    }
    stream.write_all(b"STARTTLS\r\n").await?;
    expect_reply(stream, "220", |_| {}).await
}

/// One reply of SMTP (RFC 5321, section 4.2): lines `CODE-text` and a last one `CODE text`.
async fn expect_reply(
    stream: &mut (impl AsyncRead + Unpin),
    code: &str,
    mut each: impl FnMut(&str),
) -> Result<(), StartTlsError> {
    for _ in 0..MAX_LINES {
        let line = line(stream).await?;
        let (found, rest) = line.split_at_checked(3).unwrap_or((&line, ""));
        if found != code {
            let is_code = found.len() == 3 && found.bytes().all(|b| b.is_ascii_digit());
            return Err(if is_code { StartTlsError::Refused } else { StartTlsError::Other(StartTls::Smtp) });
        }
        match rest.as_bytes().first() {
            Some(b'-') => each(rest.get(1..).unwrap_or_default()),
            Some(b' ') | None => {
                each(rest.get(1..).unwrap_or_default());
                return Ok(());
            }
            Some(_) => return Err(StartTlsError::Other(StartTls::Smtp)),
        }
    }
    Err(StartTlsError::Lines)
}

/// RFC 9051, section 6.2.1: greeting, `a STARTTLS`, `a OK`; untagged lines may come before.
pub(super) async fn imap(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), StartTlsError> {
    let greeting = line(stream).await?;
    match greeting.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
        "* OK" => {}
        // Already logged in, or not welcome: neither turns to TLS (RFC 9051, section 7.1.4).
        "* PR" | "* BY" => return Err(StartTlsError::Refused),
        _ => return Err(StartTlsError::Other(StartTls::Imap)),
    }
    stream.write_all(b"a STARTTLS\r\n").await?;
    for _ in 0..MAX_LINES {
        let line = line(stream).await?;
        match line.split_once(' ') {
            Some(("*", _)) => {}
            Some(("a", rest)) if rest.get(..2).is_some_and(|word| word.eq_ignore_ascii_case("OK")) => return Ok(()),
            Some(("a", _)) => return Err(StartTlsError::Refused),
            _ => return Err(StartTlsError::Other(StartTls::Imap)),
        }
    }
    Err(StartTlsError::Lines)
}

/// RFC 2595, section 4: greeting, STLS, +OK.
pub(super) async fn pop3(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), StartTlsError> {
    match line(stream).await? {
        greeting if greeting.starts_with("+OK") => {}
        greeting if greeting.starts_with("-ERR") => return Err(StartTlsError::Refused),
        _ => return Err(StartTlsError::Other(StartTls::Pop3)),
    }
    stream.write_all(b"STLS\r\n").await?;
    match line(stream).await? {
        answer if answer.starts_with("+OK") => Ok(()),
        answer if answer.starts_with("-ERR") => Err(StartTlsError::NotOffered),
        _ => Err(StartTlsError::Other(StartTls::Pop3)),
    }
}

/// RFC 4217, section 4: greeting, AUTH TLS, 234.
pub(super) async fn ftp(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), StartTlsError> {
    match ftp_reply(stream).await? {
        220 => {}
        400..600 | 120 => return Err(StartTlsError::Refused),
        _ => return Err(StartTlsError::Other(StartTls::Ftp)),
    }
    stream.write_all(b"AUTH TLS\r\n").await?;
    match ftp_reply(stream).await? {
        234 => Ok(()),
        400..500 => Err(StartTlsError::Refused),
        500..600 => Err(StartTlsError::NotOffered),
        _ => Err(StartTlsError::Other(StartTls::Ftp)),
    }
}

/// The code of one reply of FTP (RFC 959, section 4.2): a line `CODE text`, or one `CODE-text` and others up to that.
async fn ftp_reply(stream: &mut (impl AsyncRead + Unpin)) -> Result<u16, StartTlsError> {
    let first = line(stream).await?;
    let (code, rest) = first.split_at_checked(3).unwrap_or((&first, ""));
    let number = Some(code).filter(|code| code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit()));
    let number = number.and_then(|code| code.parse().ok()).ok_or(StartTlsError::Other(StartTls::Ftp))?;
    match rest.as_bytes().first() {
        Some(b' ') | None => return Ok(number),
        Some(b'-') => {}
        Some(_) => return Err(StartTlsError::Other(StartTls::Ftp)),
    }
    let last = format!("{code} ");
    for _ in 0..MAX_LINES {
        if line(stream).await?.starts_with(&last) {
            return Ok(number);
        }
    }
    Err(StartTlsError::Lines)
}
