//! The clock of an orchestration: described time, which may pass faster than real time, and the time that a host slept.

use std::time::{Duration, Instant, SystemTime};

/// The shortest difference between the clocks that is a sleep of the host.
const SLEPT: Duration = Duration::from_secs(5);

/// A clock that starts with the first start-up event.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    scale: f64,
    wall: WallClock,
}

impl Clock {
    pub(super) fn start(scale: f64) -> Self {
        Self {
            started: Instant::now(),
            scale,
            wall: WallClock {
                started: SystemTime::now(),
                slept: Duration::ZERO,
            },
        }
    }

    /// A clock whose host slept for this time since its start.
    #[cfg(test)]
    pub(super) fn after_sleep(slept: Duration) -> Self {
        let mut clock = Self::start(1.0);
        clock.wall.started -= slept;
        clock
    }

    /// The described time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed().mul_f64(self.scale)
    }

    /// The real time until `elapsed` is at this value.
    pub(super) fn until(&self, at: Duration) -> Duration {
        at.saturating_sub(self.elapsed()).div_f64(self.scale)
    }

    /// The time that the host slept since the last call, if it did. The monotonic clock stands still meanwhile.
    pub(super) fn slept(&mut self) -> Option<Duration> {
        self.wall.slept(self.started.elapsed(), SystemTime::now())
    }
}

/// The wall clock at the start, and how far it is known to be ahead of the monotonic clock.
#[derive(Debug)]
struct WallClock {
    started: SystemTime,
    slept: Duration,
}

impl WallClock {
    fn slept(&mut self, elapsed: Duration, now: SystemTime) -> Option<Duration> {
        let ahead = now
            .duration_since(self.started + elapsed)
            .unwrap_or_default();
        let slept = ahead.saturating_sub(self.slept);
        (slept >= SLEPT).then(|| {
            self.slept = ahead;
            slept
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_told_once() {
        let seconds = Duration::from_secs;
        let started = SystemTime::UNIX_EPOCH;
        let mut wall = WallClock {
            started,
            slept: Duration::ZERO,
        };
        for (elapsed, now, slept) in [
            (10, 10, None),
            (20, 23, None),
            (30, 630, Some(600)),
            (40, 640, None),
            // The wall clock was set back.
            (50, 20, None),
            (60, 670, Some(10)),
        ] {
            let found = wall.slept(seconds(elapsed), started + seconds(now));
            assert_eq!(found, slept.map(seconds), "at {elapsed}");
        }
    }

    #[test]
    fn described_time_passes_faster() {
        let clock = Clock::start(600.0);
        let until = clock.until(Duration::from_secs(600));
        assert!(until <= Duration::from_secs(1), "{until:?}");
        assert_eq!(clock.until(Duration::ZERO), Duration::ZERO);
    }
}
