//! How long to wait after a failure: doubling, for ever, spread by the placement's name.

pub use pinion_proto::backoff::Backoff;
