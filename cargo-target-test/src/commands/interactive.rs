//! Shared parts of the interactive verbs: choosing an instance, access to it, and the wall clock.
//!
//! Must not know what a verb does on an instance.

mod choose;
mod guard;
mod wall;

use std::io::{BufRead, IsTerminal};

use target_fixtures::env;

use crate::{
    error::{Error, Result},
    provision::{
        self,
        platform::Platforms,
        pool::{Holder, Pool},
    },
    ui,
};

pub(super) use crate::provision::pool::now;

pub(super) use self::{
    choose::{Choice, check_whole, choose, find},
    guard::{AccessRequest, MachineGuard},
    wall::Wall,
};

/// Returns the id of the user of this process.
pub(super) fn me() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Returns true if this user need not wait for the lease: the user holds it by hand, or this process was started under
/// it, by a test or in a shell on the instance.
pub(super) fn is_mine(holder: &Holder) -> bool {
    let under =
        std::env::var(env::LEASE).is_ok_and(|lease| !lease.is_empty() && lease == holder.lease);
    under || holder.manual.is_some_and(|manual| manual.uid == me())
}

/// Warns of instances of unknown platforms, and names the tool to use.
pub(super) fn say_unknown(platforms: &Platforms, pool: &Pool) -> Result<()> {
    for seen in pool.overview()? {
        if let Err(error) = provision::platform_of(platforms, &seen.record) {
            ui::warn(format!(
                "{error}\nhint: {}",
                error.hint().unwrap_or_default()
            ));
        }
    }
    Ok(())
}

/// Asks a question on the terminal.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) without a terminal, with the message `refusal`.
pub(super) fn confirm(refusal: &str, question: &str) -> Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Error::usage(refusal).with_hint("confirm it with `--yes`"));
    }
    ui::note(question);
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
