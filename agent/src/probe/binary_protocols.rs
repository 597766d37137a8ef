//! Protocols of messages that turn to TLS: PostgreSQL, MySQL and MariaDB, LDAP.
//!
//! Invariant: a length is believed up to a bound, and then as many bytes are read.

use pinion_proto::spec::StartTls;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::reading::{StartTlsError, byte, message};

/// SSLRequest, and one byte of an answer (PostgreSQL's documentation, 55.2.10 and 55.7).
pub(super) async fn postgres(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), StartTlsError> {
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

/// MySQL's capabilities of a client (MariaDB's documentation, "Connecting"): the protocol of version 4.1, TLS, and its way to
/// say who one is.
const MYSQL_CLIENT: u32 = 0x0200 | MYSQL_SSL as u32 | 0x8000;

/// The capability to turn to TLS, among the lower half of the server's.
const MYSQL_SSL: u16 = 0x0800;

/// The server's greeting, then SSLRequest: TLS begins behind it.
pub(super) async fn mysql(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), StartTlsError> {
    const OTHER: StartTlsError = StartTlsError::Other(StartTls::Mysql);
    let header = message(stream, 4).await?;
    let [low, middle, high, 0] = header[..] else { return Err(OTHER) };
    let greeting = message(stream, usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16).await;
    let greeting = match greeting {
        // Other protocols' text makes lengths that no greeting has.
        Err(StartTlsError::Message) => return Err(OTHER),
        greeting => greeting?,
    };
    match greeting.split_first() {
        Some((10, rest)) => {
            // Its version as text that ends with 0, a number of 4 bytes, 8 of a challenge and a 0.
            let version = rest.iter().position(|byte| *byte == 0).ok_or(OTHER)?;
            let capabilities = rest.get(version + 14..version + 16).ok_or(OTHER)?;
            if u16::from_le_bytes([capabilities[0], capabilities[1]]) & MYSQL_SSL == 0 {
                return Err(StartTlsError::NotOffered);
            }
        }
        // An error, for example too many connections.
        Some((0xff, _)) => return Err(StartTlsError::Refused),
        _ => return Err(OTHER),
    }
    let mut request = vec![32, 0, 0, 1];
    request.extend(MYSQL_CLIENT.to_le_bytes());
    // The largest packet, and the character set: utf8.
    request.extend(0x0100_0000_u32.to_le_bytes());
    request.push(33);
    request.extend([0; 23]);
    stream.write_all(&request).await?;
    Ok(())
}

/// An ExtendedRequest with StartTLS's object identifier, as the first message (RFC 4511, sections 4.12 and 4.14).
const LDAP_REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

/// The request, and its answer: TLS begins behind that.
pub(super) async fn ldap(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), StartTlsError> {
    const OTHER: StartTlsError = StartTlsError::Other(StartTls::Ldap);
    stream.write_all(LDAP_REQUEST).await?;
    if byte(stream).await? != 0x30 {
        return Err(OTHER);
    }
    let length = match byte(stream).await? {
        short @ 0..=0x7f => usize::from(short),
        long @ 0x81..=0x84 => {
            let mut length = 0;
            for _ in 0x80..long {
                length = length << 8 | usize::from(byte(stream).await?);
            }
            length
        }
        _ => return Err(OTHER),
    };
    let answer = message(stream, length).await?;
    // The number of the message, or 0 for a notice that the connection ends; then an ExtendedResponse, and its result first.
    let [0x02, 0x01, number, 0x78, rest @ ..] = &answer[..] else { return Err(OTHER) };
    let skipped = match rest.first() {
        Some(short @ 0..=0x7f) if usize::from(*short) < rest.len() => 1,
        Some(long @ 0x81..=0x84) => 1 + usize::from(long & 0x7f),
        _ => return Err(OTHER),
    };
    match (number, rest.get(skipped..skipped + 3)) {
        (1, Some([0x0a, 0x01, 0])) => Ok(()),
        // protocolError: it does not know the request.
        (1, Some([0x0a, 0x01, 2])) => Err(StartTlsError::NotOffered),
        (0 | 1, Some([0x0a, 0x01, _])) => Err(StartTlsError::Refused),
        _ => Err(OTHER),
    }
}
