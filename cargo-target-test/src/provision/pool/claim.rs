//! Claims: the instances and resources that one lease needs, all or none. Pure data.

use serde::{Deserialize, Serialize};

use crate::plan::Needs;

/// Instances of one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Want {
    /// The target's name; empty for any target, in a request with one want.
    pub target: String,
    /// The hash of the definition, if the provisioner has several targets of that name.
    pub hash: Option<String>,
    /// The role in which the machines are leased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The name of the only suitable instance.
    pub instance: Option<String>,
    /// Requirements that only an instance's facts can meet.
    #[serde(default)]
    pub needs: Needs,
    /// The number of machines; at least 1.
    pub count: usize,
    /// True if only instances that no test has used are suitable.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fresh: bool,
    /// True if other leases may use the machines at the same time. Provisioners without shared leases grant exclusive
    /// ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
}

impl Want {
    /// One machine of a target.
    #[must_use]
    pub fn of(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            count: 1,
            ..Self::default()
        }
    }
}

/// Units of a counted resource without a connection: licences, relay cards.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResourceWant {
    /// The resource's name.
    pub name: String,
    /// The number of units; at least 1.
    pub count: u32,
}

/// The instances and resources of one waiter, and the run it belongs to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Claim {
    /// The run's id. Only records that this run uses are considered.
    pub(crate) run: String,
    /// The instances, by target.
    pub(crate) wants: Vec<Want>,
    /// The resources.
    pub(crate) resources: Vec<ResourceWant>,
}
