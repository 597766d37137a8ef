//! A list on disk: in the local area, where it can always be written, and a copy in the shared one.
//!
//! Answers: what did the list say, when one of the two areas was lost or restored?
//! Invariant: the local list is the later one wherever it is there, since it is written first; the copy counts where the
//! local list is missing, and is made anew where it differs.

use pinion_proto::causes::chain;
use serde::{Serialize, de::DeserializeOwned};

use crate::store::{Area, Store, StoreError};

/// What is called so is about evictions.
pub(super) const DOCUMENT: &str = "evictions";

/// The list, and whether its copy is still to be made.
///
/// # Errors
/// The list, or where that is missing its copy, cannot be read: nobody knows what it said.
pub(super) fn read<T: Serialize + DeserializeOwned + Default>(store: &Store) -> Result<(T, bool), StoreError> {
    if let Some(list) = store.read::<T>(Area::Local, DOCUMENT)? {
        let copy = store.read::<T>(Area::Shared, DOCUMENT);
        let uncopied = !copy.is_ok_and(|copy| says_the_same(&copy.unwrap_or_default(), &list));
        return Ok((list, uncopied));
    }
    let Some(copy) = store.read::<T>(Area::Shared, DOCUMENT)? else { return Ok((T::default(), false)) };
    tracing::warn!("The local list of evicted guests is missing: its copy in the shared state is used");
    if let Err(error) = store.write(Area::Local, DOCUMENT, &copy) {
        tracing::debug!(error = chain(&error), "The local list of evicted guests cannot be written");
    }
    Ok((copy, false))
}

/// Writes the list.
///
/// # Errors
/// The local area refuses it: it holds only until the controller stops.
pub(super) fn write<T: Serialize + DeserializeOwned>(list: &T, store: &Store) -> Result<(), StoreError> {
    store.write(Area::Local, DOCUMENT, list)
}

/// Makes the copy, if the shared area can be written. False when it is still to be made.
pub(super) fn copy<T: Serialize + DeserializeOwned>(list: &T, store: &Store) -> bool {
    if store.shared_writable().is_err() {
        return false;
    }
    let copied = store.write(Area::Shared, DOCUMENT, list);
    if let Err(error) = &copied {
        tracing::debug!(error = chain(error), "The list of evicted guests is still to be copied");
    }
    copied.is_ok()
}

fn says_the_same<T: Serialize>(one: &T, other: &T) -> bool {
    let text = |list: &T| serde_json::to_value(list).ok();
    text(one) == text(other)
}
