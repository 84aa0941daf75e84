//! Claims: the instances and resources that one lease needs, all or none. Pure data.

use serde::{Deserialize, Serialize};

use crate::plan::Needs;

/// Instances of one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeaseWant {
    /// The target's name.
    pub target: String,
    /// The hash of the target's definition.
    pub hash: String,
    /// The name of the only suitable instance; `None` accepts every instance of the target.
    pub instance: Option<String>,
    /// Requirements on the instance's facts.
    #[serde(default)]
    pub needs: Needs,
    /// The number of instances; at least 1.
    pub count: usize,
    /// True to prefer instances that were not used since their preparation.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fresh: bool,
    /// True if other shared leases may use the instances at the same time.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shared: bool,
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
    pub(crate) wants: Vec<LeaseWant>,
    /// The resources.
    pub(crate) resources: Vec<ResourceWant>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !value
}
