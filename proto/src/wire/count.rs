//! Counts a message on its raw bytes, before anything is made of it.
//!
//! Answers: how many elements would prost make of these bytes, and about how much memory would they take?
//! Everything is counted over the whole message: a singular message field that occurs twice is merged by prost, so that
//! its repeated fields add up, and a `oneof` may occur any number of times.
//! Invariant: what prost would make an element of is counted here. Where the two could read the bytes differently, this
//! reading is the stricter one, and refuses.

use prost::encoding::{WireType, encode_key, encode_varint};
use tonic::Status;

use super::limits::{Field, Holds, Shape};

/// What one decoded message may take (bytes), by [`ELEMENT_OVERHEAD`] and the sizes in the table. The largest honest
/// message, 4 MiB of names or certificates, takes less; its raw bytes come on top.
const MAX_MEMORY: usize = 12 * 1024 * 1024;

/// What the allocator adds for an element's own bytes.
const ELEMENT_OVERHEAD: usize = 16;

/// prost's own bound on groups within groups (prost `encoding.rs`, `RECURSION_LIMIT`).
const MAX_GROUPS: usize = 100;

/// Looks at a message's bytes.
///
/// # Errors
/// It has more elements than the table allows, would take too much memory, or is cut off or malformed.
pub(super) fn check(bytes: &[u8], shape: &'static Shape) -> Result<(), CountError> {
    Count::of(bytes, shape).map(drop)
}

/// Of the beginning of a message to the controller: the same message with what a hello says of its guest alone. None
/// when it is no hello, or does not begin with that, as an agent's does.
pub(super) fn facts_alone(mut beginning: &[u8]) -> Option<Vec<u8>> {
    let begins = |bytes: &mut &[u8]| key(bytes).is_ok_and(|key| key == (1, LENGTH_DELIMITED));
    // Field 1 of `ToController` is the hello, and field 1 of that the facts.
    if !begins(&mut beginning) || varint(&mut beginning).is_err() || !begins(&mut beginning) {
        return None;
    }
    let facts = length_delimited(&mut beginning).ok()?;
    let field = |inner: &[u8]| {
        let mut out = Vec::with_capacity(inner.len() + 16);
        encode_key(1, WireType::LengthDelimited, &mut out);
        encode_varint(inner.len() as u64, &mut out);
        out.extend_from_slice(inner);
        out
    };
    Some(field(&field(facts)))
}

/// What has been counted in a message so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Count {
    /// By the fields that occurred, which are few.
    elements: Vec<(&'static str, usize)>,
    /// What the message would take (bytes).
    memory: usize,
}

impl Count {
    pub(super) fn of(bytes: &[u8], shape: &'static Shape) -> Result<Self, CountError> {
        // Strings and byte strings are copied out of the raw bytes: together they are never longer.
        let mut count = Self { elements: Vec::new(), memory: bytes.len() };
        count.message(bytes, shape)?;
        Ok(count)
    }

    /// How many elements of a field there are.
    #[cfg(test)]
    pub(super) fn elements(&self, field: &str) -> usize {
        self.elements.iter().find(|(name, _)| *name == field).map_or(0, |(_, count)| *count)
    }

    /// The recursion ends with the table, whose depth is fixed.
    fn message(&mut self, mut bytes: &[u8], shape: &'static Shape) -> Result<(), CountError> {
        while !bytes.is_empty() {
            let (tag, kind) = key(&mut bytes)?;
            let Some(field) = shape.fields.iter().find(|field| field.tag == tag) else {
                skip(&mut bytes, tag, kind)?;
                continue;
            };
            if kind != LENGTH_DELIMITED {
                return Err(CountError::Malformed("a field has another wire type than the contract says"));
            }
            let inner = length_delimited(&mut bytes)?;
            self.one_more(field)?;
            if let Holds::Message(shape) = field.holds {
                self.message(inner, shape)?;
            }
        }
        Ok(())
    }

