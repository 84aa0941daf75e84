//! [`KillSwitch`], by which events learn that they must end.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

/// Tells events to end: it is set when the orchestration's time is over, it failed, or it was interrupted.
///
/// An event that waits, or that started something, checks the switch and ends in time. Tear-down events get another
/// switch, which is set if they take too long.
#[derive(Clone, Debug, Default)]
pub struct KillSwitch(Arc<Switch>);

#[derive(Debug, Default)]
struct Switch {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl KillSwitch {
    /// True if the event must end.
    #[must_use]
    pub fn is_set(&self) -> bool {
        *self.0.is_set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the event must end, but at most for `timeout`. Returns true if the event must end.
    pub fn wait(&self, timeout: Duration) -> bool {
        let is_set = self.0.is_set.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .0
            .changed
            .wait_timeout_while(is_set, timeout, |is_set| !*is_set);
        let (is_set, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *is_set
    }

    /// Tells all events that use this switch to end.
    pub fn set(&self) {
        *self.0.is_set.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Instant};

    use super::*;

    #[test]
    fn a_waiting_event_ends_at_once() {
        let switch = KillSwitch::default();
        assert!(!switch.wait(Duration::from_millis(1)));
        let (other, started) = (switch.clone(), Instant::now());
        let event = thread::spawn(move || other.wait(Duration::from_secs(60)));
        switch.set();
        assert!(event.join().expect("the event ends"));
        assert!(switch.is_set() && switch.wait(Duration::from_secs(60)));
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
