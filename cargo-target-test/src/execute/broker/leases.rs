//! The active leases of the broker's clients, by id.
//!
//! Must not know fixtures, nor the reason a lease ends.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use super::{active_lease::ActiveLease, sync::lock, tear_down::Maker};
use crate::{
    error::Result,
    provision::{
        After, InstanceSet, LeaseEnd, PoolProvisioner, Provisioner, Request, pool::Record,
    },
};

pub(super) struct ActiveLeases {
    provisioner: Arc<PoolProvisioner>,
    active: Mutex<HashMap<String, Arc<ActiveLease>>>,
}

impl ActiveLeases {
    pub(super) fn new(provisioner: Arc<PoolProvisioner>) -> Self {
        Self {
            provisioner,
            active: Mutex::default(),
        }
    }

    /// Leases instances of one set for a test; `maker` tears down the test's fixtures.
    pub(super) async fn acquire(
        &self,
        set: &Arc<InstanceSet>,
        request: Request,
        maker: Maker,
    ) -> Result<Arc<ActiveLease>> {
        let changes = request.after != After::Reuse;
        let lease = self.provisioner.acquire(request).await?;
        let active = Arc::new(ActiveLease::new(lease, Arc::clone(set), changes, maker));
        lock(&self.active).insert(active.id.clone(), Arc::clone(&active));
        Ok(active)
    }

    /// Returns an active lease.
    pub(super) fn get(&self, id: &str) -> Option<Arc<ActiveLease>> {
        lock(&self.active).get(id).cloned()
    }

    /// Returns the active leases of tests, without those under which the broker tears fixtures down.
    pub(super) fn of_tests(&self) -> Vec<Arc<ActiveLease>> {
        let active = lock(&self.active);
        let of_test = |held: &&Arc<ActiveLease>| held.maker != Maker::default();
        active.values().filter(of_test).cloned().collect()
    }

    /// Ends a lease, and returns the records of its dirty instances; `None` if the lease has already ended.
    pub(super) async fn end(&self, active: &ActiveLease, end: LeaseEnd) -> Option<Vec<Record>> {
        let ended = active.end(end).await?;
        lock(&self.active).remove(&active.id);
        self.provisioner.changed().notify_waiters();
        Some(ended.dirty)
    }
}
