//! Matches claims to free leases: one claim after another, by augmenting paths.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    rc::Rc,
};

use super::Missing;
use crate::{
    plan,
    provision::pool::{
        claim::Want,
        holder::Holder,
        state::{Record, RecordState},
        view::{LeaseState, View, Waiter},
    },
};

/// The records that can serve a claim, by want and in order of preference.
pub(super) type Choices<'a> = Vec<Rc<[&'a Record]>>;

/// The records that suit each want of a claim, by index.
pub(super) fn options<'a>(view: &'a View, waiter: &Waiter) -> Choices<'a> {
    let fitting = |want: &Want| {
        let records = waiter
            .uses
            .iter()
            .filter_map(|id| view.state.records.get(id));
        let mut records: Vec<&Record> = records.filter(|record| fits(want, record)).collect();
        records.sort_by_key(|record| record.spec.index);
        records.into()
    };
    waiter.claim.wants.iter().map(fitting).collect()
}

fn fits(want: &Want, record: &Record) -> bool {
    let is_named = |name: &String| name == record.name();
    record.state == RecordState::Ready
        && record.spec.target == want.target
        && want.hash.as_ref().is_none_or(|hash| *hash == record.hash)
        && want.instance.as_ref().is_none_or(is_named)
        && plan::met(&want.needs, record.name(), &record.facts).is_ok()
}

/// True if the claim could be served without any holder or other waiter.
pub(super) fn can_ever_serve(view: &View, waiter: &Waiter, options: &Choices<'_>) -> bool {
    let resources = waiter.claim.resources.iter().all(|want| {
        let state = view.resources.get(&want.name);
        state.is_some_and(|state| want.count <= state.total)
    });
    let mut matching = Matching::new(view);
    matching.all_free = true;
    resources && matching.serve_instances(waiter, options) == Ok(true)
}

/// Claims matched to leases.
pub(super) struct Matching<'a> {
    view: &'a View,
    /// True to treat every lease as free.
    all_free: bool,
    slots: Vec<Slot<'a>>,
    /// The slots that each lease fills; several slots only if all of them are shared.
    filled: BTreeMap<&'a str, Vec<usize>>,
    /// Leases that no other slot may join: a claim waits for the exclusive use of one of them.
    closed: BTreeSet<&'a str>,
    /// The remaining units of resources, by name.
    resources: BTreeMap<&'a str, u32>,
    /// The records, by id, whose holder died.
    dirty: BTreeMap<String, Holder>,
    claims: usize,
}

/// One instance of a claim.
struct Slot<'a> {
    claim: usize,
    shared: bool,
    /// The records that can fill it, in order of preference.
    options: Rc<[&'a Record]>,
    /// The number of unfilled slots of the same want, including this one.
    left: usize,
}

impl<'a> Matching<'a> {
    pub(super) fn new(view: &'a View) -> Self {
        let resources = view.resources.iter();
        Self {
            view,
            all_free: false,
            slots: Vec::new(),
            filled: BTreeMap::new(),
            closed: BTreeSet::new(),
            resources: resources
                .map(|(name, state)| (name.as_str(), state.free))
                .collect(),
            dirty: BTreeMap::new(),
            claims: 0,
        }
    }

    /// Matches the claim of another waiter as far as possible. A claim that waits for a deploy keeps nothing.
    pub(super) fn serve_other(&mut self, waiter: &'a Waiter) -> Result<(), Missing> {
        let options = options(self.view, waiter);
        if can_ever_serve(self.view, waiter, &options) {
            self.serve(waiter, &options)?;
        }
        Ok(())
    }

    /// Matches a claim as far as possible. True if all of it is served.
    pub(super) fn serve(
        &mut self,
        waiter: &'a Waiter,
        options: &Choices<'a>,
    ) -> Result<bool, Missing> {
        let mut complete = self.serve_instances(waiter, options)?;
        for want in &waiter.claim.resources {
            let left = self.resources.entry(&want.name).or_default();
            complete &= *left >= want.count;
            *left = left.saturating_sub(want.count);
        }
        if !complete {
            let wants = waiter.claim.wants.iter().zip(options);
            let exclusive = wants.filter(|(want, _)| !want.shared);
            let records = exclusive.flat_map(|(_, options)| options.iter());
            self.closed
                .extend(records.map(|record| record.lease.as_str()));
        }
        Ok(complete)
    }

    fn serve_instances(&mut self, waiter: &Waiter, options: &Choices<'a>) -> Result<bool, Missing> {
        let claim = self.claims;
        self.claims += 1;
        let mut complete = true;
        for (want, options) in waiter.claim.wants.iter().zip(options) {
            let options = match want.fresh && !self.all_free {
                true => self.unused_first(options)?,
                false => Rc::clone(options),
            };
            for left in (1..=want.count).rev() {
                self.slots.push(Slot {
                    claim,
                    shared: want.shared,
                    options: Rc::clone(&options),
                    left,
                });
                if !self.fill(self.slots.len() - 1, &mut BTreeSet::new())? {
                    self.slots.pop();
                    complete = false;
                    break;
                }
            }
        }
        Ok(complete)
    }

