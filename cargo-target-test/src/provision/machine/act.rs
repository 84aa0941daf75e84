//! Questions to a machine, reboots, restarts and snapshots.
//!
//! Must not know how a platform does these. A machine that goes down on purpose gets a new connection when it is up
//! again; other commands that ran on it fail.

use std::{net::IpAddr, time::Duration};

use serde_json::{Value, json};
use target_fixtures::wire::{Act, Question, ShellCommand, Sudo};

use super::Machine;
use crate::{
    connect::{self, own_command, shell},
    error::{Error, ErrorKind, Result},
    provision::{
        platform::read_from,
        prepare::{BringUp, PlatformHandle, Shell},
    },
};

/// The time limit for an answer to a question.
const ANSWER: Duration = Duration::from_secs(30);
/// The maximum size of a console's end, in bytes.
const CONSOLE: u64 = 1 << 20;

impl Machine {
    /// Answers a question.
    pub(crate) async fn ask(&self, question: &Question) -> Result<Value> {
        let Some(line) = shell::ask(question)? else {
            return match question {
                Question::Console { from: Some(from) } => {
                    let (text, end) = self.console_from(*from)?;
                    Ok(json!({ "text": text, "end": end }))
                }
                Question::Console { from: None } => {
                    Ok(json!({ "text": self.console()?, "end": 0 }))
                }
                _ => Ok(json!(self.address().await?)),
            };
        };
        let ended = self.run_within(&line, Some(ANSWER)).await?;
        let text = String::from_utf8_lossy(&ended.stdout);
        match shell::answer(question, &ended.exit, &text) {
            Some(value) => Ok(value),
            None => {
                let words = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
                let cause = shell::unknown_reason(&ended.exit).map_or(words, str::to_owned);
                Err(Error::usage(cause))
            }
        }
    }

    /// The end of the machine's console output.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the machine has no console.
    pub fn console(&self) -> Result<String> {
        let text = self.shared.instance.console(CONSOLE);
        text.ok_or_else(|| self.without_console())
    }

    /// The console's output from a position in bytes, at most 1 MiB and whole characters, and the position after it.
    fn console_from(&self, from: u64) -> Result<(String, u64)> {
        let file = self.shared.instance.console_file();
        let file = file.ok_or_else(|| self.without_console())?;
        Ok(read_from(&file, from, CONSOLE)?)
    }

    fn without_console(&self) -> Error {
        let origin = self.shared.instance.origin.as_ref();
        Error::usage(match origin.map(|one| one.platform.name()) {
            Some(platform) => format!("platform `{platform}` has no console"),
            None => format!("`{}` has no console", self.name()),
        })
    }

    /// Returns the address at which the other machines of its target reach it on a network of the platform; `None`
    /// without such a network.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if this host cannot reach it either.
    pub async fn address(&self) -> Result<Option<IpAddr>> {
        let instance = &self.shared.instance;
        if instance.origin.is_none() {
            return Ok(None);
        }
        let address = |one: &PlatformHandle| one.platform.address(&one.spec, &one.deployed);
        instance.act(address).await
    }

    /// Performs an act on the machine within a time limit.
    pub(crate) async fn act(&self, act: &Act, limit: Duration) -> Result<()> {
        match act {
            Act::Reboot => self.reboot(limit).await,
            Act::Restart => self.restart(limit).await,
            Act::ExpectCrash => self.expect_crash().await,
            Act::AwaitCrash { within } => {
                let within = Duration::from_millis(*within);
                self.await_crash(within, limit).await
            }
            Act::Type { text } => self.type_text(text.clone()).await,
            Act::Snapshot { name } => self.snapshot(name).await,
            Act::Restore { name } => self.restore(name, limit).await,
            Act::Link { nic, up } => self.link(*nic, *up).await,
            Act::Fault { fault } => self.cause(fault, limit).await,
            Act::EndFault { kind } => self.end_fault(*kind).await,
            Act::Install { packages } => {
                let command = ShellCommand {
                    sudo: Some(Sudo::default()),
                    ..own_command(shell::install_packages(packages)?, Some(limit))
                };
                let transport = self.transport();
                let running = connect::start(&*transport, &command, &self.mark, None).await?;
                running.finished().await?.accepted().map(drop)
            }
        }
    }

