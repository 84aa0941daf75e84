//! What the verbs for people share: which instance is meant, and being on it.
//!
//! Owns who a person is and what a time of day looks like. Must not know what a verb does on an instance.

mod choose;
mod guard;
mod wall;

use target_fixtures::env;

use crate::{
    error::Result,
    provision::{
        self,
        platform::Platforms,
        pool::{Holder, Pool},
    },
    ui,
};

pub(super) use self::{
    choose::{Choice, choose},
    guard::{Ask, MachineGuard},
    wall::{Wall, now},
};

/// The number of the user whose process this is.
pub(super) fn me() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Whether this lease is one for which this user need not wait: theirs by hand, or the one that this process was started
/// under, by a test or in a shell on the instance.
pub(super) fn is_mine(holder: &Holder) -> bool {
    let under =
        std::env::var(env::LEASE).is_ok_and(|lease| !lease.is_empty() && lease == holder.lease);
    under || holder.manual.is_some_and(|manual| manual.uid == me())
}

/// Says which tools to use for instances of platforms that this tool does not know.
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

/// One thread that waits for everything.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

/// The exit code that a shell gives for a process that was ended by this signal.
pub(super) fn code_of_signal(number: i32) -> u8 {
    u8::try_from(128 + number).unwrap_or(255)
}
