//! A mutex whose value is whole whoever held it last.
//!
//! Invariant: used only for what no panic leaves half changed; then one task's panic is no reason for the others' too.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks it, also after a panic of whoever held it.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
