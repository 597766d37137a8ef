//! Values of ASN.1, written in DER (X.690): as many kinds as a keystore has.
//!
//! Invariant: a length is written in the shortest way.

/// `SEQUENCE` of values.
pub(super) fn sequence(values: &[&[u8]]) -> Vec<u8> {
    tagged(0x30, &values.concat())
}

/// `SET` of values.
pub(super) fn set(values: &[&[u8]]) -> Vec<u8> {
    tagged(0x31, &values.concat())
}

/// `OCTET STRING`.
pub(super) fn octets(bytes: &[u8]) -> Vec<u8> {
    tagged(0x04, bytes)
}

/// `OBJECT IDENTIFIER`, from its encoded content.
pub(super) fn oid(content: &[u8]) -> Vec<u8> {
    tagged(0x06, content)
}

/// `INTEGER`, of a number that is not negative.
pub(super) fn integer(number: u32) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let skipped = bytes.iter().take(3).take_while(|byte| **byte == 0).count();
    let bytes = bytes.get(skipped..).unwrap_or_default();
    let sign: &[u8] = if bytes.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
    tagged(0x02, &[sign, bytes].concat())
}

/// `BMPString`: UTF-16, big-endian.
pub(super) fn bmp(text: &str) -> Vec<u8> {
    let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    tagged(0x1e, &units)
}

/// `NULL`.
pub(super) const NULL: &[u8] = &[0x05, 0x00];

/// `[0] EXPLICIT`.
pub(super) fn explicit(value: &[u8]) -> Vec<u8> {
    tagged(0xa0, value)
}

/// `[0] IMPLICIT OCTET STRING`.
pub(super) fn implicit_octets(bytes: &[u8]) -> Vec<u8> {
    tagged(0x80, bytes)
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(content.len() + 6);
    value.push(tag);
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => value.push(short),
        _ => {
            let bytes = content.len().to_be_bytes();
            let length: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
            // At most the 8 bytes of a length in memory.
            value.push(0x80 | u8::try_from(length.len()).unwrap_or(8));
            value.extend(length);
        }
    }
    value.extend_from_slice(content);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_numbers_are_the_shortest() {
        assert_eq!(octets(&[7; 3]), [4, 3, 7, 7, 7]);
        assert_eq!(octets(&[7; 0x80]).get(..4), Some([4, 0x81, 0x80, 7].as_slice()));
        assert_eq!(octets(&[7; 0x1234]).get(..5), Some([4, 0x82, 0x12, 0x34, 7].as_slice()));
        for (number, expected) in
            [(0, &[2, 1, 0][..]), (127, &[2, 1, 127]), (128, &[2, 2, 0, 128]), (10_000, &[2, 2, 39, 16])]
        {
            assert_eq!(integer(number), expected, "{number}");
        }
    }
}
