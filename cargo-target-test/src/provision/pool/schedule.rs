//! Decides who gets which lease next: in ticket order, all or none. Pure: no disk, clock or process.
//!
//! Every claim is a set of slots, one per instance, and a slot can be filled with any of several leases. The claims are
//! matched to the free leases in ticket order (`matching`): a later claim may move an earlier claim to another suitable
//! lease, but never takes a lease away from it. So a claim that any instance can serve does not take the only instance
//! that another claim can use, whatever their order.
//!
//! A claim that gets only some of its slots keeps these, so that claims for fewer instances cannot starve it. A claim
//! that could not be served even if all leases were free waits for a deploy, and keeps nothing.

mod matching;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use self::matching::{Choices, Matching, can_ever_serve, options};
use super::{
    holder::Holder,
    view::{LeaseState, QueueEntry, View, Waiter},
};

/// The answer to this process's claim.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    /// Ids of the records to lease, by want and then by index.
    Grant(Vec<String>),
    Wait(WaitReason),
    /// Fewer instances are ready than claimed. Waiting alone does not help.
    NoneReady,
    /// These records must not serve again, since their holders died. Decide again after marking them.
    MarkDirty(BTreeMap<String, Holder>),
}

/// The reason that a claim has to wait.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WaitReason {
    /// The number of leases that suit the claim.
    pub total: usize,
    /// The living holders of these leases.
    pub busy: Vec<Holder>,
    /// The number of earlier waiters, for any target.
    pub ahead: usize,
}

/// The part of the view that a decision needs next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Missing {
    Leases {
        /// The leases, in order of preference.
        names: Vec<String>,
        /// The number of leases without a holder after which reading may stop.
        enough: usize,
    },
    /// Indices in [`View::queue`].
    Places(Range<usize>),
}

/// Decides on this process's claim.
///
/// # Errors
/// The missing part of the view. Decide again with that part.
pub(crate) fn schedule(view: &View) -> Result<Decision, Missing> {
    let options = options(view, &view.own);
    if !can_ever_serve(view, &view.own, &options) {
        return Ok(Decision::NoneReady);
    }
    let (ahead, behind) = view.queue.split_at(view.ahead);
    let unread = ahead
        .iter()
        .position(|place| matches!(place, QueueEntry::Unread));
    if unread.is_some() {
        // Earlier waiters do not matter while too few leases are free.
        let mut alone = Matching::new(view);
        if !alone.serve(&view.own, &options)? {
            let wait = Decision::Wait(wait_reason(view, &options));
            return Ok(unless_dirty(alone, wait));
        }
    }
    let mut matching = Matching::new(view);
    let read = &ahead[..unread.unwrap_or(ahead.len())];
    for waiter in read.iter().filter_map(QueueEntry::waiter) {
        matching.serve_other(waiter)?;
    }
    let first_own = matching.slots();
    if !matching.serve(&view.own, &options)? {
        let wait = Decision::Wait(wait_reason(view, &options));
        return Ok(unless_dirty(matching, wait));
    }
    let own = first_own..matching.slots();
    if let Some(first) = unread {
        return Err(next_places(first, first..view.ahead));
    }
    // Later waiters matter only if there is a choice between leases.
    for (number, place) in behind.iter().enumerate() {
        if !matching.has_choice() {
            break;
        }
        match place {
            QueueEntry::Unread => {
                return Err(next_places(number, view.ahead + number..view.queue.len()));
            }
            QueueEntry::Vacant => {}
            QueueEntry::Waiting(waiter) => matching.serve_other(waiter)?,
        }
    }
    let grant = Decision::Grant(matching.records(own));
    Ok(unless_dirty(matching, grant))
}

/// The next places to read. Reads as many of the `left` ones again as were read before, to limit the number of rounds.
fn next_places(read: usize, left: Range<usize>) -> Missing {
    Missing::Places(left.start..left.end.min(left.start + read.max(1)))
}

/// The decision, unless records must be marked dirty first: that changes who can be served.
fn unless_dirty(matching: Matching<'_>, decision: Decision) -> Decision {
    let dirty = matching.into_dirty();
    match dirty.is_empty() {
        true => decision,
        false => Decision::MarkDirty(dirty),
    }
}

fn wait_reason(view: &View, options: &Choices<'_>) -> WaitReason {
    let records = options.iter().flat_map(|records| records.iter());
    let leases: BTreeSet<&String> = records.map(|record| &record.lease).collect();
    let holders = leases
        .iter()
        .flat_map(|lease| match view.leases.get(*lease) {
            Some(LeaseState::Held(holder)) => std::slice::from_ref(holder),
            Some(LeaseState::Shared(holders)) => holders,
            _ => &[],
        });
    let ahead = view.queue[..view.ahead].iter();
    WaitReason {
        total: leases.len(),
        busy: holders.cloned().collect(),
        ahead: ahead
            .filter(|place| !matches!(place, QueueEntry::Vacant))
            .count(),
    }
}

impl QueueEntry {
    fn waiter(&self) -> Option<&Waiter> {
        match self {
            Self::Waiting(waiter) => Some(waiter),
            Self::Unread | Self::Vacant => None,
        }
    }
}

impl WaitReason {
    /// The reason for people: `2 of 2 leased (pid 4711 smoke[alpha], for 12 s), 1 before us`. Of several holders, names
    /// the one that holds its lease longest.
    pub fn describe(&self) -> String {
        let mut text = format!("{} of {} leased", self.busy.len(), self.total);
        if let Some(holder) = self.busy.iter().min_by_key(|holder| holder.since) {
            text.push_str(&format!(" ({})", holder.describe()));
        }
        if self.ahead > 0 {
            text.push_str(&format!(", {} before us", self.ahead));
        }
        text
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
