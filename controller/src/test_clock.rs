//! A clock for unit tests.

use std::{
    pin::Pin,
    sync::atomic::{AtomicI64, Ordering},
};

use pinion_proto::clock::{Clock, Timestamp};

/// A clock whose hands the test moves (seconds of Unix time). Nobody waits for it.
#[derive(Debug)]
pub(crate) struct Hands(pub(crate) AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.0.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, _: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}
