//! Small pools for the tests of [`schedule`].

use std::{collections::BTreeSet, sync::Arc};

use super::*;
use crate::provision::pool::{
    claim::{Claim, Want},
    state::{PoolState, Record, RecordState, tests::record},
    view::ResourceState,
};

/// A pool in the notation of the tests.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    /// Records with the states of their leases.
    pub(super) records: Vec<(Record, LeaseState)>,
    pub(super) resources: Vec<(&'static str, u32, u32)>,
    /// Claims, in ticket order.
    pub(super) queue: Vec<Claim>,
}

pub(super) const FREE: LeaseState = LeaseState::Free { unused: false };
pub(super) const UNUSED: LeaseState = LeaseState::Free { unused: true };

pub(super) fn held() -> LeaseState {
    LeaseState::Held(holder("busy[x]"))
}

pub(super) fn holder(case: &str) -> Holder {
    Holder {
        case: case.to_owned(),
        ..Holder::default()
    }
}

impl World {
    /// A pool with ready instances `alpha-0`, `alpha-1`, ..., whose leases have these states.
    pub(super) fn of(states: &[LeaseState]) -> Self {
        Self::default().with("alpha", states)
    }

    pub(super) fn with(mut self, target: &str, states: &[LeaseState]) -> Self {
        for (index, state) in (0..).zip(states) {
            let mut record = record(&format!("{target}-{index}"), target, index, "h");
            record.state = RecordState::Ready;
            record
                .facts
                .insert("cores".to_owned(), (index + 1).to_string());
            self.records.push((record, state.clone()));
        }
        self
    }

    pub(super) fn waits(mut self, claims: impl IntoIterator<Item = Claim>) -> Self {
        self.queue.extend(claims);
        self
    }

    /// The complete view for the claim with this number in the queue.
    pub(super) fn view(&self, own: usize) -> View {
        let mut state = PoolState::new("tt-000000".to_owned());
        for (record, _) in &self.records {
            state.records.insert(record.id.clone(), record.clone());
        }
        let uses: Arc<BTreeSet<String>> = Arc::new(state.records.keys().cloned().collect());
        let waiter = |claim: &Claim| Waiter {
            claim: claim.clone(),
            uses: Arc::clone(&uses),
        };
        let mut queue = self.queue.clone();
        let own_claim = queue.remove(own);
        View {
            state: Arc::new(state),
            leases: self
                .records
                .iter()
                .map(|(record, state)| (record.lease.clone(), state.clone()))
                .collect(),
            resources: self
                .resources
                .iter()
                .map(|(name, total, free)| {
                    let (total, free) = (*total, *free);
                    ((*name).to_owned(), ResourceState { total, free })
                })
                .collect(),
            queue: queue
                .iter()
                .map(|claim| QueueEntry::Waiting(waiter(claim)))
                .collect(),
            ahead: own,
            own: waiter(&own_claim),
        }
    }

    pub(super) fn decide(&self, own: usize) -> Decision {
        schedule(&self.view(own)).expect("the view is complete")
    }

    /// The answers to all claims, in ticket order: `alpha-0+alpha-1`, `wait`, `none ready`, `dirty alpha-0`.
    pub(super) fn answers(&self) -> Vec<String> {
        let text = |own| match self.decide(own) {
            Decision::Grant(records) => records.join("+"),
            Decision::Wait(_) => "wait".to_owned(),
            Decision::NoneReady => "none ready".to_owned(),
            Decision::MarkDirty(records) => {
                let ids: Vec<String> = records.into_keys().collect();
                format!("dirty {}", ids.join("+"))
            }
        };
        (0..self.queue.len()).map(text).collect()
    }
}

pub(super) fn want(target: &str, count: usize) -> Want {
    Want {
        target: target.to_owned(),
        hash: Some("h".to_owned()),
        count,
        ..Want::default()
    }
}

pub(super) fn claim(wants: impl IntoIterator<Item = Want>) -> Claim {
    Claim {
        wants: wants.into_iter().collect(),
        ..Claim::default()
    }
}

/// Decides on a view that contains only the records at first, and is completed as the scheduler asks; counts the parts
/// that were read.
pub(super) fn decide_lazily(whole: &View) -> (Decision, usize, usize) {
    let mut view = whole.clone();
    view.leases.clear();
    view.queue.fill(QueueEntry::Unread);
    let (mut leases, mut places) = (0, 0);
    loop {
        match schedule(&view) {
            Ok(decision) => return (decision, leases, places),
            Err(Missing::Leases { names, enough }) => {
                assert!(!names.is_empty() && enough > 0);
                let mut found = 0;
                for name in names {
                    leases += 1;
                    let state = whole.leases[&name].clone();
                    found += usize::from(!matches!(state, LeaseState::Held(_)));
                    assert_eq!(view.leases.insert(name, state), None, "read twice");
                    if found >= enough {
                        break;
                    }
                }
            }
            Err(Missing::Places(range)) => {
                assert!(!range.is_empty());
                for number in range {
                    places += 1;
                    assert!(
                        matches!(view.queue[number], QueueEntry::Unread),
                        "read twice"
                    );
                    view.queue[number] = whole.queue[number].clone();
                }
            }
        }
    }
}
