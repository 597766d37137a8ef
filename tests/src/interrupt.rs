//! Whether someone asked this process to end: Ctrl-C and SIGTERM as a flag that every wait looks at.
//!
//! Tests never ask, and end by the signal as usual; the demo does, so that it can clean up after itself.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

/// Signals are the process's, so the flag is too.
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Whether a signal came since [`watch`].
#[must_use]
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// From now on SIGINT and SIGTERM set the flag instead of ending the process.
///
/// # Errors
/// The signals cannot be watched.
pub fn watch() -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                REQUESTED.store(true, Ordering::Relaxed);
            }
        });
    });
    Ok(())
}
