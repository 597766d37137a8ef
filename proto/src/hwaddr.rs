//! A network card's address (EUI-48), by which Proxmox and a guest both know the guest.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A network card's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HwAddr([u8; 6]);

impl HwAddr {
    /// Reads six pairs of hexadecimal digits, in any case, joined by `:`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 6];
        let mut pairs = text.split(':');
        for byte in &mut bytes {
            let pair = pairs.next().filter(|pair| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        pairs.next().is_none().then_some(Self(bytes))
    }

    /// Whether it is all zeros, as that of a loopback interface.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == [0; 6]
    }
}

impl fmt::Display for HwAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{g:02X}")
    }
}

impl Serialize for HwAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HwAddr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("not a network card's address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_case_is_one_address() {
        let address = HwAddr::parse("bc:24:11:0A:0b:0c").expect("an address");
        assert_eq!(address.to_string(), "BC:24:11:0A:0B:0C");
        assert_eq!(HwAddr::parse("BC:24:11:0a:0B:0C"), Some(address));
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in
            ["", "bc:24:11:0a:0b", "bc:24:11:0a:0b:0c:0d", "bc-24-11-0a-0b-0c", "+c:24:11:0a:0b:0c", "b:c:2:4:1:1"]
        {
            assert_eq!(HwAddr::parse(bad), None, "{bad}");
        }
    }
}
