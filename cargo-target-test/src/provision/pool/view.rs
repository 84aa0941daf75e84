//! A snapshot of the pool that contains the parts one claim needs. Pure data: the input of `schedule`.
//!
//! A view may be incomplete: reading a lease or a place in the queue costs system calls, and most decisions need few of
//! them. `schedule` names the part it needs next.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{claim::Claim, holder::Holder, state::PoolState};

/// The pool as one claim sees it.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// All records.
    pub(crate) state: Arc<PoolState>,
    /// By [`Record::lease`](super::Record::lease); leases that were not read yet are absent.
    pub(crate) leases: BTreeMap<String, LeaseState>,
    /// By name; an absent resource does not exist.
    pub(crate) resources: BTreeMap<String, ResourceState>,
    /// The other waiters, in ticket order.
    pub(crate) queue: Vec<QueueEntry>,
    /// The number of places in `queue` before the own claim.
    pub(crate) ahead: usize,
    /// The own claim.
    pub(crate) own: Waiter,
}

/// A claim, with the records that can serve it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiter {
    pub(crate) claim: Claim,
    /// Ids of the records that the claim's run uses.
    pub(crate) uses: Arc<BTreeSet<String>>,
}

/// A place in the queue.
#[derive(Clone, Debug)]
pub(crate) enum QueueEntry {
    /// Not read yet.
    Unread,
    /// Skipped: its process or its run ended, or its process is stopped.
    Vacant,
    Waiting(Waiter),
}

/// The state of one lease.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LeaseState {
    Free {
        /// True if the lease was never held, or was always returned as unused.
        unused: bool,
    },
    /// A living process holds it.
    Held(Holder),
    /// Living processes share it, and others may join them.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the file store has no shared leases")
    )]
    Shared(Vec<Holder>),
    /// Free, but its last holder ended or let the lease expire without returning it.
    HolderDied(Holder),
}

/// The state of a counted resource.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ResourceState {
    /// Units that exist.
    pub(crate) total: u32,
    /// Units without a holder.
    pub(crate) free: u32,
}
