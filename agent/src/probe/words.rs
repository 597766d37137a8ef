//! What is reported of a server that does not show a certificate, in Pinion's own words.
//!
//! Invariant: no byte of what a server sent is in them. Who may have an agent look somewhere learns no more from it than
//! whether the certificate is served.

use std::io;

use rustls::Error;

use super::reading::StartTlsError;

/// A failed connection, in the kernel's words for its number.
pub(super) fn of_io(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number).to_string(),
        None => error.kind().to_string(),
    }
}

/// A connection that did not turn to TLS.
pub(super) fn of_chain(error: &StartTlsError) -> String {
    match error {
        StartTlsError::Io(source) => format!("{error}: {}", of_io(source)),
        _ => error.to_string(),
    }
}

/// A handshake that came to no end.
pub(super) fn of_handshake(error: &io::Error) -> String {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else { return of_io(error) };
    match tls {
        // A number with a name, and nothing else (RFC 8446, section 6).
        Error::AlertReceived(alert) => match alert.as_str() {
            Some(name) => format!("the server ended it with the alert {name}"),
            None => "the server ended it with an alert".into(),
        },
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "the server does not speak TLS".into()
        }
        Error::PeerIncompatible(_) => {
            "the server supports no TLS version or no algorithm that the agent supports".into()
        }
        Error::PeerMisbehaved(_) | Error::DecryptError | Error::PeerSentOversizedRecord => {
            "the server violates the TLS protocol".into()
        }
        Error::NoCertificatesPresented => "the server sends no certificate".into(),
        Error::InvalidCertificate(_) => "the server's certificate cannot be used".into(),
        _ => "it failed".into(),
    }
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, InvalidMessage};

    use super::*;

    #[test]
    fn what_a_server_says_is_not_repeated() {
        let secret = "220 mail.internal.example";
        for (error, words) in [
            (io::Error::other(secret), "other error"),
            (io::Error::new(io::ErrorKind::InvalidData, Error::General(secret.into())), "it failed"),
            (io::Error::other(Error::AlertReceived(AlertDescription::HandshakeFailure)), "HandshakeFailure"),
            (io::Error::other(Error::AlertReceived(AlertDescription::Unknown(0x53))), "with an alert"),
            (io::Error::other(Error::InvalidMessage(InvalidMessage::InvalidContentType)), "does not speak TLS"),
            (io::Error::from_raw_os_error(111), "refused"),
        ] {
            let reported = of_handshake(&error);
            assert!(reported.contains(words) && !reported.contains("mail"), "{reported}");
        }
    }
}
