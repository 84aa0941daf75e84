//! Claims: the instances and resources that one lease needs, all or none. Pure data.

use serde::{Deserialize, Serialize};

use super::holder::Process;
use crate::plan::Needs;

/// Instances of one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeaseWant {
    /// The target's name.
    pub target: String,
    /// The hash of the target's definition.
    pub hash: String,
    /// The name of the only instance that will do; `None` accepts every instance of the target.
    pub instance: Option<String>,
    /// Requirements on the instance's facts.
    #[serde(default)]
    pub needs: Needs,
    /// The number of instances; at least 1.
    pub count: usize,
    /// True to prefer instances that were not used since they were prepared.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fresh: bool,
    /// True if other leases that say so too may use the instances at the same time.
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

/// What one process waits for, and for which run. A ticket's text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "TicketText", into = "TicketText")]
pub(crate) struct Claim {
    /// The process that asks again and again.
    pub(crate) waiter: Process,
    /// The run's id. Only records that this run uses are considered.
    pub(crate) run: String,
    /// The instances, by target.
    pub(crate) wants: Vec<LeaseWant>,
    /// The resources.
    pub(crate) resources: Vec<ResourceWant>,
}

/// A claim as tickets have it: the first want in the place where older versions have their only one.
#[derive(Clone, Serialize, Deserialize)]
struct TicketText {
    waiter: Process,
    run: String,
    #[serde(flatten)]
    first: Option<LeaseWant>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    also: Vec<LeaseWant>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    resources: Vec<ResourceWant>,
}

impl From<TicketText> for Claim {
    fn from(text: TicketText) -> Self {
        Self {
            waiter: text.waiter,
            run: text.run,
            wants: text.first.into_iter().chain(text.also).collect(),
            resources: text.resources,
        }
    }
}

impl From<Claim> for TicketText {
    fn from(claim: Claim) -> Self {
        let mut wants = claim.wants.into_iter();
        Self {
            waiter: claim.waiter,
            run: claim.run,
            first: wants.next(),
            also: wants.collect(),
            resources: claim.resources,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes of versions with one target per claim share the queue with this one.
    #[test]
    fn a_ticket_with_one_want_reads_and_looks_as_it_always_did() {
        let text = r#"{"waiter":{"host":"h","boot":"b","pid":7,"started":9},"run":"r","target":"alpha","hash":"h","instance":null,"needs":{"cores":">= 2"},"count":2}"#;
        let claim: Claim = serde_json::from_str(text).unwrap();
        assert_eq!((claim.waiter.pid, claim.wants.len()), (7, 1));
        assert_eq!(
            (&*claim.wants[0].target, claim.wants[0].count),
            ("alpha", 2)
        );
        assert_eq!(serde_json::to_string(&claim).unwrap(), text);
    }

    #[test]
    fn several_wants_and_resources_are_read_back() {
        let want = |target: &str| LeaseWant {
            target: target.to_owned(),
            count: 1,
            shared: true,
            ..LeaseWant::default()
        };
        let resource = ResourceWant {
            name: "licence".to_owned(),
            count: 2,
        };
        for wants in [vec![], vec![want("a")], vec![want("a"), want("b")]] {
            let claim = Claim {
                wants,
                resources: vec![resource.clone()],
                ..Claim::default()
            };
            let text = serde_json::to_string(&claim).unwrap();
            assert_eq!(
                serde_json::from_str::<Claim>(&text).unwrap(),
                claim,
                "{text}"
            );
        }
    }
}