    fn unused_first(&self, options: &[&'a Record]) -> Result<Rc<[&'a Record]>, Missing> {
        let names = self.unread(options);
        if !names.is_empty() {
            let enough = usize::MAX;
            return Err(Missing::Leases { names, enough });
        }
        let unused = LeaseState::Free { unused: true };
        let mut options = options.to_vec();
        options.sort_by_key(|record| self.view.leases.get(&record.lease) != Some(&unused));
        Ok(options.into())
    }

    fn unread(&self, options: &[&Record]) -> Vec<String> {
        let leases = options.iter().map(|record| &record.lease);
        let mut seen = BTreeSet::new();
        leases
            .filter(|lease| !self.view.leases.contains_key(*lease) && seen.insert(*lease))
            .cloned()
            .collect()
    }

    /// Fills a slot, and moves other slots to other leases if necessary. `tried` are the leases on the path.
    fn fill(&mut self, slot: usize, tried: &mut BTreeSet<&'a str>) -> Result<bool, Missing> {
        let options = Rc::clone(&self.slots[slot].options);
        if self.slots[slot].shared {
            let mut leases = options.iter().map(|record| record.lease.as_str());
            if let Some(lease) = leases.find(|lease| self.can_join(slot, lease)) {
                self.filled.entry(lease).or_default().push(slot);
                return Ok(true);
            }
        }
        for record in options.iter() {
            let lease = record.lease.as_str();
            if self.is_unfilled(lease) && self.is_free(slot, record)? {
                self.filled.insert(lease, vec![slot]);
                return Ok(true);
            }
        }
        for record in options.iter() {
            let lease = record.lease.as_str();
            let Some(&[other]) = self.filled.get(lease).map(Vec::as_slice) else {
                continue;
            };
            if self.is_free(slot, record)? && tried.insert(lease) && self.fill(other, tried)? {
                self.filled.insert(lease, vec![slot]);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_unfilled(&self, lease: &str) -> bool {
        self.filled.get(lease).is_none_or(Vec::is_empty)
    }

    /// True if the lease has no holder, so that the slot can use it exclusively.
    fn is_free(&mut self, slot: usize, record: &Record) -> Result<bool, Missing> {
        if self.all_free {
            return Ok(true);
        }
        match self.view.leases.get(&record.lease) {
            Some(LeaseState::Free { .. }) => Ok(true),
            // An existing host serves again after its leftover processes are killed.
            Some(LeaseState::HolderDied(_)) if !record.ownership.is_created() => Ok(true),
            Some(LeaseState::HolderDied(holder)) => {
                self.dirty.insert(record.id.clone(), holder.clone());
                Ok(false)
            }
            Some(LeaseState::Held(_) | LeaseState::Shared(_)) => Ok(false),
            None => {
                let slot = &self.slots[slot];
                Err(Missing::Leases {
                    names: self.unread(&slot.options),
                    enough: slot.left,
                })
            }
        }
    }

    /// True if the slot can share the lease with its holders and with the slots that are matched to it.
    fn can_join(&self, slot: usize, lease: &str) -> bool {
        let filled = self.filled.get(lease).map_or(&[][..], Vec::as_slice);
        let is_in_use = match self.view.leases.get(lease) {
            Some(LeaseState::Shared(_)) => true,
            Some(LeaseState::Held(_)) | None => false,
            Some(LeaseState::Free { .. } | LeaseState::HolderDied(_)) => !filled.is_empty(),
        };
        let shares = |other: &usize| {
            let other = &self.slots[*other];
            other.shared && other.claim != self.slots[slot].claim
        };
        is_in_use && !self.closed.contains(lease) && filled.iter().all(shares)
    }

    /// True if one of the claims could use another lease that is not matched.
    pub(super) fn has_choice(&self) -> bool {
        let options = self.slots.iter().flat_map(|slot| slot.options.iter());
        let mut open = options.filter(|record| {
            let state = self.view.leases.get(&record.lease);
            !matches!(state, Some(LeaseState::Held(_))) && !self.dirty.contains_key(&record.id)
        });
        open.any(|record| self.is_unfilled(&record.lease))
    }

    /// The number of slots so far. The slots that a call of [`Matching::serve`] adds belong to that claim.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The ids of the records that fill these slots, by want and then by index.
    pub(super) fn records(&self, slots: Range<usize>) -> Vec<String> {
        let record = |slot: usize| -> Option<&Record> {
            let is_filled = |record: &&&Record| {
                let filled = self.filled.get(record.lease.as_str());
                filled.is_some_and(|filled| filled.contains(&slot))
            };
            self.slots[slot].options.iter().find(is_filled).copied()
        };
        let mut records = Vec::new();
        let mut want = 0;
        for slot in slots {
            records.extend(record(slot).map(|record| (want, record)));
            want += usize::from(self.slots[slot].left == 1);
        }
        records.sort_by_key(|(want, record)| (*want, record.spec.index));
        let ids = records.into_iter().map(|(_, record)| record.id.clone());
        ids.collect()
    }

    /// The records, by id, whose holder died: none of them can serve.
    pub(super) fn into_dirty(self) -> BTreeMap<String, Holder> {
        self.dirty
    }
}
