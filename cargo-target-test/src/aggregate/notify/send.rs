//! Sends one notice: to a command, or to an address, with retries.
//!
//! Must not know the content of notices.

use std::{path::PathBuf, thread, time::Duration};

use ureq::{Agent, tls};

use crate::{
    playbook::NotifyOn,
    process::{self, Spawn},
    secret::{self, Bound},
};

/// The variable with the kind of the notice.
const KIND: &str = "TARGET_TEST_NOTIFY";
/// The pauses before the second and the third try.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

/// The receiver of notices.
#[derive(Debug)]
pub(super) enum Destination {
    Command { line: String, directory: PathBuf },
    Url(Bound),
}

/// The receivers of notices.
#[derive(Debug)]
pub(super) struct Sender {
    destinations: Vec<Destination>,
    timeout: Duration,
    /// True if the last notice failed: the next one is tried once.
    failing: bool,
}

impl Sender {
    pub(super) fn new(destinations: Vec<Destination>, timeout: Duration) -> Self {
        Self {
            destinations,
            timeout,
            failing: false,
        }
    }

    /// Sends a notice to all receivers. `left` returns the time that is left for all notices; `None`: any time.
    pub(super) fn send(
        &mut self,
        on: NotifyOn,
        json: &str,
        left: &dyn Fn() -> Option<Duration>,
    ) -> Result<(), String> {
        let sent = self
            .destinations
            .iter()
            .map(|one| self.send_to(one, on, json, left));
        let errors: Vec<_> = sent.filter_map(Result::err).collect();
        self.failing = !errors.is_empty();
        match errors.into_iter().next_back() {
            Some(error) => Err(secret::redacted(&error).into_owned()),
            None => Ok(()),
        }
    }

    fn send_to(
        &self,
        to: &Destination,
        on: NotifyOn,
        json: &str,
        left: &dyn Fn() -> Option<Duration>,
    ) -> Result<(), String> {
        let mut pauses = PAUSES.iter().filter(|_| !self.failing);
        loop {
            let limit = left().unwrap_or(self.timeout).min(self.timeout);
            if limit.is_zero() {
                return Err("the time for notices at the end of the run is over".to_owned());
            }
            let error = match to.try_once(on, json, limit) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match pauses.next() {
                Some(pause) => thread::sleep(*pause),
                None => return Err(error),
            }
        }
    }
}

impl Destination {
    fn try_once(&self, on: NotifyOn, json: &str, limit: Duration) -> Result<(), String> {
        match self {
            Self::Command { line, directory } => run(line, directory, on, json, limit),
            Self::Url(url) => post(url, json, limit),
        }
    }
}

fn run(
    line: &str,
    directory: &PathBuf,
    on: NotifyOn,
    json: &str,
    limit: Duration,
) -> Result<(), String> {
    let mut shell = process::command("/bin/sh");
    process::remove_own_variables(&mut shell);
    shell.args(["-c", line]).current_dir(directory);
    shell.env(KIND, on.name());
    let shell = Spawn::new(shell).script().dies_with_parent();
    let ended = shell
        .run(json.as_bytes(), limit, &|_| {})
        .map_err(|error| format!("`{line}`: {}", error.chain()))?;
    match ended.status.success() {
        true => Ok(()),
        false => {
            let ending = process::ending(ended.status);
            let said = String::from_utf8_lossy(&ended.stderr);
            let said = said.trim().lines().next_back().unwrap_or_default();
            Err(format!("`{line}` {ending}: {said}"))
        }
    }
}

fn post(url: &Bound, json: &str, limit: Duration) -> Result<(), String> {
    let address = url.value().map_err(|error| error.chain())?;
    let provider = tls::TlsProvider::NativeTls;
    let tls = tls::TlsConfig::builder().provider(provider);
    let roots = tls.root_certs(tls::RootCerts::PlatformVerifier);
    let config = Agent::config_builder()
        .timeout_global(Some(limit))
        .tls_config(roots.build());
    let agent = Agent::from(config.build());
    let request = agent
        .post(&address)
        .header("content-type", "application/json");
    // The address may have a token.
    let shown = address.split(['?', '#']).next().unwrap_or_default();
    match request.send(json) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("`{shown}`: {error}")),
    }
}
