//! Locks and blocking work.
//!
//! Must not hold state.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// Locks a mutex; a panic of an earlier holder is ignored.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts work that blocks on another thread, and waits for its result.
///
/// # Errors
/// The errors of the work; [`ErrorKind::Other`](crate::ErrorKind::Other) if it panics.
pub(crate) fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> impl Future<Output = Result<T>> + Send {
    let started = tokio::task::spawn_blocking(work);
    async move {
        started
            .await
            .unwrap_or_else(|error| Err(Error::other(error.to_string())))
    }
}
