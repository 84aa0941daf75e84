//! `down`: deletes instances by name, now or after a time.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, SystemTime},
};

use crate::{
    cli::{DownArgs, Global},
    commands::{delete, interactive, own_program},
    error::{ErrorKind, Result},
    process,
    provision::{DeleteScope, delete_all, platform::Platforms, pool::Pool},
    run::workspace,
};

/// The time between two looks at the clock, and at instances in use.
const LOOK: Duration = Duration::from_secs(1);

/// Runs the verb.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for an unknown name. Fails if the pool cannot be used.
pub fn verb(platforms: &Platforms, global: &Global, args: &DownArgs) -> Result<u8> {
    let pool = Pool::open(&workspace::pool_directory(global)?)?;
    if let Some(at) = args.at {
        return delete_at(&pool, platforms, at, &args.names);
    }
    let mut ids = BTreeSet::new();
    for name in &args.names {
        let found = interactive::find(&pool, name, args.all)?;
        interactive::check_whole(&found, name)?;
        ids.extend(found.into_iter().map(|seen| seen.record.id));
    }
    delete::run(&pool, platforms, &DeleteScope::Instances(ids), args.force)
}

/// Deletes the instances after a time, in a process that outlives this one. Instances in use are deleted once they are
/// free.
pub(super) fn after(global: &Global, time: Duration, ids: &[String]) -> Result<()> {
    let at = interactive::now().saturating_add(time.as_secs().max(1));
    let mut command = own_program()?;
    command.args(["down", "--at", &at.to_string(), "--pool"]);
    command.arg(workspace::pool_directory(global)?).args(ids);
    command.current_dir("/");
    process::Spawn::new(command).own_session().start()?;
    Ok(())
}

/// Waits for a time, in seconds since 1970, and deletes the instances that are left. A machine that slept wakes up late.
fn delete_at(pool: &Pool, platforms: &Platforms, at: u64, ids: &[String]) -> Result<u8> {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
    let ids: BTreeSet<String> = ids.iter().cloned().collect();
    loop {
        let state = pool.state()?;
        let left = ids.iter().filter(|id| state.records.contains_key(*id));
        let left: BTreeSet<String> = left.cloned().collect();
        if left.is_empty() {
            return Ok(0);
        }
        if SystemTime::now() >= at {
            let report = delete_all(pool, platforms, &DeleteScope::Instances(left), false)?;
            if !report.failed.is_empty() || !report.unknown.is_empty() {
                return Ok(ErrorKind::Infra.exit_code());
            }
        }
        thread::sleep(LOOK);
    }
}
