//! Crashes of a machine: unexpected ones, and the window in which a test expects one.
//!
//! Must not decide what a crash means for a test.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time;

use super::Machine;
use crate::{
    connect::{ProbeAnswer, Transport},
    error::{Error, ErrorKind, PANIC, Result},
};

/// The time limit for an answer before the crash.
const ANSWER: Duration = Duration::from_secs(5);
/// The time limit for an answer that may be that of the next boot.
const KNOCK: Duration = Duration::from_secs(1);
/// The pause between two looks at a machine that is about to crash.
const PAUSE: Duration = Duration::from_millis(200);

/// The window in which a machine is expected to crash.
#[derive(Debug, Default)]
pub(super) struct CrashWindow {
    is_open: bool,
    /// The evidence of the crash, once the platform has reported it.
    crash: Option<String>,
    /// The length of the console's output when the window was opened.
    console: usize,
}

impl Machine {
    /// Opens the window for a crash. [`Machine::await_crash`] closes it.
    pub(super) async fn expect_crash(&self) -> Result<()> {
        self.shared.instance.check_own_kernel(ErrorKind::Usage)?;
        // The boot id from which that after the crash must differ.
        self.confirm(ANSWER).await?;
        self.shared.window.send_replace(CrashWindow {
            is_open: true,
            crash: None,
            console: self.whole_console().len(),
        });
        Ok(())
    }

    /// True while the machine is expected to crash.
    pub(crate) fn expects_crash(&self) -> bool {
        self.shared.window.borrow().is_open
    }

    /// Records an error of [`Machine::check_alive`]; returns true if it is the expected crash.
    pub(crate) fn is_expected(&self, error: &Error) -> bool {
        let is_expected = error.is_crash() && self.expects_crash();
        if is_expected {
            let note = |window: &mut CrashWindow| window.crash = Some(error.chain());
            self.shared.window.send_modify(note);
        }
        is_expected
    }

    /// Completes with the error of an expected crash that the platform reports; otherwise never.
    pub(crate) async fn expected_crash(&self) -> Error {
        let mut window = self.shared.window.subscribe();
        let crashed = window.wait_for(|window| window.crash.is_some()).await;
        let crash = crashed.ok().and_then(|window| window.crash.clone());
        Error::crash(crash.unwrap_or_default())
    }

    /// Closes the window for a crash: waits for the crash, and until the machine is up again, by itself or restarted
    /// from outside.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] if there was no crash after `within`.
    pub(super) async fn await_crash(&self, within: Duration, limit: Duration) -> Result<()> {
        let (_down, started) = (self.goes_down(), Instant::now());
        let console = self
            .shared
            .window
            .send_replace(CrashWindow::default())
            .console;
        loop {
            let has_crashed = match self.check_alive().await {
                Ok(()) => false,
                Err(error) if error.is_crash() => true,
                Err(error) => return Err(error),
            };
            // A kernel that reboots by itself, after a crash dump for example, gets the time.
            if has_crashed && stays_down(self.whole_console().get(console..).unwrap_or_default()) {
                return self.restart(limit).await;
            }
            let transport = self.shared.instance.connect();
            let waited = started.elapsed();
            match answer(&*transport).await {
                Ok(answer) if self.connection().is_other_boot(&answer) => {
                    return match has_crashed {
                        // Its platform still reports the old crash.
                        true => self.restart(limit).await,
                        false => self.replace(transport).await,
                    };
                }
                Ok(_) if waited >= within => {
                    let message = format!("none within {}", humantime::format_duration(within));
                    return Err(Error::new(ErrorKind::Timeout, message));
                }
                Err(error) if waited >= limit => {
                    let message = format!("`{}` is not up again after its crash", self.name());
                    return Err(Error::infra(message).with_source(error));
                }
                _ => time::sleep(PAUSE).await,
            }
        }
    }

    /// Keeps a new connection, and the boot id of the machine from now on.
    pub(super) async fn replace(&self, transport: Arc<dyn Transport>) -> Result<()> {
        self.connection().replace(transport);
        self.connection().prove().await
    }

    /// The error of an unexpected crash, with the end of the console.
    pub(super) fn crashed(&self, what: &str) -> Error {
        let console = self.shared.instance.console_tail();
        Error::crash(format!("`{}`: {what}{console}", self.name()))
    }

    fn whole_console(&self) -> String {
        self.shared.instance.console(u64::MAX).unwrap_or_default()
    }
}

async fn answer(transport: &dyn Transport) -> Result<ProbeAnswer> {
    transport.knock(KNOCK).await?;
    transport.probe(ANSWER).await
}

/// True if the kernel's last words do not announce a reboot.
fn stays_down(console: &str) -> bool {
    let panic = console.rfind(PANIC);
    panic.is_none_or(|at| console[..at].ends_with("end "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_say_if_a_kernel_stays_down() {
        let panic = "[1.0] Kernel panic - not syncing: sysrq triggered crash\n[1.1] Call Trace:\n";
        let end = "[1.2] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---\n";
        let again = "[1.2] Rebooting in 1 seconds..\n";
        for (console, expected) in [
            (String::new(), true),
            ("reboot: Power down\n".to_owned(), true),
            (panic.to_owned(), false),
            (format!("{panic}{again}"), false),
            (format!("{panic}{end}"), true),
            (format!("{panic}{again}{panic}{end}"), true),
        ] {
            assert_eq!(stays_down(&console), expected, "{console}");
        }
    }
}
