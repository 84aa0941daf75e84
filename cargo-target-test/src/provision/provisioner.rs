//! The one question that this room answers: machines that satisfy a request.
//!
//! Owns the trait. Must not know pools or platforms.

use std::{future::Future, pin::Pin};

use super::{Lease, Report, Request};
use crate::error::Result;

/// A future that can be sent to another thread.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A source of machines. Called within a tokio runtime.
pub trait Provisioner: Send + Sync {
    /// Leases what is asked for: all of it or none, fair to everybody who asked before. Waits for as long as that can
    /// come true. Dropped early it gives up its place in the queue and leases nothing; a deploy that it began goes on.
    ///
    /// # Errors
    /// [`ErrorKind::Unfit`](crate::ErrorKind::Unfit) when no instance is what is needed,
    /// [`ErrorKind::Infra`](crate::ErrorKind::Infra) when the instances cannot be had: deploys failed, say, or the
    /// provisioner was told to stop.
    fn acquire(&self, request: Request) -> BoxFuture<'_, Result<Lease>>;

    /// Ends the use of everything that was leased, whose leases should have ended; with `keep` instances that are well
    /// stay for a later run, otherwise they are deleted.
    ///
    /// # Errors
    /// When the record of the instances cannot be used. What cannot be deleted is in the report.
    fn finish(&self, keep: bool) -> BoxFuture<'_, Result<Report>>;
}
