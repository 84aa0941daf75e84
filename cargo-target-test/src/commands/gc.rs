//! `gc`: deletes orphans: resources with the pool's label that no record names.
//!
//! Must not know how orphans are found or deleted: platforms do.

use std::sync::Arc;

use crate::{
    cli::{GcArgs, Global},
    commands::interactive,
    error::{Error, ErrorKind, Result},
    provision::{
        Orphan, find_orphans,
        platform::{DynPlatform, InstanceSpec, Platforms},
        pool::Pool,
    },
    run::workspace::{self, Workspace},
    ui,
};

/// Runs the verb. The exit code is 0 if nothing remains.
///
/// # Errors
/// Fails if the pool cannot be used or the playbook is invalid.
pub fn verb(platforms: &Platforms, global: &Global, args: &GcArgs) -> Result<u8> {
    let pool = Pool::open(&workspace::pool_directory(global)?)?;
    // A playbook adds places to search. Without a workspace there is no playbook.
    let orders = match Workspace::find(platforms, global) {
        Ok(workspace) => workspace.specs()?,
        Err(error) if error.kind() == ErrorKind::Playbook => return Err(error),
        Err(_) => Vec::new(),
    };
    let (orphans, problems) = find_orphans(&pool, &places(platforms, orders))?;
    interactive::say_unknown(platforms, &pool)?;
    for problem in &problems {
        ui::warn(problem.chain());
    }
    let failed = orphans
        .iter()
        .filter(|orphan| !end(&pool, orphan, args.dry_run))
        .count();
    if orphans.is_empty() && problems.is_empty() {
        ui::note("no orphans found");
    }
    let clean = failed == 0 && problems.is_empty();
    Ok(if clean {
        0
    } else {
        ErrorKind::Infra.exit_code()
    })
}

/// Returns the places to search: every platform, then every target's platform with its specification.
fn places(
    platforms: &Platforms,
    orders: Vec<(Arc<dyn DynPlatform>, InstanceSpec)>,
) -> Vec<(Arc<dyn DynPlatform>, Option<InstanceSpec>)> {
    let all = platforms.all().iter();
    let all = all.map(|platform| (Arc::clone(platform), None));
    let targets = orders
        .into_iter()
        .map(|(platform, spec)| (platform, Some(spec)));
    all.chain(targets).collect()
}

/// Deletes an orphan; with `dry_run`, only prints it. Returns true on success.
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
            let message = format!("failed to delete {}", orphan.what());
            ui::error(&Error::new(ErrorKind::Infra, message).with_source(error));
            false
        }
    }
}
