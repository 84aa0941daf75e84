//! Requests for machines: which machines, for which process, and their treatment after the lease.
//!
//! Must not know how machines are provided.

use std::{fmt, sync::Arc};

use super::pool::Manual;
pub use super::pool::Want;
use crate::case::reason::DirtyReason;

/// A request for machines, granted completely or not at all.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The machines; at least one want.
    pub wants: Vec<Want>,
    /// The requesting process.
    pub requester: Requester,
    /// The treatment of the instances after the lease.
    pub after: After,
    /// The treatment of missing instances.
    pub if_missing: IfMissing,
    /// Receives the reasons for which the request waits.
    pub notices: Notices,
}

impl Request {
    /// Asks for one machine of a target, for this process.
    #[must_use]
    pub fn one(target: &str) -> Self {
        Self {
            wants: vec![Want::of(target)],
            ..Self::default()
        }
    }
}

/// The process that a lease is for.
#[derive(Clone)]
pub struct Requester {
    /// The process id.
    pub pid: u32,
    /// The text that others read while the process holds the lease: `smoke[alpha]`.
    pub case: String,
    /// Present if a user holds the lease by hand; called whenever the lease might be granted, since its duration counts
    /// from then.
    pub by_hand: Option<Arc<dyn Fn() -> ByHand + Send + Sync>>,
}

/// A lease that a user holds by hand for some time.
#[derive(Clone, Debug)]
pub struct ByHand {
    /// As [`Requester::case`]: `lease of ann until 17:30`.
    pub case: String,
    /// The user and the end of the lease.
    pub manual: Manual,
}

impl Requester {
    /// The current process.
    #[must_use]
    pub fn this_process(case: &str) -> Self {
        Self {
            pid: std::process::id(),
            case: case.to_owned(),
            by_hand: None,
        }
    }
}

impl Default for Requester {
    fn default() -> Self {
        Self::this_process("")
    }
}

impl fmt::Debug for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} {}", self.pid, self.case)
    }
}

/// The treatment of instances before another lease gets them.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum After {
    /// None: they are used again as they are.
    #[default]
    Reuse,
    /// They are recycled, for this reason.
    Spend(DirtyReason),
    /// They are restored to the state before their first test, as this case declares; recycled if that fails.
    Restore(String),
}

/// The treatment of missing instances.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum IfMissing {
    /// They are deployed, unless the provisioner was told to stop.
    #[default]
    Deploy,
    /// Only existing instances are leased, even after the provisioner was told to stop.
    Refuse,
}

/// Receives the reasons for which a request waits.
#[derive(Clone, Default)]
pub struct Notices(Option<Arc<Hear>>);

type Hear = dyn Fn(&Notice) + Send + Sync;

/// The reason a request waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The target's name.
    pub target: String,
    /// `waiting for alpha: 2 of 2 leased (pid 4711 smoke[alpha], for 12 s)`.
    pub text: String,
    /// True if the wait is long and no deploy entry shows it.
    pub is_long: bool,
}

impl Notices {
    /// Passes every notice to `hear`.
    pub fn new(hear: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hear)))
    }

    pub(super) fn hear(&self, notice: &Notice) {
        if let Some(hear) = &self.0 {
            hear(notice);
        }
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "heard" } else { "unheard" })
    }
}
