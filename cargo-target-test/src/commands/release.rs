//! `release`: the end of a lease by hand.
//!
//! Owns who is told to end. Must not end anything itself: the process that holds the lease does.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    cli::{Global, InstanceArgs},
    commands::people,
    error::{Error, ErrorKind, Result},
    process::Watch,
    provision::pool::{Holder, Pool, Process, Seen},
    run::workspace,
    ui,
};

/// How long ending a lease may take: what it left running is killed on the instance.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// The verb; nothing to release is no failure.
///
/// # Errors
/// When a run holds the instance, or the lease does not end.
pub fn verb(global: &Global, on: &InstanceArgs) -> Result<u8> {
    let pool = Pool::open(&workspace::pool_directory(global)?)?;
    let choice = people::choose(&pool, &on.instance, on.all)?;
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
            let message = format!("`{name}` is held by {by}, which is no lease by hand");
            Err(Error::new(ErrorKind::Infra, message).with_hint("it is free when that ends"))
        }
        None => {
            ui::note(format!("nobody leases {}", on.instance));
            Ok(0)
        }
    }
}

fn manual(seen: &Seen) -> Option<(&Seen, &Holder)> {
    let holder = seen.holder.as_ref()?;
    holder.manual.is_some().then_some((seen, holder))
}

/// Has the holder end, and waits for that.
fn end(seen: &Seen, holder: &Holder) -> Result<()> {
    let failed = |why: String| {
        let (name, by) = (seen.record.name(), holder.describe());
        let message = format!("cannot release `{name}` ({by}): {why}");
        Error::new(ErrorKind::Infra, message)
    };
    let pid = Pid::from_raw(holder.process.pid.cast_signed());
    // The number of a process of another host, or of one that is gone, can be anybody's here.
    let (Some(pid), true) = (pid, holder.process == Process::of(holder.process.pid)) else {
        return Err(failed(format!("it is on host `{}`", holder.process.host)));
    };
    let watch = Watch::new(pid);
    // One that is stopped would not hear of it.
    for signal in [Signal::TERM, Signal::CONT] {
        kill_process(pid, signal).map_err(|error| failed(error.to_string()))?;
    }
    let started = Instant::now();
    while !watch.has_ended() {
        if started.elapsed() > PATIENCE {
            return Err(failed("it does not end".to_owned()));
        }
        thread::sleep(POLL);
    }
    Ok(())
}