    fn one_more(&mut self, field: &'static Field) -> Result<(), CountError> {
        let Some(limit) = &field.repeated else { return Ok(()) };
        let count = match self.elements.iter_mut().find(|(name, _)| std::ptr::eq(*name, field.name)) {
            Some((_, count)) => count,
            None => {
                self.elements.push((field.name, 0));
                &mut self.elements.last_mut().expect("one was pushed").1
            }
        };
        *count += 1;
        if *count > limit.max {
            return Err(CountError::TooMany { field: field.name, max: limit.max });
        }
        // A vector that has grown is between once and twice as large as what is in it.
        self.memory += limit.each * 3 / 2 + ELEMENT_OVERHEAD;
        if self.memory > MAX_MEMORY {
            return Err(CountError::TooMuch);
        }
        Ok(())
    }
}

/// Why a message is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CountError {
    /// Too many elements of one field.
    #[error("`{field}` has more than {max} elements in one message")]
    TooMany {
        /// The field, as the `.proto` files name it.
        field: &'static str,
        /// How many elements the field may have in one message.
        max: usize,
    },
    /// Too much in all.
    #[error("the message would take more than {MAX_MEMORY} bytes of memory")]
    TooMuch,
    /// The bytes are not a protobuf message.
    #[error("malformed message: {0}")]
    Malformed(&'static str),
}

impl From<CountError> for Status {
    fn from(error: CountError) -> Self {
        match error {
            CountError::TooMany { .. } | CountError::TooMuch => Self::resource_exhausted(error.to_string()),
            CountError::Malformed(_) => Self::invalid_argument(error.to_string()),
        }
    }
}

/// Wire types (protobuf.dev, "Encoding").
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const START_GROUP: u8 = 3;
const END_GROUP: u8 = 4;
const FIXED32: u8 = 5;

/// A field's number and its wire type.
fn key(bytes: &mut &[u8]) -> Result<(u32, u8), CountError> {
    let key = u32::try_from(varint(bytes)?).map_err(|_| CountError::Malformed("a field's number is too large"))?;
    let kind = u8::try_from(key & 7).expect("three bits");
    match key >> 3 {
        0 => Err(CountError::Malformed("a field's number is 0")),
        tag => Ok((tag, kind)),
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, CountError> {
    let mut value = 0_u64;
    for at in 0..10 {
        let byte = *bytes.get(at).ok_or(CUT_OFF)?;
        // The tenth byte has room for one bit.
        if at == 9 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            *bytes = &bytes[at + 1..];
            return Ok(value);
        }
    }
    Err(CountError::Malformed("a number is longer than 64 bits"))
}

const CUT_OFF: CountError = CountError::Malformed("it is cut off");

fn length_delimited<'b>(bytes: &mut &'b [u8]) -> Result<&'b [u8], CountError> {
    let length = usize::try_from(varint(bytes)?).map_err(|_| CUT_OFF)?;
    take(bytes, length)
}

fn take<'b>(bytes: &mut &'b [u8], length: usize) -> Result<&'b [u8], CountError> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(CUT_OFF)?;
    *bytes = rest;
    Ok(taken)
}

/// Passes over a field that is not in the table: prost makes one value of it at most, or passes over it too.
fn skip(bytes: &mut &[u8], tag: u32, kind: u8) -> Result<(), CountError> {
    let mut open: Vec<u32> = Vec::new();
    let (mut tag, mut kind) = (tag, kind);
    loop {
        match kind {
            VARINT => drop(varint(bytes)?),
            FIXED64 => drop(take(bytes, 8)?),
            LENGTH_DELIMITED => drop(length_delimited(bytes)?),
            FIXED32 => drop(take(bytes, 4)?),
            START_GROUP if open.len() < MAX_GROUPS => open.push(tag),
            START_GROUP => return Err(CountError::Malformed("groups are nested too deeply")),
            END_GROUP if open.pop() == Some(tag) => {}
            END_GROUP => return Err(CountError::Malformed("a group ends that did not begin")),
            _ => return Err(CountError::Malformed("a field has an unknown wire type")),
        }
        if open.is_empty() {
            return Ok(());
        }
        (tag, kind) = key(bytes)?;
    }
}

#[cfg(test)]
mod tests;
