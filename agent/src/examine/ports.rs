//! Ports on which a handshake may do harm, or makes no sense, and those that speak something else before TLS.

use pinion_proto::spec::StartTls;

/// What is never connected to, each with the reason. Printers print what comes to them.
const DENIED: [(u16, u16, &str); 22] = [
    (1, 20, "an old service, which may answer for ever"),
    (22, 23, "SSH or telnet"),
    (37, 37, "the time service"),
    (53, 53, "DNS"),
    (69, 69, "TFTP"),
    (79, 79, "finger"),
    (102, 102, "an industrial controller"),
    (111, 111, "rpcbind"),
    (135, 139, "RPC or NetBIOS"),
    (445, 445, "SMB"),
    (502, 502, "an industrial controller"),
    (512, 515, "a remote shell, or a printer"),
    (631, 631, "a printer"),
    (2049, 2049, "NFS"),
    (3260, 3260, "iSCSI"),
    (3389, 3389, "a remote desktop"),
    (5900, 5999, "a remote desktop"),
    (6000, 6063, "X11"),
    (9100, 9107, "a printer"),
    (20000, 20000, "an industrial controller"),
    (44818, 44818, "an industrial controller"),
    (47808, 47808, "an industrial controller"),
];

/// Why a port is not connected to; none if it may be.
pub(super) fn denied(port: u16) -> Option<&'static str> {
    DENIED.iter().find(|(first, last, _)| (*first..=*last).contains(&port)).map(|(_, _, why)| *why)
}

/// What is spoken on a port before TLS, by its registration with IANA.
pub(super) fn starttls(port: u16) -> Option<StartTls> {
    Some(match port {
        21 => StartTls::Ftp,
        25 | 587 => StartTls::Smtp,
        110 => StartTls::Pop3,
        143 => StartTls::Imap,
        389 => StartTls::Ldap,
        3306 => StartTls::Mysql,
        5432 => StartTls::Postgres,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printers_are_left_alone_and_mail_is_asked_for_tls() {
        for port in [515, 631, 9100, 9107, 22, 445, 502] {
            assert!(denied(port).is_some(), "{port}");
        }
        for port in [21, 25, 143, 443, 632, 8443, 9099, 9108, 5432] {
            assert_eq!(denied(port), None, "{port}");
        }
        assert_eq!([25, 443, 5432].map(starttls), [Some(StartTls::Smtp), None, Some(StartTls::Postgres)]);
    }
}
