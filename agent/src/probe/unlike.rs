//! Something that answers where a service should, and does not speak TLS as expected: what it is like, and what helps.
//!
//! Invariant: whatever it is, somebody listens there, so nobody is told to start the service.

use std::{fmt, io, time::Duration};

use pinion_proto::spec::{ProxyProtocol, StartTls};
use rustls::{AlertDescription, Error};

use super::{
    reading::StartTlsError,
    words::{of_chain, of_handshake},
};
use crate::recipe::ProbeTarget;

/// What answers, and does not speak TLS as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlike {
    obstacle: Obstacle,
    cause: String,
    asked: Option<Box<str>>,
    starttls: Option<StartTls>,
    proxy_protocol: Option<ProxyProtocol>,
}

/// What is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    /// It says nothing.
    Silence,
    /// It ends the connection.
    Closed,
    /// It speaks something else.
    Protocol,
    /// It speaks what it should, and does not turn to TLS.
    NotOffered,
    /// It has no certificate for the name that was asked for.
    Name,
    /// It has no version, cipher suite or curve in common with the agent.
    Algorithms,
    /// Something else.
    Other,
}

impl Unlike {
    fn new(at: &ProbeTarget, obstacle: Obstacle, cause: String) -> Self {
        let ProbeTarget { server_name: asked, starttls, proxy_protocol, .. } = at.clone();
        Self { obstacle, cause, asked, starttls, proxy_protocol }
    }

    /// It takes the connection and does not answer within this time.
    pub(super) fn silent(at: &ProbeTarget, patience: Duration) -> Self {
        let (connect, seconds) = (at.connect, patience.as_secs_f32());
        let cause = format!("{connect} takes the connection and does not answer within {seconds} s");
        Self::new(at, Obstacle::Silence, cause)
    }

    /// It takes the connection and not what is to come before everything else.
    pub(super) fn closed(at: &ProbeTarget, error: &io::Error) -> Self {
        let cause = format!("the connection to {} ends at once: {}", at.connect, of_handshake(error));
        Self::new(at, Obstacle::Closed, cause)
    }

    /// It does not turn to TLS.
    pub(super) fn not_turned(at: &ProbeTarget, error: &StartTlsError) -> Self {
        let obstacle = match error {
            StartTlsError::NotOffered | StartTlsError::Refused => Obstacle::NotOffered,
            StartTlsError::Io(_) | StartTlsError::Closed => Obstacle::Closed,
            StartTlsError::Line | StartTlsError::Lines | StartTlsError::Message | StartTlsError::Other(_) => {
                Obstacle::Protocol
            }
        };
        Self::new(at, obstacle, format!("{} does not switch to TLS: {}", at.connect, of_chain(error)))
    }

    /// The handshake came to no end.
    pub(super) fn handshake(at: &ProbeTarget, error: &io::Error) -> Self {
        use AlertDescription as A;
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        let obstacle = match tls {
            Some(Error::AlertReceived(A::UnrecognisedName)) => Obstacle::Name,
            Some(
                Error::AlertReceived(A::HandshakeFailure | A::InsufficientSecurity | A::ProtocolVersion)
                | Error::PeerIncompatible(_),
            ) => Obstacle::Algorithms,
            Some(
                Error::InvalidMessage(_)
                | Error::InappropriateMessage { .. }
                | Error::InappropriateHandshakeMessage { .. }
                | Error::PeerSentOversizedRecord,
            ) => Obstacle::Protocol,
            Some(_) => Obstacle::Other,
            None => Obstacle::Closed,
        };
        let mut cause = format!("the TLS handshake with {} failed: {}", at.connect, of_handshake(error));
        match (obstacle, &at.server_name) {
            (Obstacle::Name, Some(name)) => {
                cause += &format!("; it has no certificate for {name}, which was asked for")
            }
            (Obstacle::Name, None) => cause += "; it wants a name to be asked for, and none was",
            (Obstacle::Algorithms, _) => {
                cause += "; it has no TLS version, cipher suite or curve in common with the agent";
            }
            _ => {}
        }
        Self::new(at, obstacle, cause)
    }

    /// Something that should not happen.
    pub(super) fn other(at: &ProbeTarget, cause: String) -> Self {
        Self::new(at, Obstacle::Other, cause)
    }

