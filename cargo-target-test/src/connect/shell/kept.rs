//! Kept shells: logins that serve several commands, so that only the first of them pays for sshd's session and for the
//! start-up files of the login shell, or for the `exec` of a container's engine.
//!
//! Must not know connections: a client sends the requests and reads the markers.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::quote_for_any;
use crate::{connect::Shells, sync};

/// The program of a kept shell.
const PROGRAM: &str = include_str!("kept.pl");
/// The number of logins in a row that run no command, after which the host has no kept shells.
const FAILURES: u32 = 2;
/// The time without a command after which a shell ends: a person who looks at the host finds none.
const IDLE: Duration = Duration::from_secs(5);

/// Returns the line for any login shell that becomes a kept shell.
pub(crate) fn keep() -> String {
    let lines = PROGRAM.lines().map(str::trim);
    let program: Vec<_> = lines.filter(|line| !line.starts_with('#')).collect();
    let program = quote_for_any(&program.join(" "));
    format!("exec perl -e {program} {}", IDLE.as_secs())
}

/// Returns a request for a kept shell, which finds out on demand if the command leaves a process.
pub(super) fn request(
    (nonce, watches_rest): (&str, bool),
    line: &str,
    env: &[(&str, &str)],
) -> Vec<u8> {
    let watch = if watches_rest { "+" } else { "" };
    let mut body = format!("{watch}{nonce}\0{line}");
    for (name, value) in env {
        body.push_str(&format!("\0{name}={value}"));
    }
    format!("{:08}{body}", body.len()).into_bytes()
}

/// The state that all kept shells of a host share.
pub(crate) struct KeptShells {
    shells: Shells,
    /// The last stamp that a kept shell reported: a sum of the files on which a login depends.
    stamp: Mutex<Option<String>>,
    /// Cloned by commands that must run in a login of their own.
    fresh: Arc<()>,
    /// The number of times that such a command was started.
    generation: AtomicUsize,
    failures: AtomicU32,
}

/// A kept shell of a client.
pub(crate) struct KeptShell {
    /// The last stamp before the login.
    stamp: Option<String>,
    generation: usize,
    /// The end of its last command; `None` before the first.
    idle_since: Option<Instant>,
}

impl KeptShells {
    pub(crate) fn new(shells: Shells) -> Self {
        Self {
            shells,
            stamp: Mutex::default(),
            fresh: Arc::default(),
            generation: AtomicUsize::default(),
            failures: AtomicU32::default(),
        }
    }

    /// Closes all kept shells, and prevents new ones until the returned guard is dropped.
    pub(crate) fn close(&self) -> Arc<()> {
        let guard = Arc::clone(&self.fresh);
        self.generation.fetch_add(1, Ordering::SeqCst);
        guard
    }

    /// Returns a shell that is about to log in; `None` if the command must have a login of its own.
    pub(crate) fn login(&self) -> Option<KeptShell> {
        let fits = self.shells.are_kept() && self.failures.load(Ordering::SeqCst) < FAILURES;
        let generation = self.generation.load(Ordering::SeqCst);
        (fits && Arc::strong_count(&self.fresh) == 1).then(|| KeptShell {
            stamp: sync::lock(&self.stamp).clone(),
            generation,
            idle_since: None,
        })
    }

    /// True if the shell may serve a command now.
    pub(crate) fn is_current(&self, shell: &KeptShell) -> bool {
        let has_ended = shell
            .idle_since
            .is_some_and(|since| since.elapsed() >= IDLE);
        !has_ended && shell.generation == self.generation.load(Ordering::SeqCst)
    }

    /// Records the stamp that a shell reported with its command. Returns the shell if it may serve another one: nothing
    /// that a login depends on has changed since before its login.
    pub(crate) fn served(&self, shell: KeptShell, stamp: &str) -> Option<KeptShell> {
        self.failures.store(0, Ordering::SeqCst);
        let is_same = shell.stamp.as_deref() == Some(stamp);
        *sync::lock(&self.stamp) = Some(stamp.to_owned());
        let shell = KeptShell {
            idle_since: Some(Instant::now()),
            ..shell
        };
        (is_same && self.is_current(&shell)).then_some(shell)
    }

    /// Keeps no shells from now on, since the host has no Perl.
    pub(crate) fn give_up(&self) {
        self.failures.store(FAILURES, Ordering::SeqCst);
    }

    /// Records that the shell has ended without running its command, which may run elsewhere.
    pub(crate) fn ended(&self, shell: &KeptShell) {
        if shell.idle_since.is_none() {
            self.failures.fetch_add(1, Ordering::SeqCst);
        }
    }
}