    /// Reboots the machine from inside, and waits until it answers with a different boot id.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the machine cannot reboot, [`ErrorKind::Infra`] if it is not up again in time.
    pub async fn reboot(&self, limit: Duration) -> Result<()> {
        let _down = self.goes_down();
        let at = Shell::new(self.transport(), self.mark.to_string());
        let fresh = self.bring_up(limit).reboot(&at, ErrorKind::Usage).await?;
        self.replace(fresh.transport).await
    }

    /// Restarts the machine from outside, as its power button would, and waits until it answers.
    ///
    /// # Errors
    /// Fails if the platform cannot restart it, or if it is not up again in time.
    pub async fn restart(&self, limit: Duration) -> Result<()> {
        let _down = self.goes_down();
        let restart = |one: &PlatformHandle| one.platform.restart(&one.spec, &one.deployed);
        self.shared.instance.act(restart).await?;
        // The boot id proves nothing: a container has the boot id of its host, before and after.
        self.up_again(self.bring_up(limit)).await
    }

    /// Writes to the machine's console, as a keyboard would.
    ///
    /// # Errors
    /// Fails if the platform cannot, or if the machine does not read it.
    pub async fn type_text(&self, text: String) -> Result<()> {
        let type_text =
            move |one: &PlatformHandle| one.platform.type_text(&one.spec, &one.deployed, &text);
        self.shared.instance.act(type_text).await
    }

    /// Saves a snapshot of the machine under a name.
    ///
    /// # Errors
    /// Fails if the platform cannot, or if the name is invalid.
    pub async fn snapshot(&self, name: &str) -> Result<()> {
        let state = state(name)?;
        let snapshot =
            move |one: &PlatformHandle| one.platform.snapshot(&one.spec, &one.deployed, &state);
        self.shared.instance.act(snapshot).await
    }

    /// Restores the machine to a snapshot, and waits until it answers.
    ///
    /// # Errors
    /// Fails if the platform cannot, if the snapshot does not exist, or if the machine does not answer in time.
    pub async fn restore(&self, name: &str, limit: Duration) -> Result<()> {
        let _down = self.goes_down();
        let state = state(name)?;
        let restore = move |one: &PlatformHandle| {
            let restored = one.platform.restore(&one.spec, &one.deployed, &state);
            restored.map(drop)
        };
        self.shared.instance.act(restore).await?;
        self.up_again(BringUp::restored(&self.shared.instance, limit))
            .await
    }

    /// Takes one of the machine's network links down or up.
    ///
    /// # Errors
    /// Fails if the platform cannot.
    pub async fn link(&self, nic: u32, up: bool) -> Result<()> {
        let link = move |one: &PlatformHandle| one.platform.link(&one.spec, &one.deployed, nic, up);
        self.shared.instance.act(link).await
    }

    /// Waits until the machine answers on a new connection, and keeps that connection.
    async fn up_again(&self, bring_up: BringUp<'_>) -> Result<()> {
        let transport = bring_up.answer().await?.transport;
        self.replace(transport).await
    }

    fn bring_up(&self, limit: Duration) -> BringUp<'_> {
        BringUp::quiet(&self.shared.instance, limit)
    }
}

/// Converts the name of a test's snapshot into the platform's name, which differs from the name of the first state.
fn state(name: &str) -> Result<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !name.is_empty() && name.len() <= 64 && name.chars().all(is_plain) {
        true => Ok(format!("test-{name}")),
        false => Err(Error::usage(format!(
            "invalid snapshot name {name:?}: use letters, digits, `-`, `_` and `.`"
        ))),
    }
}
