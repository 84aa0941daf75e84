//! The active leases, by id, and the way in which the broker acquires and ends leases.
//!
//! Must not know fixtures, nor the reason a lease ends.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use super::{Server, active_lease::ActiveLease, tear_down::Maker};
use crate::{
    error::Result,
    provision::{After, InstanceSet, LeaseEnd, Request, pool::Record},
    sync::lock,
};

/// The leases that tests can use, by id.
#[derive(Default)]
pub struct ActiveLeases(Mutex<HashMap<String, Arc<ActiveLease>>>);

impl ActiveLeases {
    /// Returns a lease by id, unless it has ended.
    pub(in crate::execute) fn get(&self, id: &str) -> Option<Arc<ActiveLease>> {
        lock(&self.0).get(id).cloned()
    }

    /// Returns the leases of tests, without those under which the broker tears fixtures down.
    pub(super) fn of_tests(&self) -> Vec<Arc<ActiveLease>> {
        let of_test = |held: &&Arc<ActiveLease>| held.maker != Maker::default();
        lock(&self.0).values().filter(of_test).cloned().collect()
    }
}

impl Server {
    /// Leases instances of one set for a test; `maker` tears down the test's fixtures.
    pub(super) async fn acquire(
        &self,
        set: &Arc<InstanceSet>,
        request: Request,
        maker: Maker,
    ) -> Result<Arc<ActiveLease>> {
        let changes = request.after != After::Reuse;
        let lease = self.setup.leases_from.acquire(request).await?;
        let held = Arc::new(ActiveLease::new(lease, Arc::clone(set), changes, maker));
        lock(&self.setup.leases.0).insert(held.id.clone(), Arc::clone(&held));
        Ok(held)
    }

    /// Ends a lease, and returns the records of its dirty instances; `None` if the lease has already ended.
    pub(super) async fn end_lease(&self, held: &ActiveLease, end: LeaseEnd) -> Option<Vec<Record>> {
        let ended = held.end(end).await?;
        lock(&self.setup.leases.0).remove(&held.id);
        self.setup.pool.changed().notify_waiters();
        Some(ended.dirty)
    }
}
