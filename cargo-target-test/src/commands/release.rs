//! `release`: ends a lease by hand, by a signal to the process that holds it.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    cli::{Global, InstanceArgs},
    commands::interactive,
    error::{Error, Result},
    process::Watch,
    provision::pool::{Holder, Pool, ProcessIdentity, Seen},
    run::workspace,
    ui,
};

/// The time limit for a lease to end: remaining processes on the instance are killed first.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Runs the verb. Succeeds if there is nothing to release.
///
/// # Errors
/// Fails if a run holds the instance or the lease does not end.
pub fn verb(global: &Global, on: &InstanceArgs) -> Result<u8> {
    let pool = Pool::open(&workspace::pool_directory(global)?)?;
    let choice = interactive::choose(&pool, &on.instance, on.all)?;
    let held: Vec<_> = choice.all.iter().filter_map(manual).collect();
    for (seen, holder) in &held {
        end(seen, holder)?;
        ui::out(format!("released {}", seen.record.name()));
    }
    let other = choice.all.iter().find_map(|seen| {
        let holder = seen.holder.as_ref()?;
        holder.manual.is_none().then_some((seen, holder))
    });
    match other {
        _ if !held.is_empty() => Ok(0),
        Some((seen, holder)) => {
            let (name, by) = (seen.record.name(), holder.describe());
            let message = format!("`{name}` is held by {by}, which is not a lease by hand");
            Err(Error::infra(message).with_hint("wait until that process ends"))
        }
        None => {
            ui::note(format!("{} is not leased", on.instance));
            Ok(0)
        }
    }
}

fn manual(seen: &Seen) -> Option<(&Seen, &Holder)> {
    let holder = seen.holder.as_ref()?;
    holder.manual.is_some().then_some((seen, holder))
}

/// Signals the holder to end, and waits until it has ended.
fn end(seen: &Seen, holder: &Holder) -> Result<()> {
    let failed = |why: String| {
        let (name, by) = (seen.record.name(), holder.describe());
        let message = format!("failed to release `{name}` ({by}): {why}");
        Error::infra(message)
    };
    let pid = Pid::from_raw(holder.process.pid.cast_signed());
    // The pid of a process on another host or of an ended process may belong to another process here.
    let (Some(pid), true) = (
        pid,
        holder.process == ProcessIdentity::of(holder.process.pid),
    ) else {
        return Err(failed(format!(
            "the holder is on host `{}`",
            holder.process.host
        )));
    };
    let watch = Watch::new(pid);
    // A stopped process does not handle SIGTERM until SIGCONT.
    for signal in [Signal::TERM, Signal::CONT] {
        kill_process(pid, signal).map_err(|error| failed(error.to_string()))?;
    }
    let started = Instant::now();
    while !watch.has_ended() {
        if started.elapsed() > PATIENCE {
            return Err(failed("the holder does not end".to_owned()));
        }
        thread::sleep(POLL);
    }
    Ok(())
}