    /// Something that sent no certificate.
    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        let cause = "it sent no certificate".into();
        Self { obstacle: Obstacle::Other, cause, asked: None, starttls: None, proxy_protocol: None }
    }

    /// Whether it may be one that is still starting.
    pub(crate) fn is_silent(&self) -> bool {
        self.obstacle == Obstacle::Silence
    }

    /// Adds why it is not waited for.
    pub(crate) fn because(mut self, why: &str) -> Self {
        self.cause = format!("{}; {why}", self.cause);
        self
    }

    /// What a person can do.
    #[must_use]
    pub fn remedy(&self) -> String {
        const CANNOT: &str =
            "If Pinion cannot look there at all, write \"probe\": \"nothing\": the goal is `reloaded` then";
        let starttls = match self.starttls {
            Some(protocol) => format!("`starttls` is {}: it must be the protocol of that port", protocol.as_str()),
            None => {
                "if its connections begin without TLS, write `starttls` (smtp, imap, pop3, postgres, mysql, ldap or \
                     ftp)"
                    .into()
            }
        };
        let proxy = match self.proxy_protocol {
            Some(version) => format!("`proxy_protocol` is {}: the service must expect that version", version.as_str()),
            None => "if it expects the PROXY protocol (`accept-proxy` of HAProxy, `proxy_protocol` of nginx), write \
                     `proxy_protocol` (v1 or v2)"
                .into(),
        };
        let advice = match self.obstacle {
            Obstacle::Silence => format!(
                "check with the service's log whether it hangs; in the placement's `probe`, {starttls}; {proxy}"
            ),
            Obstacle::Closed => format!("in the placement's `probe`, {proxy}; {starttls}"),
            Obstacle::Protocol => {
                format!("check that `connect` in the placement's `probe` is the port with TLS; {starttls}; {proxy}")
            }
            Obstacle::NotOffered => {
                "turn TLS on in the service's configuration, with the installed files; its log may say why it is off"
                    .into()
            }
            Obstacle::Name => match &self.asked {
                Some(_) => {
                    "write a name that the service has this certificate for as `server_name` in the placement's \
                            `probe`, or give the service that name"
                        .into()
                }
                None => "write a name that the service has this certificate for as `server_name` in the placement's \
                         `probe`"
                    .into(),
            },
            Obstacle::Algorithms => "let the service take TLS 1.3, or TLS 1.2 with ECDHE and AES-GCM or \
                ChaCha20-Poly1305, and one of the curves X25519, P-256 and P-384"
                .into(),
            Obstacle::Other => "look at the service with `openssl s_client`, and read its log".into(),
        };
        format!("{advice}. {CANNOT}")
    }
}

impl fmt::Display for Unlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "something answers there and does not speak TLS as expected: {}", self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_obstacle_has_its_own_remedy_and_nobody_is_told_to_start_the_service() {
        let at = ProbeTarget {
            connect: ([127, 0, 0, 1], 443).into(),
            unit: None,
            server_name: None,
            starttls: None,
            proxy_protocol: None,
            settle: Duration::ZERO,
            restart: Duration::ZERO,
            elsewhere: false,
        };
        let alert = |alert| Unlike::handshake(&at, &io::Error::other(Error::AlertReceived(alert)));
        for (unlike, words) in [
            (Unlike::silent(&at, Duration::from_secs(5)), "hangs"),
            (Unlike::handshake(&at, &io::ErrorKind::UnexpectedEof.into()), "`accept-proxy`"),
            (Unlike::not_turned(&at, &StartTlsError::NotOffered), "turn TLS on"),
            (Unlike::not_turned(&at, &StartTlsError::Other(StartTls::Ldap)), "`connect`"),
            (alert(AlertDescription::UnrecognisedName), "`server_name`"),
            (alert(AlertDescription::HandshakeFailure), "curves"),
            (alert(AlertDescription::InternalError), "s_client"),
        ] {
            let remedy = unlike.remedy();
            assert!(remedy.contains(words), "{words}: {remedy}");
            assert!(!remedy.contains("start the service") && remedy.contains("\"probe\": \"nothing\""), "{remedy}");
            assert!(unlike.to_string().starts_with("something answers there"), "{unlike}");
        }
    }
}
