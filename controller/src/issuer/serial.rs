//! A certificate's serial number, as people read it and as step-ca compares it.
//!
//! Invariant: a number without a sign, and at most as long as X.509 allows, whatever a file says.

use std::fmt;

use serde::{Deserialize, Serialize};

/// RFC 5280 allows 20 octets; one more may be a zero before them.
const MAX_OCTETS: usize = 21;

/// A serial number: upper-case hexadecimal, whole octets, as `openssl x509 -serial` prints it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Serial(String);

impl Serial {
    /// The number in hexadecimal.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number in decimal digits.
    #[must_use]
    pub fn decimal(&self) -> String {
        // Least significant digit first.
        let mut digits: Vec<u32> = vec![0];
        for nibble in self.0.chars().filter_map(|c| c.to_digit(16)) {
            let mut carry = nibble;
            for digit in &mut digits {
                let value = *digit * 16 + carry;
                (*digit, carry) = (value % 10, value / 10);
            }
            while carry > 0 {
                digits.push(carry % 10);
                carry /= 10;
            }
        }
        digits.iter().rev().filter_map(|digit| char::from_digit(*digit, 10)).collect()
    }
}

impl TryFrom<String> for Serial {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let whole = !text.is_empty() && text.len().is_multiple_of(2) && text.len() <= MAX_OCTETS * 2;
        let digits = text.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
        if whole && digits {
            Ok(Self(text))
        } else {
            Err(format!("`{}` is not the serial number of a certificate", pinion_proto::id::shown(&text)))
        }
    }
}

impl From<Serial> for String {
    fn from(serial: Serial) -> Self {
        serial.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_is_the_same_number() {
        for (hex, decimal) in [
            ("00", "0"),
            ("0A", "10"),
            ("00FF", "255"),
            ("97180E5C5C8D2CFE8C0B626FB2CBA305", "200838333759495827031083509526657999621"),
            ("7FFFFFFFFFFFFFFF", "9223372036854775807"),
            ("00FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", "340282366920938463463374607431768211455"),
        ] {
            assert_eq!(Serial::try_from(hex.to_owned()).expect("a serial").decimal(), decimal);
        }
    }

    #[test]
    fn what_is_no_serial_is_refused() {
        for text in ["", "1", "0g", "0a", "-1", "0x10", &"00".repeat(22)] {
            assert!(Serial::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
