//! A test's dealings with an instance as a machine: questions, reboots, states.
//!
//! Owns the answers. Must not know how a platform does what it can. An instance that goes down on purpose gets a new
//! connection when it is up again; what else is running on it then is lost, and told so.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use target_fixtures::wire::{Act, Question};
use tokio::time;

use super::super::{
    Core,
    held::{Held, Reached},
};
use crate::{
    connect::{self, CommandOutput, Reach, Transport, own_command, shell},
    error::{Error, ErrorKind, Result},
    provision::{
        platform::{self, Deployed, Order, Platform},
        prepare,
    },
};

/// How long an answer to a question may take.
const ANSWER: Duration = Duration::from_secs(30);
/// How much of a console is told, in bytes from its end.
const CONSOLE: usize = 1 << 20;
/// The first pause between two looks at a machine that comes up, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long one knock, and one command of a machine that comes up, may take.
const KNOCK: Duration = Duration::from_secs(1);

/// Answers a question.
pub(super) async fn ask(held: &Held, at: &Reached, question: &Question) -> Result<Value> {
    let Some(line) = shell::ask(question)? else {
        return console(at);
    };
    let outcome = run(&*at.line.transport(), &held.id, line, ANSWER).await?;
    let text = String::from_utf8_lossy(&outcome.stdout);
    match shell::answer(question, &outcome.exit, &text) {
        Some(value) => Ok(value),
        None => {
            let words = String::from_utf8_lossy(&outcome.stderr).trim().to_owned();
            let cause = shell::unknown_reason(&outcome.exit).map_or(words, str::to_owned);
            Err(Error::new(ErrorKind::Usage, cause))
        }
    }
}

fn console(at: &Reached) -> Result<Value> {
    let (platform, order, _) = parts(at)?;
    let file = platform.console(&order).ok_or_else(|| {
        let name = platform.name();
        Error::new(
            ErrorKind::Usage,
            format!("platform `{name}` has no console"),
        )
    })?;
    // It is written when the machine first says something.
    let text = std::fs::read(file).unwrap_or_default();
    let from = text.len().saturating_sub(CONSOLE);
    Ok(json!(String::from_utf8_lossy(&text[from..])))
}

/// Does something with the machine.
pub(super) async fn act(
    core: &Arc<Core>,
    held: &Held,
    at: &Reached,
    act: &Act,
    limit: Duration,
) -> Result<()> {
    let _down = act.goes_down().then(|| held.goes_down());
    match act {
        Act::Reboot => reboot(core, held, at, limit).await,
        Act::Restart => {
            by_platform(at, |platform, order, deployed| {
                platform.restart(order, deployed)
            })
            .await?;
            // The platform has seen to it: a container has its host's boot id, before and after.
            up_again(core, held, at, None, limit).await
        }
        Act::Snapshot { name } => {
            let state = state(name)?;
            by_platform(at, move |platform, order, deployed| {
                platform.snapshot(order, deployed, &state)
            })
            .await
        }
        Act::Restore { name } => {
            let state = state(name)?;
            by_platform(at, move |platform, order, deployed| {
                platform.restore(order, deployed, &state).map(drop)
            })
            .await?;
            up_again(core, held, at, None, limit).await?;
            prepare::set_clock(at.line.transport()).await;
            Ok(())
        }
        Act::Link { nic, up } => {
            let (nic, up) = (*nic, *up);
            by_platform(at, move |platform, order, deployed| {
                platform.link(order, deployed, nic, up)
            })
            .await
        }
        Act::Install { packages } => {
            let line = shell::install_packages(packages)?;
            let outcome = run(&*at.line.transport(), &held.id, line, limit).await?;
            outcome.accepted().map(drop)
        }
    }
}

/// Has the platform do something, which blocks.
async fn by_platform(
    at: &Reached,
    act: impl FnOnce(&dyn Platform, &Order, &Deployed) -> Result<()> + Send + 'static,
) -> Result<()> {
    let (platform, order, deployed) = parts(at)?;
    let acted = tokio::task::spawn_blocking(move || act(&*platform, &order, &deployed)).await;
    acted.unwrap_or_else(|error| Err(Error::new(ErrorKind::Other, error.to_string())))
}

