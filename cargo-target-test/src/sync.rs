//! Locks and blocking work.
//!
//! Must not hold state.

use std::{
    panic::resume_unwind,
    sync::{Mutex, MutexGuard, PoisonError},
    thread::{self, ScopedJoinHandle},
};

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

/// Calls `act` for each item, all at once, each on a thread of its own; returns the results in order.
pub(crate) fn parallel<'i, I: Sync, T: Send>(
    items: &'i [I],
    act: impl Fn(&'i I) -> T + Sync,
) -> Vec<T> {
    if let [item] = items {
        return vec![act(item)];
    }
    thread::scope(|scope| {
        let started: Vec<_> = items.iter().map(|item| scope.spawn(|| act(item))).collect();
        let ended = started.into_iter().map(ScopedJoinHandle::join);
        let result = |ended: thread::Result<T>| ended.unwrap_or_else(|panic| resume_unwind(panic));
        ended.map(result).collect()
    })
}
