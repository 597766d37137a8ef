//! How messages become bytes and back: as prost does it, after the bytes were counted.
//!
//! Invariant: nothing is decoded before [`count::check`] has seen all of its bytes, in either direction: two bytes on
//! the wire become hundreds in memory, and prost looks at no limit.

use std::marker::PhantomData;

use prost::bytes::Buf;
use tonic::{
    Status,
    codec::{BufferSettings, DecodeBuf},
};

use super::{count, limits::Bounded};

/// How messages become bytes, with buffers that start small. There are two buffers a stream, streams are idle most of
/// the time, and the controller has one for each guest.
#[derive(Debug)]
pub struct Codec<Out, In>(PhantomData<(Out, In)>);

impl<Out, In> Default for Codec<Out, In> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Out, In> tonic::codec::Codec for Codec<Out, In>
where
    Out: prost::Message + Send + 'static,
    In: Bounded,
{
    type Encode = Out;
    type Decode = In;
    type Encoder = tonic_prost::ProstEncoder<Out>;
    type Decoder = CountingDecoder<In>;

    fn encoder(&mut self) -> Self::Encoder {
        tonic_prost::ProstEncoder::new(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        CountingDecoder(PhantomData)
    }
}

/// Counts what a message would be in memory, and decodes it if that is within the limits.
#[derive(Debug)]
pub struct CountingDecoder<In>(PhantomData<In>);

impl<In: Bounded> tonic::codec::Decoder for CountingDecoder<In> {
    type Item = In;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<In>, Status> {
        let malformed = |error: prost::DecodeError| Status::invalid_argument(format!("malformed message: {error}"));
        if buffer.chunk().len() == buffer.remaining() {
            count::check(buffer.chunk(), In::SHAPE)?;
            return In::decode(buffer).map(Some).map_err(malformed);
        }
        // tonic gathers a message in one buffer before it is decoded; should that change, it is gathered here.
        let whole = buffer.copy_to_bytes(buffer.remaining());
        count::check(&whole, In::SHAPE)?;
        In::decode(whole).map(Some).map_err(malformed)
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

/// An ordinary message is under 2 KiB; larger ones grow the buffer. What waits to be sent is passed on from
/// 16 KiB on.
fn buffers() -> BufferSettings {
    BufferSettings::new(512, 16 * 1024)
}