fn parts(at: &Reached) -> Result<(Arc<dyn Platform>, Order, Deployed)> {
    let record = &at.record;
    let found = platform::by_name(&record.platform).zip(record.deployed.clone());
    let (platform, deployed) = found.ok_or_else(|| {
        Error::new(
            ErrorKind::Infra,
            format!("`{}` is not deployed", record.name()),
        )
    })?;
    Ok((platform, record.order.clone(), deployed))
}

/// The platform's name for a state that a test remembers: its own first state is not in its way.
fn state(name: &str) -> Result<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !name.is_empty() && name.len() <= 64 && name.chars().all(is_plain) {
        true => Ok(format!("test-{name}")),
        false => Err(Error::new(
            ErrorKind::Usage,
            format!("{name:?} is no state's name: letters, digits, `-`, `_` and `.`"),
        )),
    }
}

async fn reboot(core: &Arc<Core>, held: &Held, at: &Reached, limit: Duration) -> Result<()> {
    let name = at.record.name();
    let reach = at.record.deployed.as_ref().map(|deployed| &deployed.reach);
    if let Some(Reach::Local { .. } | Reach::Container { .. }) = reach {
        let message = format!("`{name}` shares this host's kernel, which is not rebooted");
        return Err(Error::new(ErrorKind::Usage, message));
    }
    let transport = at.line.transport();
    let before = boot_id(&*transport, &held.id).await?;
    match run(&*transport, &held.id, shell::reboot(), ANSWER).await {
        Ok(outcome) if shell::goes_down(&outcome.exit) => {}
        Ok(outcome) => drop(outcome.accepted()?),
        // It may end the connection before it says so.
        Err(error) if error.kind() == ErrorKind::Infra => {}
        Err(error) => return Err(error),
    }
    up_again(core, held, at, Some(&before), limit).await
}

/// Waits until the machine answers, with another boot id where there was one before.
async fn up_again(
    core: &Arc<Core>,
    held: &Held,
    at: &Reached,
    before: Option<&str>,
    limit: Duration,
) -> Result<()> {
    let (name, started) = (at.record.name(), Instant::now());
    let mut pause = PAUSES.0;
    loop {
        let cause = match fresh(held, at, before).await {
            Ok(transport) => {
                at.line.replace(transport);
                return Ok(());
            }
            Err(error) => error.chain(),
        };
        core.check_alive(&at.record).await?;
        if started.elapsed() >= limit {
            let limit = humantime::format_duration(limit);
            let message = format!("waited {limit} for `{name}` to be up again, in vain: {cause}");
            return Err(Error::new(ErrorKind::Infra, message));
        }
        time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// A new way to the machine, if it has come up.
async fn fresh(held: &Held, at: &Reached, before: Option<&str>) -> Result<Arc<dyn Transport>> {
    let deployed = at
        .record
        .deployed
        .as_ref()
        .ok_or_else(|| Error::new(ErrorKind::Infra, "gone"))?;
    let transport = connect::connect(at.record.name(), &deployed.reach);
    transport.knock(KNOCK).await?;
    match (boot_id(&*transport, &held.id).await?, before) {
        (now, Some(before)) if now == before => {
            Err(Error::new(ErrorKind::Infra, "it is still up as it was"))
        }
        _ => Ok(transport),
    }
}

async fn boot_id(transport: &dyn Transport, lease: &str) -> Result<String> {
    let outcome = run(transport, lease, shell::BOOT_ID.to_owned(), ANSWER).await?;
    let outcome = outcome.success("cannot read the boot id")?;
    Ok(String::from_utf8_lossy(&outcome.stdout).trim().to_owned())
}

async fn run(
    transport: &dyn Transport,
    lease: &str,
    line: String,
    limit: Duration,
) -> Result<CommandOutput> {
    transport
        .exec(&own_command(line, Some(limit)), lease, None)
        .outcome()
        .await
}
