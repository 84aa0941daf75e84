//! `up`: deploys instances without a test, and keeps them.
//!
//! Must not know how an instance is deployed.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use crate::{
    case::verdict::EXIT_INTERRUPTED,
    cli::{Global, UpArgs, UpTarget},
    commands::{
        delete, down,
        interactive::{self, AccessRequest},
    },
    error::{Error, ErrorKind, Result},
    execute::clean_up::{self, Interrupts, Signals},
    playbook::{Limit, did_you_mean},
    provision::{
        InstanceSet, PoolProvisioner, PoolRun, Provisioner, platform::Platforms, pool::Pool,
    },
    run::{
        runtime,
        workspace::{self, Workspace},
    },
    ui,
};

/// Runs the verb. Succeeds if all instances are ready.
///
/// # Errors
/// [`ErrorKind::Usage`] for an unknown target or too many instances. Failed deploys are printed, and set the exit code;
/// instances that became ready stay.
pub fn verb(platforms: &Platforms, global: &Global, args: &UpArgs) -> Result<u8> {
    let mut workspace = Workspace::find(platforms, global)?;
    if let Some(time) = args.time {
        workspace.playbook.pool.keep_for = Limit(time);
    }
    let sets = args.targets.iter().map(|one| wanted(&workspace, one));
    let sets = sets.collect::<Result<Vec<_>>>()?;
    runtime::block_on(up(global, &workspace, sets, args.time))
}

/// Asks on the terminal whether to deploy an instance, if the name is that of a target without instances.
pub(super) fn offer(ask: &AccessRequest<'_>) -> Result<()> {
    let pool = Pool::open(&workspace::pool_directory(ask.global)?)?;
    let name = &ask.on.instance;
    if interactive::find(&pool, name, ask.on.all).is_ok() || !is_target(ask) {
        return Ok(());
    }
    let question = format!("target `{name}` has no instance; deploy one? [y/N]");
    if interactive::confirm("", &question)? {
        let (target, count) = (name.clone(), 1);
        let args = UpArgs {
            targets: vec![UpTarget { target, count }],
            time: None,
        };
        verb(ask.platforms, ask.global, &args)?;
    }
    Ok(())
}

/// Adds a hint to the error of a name without instances, if it is that of a target.
pub(super) fn hint(ask: &AccessRequest<'_>, error: Error) -> Error {
    let name = &ask.on.instance;
    match error.kind() == ErrorKind::Usage && is_target(ask) {
        true => error.with_hint(format!("`cargo target-test up {name}` deploys one")),
        false => error,
    }
}

fn is_target(ask: &AccessRequest<'_>) -> bool {
    let workspace = Workspace::find(ask.platforms, ask.global);
    workspace.is_ok_and(|workspace| {
        let mut targets = workspace.playbook.targets.iter();
        targets.any(|target| target.name == ask.on.instance)
    })
}

/// The instances of a target that shall be there.
fn wanted(workspace: &Workspace, up: &UpTarget) -> Result<InstanceSet> {
    let targets = &workspace.playbook.targets;
    let Some(number) = targets.iter().position(|target| target.name == up.target) else {
        let names: Vec<&str> = targets.iter().map(|target| &*target.name).collect();
        let message = format!("the playbook has no target `{}`", up.target);
        let hint = did_you_mean(&up.target, &names);
        let hint = hint.unwrap_or_else(|| format!("there are `{}`", names.join("`, `")));
        return Err(Error::usage(message).with_hint(hint));
    };
    let target = &targets[number];
    if up.count > target.count {
        let (name, count) = (&target.name, target.count);
        let message = format!("`{name}` has `count = {count}`: no more instances can be up");
        return Err(Error::usage(message));
    }
    workspace.check_target(number)?;
    let wanted = workspace.wanted(number, up.count)?;
    let label = target.label.clone();
    Ok(InstanceSet::new(wanted, 0, label, target.cost))
}

/// Deploys all at once, and prints each that is ready. After a signal, what is not ready is deleted.
async fn up(
    global: &Global,
    workspace: &Workspace,
    sets: Vec<InstanceSet>,
    time: Option<Duration>,
) -> Result<u8> {
    let pool = Pool::open(&workspace::pool_directory(global)?)?;
    let run = PoolRun::new(pool, workspace.run_info())?;
    let provisioner = Arc::new(PoolProvisioner::new(run, Path::new(""), ui::live));
    let mut signals = Signals::catch()?;
    let mut deploys = JoinSet::new();
    for set in sets {
        let set = provisioner.add(set);
        for index in 0..set.at_once {
            let (provisioner, set) = (Arc::clone(&provisioner), Arc::clone(&set));
            deploys.spawn(async move { provisioner.ready(&set, index).await });
        }
    }
    let (mut ids, mut failed, mut interrupts) = (Vec::new(), None, Interrupts::default());
    loop {
        let ended = tokio::select! {
            ended = deploys.join_next() => ended,
            signal = signals.next() => {
                interrupts.add(signal);
                provisioner.interrupt();
                break;
            }
        };
        match ended {
            Some(Ok(Ok(ready))) => {
                ui::out(&ready.story);
                ids.push(ready.record.id.clone());
            }
            Some(Ok(Err(error))) => {
                ui::error(&error);
                failed.get_or_insert(error.exit_code());
            }
            Some(Err(error)) => return Err(Error::other("a deploy ended early").with_source(error)),
            None => break,
        }
    }
    provisioner.run().keep_up(&ids)?;
    let report =
        clean_up::within_limits(provisioner.finish(true), &mut signals, &mut interrupts).await?;
    if [&report.failed, &report.dirty, &report.unknown]
        .iter()
        .any(|left| !left.is_empty())
    {
        delete::lines(&report).iter().for_each(ui::note);
    }
    if let Some(time) = time.filter(|_| !ids.is_empty()) {
        down::after(global, time, &ids)?;
    }
    match failed {
        _ if interrupts.any() => Ok(EXIT_INTERRUPTED),
        failed => Ok(failed.unwrap_or_default()),
    }
}
