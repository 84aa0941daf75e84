//! `gc`: deletes orphans: resources with the pool's label that no record names; or what an owner created.
//!
//! Must not know how orphans are found or deleted: platforms do.

use std::sync::Arc;

use crate::{
    cli::{GcArgs, Global},
    commands::interactive,
    error::{Error, ErrorKind, Result},
    provision::{
        Orphan, find_orphans, find_owned,
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
    // A playbook adds places to search. Without a workspace there is no playbook.
    let orders = match Workspace::find(platforms, global) {
        Ok(workspace) => workspace.specs()?,
        Err(error) if error.kind() == ErrorKind::Playbook => return Err(error),
        Err(_) => Vec::new(),
    };
    let places = places(platforms, orders);
    if let Some(owner) = &args.owner {
        return collect(platforms, owner, args, &places);
    }
    let pool = Pool::open(&workspace::pool_directory(global)?)?;
    let (orphans, problems) = find_orphans(&pool, &places)?;
    interactive::say_unknown(platforms, &pool)?;
    warn_of(&problems);
    let failed = orphans
        .iter()
        .filter(|orphan| !end(orphan, args.dry_run, || orphan.delete(&pool)))
        .count();
    if orphans.is_empty() && problems.is_empty() {
        ui::note("no orphans found");
    }
    Ok(code(failed == 0 && problems.is_empty()))
}

/// Deletes what an owner created. Needs no pool.
fn collect(platforms: &Platforms, owner: &str, args: &GcArgs, places: &[Place]) -> Result<u8> {
    let (mut found, problems) = find_owned(owner, places);
    warn_of(&problems);
    found.retain(|one| match one.check_collectable(args.expired) {
        Ok(()) => true,
        Err(why) => {
            ui::note(format!("{} stays: {}", one.what(), why.chain()));
            false
        }
    });
    if found.is_empty() {
        ui::note(format!("found nothing of `{owner}` to delete"));
        return Ok(code(problems.is_empty()));
    }
    found.iter().for_each(|one| {
        end(one, true, || Ok(()));
    });
    let question = format!("these {} are deleted: continue? [y/N]", found.len());
    if args.dry_run || !args.yes && !interactive::confirm("`gc --owner` deletes", &question)? {
        return Ok(code(problems.is_empty()));
    }
    let failed = found
        .iter()
        .filter(|one| !end(one, false, || one.collect(platforms)))
        .count();
    Ok(code(failed == 0 && problems.is_empty()))
}

fn warn_of(problems: &[Error]) {
    for problem in problems {
        ui::warn(problem.chain());
    }
}

fn code(is_clean: bool) -> u8 {
    match is_clean {
        true => 0,
        false => ErrorKind::Infra.exit_code(),
    }
}

/// A platform to search, with a target's specification.
type Place = (Arc<dyn DynPlatform>, Option<InstanceSpec>);

/// Returns the places to search: every platform and that of environments, then every target's platform with its specification.
fn places(platforms: &Platforms, orders: Vec<(Arc<dyn DynPlatform>, InstanceSpec)>) -> Vec<Place> {
    let all = platforms.all().iter().chain([platforms.environment()]);
    let all = all.map(|platform| (Arc::clone(platform), None));
    let targets = orders
        .into_iter()
        .map(|(platform, spec)| (platform, Some(spec)));
    all.chain(targets).collect()
}

/// Deletes an orphan; with `dry_run`, only prints it. Returns true on success.
fn end(orphan: &Orphan, dry_run: bool, delete: impl FnOnce() -> Result<()>) -> bool {
    if dry_run {
        ui::out(format!("{}: would be deleted", orphan.what()));
        return true;
    }
    match delete() {
        Ok(()) => {
            ui::out(format!("{}: deleted", orphan.what()));
            true
        }
        Err(error) => {
            let message = format!("failed to delete {}", orphan.what());
            ui::error(&Error::infra(message).with_source(error));
            false
        }
    }
}
