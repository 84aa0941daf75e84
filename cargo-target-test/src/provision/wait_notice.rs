//! Decides when a wait is worth a notice to people.

use std::time::{Duration, Instant};

/// Decides when a notice about a wait is due: not at once, not too often, and not twice with the same text.
pub(crate) struct WaitNotice {
    started: Instant,
    /// The earliest time of the next notice, counted from `started`.
    next: Duration,
    pace: Pace,
    said: Option<String>,
}

/// The pauses between notices.
#[derive(Clone, Copy)]
enum Pace {
    /// Always the same pause.
    Even(Duration),
    /// A pause as long as the wait so far.
    Doubling,
}

impl WaitNotice {
    /// The first notice comes after `first`, each further one after twice the time.
    pub(crate) fn doubling(first: Duration) -> Self {
        Self::new(first, Pace::Doubling)
    }

    /// The first notice comes after `first`, further ones every `apart`.
    pub(crate) fn even(first: Duration, apart: Duration) -> Self {
        Self::new(first, Pace::Even(apart))
    }

    /// A notice comes whenever the text changes.
    pub(crate) fn on_change() -> Self {
        Self::even(Duration::ZERO, Duration::ZERO)
    }

    fn new(first: Duration, pace: Pace) -> Self {
        Self {
            started: Instant::now(),
            next: first,
            pace,
            said: None,
        }
    }

    /// The time since the wait began.
    pub(crate) fn waited(&self) -> Duration {
        self.started.elapsed()
    }

    /// True if a notice may come now.
    pub(crate) fn is_time(&self) -> bool {
        self.waited() >= self.next
    }

    /// True if a notice is due now: it may come, and its text is new.
    pub(crate) fn is_due(&mut self, words: &str) -> bool {
        self.is_due_after(self.waited(), words)
    }

    fn is_due_after(&mut self, waited: Duration, words: &str) -> bool {
        if waited < self.next || self.said.as_deref() == Some(words) {
            return false;
        }
        self.next = match self.pace {
            Pace::Even(apart) => waited + apart,
            Pace::Doubling => waited * 2,
        };
        self.said = Some(words.to_owned());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_comes_when_its_words_change() {
        let mut notice = WaitNotice::on_change();
        let due = ["a", "a", "b", "a"].map(|words| notice.is_due(words));
        assert_eq!(due, [true, false, true, true]);
    }

    #[test]
    fn notices_are_apart() {
        let second = Duration::from_secs(1);
        for (mut notice, times) in [
            (WaitNotice::even(second, second * 5), [0, 1, 2, 6, 7, 11]),
            (WaitNotice::doubling(second), [0, 1, 1, 2, 3, 4]),
        ] {
            let due = |at: u32| notice.is_due_after(second * at, &format!("{at} s, said once"));
            let due = times.map(due);
            assert_eq!(due, [false, true, false, true, false, true], "{times:?}");
        }
    }
}
