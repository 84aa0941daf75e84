//! The process that holds a lease by hand, until its time is over, a signal, or (before the lease) the end of its
//! parent.
//!
//! Must not print once the lease is held: the terminal may be closed.

use std::{io::Read, sync::Arc, thread, time::Duration};

use tokio::sync::oneshot;

use super::{HELD, SAYS};
use crate::{
    cli::{Global, LeaseArgs},
    commands::interactive::{self, Choice, MachineGuard, Wall},
    error::{Error, Result},
    execute::clean_up::signals::Signals,
    process,
    provision::{
        ByHand, LeaseEnd, Notices, Requester,
        platform::Platforms,
        pool::{Holder, Manual, Pool},
        unit,
    },
    run::{runtime, workspace},
    ui,
};
use tokio::signal::unix::SignalKind;

/// The polling interval of the wall clock, which can be set and continues while the machine sleeps.
const LOOK: Duration = Duration::from_millis(500);

/// Waits for the instance, holds it for the given time, and releases it.
pub(super) fn hold(platforms: &Platforms, global: &Global, args: &LeaseArgs) -> Result<u8> {
    let pool = Pool::open(&workspace::pool_directory(global)?)?;
    let seen = Pool::open(pool.directory())?;
    let choice = not_mine(interactive::choose(&pool, &args.on.instance, args.on.all)?)?;
    let (wall, user) = (Wall::here(), user());
    leave_folder()?;
    runtime::block_on(async {
        let time = args.time;
        let requester = Requester {
            by_hand: Some(Arc::new(move || held(time, wall, &user))),
            ..Requester::default()
        };
        let notices = Notices::new(|notice| ui::out(format!("{SAYS}{}", notice.text)));
        let guard = tokio::select! {
            biased;
            () = left_alone() => return Ok(0),
            guard = MachineGuard::lease(platforms, pool, choice, requester, notices) => guard?,
        };
        let mut signals = Signals::catch()?;
        let until = interactive::now().saturating_add(args.time.as_secs().max(1));
        let state = seen.state()?;
        let unit = state.records.get(&guard.record.id).unwrap_or(&guard.record);
        let place = match unit::machines(unit)?.len() {
            1 => guard.deployed()?.address(),
            count => format!("{count} machines"),
        };
        let (machine, name) = (guard.machine.name(), unit.name());
        let time = wall.time(until, interactive::now());
        let said = format!("{HELD}{machine} {name} ({place}) is yours until {time}\n");
        if !ui::try_bytes_out(said.as_bytes()) {
            return guard.leave(LeaseEnd::Done).await.map(|()| 0);
        }
        let end = tokio::select! {
            end = over(until, &seen, &guard.record.id) => end,
            () = told(&mut signals) => LeaseEnd::CutOff,
        };
        guard.leave(end).await.map(|()| 0)
    })
}

/// Changes to `/`, so that this process does not keep a file system from being unmounted.
#[expect(
    clippy::disallowed_methods,
    reason = "this process is the holder and nothing else"
)]
fn leave_folder() -> Result<()> {
    Ok(std::env::set_current_dir("/")?)
}

/// Describes the lease for other users.
fn held(time: Duration, wall: Wall, user: &str) -> ByHand {
    let now = interactive::now();
    let until = now.saturating_add(time.as_secs().max(1));
    ByHand {
        case: format!("lease of {user} until {}", wall.time(until, now)),
        manual: Manual {
            uid: interactive::me(),
            until,
        },
    }
}

/// Removes the instances that this user already holds. Fails if none remains.
fn not_mine(mut choice: Choice) -> Result<Choice> {
    let mine = choice.mine().map(|seen| {
        let holder = seen.holder.as_ref().map(Holder::describe);
        format!(
            "`{}` is yours ({})",
            seen.record.name(),
            holder.unwrap_or_default()
        )
    });
    let is_mine = |holder: &Option<Holder>| holder.as_ref().is_some_and(interactive::is_mine);
    choice.all.retain(|seen| !is_mine(&seen.holder));
    match mine {
        Some(mine) if choice.all.is_empty() => {
            Err(Error::usage(mine).with_hint("release it with `release` before leasing it again"))
        }
        _ => Ok(choice),
    }
}

/// Completes when the parent process no longer waits: standard input ends.
async fn left_alone() {
    let (send, left) = oneshot::channel();
    thread::spawn(move || {
        let mut byte = [0];
        while matches!(std::io::stdin().lock().read(&mut byte), Ok(1)) {}
        let _ = send.send(());
    });
    let _ = left.await;
}

/// Completes at the given time, or when the instance has been deleted.
async fn over(until: u64, pool: &Pool, id: &str) -> LeaseEnd {
    while interactive::now() < until {
        let state = pool.state();
        if !state.is_ok_and(|state| state.records.contains_key(id)) {
            return LeaseEnd::Done;
        }
        tokio::time::sleep(LOOK).await;
    }
    LeaseEnd::CutOff
}

/// Completes at SIGTERM. Ignores a closed terminal and Ctrl-C, which are meant for other processes.
async fn told(signals: &mut Signals) {
    while signals.next().await.kind != SignalKind::terminate() {}
}

/// Returns this user's name.
fn user() -> String {
    let mut id = process::command("id");
    id.arg("-un");
    let said = process::Spawn::new(id).output().map(|output| output.stdout);
    let name = String::from_utf8_lossy(&said.unwrap_or_default())
        .trim()
        .to_owned();
    match name.is_empty() {
        true => format!("user {}", interactive::me()),
        false => name,
    }
}
