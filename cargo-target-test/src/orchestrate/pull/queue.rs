//! The attempts that wait for a machine. Attempts that need the same machine wait in one lane, and only the first
//! attempt of a lane requests a machine. Pure.

use std::collections::VecDeque;

use crate::{
    case::{CaseInfo, RunsOn},
    provision::Want,
    run_event::Attempt,
};

/// Attempts by the machine they need.
#[derive(Debug, Default)]
pub(super) struct Queue(Vec<Lane>);

/// The attempts that need the same machine.
#[derive(Debug)]
struct Lane {
    want: Want,
    attempts: VecDeque<Attempt>,
    /// True while an attempt of this lane requests a machine.
    is_asking: bool,
}

/// The lane of an attempt, and the machine it needs.
#[derive(Clone, Debug)]
pub(super) struct QueuePlace {
    lane: usize,
    pub(super) want: Want,
}

impl Queue {
    /// Adds an attempt. Retries need a fresh machine.
    pub(super) fn push(&mut self, attempt: Attempt) {
        let want = Want {
            fresh: attempt.number > 1,
            ..Want::of(target(&attempt.case))
        };
        let known = self.0.iter().position(|lane| lane.want == want);
        let lane = known.unwrap_or_else(|| {
            self.0.push(Lane {
                want,
                attempts: VecDeque::new(),
                is_asking: false,
            });
            self.0.len() - 1
        });
        self.0[lane].attempts.push_back(attempt);
    }

    /// Takes the next attempt that may request a machine; the others of its lane wait until [`Queue::asked`].
    pub(super) fn next(&mut self) -> Option<(QueuePlace, Attempt)> {
        let lanes = self.0.iter_mut().enumerate();
        let mut idle = lanes.filter(|(_, lane)| !lane.is_asking);
        let (number, lane, attempt) = idle.find_map(|(number, lane)| {
            let attempt = lane.attempts.pop_front()?;
            Some((number, lane, attempt))
        })?;
        lane.is_asking = true;
        let want = lane.want.clone();
        Some((QueuePlace { lane: number, want }, attempt))
    }

    /// Notes that the request of an attempt has ended, with or without a machine.
    pub(super) fn asked(&mut self, place: &QueuePlace) {
        self.0[place.lane].is_asking = false;
    }

    /// Removes all attempts.
    pub(super) fn clear(&mut self) {
        self.0.iter_mut().for_each(|lane| lane.attempts.clear());
    }
}

/// The name of the target that a case runs on; empty for any.
fn target(case: &CaseInfo) -> &str {
    match &case.runs_on {
        RunsOn::Host | RunsOn::Any => "",
        RunsOn::Target { name, .. } | RunsOn::Environment { name, .. } => name,
    }
}
