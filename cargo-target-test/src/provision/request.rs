//! Requests for machines: which ones, for whom, and what becomes of them after.
//!
//! Must not know how anything is provided.

use std::{fmt, sync::Arc};

use super::pool::Manual;
use crate::{case::reason::DirtyReason, plan::Needs};

/// A request for machines, granted whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The machines; at least one want.
    pub wants: Vec<Want>,
    /// The process that asks.
    pub requester: Requester,
    /// The fate of the instances when the lease ends.
    pub after: After,
    /// The way to instances that are not there.
    pub if_missing: IfMissing,
    /// Receives what the request waits for.
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

/// Instances of one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    /// The target's name; empty in a request of one want: any target.
    pub target: String,
    /// The hash of its definition, where a provisioner has several targets of that name.
    pub hash: Option<String>,
    /// The role in which the machines are leased.
    pub role: Option<String>,
    /// The number of machines; at least 1.
    pub count: usize,
    /// Requirements that only an instance's facts can meet.
    pub needs: Needs,
    /// The name of the only instance that will do.
    pub instance: Option<String>,
    /// True if only instances will do that no test has used.
    pub fresh: bool,
    /// True if others may use the machines at the same time. Provisioners without shared leases give exclusive ones.
    pub shared: bool,
}

impl Want {
    /// One machine of a target.
    #[must_use]
    pub fn of(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            hash: None,
            role: None,
            count: 1,
            needs: Needs::new(),
            instance: None,
            fresh: false,
            shared: false,
        }
    }
}

/// The process that a lease is for.
#[derive(Clone)]
pub struct Requester {
    /// Its id.
    pub pid: u32,
    /// The text that others read while it holds the lease: `smoke[alpha]`.
    pub case: String,
    /// Set where a person holds the lease; called whenever the lease might be granted, since its end counts from then.
    pub by_hand: Option<Arc<dyn Fn() -> ByHand + Send + Sync>>,
}

/// A lease that a person holds for some time.
#[derive(Clone, Debug)]
pub struct ByHand {
    /// As [`Requester::case`]: `lease of ann until 17:30`.
    pub case: String,
    /// The person, and the time of its end.
    pub manual: Manual,
}

impl Requester {
    /// This process.
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

/// The fate of instances before others get them.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum After {
    /// Nothing.
    #[default]
    Reuse,
    /// They are recycled, for this reason.
    Spend(DirtyReason),
    /// They are restored to the state before their first test, as this case declares; recycled where that fails.
    Restore(String),
}

/// The way to instances that are not there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum IfMissing {
    /// They are deployed, unless the provisioner was told to stop.
    #[default]
    Deploy,
    /// Only existing instances are leased, even after the provisioner was told to stop.
    Refuse,
}

/// Receives what a request waits for.
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
    /// True if the wait is long, and nothing else tells of it.
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
