//! The interface for requesting machines. Must not know pools or platforms.

use std::{future::Future, pin::Pin};

use super::{Lease, Request};
use crate::{error::Result, run_event::CleanUp};

/// A future that can be sent to another thread.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A source of machines. Called within a tokio runtime.
pub trait Provisioner: Send + Sync {
    /// Leases all requested machines or none, never at the expense of an earlier request. Waits while the request can
    /// still be met. If the future is dropped, it leaves the queue and leases nothing; deploys that it started
    /// continue.
    ///
    /// # Errors
    /// [`ErrorKind::Unfit`](crate::ErrorKind::Unfit) if no instance meets the needs,
    /// [`ErrorKind::Infra`](crate::ErrorKind::Infra) if instances are unavailable: for example, deploys failed, or the
    /// provisioner was told to stop.
    fn acquire(&self, request: Request) -> BoxFuture<'_, Result<Lease>>;

    /// Ends the use of all leased instances. All leases should have ended before. With `keep`, healthy instances stay
    /// for a later run, otherwise they are deleted.
    ///
    /// # Errors
    /// Fails if the record of the instances cannot be used. Instances that cannot be deleted are in the report.
    fn finish(&self, keep: bool) -> BoxFuture<'_, Result<CleanUp>>;
}
