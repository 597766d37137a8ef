//! A stream that says when something has changed, so that an open page can ask again.
//!
//! Invariant: it says that something happened, never what: whoever is still connected when a session ends learns nothing more.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::response::{
    IntoResponse as _, Response,
    sse::{Event, KeepAlive, Sse},
};
use tokio::{
    sync::{
        OwnedSemaphorePermit, Semaphore,
        broadcast::{self, error::TryRecvError},
        mpsc,
    },
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

use crate::events::Events;

/// In a storm, a page is made anew this often.
const PAUSE: Duration = Duration::from_millis(300);

/// A page that is open longer connects again, and shows its session again.
const LIFE: Duration = Duration::from_secs(60 * 60);

const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A stream, if there is room for one more.
pub(super) fn stream(events: &Events, streams: &Arc<Semaphore>) -> Option<Response> {
    let place = streams.clone().try_acquire_owned().ok()?;
    let (send, receive) = mpsc::channel(1);
    tokio::spawn(tell(events.follow(), send, place));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Some(Sse::new(ReceiverStream::new(receive)).keep_alive(keep_alive).into_response())
}

async fn tell(
    mut events: broadcast::Receiver<Arc<crate::events::Event>>,
    send: mpsc::Sender<Result<Event, Infallible>>,
    _place: OwnedSemaphorePermit,
) {
    let telling = async {
        loop {
            // One that is behind has missed something, which is a change too.
            if let Err(broadcast::error::RecvError::Closed) = events.recv().await {
                return;
            }
            while !matches!(events.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
            if send.send(Ok(Event::default().data("changed"))).await.is_err() {
                return;
            }
            sleep(PAUSE).await;
        }
    };
    tokio::select! {
        _ = timeout(LIFE, telling) => {}
        () = send.closed() => {}
    }
}
