//! The signals that end a run or an interactive command, and how often the user wants it to end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use signal_hook::{
    SigId,
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    flag,
    iterator::{Handle, SignalsInfo, exfiltrator::WithOrigin},
    low_level::{
        self,
        siginfo::{Cause, Origin},
    },
};
use tokio::{signal::unix::SignalKind, sync::mpsc};

use crate::{error::Result, process};

/// The same signal, sent again by a process within this time, is the same wish: `timeout` sends one to its child and one
/// to its process group.
const SAME: Duration = Duration::from_secs(1);
/// The signals that end a run.
const CAUGHT: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// Listeners for the signals that end a run.
pub(crate) struct Signals {
    handle: Handle,
    caught: mpsc::UnboundedReceiver<CaughtSignal>,
    /// Set by the signal's handler itself.
    has_arrived: Arc<AtomicBool>,
    flags: Vec<SigId>,
}

/// A signal that arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CaughtSignal {
    pub(crate) kind: SignalKind,
    /// True if a process sent it; false for the kernel's own, such as that of Ctrl-C.
    pub(crate) is_sent: bool,
    at: Instant,
}

/// The interrupts of a run so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Interrupts {
    pub(crate) count: u32,
    last: Option<CaughtSignal>,
}

impl Signals {
    /// Catches the signals: they no longer end the process.
    pub(crate) fn catch() -> Result<Self> {
        let mut signals = SignalsInfo::<WithOrigin>::new(CAUGHT)?;
        let handle = signals.handle();
        let (send, caught) = mpsc::unbounded_channel();
        thread::spawn(move || {
            for origin in &mut signals {
                // The receiver is gone after the last signal of interest.
                let _ = send.send(CaughtSignal::of(&origin));
            }
        });
        let has_arrived = Arc::default();
        let flagged = CAUGHT.map(|signal| flag::register(signal, Arc::clone(&has_arrived)));
        Ok(Self {
            handle,
            caught,
            has_arrived,
            flags: flagged.into_iter().collect::<std::io::Result<_>>()?,
        })
    }

    /// True if a signal has arrived, even if [`Self::next`] has not returned it yet.
    pub(crate) fn has_arrived(&self) -> bool {
        self.has_arrived.load(Ordering::SeqCst)
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) -> CaughtSignal {
        match self.caught.recv().await {
            Some(caught) => caught,
            // The thread lives as long as this.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
        for flag in self.flags.drain(..) {
            low_level::unregister(flag);
        }
    }
}

impl CaughtSignal {
    /// Returns a shell's exit code for a process that this signal ended.
    pub(crate) fn code(&self) -> u8 {
        process::code_of_signal(self.kind.as_raw_value())
    }

    fn of(origin: &Origin) -> Self {
        Self {
            kind: SignalKind::from_raw(origin.signal),
            is_sent: matches!(origin.cause, Cause::Sent(_)),
            at: Instant::now(),
        }
    }
}

impl Interrupts {
    /// True if the user wants the run to end.
    pub(crate) fn any(&self) -> bool {
        self.count > 0
    }

    /// Counts a signal; false if it is the same wish as one before. Closing a terminal sends SIGHUP twice (kernel and
    /// shell), so a SIGHUP never counts as a second interrupt.
    pub(crate) fn add(&mut self, signal: CaughtSignal) -> bool {
        let is_echo = |last: CaughtSignal| {
            signal.is_sent
                && signal.kind == last.kind
                && signal.at.saturating_duration_since(last.at) < SAME
        };
        let again = self.count > 0 && signal.kind == SignalKind::hangup();
        if again || self.last.is_some_and(is_echo) {
            return false;
        }
        self.last = Some(signal);
        self.count += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_arrived_before_it_is_returned() {
        let mut signals = Signals::catch().expect("listeners");
        assert!(!signals.has_arrived());
        low_level::raise(SIGHUP).expect("a signal");
        assert!(signals.has_arrived());
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let caught = runtime.expect("a runtime").block_on(signals.next());
        assert_eq!(caught.kind, SignalKind::hangup());
    }

    #[test]
    fn only_a_new_wish_counts() {
        let start = Instant::now();
        let signal = |kind, is_sent, milliseconds| CaughtSignal {
            kind,
            is_sent,
            at: start + Duration::from_millis(milliseconds),
        };
        let (int, term, hup) = (
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        );
        for (first, second, counts) in [
            // GNU `timeout`.
            (signal(term, true, 0), signal(term, true, 20), false),
            (signal(term, true, 0), signal(term, true, 1500), true),
            (signal(term, true, 0), signal(int, true, 20), true),
            // Ctrl-C, Ctrl-C.
            (signal(int, false, 0), signal(int, false, 20), true),
            (signal(int, true, 0), signal(int, false, 20), true),
            // A terminal is closed.
            (signal(hup, false, 0), signal(hup, true, 2000), false),
            (signal(int, false, 0), signal(hup, false, 2000), false),
        ] {
            let mut interrupts = Interrupts::default();
            assert!(interrupts.add(first));
            assert_eq!(interrupts.add(second), counts, "{first:?}, {second:?}");
            assert_eq!(interrupts.count, 1 + u32::from(counts));
        }
    }
}
