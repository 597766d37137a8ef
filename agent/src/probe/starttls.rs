//! As much of a protocol as it takes to turn a connection to TLS.
//!
//! Invariants: nothing of a server's text is reported; a bounded part of it is read, byte by byte, so that nothing behind the turn is taken for
//! it: what a server sends too early reaches the handshake, and fails there. How long it may take is the caller's to say.

use std::io;

use pinion_proto::spec::StartTls;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest line that is read (bytes): twice what RFC 5321, section 4.5.3.1.5, allows a reply.
const MAX_LINE: usize = 1024;

/// So many lines may stand before the answer: capabilities and greetings take a dozen.
const MAX_LINES: usize = 64;

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
    #[error("the server does not offer TLS")]
    NotOffered,
    #[error("the server refuses TLS")]
    Refused,
    #[error("the server does not speak {}", .0.as_str())]
    Other(StartTls),
}

/// Turns a fresh connection to the moment where the handshake begins.
pub(super) async fn turn(
    protocol: StartTls,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<(), StartTlsError> {
    match protocol {
        StartTls::Smtp => smtp(stream).await,
        StartTls::Imap => imap(stream).await,
        StartTls::Postgres => postgres(stream).await,
    }
}

/// RFC 3207: greeting, EHLO, STARTTLS, 220.
async fn smtp(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), StartTlsError> {
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
async fn imap(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), StartTlsError> {
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

/// SSLRequest, and one byte of an answer (PostgreSQL's documentation, 55.2.10 and 55.7).
async fn postgres(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), StartTlsError> {
    let [length, code] = [8_u32, 80_877_103].map(u32::to_be_bytes);
    stream.write_all(&[length, code].concat()).await?;
    match byte(stream).await? {
        b'S' => Ok(()),
        b'N' => Err(StartTlsError::NotOffered),
        // An error message of a server from before SSL, or one that is starting up.
        b'E' => Err(StartTlsError::Refused),
        _ => Err(StartTlsError::Other(StartTls::Postgres)),
    }
}

/// A line without its end.
async fn line(stream: &mut (impl AsyncRead + Unpin)) -> Result<String, StartTlsError> {
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

async fn byte(stream: &mut (impl AsyncRead + Unpin)) -> Result<u8, StartTlsError> {
    let mut byte = [0];
    let read = stream.read(&mut byte).await?;
    if read == 0 { Err(StartTlsError::Closed) } else { Ok(byte[0]) }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// Talks to a server that says its turns one after the other, each after a line or a request of the client's.
    async fn against(protocol: StartTls, turns: &[&[u8]]) -> Result<Vec<u8>, StartTlsError> {
        let (mut client, mut server) = duplex(4096);
        let turns: Vec<Vec<u8>> = turns.iter().map(|turn| turn.to_vec()).collect();
        let talking = tokio::spawn(async move {
            let mut heard = Vec::new();
            let mut greets = protocol != StartTls::Postgres;
            for turn in turns {
                if !greets {
                    let end: &[u8] = if protocol == StartTls::Postgres { b"\x16\x2f" } else { b"\r\n" };
                    let mut asked = Vec::new();
                    while !asked.ends_with(end) {
                        match server.read_u8().await {
                            Ok(byte) => asked.push(byte),
                            Err(_) => return heard,
                        }
                    }
                    heard.extend(asked);
                }
                greets = false;
                // Whoever has heard enough has gone.
                drop(server.write_all(&turn).await);
            }
            heard
        });
        let turned = turn(protocol, &mut client).await;
        drop(client);
        let heard = talking.await.expect("the server does not panic");
        turned.map(|()| heard)
    }

    #[tokio::test]
    async fn each_protocol_turns_as_its_paper_says() {
        let heard = against(
            StartTls::Smtp,
            &[b"220-a\r\n220 b\r\n", b"250-mail\r\n250-SIZE 1\r\n250-starttls\r\n250 HELP\r\n", b"220 go\r\n"],
        );
        assert_eq!(heard.await.expect("smtp"), b"EHLO pinion-probe.invalid\r\nSTARTTLS\r\n");
        let heard = against(StartTls::Imap, &[b"* OK [CAPABILITY IMAP4rev2] ready\r\n", b"* X y\r\na ok now\r\n"]);
        assert_eq!(heard.await.expect("imap"), b"a STARTTLS\r\n");
        let heard = against(StartTls::Postgres, &[b"S"]).await.expect("postgres");
        assert_eq!(heard, [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
    }

    #[tokio::test]
    async fn refusals_and_other_protocols_are_told_apart() {
        let greeting: &[u8] = b"220 mail\r\n";
        for (turns, word) in [
            (vec![greeting, b"250 mail\r\n"], "not offer"),
            (vec![b"554 no\r\n".as_slice()], "refuses"),
            (vec![greeting, b"250 STARTTLS\r\n", b"454 later\r\n"], "refuses"),
            (vec![b"SSH-2.0-OpenSSH\r\n".as_slice()], "does not speak smtp"),
            (vec![b"2200 what\r\n".as_slice()], "does not speak smtp"),
            (vec![], "closed"),
        ] {
            let error = against(StartTls::Smtp, &turns).await.expect_err(word).to_string();
            assert!(error.contains(word), "{error}");
        }
        for (turns, word) in [
            (vec![b"* PREAUTH hello\r\n".as_slice()], "refuses"),
            (vec![b"* BYE\r\n".as_slice()], "refuses"),
            (vec![b"* OK\r\n".as_slice(), b"a NO\r\n"], "refuses"),
            (vec![b"* OK\r\n".as_slice(), b"b OK\r\n"], "does not speak imap"),
            (vec![b"+OK pop\r\n".as_slice()], "does not speak imap"),
        ] {
            let error = against(StartTls::Imap, &turns).await.expect_err(word).to_string();
            assert!(error.contains(word), "{error}");
        }
        for (answer, word) in [(b"N", "not offer"), (b"E", "refuses"), (b"H", "does not speak postgres")] {
            let error = against(StartTls::Postgres, &[answer]).await.expect_err(word).to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[tokio::test]
    async fn a_server_that_talks_for_ever_is_left() {
        let long = [b"220 ".as_slice(), &[b'x'; 2 * MAX_LINE]].concat();
        let error = against(StartTls::Smtp, &[&long]).await.expect_err("too long");
        assert!(matches!(error, StartTlsError::Line), "{error}");
        let many = b"220-x\r\n".repeat(2 * MAX_LINES);
        let error = against(StartTls::Smtp, &[&many]).await.expect_err("too many");
        assert!(matches!(error, StartTlsError::Lines), "{error}");
        let many = b"* x\r\n".repeat(2 * MAX_LINES);
        let error = against(StartTls::Imap, &[b"* OK\r\n", &many]).await.expect_err("too many");
        assert!(matches!(error, StartTlsError::Lines), "{error}");
        let binary = against(StartTls::Imap, &[b"\xff\xfe\x00\n"]).await.expect_err("no text");
        assert!(matches!(binary, StartTlsError::Other(_)), "{binary}");
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_server_says_it_comes_to_an_end(said: Vec<u8>, which in 0..3) {
            let protocol = [StartTls::Smtp, StartTls::Imap, StartTls::Postgres][usize::try_from(which).unwrap_or(0)];
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            // A connection that ends turns only if all that was asked for came.
            let turned = runtime.block_on(against(protocol, &[&said]));
            proptest::prop_assert!(turned.is_err() || protocol == StartTls::Postgres);
        }
    }
}
