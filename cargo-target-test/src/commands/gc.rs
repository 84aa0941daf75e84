//! `gc`: what carries the pool's label and no record names.
//!
//! Owns what is looked at and what is said. Must not know how anything is found or deleted: platforms do.

use std::sync::Arc;

use crate::{
    cli::{GcArgs, Global},
    commands::people,
    error::{Error, ErrorKind, Result},
    provision::{
        Orphan, find_orphans,
        platform::{DynPlatform, InstanceSpec, Platforms},
        pool::Pool,
    },
    run::workspace::{self, Workspace},
    ui,
};

/// The verb; the exit code is 0 when nothing remains.
///
/// # Errors
/// When the pool cannot be used, or the playbook is wrong.
pub fn verb(platforms: &Platforms, global: &Global, args: &GcArgs) -> Result<u8> {
    let pool = Pool::open(&workspace::pool_directory(global)?)?;
    // A playbook adds places to look at. Without a workspace there is none.
    let orders = match Workspace::find(platforms, global) {
        Ok(setting) => setting.orders()?,
        Err(error) if error.kind() == ErrorKind::Playbook => return Err(error),
        Err(_) => Vec::new(),
    };
    let (orphans, problems) = find_orphans(&pool, &places(platforms, orders))?;
    people::say_unknown(platforms, &pool)?;
    for problem in &problems {
        ui::warn(problem.chain());
    }
    let failed = orphans
        .iter()
        .filter(|orphan| !end(&pool, orphan, args.dry_run))
        .count();
    if orphans.is_empty() && problems.is_empty() {
        ui::note("nothing carries the label that no record names");
    }
    let clean = failed == 0 && problems.is_empty();
    Ok(if clean {
        0
    } else {
        ErrorKind::Infra.exit_code()
    })
}

/// Every platform by itself, then as each target has it.
fn places(
    platforms: &Platforms,
    orders: Vec<(Arc<dyn DynPlatform>, InstanceSpec)>,
) -> Vec<(Arc<dyn DynPlatform>, Option<InstanceSpec>)> {
    let all = platforms.all().iter();
    let all = all.map(|platform| (Arc::clone(platform), None));
    let targets = orders
        .into_iter()
        .map(|(platform, order)| (platform, Some(order)));
    all.chain(targets).collect()
}

/// Deletes one, unless it is only to be named; whether that went well.
fn end(pool: &Pool, orphan: &Orphan, dry_run: bool) -> bool {
    if dry_run {
        ui::out(format!("{}: would be deleted", orphan.what()));
        return true;
    }
    match orphan.delete(pool) {
        Ok(()) => {
            ui::out(format!("{}: deleted", orphan.what()));
            true
        }
        Err(error) => {
            let message = format!("{} could not be deleted", orphan.what());
            ui::error(&Error::new(ErrorKind::Infra, message).with_source(error));
            false
        }
    }
}
