//! The decisions of a switch: the ports that a frame goes to, and the frames that are lost or late.
//!
//! Touches no clock and no socket: the caller passes the time since the start.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::Duration,
};

use super::conditions::Conditions;

/// The length of an Ethernet frame's header in bytes; a shorter frame is ignored.
const HEADER: usize = 14;
/// The maximum number of learned hardware addresses. A full table is learned anew.
const ADDRESSES: usize = 4096;
/// The maximum number of bytes from one port that wait for their time; more are lost, as on a line that is too slow.
const WAITING: usize = 4 << 20;

/// A hardware address.
type Mac = [u8; 6];

/// A switch with the conditions of its network.
pub(super) struct Switch {
    ports: Vec<Sender>,
    learned: BTreeMap<Mac, usize>,
    pub(super) conditions: Conditions,
    waiting: BinaryHeap<Reverse<Delivery>>,
    /// The number of deliveries so far: of two with the same time, the older one is first.
    count: u64,
    random: fastrand::Rng,
}

/// A port as the sender of frames.
#[derive(Clone, Default)]
struct Sender {
    /// The time at which the line has carried the last frame.
    busy_until: Duration,
    /// The number of bytes that wait.
    waiting: usize,
}

/// A frame on its way to a port.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Delivery {
    due: Duration,
    number: u64,
    from: usize,
    pub(super) to: usize,
    pub(super) frame: Arc<[u8]>,
}

impl Switch {
    /// A switch with this number of ports. `seed` decides which frames are lost.
    pub(super) fn new(ports: usize, conditions: Conditions, seed: u64) -> Self {
        Self {
            ports: vec![Sender::default(); ports],
            learned: BTreeMap::new(),
            conditions,
            waiting: BinaryHeap::new(),
            count: 0,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Takes a frame that arrived at a port.
    pub(super) fn receive(&mut self, now: Duration, from: usize, frame: &[u8]) {
        let Some((to, sender)) = addresses(frame) else {
            return;
        };
        self.learn(sender, from);
        let carried = self.line_time(now, from, frame.len());
        let frame: Arc<[u8]> = frame.into();
        match self.learned.get(&to).copied() {
            Some(port) => self.send(carried, from, port, &frame),
            None => (0..self.ports.len()).for_each(|port| self.send(carried, from, port, &frame)),
        }
    }

    /// Returns the next frame whose time has come.
    pub(super) fn next_due(&mut self, now: Duration) -> Option<Delivery> {
        while self.next_time().is_some_and(|due| due <= now) {
            let Reverse(delivery) = self.waiting.pop()?;
            self.ports[delivery.from].waiting -= delivery.frame.len();
            // A frame that is under way when the partition begins does not arrive.
            if !self.conditions.separates(delivery.from, delivery.to) {
                return Some(delivery);
            }
        }
        None
    }

    /// The time of the next delivery; `None` if no frame waits.
    pub(super) fn next_time(&self) -> Option<Duration> {
        self.waiting.peek().map(|Reverse(next)| next.due)
    }

    fn learn(&mut self, sender: Mac, port: usize) {
        if is_group(sender) {
            return;
        }
        if self.learned.len() >= ADDRESSES && !self.learned.contains_key(&sender) {
            self.learned.clear();
        }
        self.learned.insert(sender, port);
    }

    /// Returns the time at which the line has carried a frame of this length.
    fn line_time(&mut self, now: Duration, from: usize, length: usize) -> Duration {
        let Some(rate) = self.conditions.rate else {
            return now;
        };
        let port = &mut self.ports[from];
        let carries = Duration::from_secs_f64(length as f64 * 8.0 / rate as f64);
        port.busy_until = port.busy_until.max(now) + carries;
        port.busy_until
    }

    /// Sends a frame, which the line of its sender has carried at this time, on its way.
    fn send(&mut self, carried: Duration, from: usize, to: usize, frame: &Arc<[u8]>) {
        let loss = self.conditions.loss(from, to);
        let mut lost = || loss > 0.0 && self.random.f64() < loss;
        let full = self.ports[from].waiting + frame.len() > WAITING;
        if from == to || full || self.conditions.separates(from, to) || lost() {
            return;
        }
        self.ports[from].waiting += frame.len();
        self.count += 1;
        self.waiting.push(Reverse(Delivery {
            due: carried + self.conditions.delay(from, to),
            number: self.count,
            from,
            to,
            frame: Arc::clone(frame),
        }));
    }
}

/// The receiver and the sender of a frame; `None` if it is too short.
fn addresses(frame: &[u8]) -> Option<(Mac, Mac)> {
    let header = frame.get(..HEADER)?;
    Some((header[..6].try_into().ok()?, header[6..12].try_into().ok()?))
}

/// True if the address is of several machines.
fn is_group(address: Mac) -> bool {
    address[0] & 1 != 0
}

#[cfg(test)]
mod tests;
