//! As much of a protocol as it takes to turn a connection to TLS.
//!
//! Invariant: what a server sends too early reaches the handshake, and fails there. How long it may take is the caller's to say.

use pinion_proto::spec::StartTls;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    binary_protocols::{ldap, mysql, postgres},
    reading::StartTlsError,
    text_protocols::{ftp, imap, pop3, smtp},
};

/// Turns a fresh connection to the moment where the handshake begins.
pub(super) async fn turn(
    protocol: StartTls,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<(), StartTlsError> {
    match protocol {
        StartTls::Smtp => smtp(stream).await,
        StartTls::Imap => imap(stream).await,
        StartTls::Pop3 => pop3(stream).await,
        StartTls::Ftp => ftp(stream).await,
        StartTls::Postgres => postgres(stream).await,
        StartTls::Mysql => mysql(stream).await,
        StartTls::Ldap => ldap(stream).await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::{
        super::reading::{MAX_LINE, MAX_LINES},
        *,
    };

    /// Talks to a server that says its turns one after the other, each after a line or a request of the client's.
    async fn against(protocol: StartTls, turns: &[&[u8]]) -> Result<Vec<u8>, StartTlsError> {
        let (mut client, mut server) = duplex(4096);
        let turns: Vec<Vec<u8>> = turns.iter().map(|turn| turn.to_vec()).collect();
        let talking = tokio::spawn(async move {
            let mut heard = Vec::new();
            let mut greets = !matches!(protocol, StartTls::Postgres | StartTls::Ldap);
            for turn in turns {
                if !greets {
                    let end: &[u8] = match protocol {
                        StartTls::Postgres => b"\x16\x2f",
                        StartTls::Ldap => b".20037",
                        StartTls::Mysql => &[0; 23],
                        _ => b"\r\n",
                    };
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
        let heard = against(StartTls::Pop3, &[b"+OK ready <1.2@mail>\r\n", b"+OK\r\n"]).await.expect("pop3");
        assert_eq!(heard, b"STLS\r\n");
        let heard = against(StartTls::Ftp, &[b"220-Welcome\r\n 221 no\r\n220 to it\r\n", b"234 go\r\n"]).await;
        assert_eq!(heard.expect("ftp"), b"AUTH TLS\r\n");
        let heard = against(StartTls::Ldap, &[b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"]).await;
        assert_eq!(heard.expect("ldap"), b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037");
        let heard = against(StartTls::Mysql, &[&mysql_greeting(0xffff), b""]).await.expect("mysql");
        assert!(heard.len() == 36 && heard.starts_with(&[32, 0, 0, 1, 0, 0x8a, 0, 0]), "{heard:?}");
    }

    /// A greeting of MariaDB with these capabilities.
    fn mysql_greeting(capabilities: u16) -> Vec<u8> {
        let mut greeting = b"\x0a5.5.5-10.11.19-MariaDB\x00\x01\x00\x00\x00challenge".to_vec();
        greeting.pop();
        greeting.push(0);
        greeting.extend(capabilities.to_le_bytes());
        greeting.extend([33, 2, 0, 0xff, 0x81, 21]);
        greeting.extend([0; 24]);
        let length = u8::try_from(greeting.len()).expect("it is short");
        [vec![length, 0, 0, 0], greeting].concat()
    }

    #[tokio::test]
    async fn what_the_other_protocols_refuse_is_told_apart() {
        let plain = mysql_greeting(0xf7ff);
        for (protocol, turns, word) in [
            (StartTls::Pop3, vec![b"-ERR later\r\n".as_slice()], "refuses"),
            (StartTls::Pop3, vec![b"+OK\r\n".as_slice(), b"-ERR what\r\n"], "not offer"),
            (StartTls::Pop3, vec![b"* OK imap\r\n".as_slice()], "does not speak pop3"),
            (StartTls::Ftp, vec![b"421 later\r\n".as_slice()], "refuses"),
            (StartTls::Ftp, vec![b"220 ftp\r\n".as_slice(), b"500 what\r\n"], "not offer"),
            (StartTls::Ftp, vec![b"+OK pop\r\n".as_slice()], "does not speak ftp"),
            (StartTls::Mysql, vec![plain.as_slice()], "not offer"),
            (StartTls::Mysql, vec![b"\x17\x00\x00\x00\xff\x10\x04Too many connections".as_slice()], "refuses"),
            (StartTls::Mysql, vec![b"220 mail.example ESMTP\r\n".as_slice()], "does not speak mysql"),
            (StartTls::Mysql, vec![b"\x05\x00\x00\x00\x0aabcd".as_slice()], "does not speak mysql"),
            (StartTls::Ldap, vec![b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00".as_slice()], "not offer"),
            (StartTls::Ldap, vec![b"\x30\x0c\x02\x01\x00\x78\x07\x0a\x01\x34\x04\x00\x04\x00".as_slice()], "refuses"),
            (StartTls::Ldap, vec![b"\x30\x84\xff\xff\xff\xff".as_slice()], "more than"),
            (StartTls::Ldap, vec![b"\x30\x05\x02\x01\x01\x78\x7f".as_slice()], "does not speak ldap"),
            (StartTls::Ldap, vec![b"HTTP/1.1 400\r\n".as_slice()], "does not speak ldap"),
        ] {
            let error = against(protocol, &turns).await.expect_err(word).to_string();
            assert!(error.contains(word), "{protocol:?}: {error}");
        }
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
        fn whatever_a_server_says_it_comes_to_an_end(said: Vec<u8>, which in 0..StartTls::ALL.len()) {
            let protocol = StartTls::ALL[which];
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            // A connection that ends turns only if all that was asked for came.
            let turned = runtime.block_on(against(protocol, &[&said]));
            proptest::prop_assert!(turned.is_err() || protocol == StartTls::Postgres);
        }
    }
}
