//! The task that looks, and tells everyone who wants to know.
//!
//! Looked at rather than watched: a change that another node makes raises no inotify event on pmxcfs.

use std::{sync::Arc, time::Duration};

use pinion_proto::clock::Timestamp;
use tokio::{sync::watch, time::timeout};
use tracing::error;

use super::{Asked, Observer};
use crate::inventory::Inventory;

/// How often. On pmxcfs a look at a cluster in which nothing has changed is the reading of one small file.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A look that takes longer has met a file system that does not answer: pmxcfs is in the kernel's hands then.
const HANGS_AFTER: Duration = Duration::from_secs(10);

/// Looks until the future is dropped, and tells `inventory` what has changed. `states` says which guests run, as soon
/// as somebody knows.
pub async fn watch(
    mut observer: Observer,
    mut states: watch::Receiver<Asked>,
    inventory: watch::Sender<Arc<Inventory>>,
) {
    let mut stale = true;
    loop {
        let mut look = tokio::task::spawn_blocking(move || {
            let changed = observer.look(Timestamp::from(std::time::SystemTime::now()).unix());
            (observer, changed)
        });
        let looked = match timeout(HANGS_AFTER, &mut look).await {
            Ok(looked) => looked,
            Err(_) => {
                let problem = "Proxmox's files are not answered for: pmxcfs hangs; see `systemctl status pve-cluster`. \
                               The guests stay as they were known";
                let last = Inventory::clone(&inventory.borrow()).with_problem(Some(problem.to_owned()));
                inventory.send_replace(Arc::new(last));
                stale = true;
                look.await
            }
        };
        let changed = match looked {
            Ok((looked, changed)) => {
                observer = looked;
                changed
            }
            // Only a panic in the look, or the end of the program, comes here.
            Err(error) => return error!(%error, "Proxmox's files are not looked at any more; this is a bug"),
        };
        if std::mem::take(&mut stale) || changed {
            let asked = states.borrow_and_update().clone();
            let known = observer.inventory(asked.states()).with_trouble(asked.trouble().cloned());
            inventory.send_if_modified(|before| {
                let other = **before != known;
                if other {
                    *before = Arc::new(known);
                }
                other
            });
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            Ok(()) = states.changed() => stale = true,
        }
    }
}
