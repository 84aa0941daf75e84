//! `pool`: corrects the pool's records.
//!
//! Must not create or delete instances.

use std::time::UNIX_EPOCH;

use crate::{
    cli::{ForgetArgs, Global, PoolArgs, PoolVerb},
    commands::interactive,
    error::{Error, ErrorKind, Result},
    playbook,
    provision::{
        self, Wanted,
        platform::Platforms,
        pool::{Disabled, Pool, Record},
    },
    run::workspace::{self, Workspace},
    ui,
};

/// Runs the verb.
///
/// # Errors
/// Fails if the pool cannot be used, or if the instance is in use.
pub fn verb(platforms: &Platforms, global: &Global, args: &PoolArgs) -> Result<u8> {
    let pool = Pool::open(&workspace::pool_directory(global)?)?;
    match &args.verb {
        PoolVerb::Forget(args) => forget(&pool, args),
        PoolVerb::Disable(args) => {
            let until = args
                .until
                .and_then(|until| until.duration_since(UNIX_EPOCH).ok());
            let disabled = Disabled {
                reason: args.reason.clone(),
                until: until.map(|until| until.as_secs()),
            };
            let wanted = wanted(platforms, global)?;
            let count = provision::disable(&pool, &args.name, &wanted, &disabled)?;
            changed(&args.name, count, "disabled")
        }
        PoolVerb::Enable(args) => {
            let wanted = wanted(platforms, global)?;
            let count = provision::enable(&pool, &args.name, &wanted)?;
            changed(&args.name, count, "enabled")
        }
    }
}

/// Returns the instances of the playbook, which may have no record yet. Without a workspace there is none.
fn wanted(platforms: &Platforms, global: &Global) -> Result<Vec<Wanted>> {
    let workspace = match Workspace::find(platforms, global) {
        Ok(workspace) => workspace,
        Err(error) if error.kind() == ErrorKind::Playbook => return Err(error),
        Err(_) => return Ok(Vec::new()),
    };
    let targets = workspace.playbook.targets.iter().enumerate();
    let each = targets.map(|(number, target)| workspace.wanted(number, target.count));
    Ok(each.collect::<Result<Vec<_>>>()?.concat())
}

fn changed(name: &str, count: usize, how: &str) -> Result<u8> {
    match count {
        0 => Err(Error::usage(format!("instance or host `{name}` not found"))
            .with_hint("`cargo target-test targets` lists the pool, `check` the playbook")),
        _ => {
            ui::out(format!("{how} {name}"));
            Ok(0)
        }
    }
}

fn forget(pool: &Pool, args: &ForgetArgs) -> Result<u8> {
    let name = &args.on.instance;
    let id = match pool.state()?.lost.contains(name) {
        true => name.clone(),
        false => {
            let choice = interactive::choose(pool, name, args.on.all)?;
            interactive::check_whole(&choice.all, name)?;
            match &choice.all[..] {
                [one] => one.record.id.clone(),
                several => {
                    let names = playbook::list(several.iter().map(|seen| seen.record.name()));
                    let message = format!("`{name}` is more than one instance: {names}");
                    return Err(Error::usage(message));
                }
            }
        }
    };
    let refusal = format!("`pool forget` drops the record of `{name}` and deletes nothing");
    let question = format!(
        "the record of `{name}` is dropped, and what exists of the instance must be removed by hand: continue? [y/N]"
    );
    if !args.yes && !interactive::confirm(&refusal, &question)? {
        ui::note("nothing was changed");
        return Ok(0);
    }
    let record = provision::forget(pool, &id)?;
    ui::out(match &record {
        Some(record) => left(record),
        None => format!("forgot {id}; remove by hand what is named `{id}`"),
    });
    Ok(0)
}

/// Describes what a forgotten record leaves behind.
fn left(record: &Record) -> String {
    let name = record.name();
    if !record.ownership.is_created() {
        return format!("forgot {name}; no machine was created for it");
    }
    let mut lines = vec![
        format!("forgot {name}; remove by hand what exists of it:"),
        format!("  platform  {}", record.platform),
        format!("  named     {}", record.id),
        format!("  label     {}", record.spec.label),
    ];
    if let Some(deployed) = &record.deployed {
        lines.push(format!("  host      {}", deployed.address()));
        if !deployed.data.is_null() {
            lines.push(format!("  data      {}", deployed.data));
        }
    }
    lines.join("\n")
}
