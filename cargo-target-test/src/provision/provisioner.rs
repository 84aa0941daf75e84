//! The interface for requesting machines.
//!
//! Owns the trait. Must not know pools or platforms.

use std::{future::Future, pin::Pin};

use super::{Lease, Report, Request};
use crate::error::Result;

/// A future that can be sent to another thread.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A source of machines. Called within a tokio runtime.
pub trait Provisioner: Send + Sync {
    /// Leases all requested machines or none, never at the expense of an earlier request. Waits while the request can
    /// still be met. If the future is dropped, it leaves the queue and leases nothing; deploys that it began continue.
    ///
    /// # Errors
    /// [`ErrorKind::Unfit`](crate::ErrorKind::Unfit) when no instance is what is needed,
    /// [`ErrorKind::Infra`](crate::ErrorKind::Infra) if instances are unavailable: for example, deploys failed, or the
    /// provisioner was told to stop.
    fn acquire(&self, request: Request) -> BoxFuture<'_, Result<Lease>>;

    /// Ends the use of all leased instances. All leases should have ended before. With `keep`, healthy instances
    /// stay for a later run, otherwise they are deleted.
    ///
    /// # Errors
    /// When the record of the instances cannot be used. What cannot be deleted is in the report.
    fn finish(&self, keep: bool) -> BoxFuture<'_, Result<Report>>;
}
