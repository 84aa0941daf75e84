//! The story of a run: playbook, inventory, plan, provision, execute, aggregate.
//!
//! Owns the order of the steps. Must not know how any of them is done.

use std::sync::Arc;

use crate::{
    aggregate::summary::Results,
    cli::{Global, NextestArgs, RunArgs},
    commands::{
        choice::{Choice, Supplies},
        partitions, setting,
    },
    error::{Error, Result},
    execute::{
        broker::{Broker, Names},
        session::{Ended, Session},
    },
    provision::{PoolProvisioner, PoolRun, pool::Pool},
    ui,
};

/// Runs the chosen cases; returns the exit code.
///
/// # Errors
/// Whatever keeps the run from starting.
pub fn run(global: &Global, args: &RunArgs) -> Result<u8> {
    if let Some(parts) = args.partitions.filter(|parts| *parts > 1)
        && let Some(code) = partitions::run(global, args, parts)?
    {
        return Ok(code);
    }
    run_alone(global, args)
}

/// The run itself.
fn run_alone(global: &Global, args: &RunArgs) -> Result<u8> {
    let mut tests = args.tests.clone();
    if args.shell_on_failure {
        tests.nextest.fail_fast()?;
    }
    let mut choice = Choice::make(global, &tests)?;
    choice.junit = args.junit.as_ref().map(std::path::absolute).transpose()?;
    if let Some(error) = choice.misspelt_verb(&args.tests.nextest) {
        return Err(error);
    }
    choice.say_notes();
    choice.say_unmatched(&args.tests.nextest.filters);
    if args.tests.nextest.has("no-run") {
        return Ok(0);
    }
    let provisioner = Arc::new(provisioner(global, &choice)?);
    let supplies = choice.supplies(&provisioner)?;
    choice.stage_run(&supplies)?;
    let session = Session::start(choice.directory.path(), Arc::clone(&provisioner))?;
    let broker = session.broker(names(&choice, &supplies, args)?)?;
    let ran = run_nextest(&choice, &supplies, &session, &broker, &args.tests.nextest);
    // Also where nextest never ran: something may have been deployed for it.
    let mut interrupts = ran.as_ref().map_or(0, |ended| ended.interrupts);
    if interrupts == 0 && args.shell_on_failure {
        session.wait_for(broker.open_shells());
    }
    let report = session.clean_up(&broker, args.keep_targets, &mut interrupts);
    let (status, report) = (ran?.status, report?);
    let ended = Ended { status, interrupts };
    let outcomes = broker.take_outcomes();
    let results = Results {
        ended: &ended,
        outcomes: &outcomes,
        cases: &choice.case_names(),
        skipped: &choice.skipped(&args.tests.nextest),
        used: &supplies
            .values()
            .map(|supply| supply.used())
            .collect::<Vec<_>>(),
        report: &report,
    };
    results.print();
    choice.remember(&setting::pool_directory(global)?, &outcomes);
    Ok(results.exit_code())
}

/// The instances of a run, in its pool.
fn provisioner(global: &Global, choice: &Choice) -> Result<PoolProvisioner> {
    let pool = Pool::open(&setting::pool_directory(global)?)?;
    let run = PoolRun::new(pool, choice.setting.run_info())?;
    let ssh_config = Broker::ssh_config_in(choice.directory.path());
    Ok(PoolProvisioner::new(run, &ssh_config, ui::live))
}

/// What the broker is told.
fn names(choice: &Choice, supplies: &Supplies, args: &RunArgs) -> Result<Names> {
    let mut names = choice.names(supplies, &choice.users_runner()?)?;
    names.set_captured(!args.tests.nextest.has("no-capture"));
    names.set_holds_failed(args.shell_on_failure);
    names.set_releases(choice.may_release(args));
    Ok(names)
}

/// A case that is debugged has its instances before.
fn run_nextest(
    choice: &Choice,
    supplies: &Supplies,
    session: &Session,
    broker: &Broker,
    args: &NextestArgs,
) -> Result<Ended> {
    let provisioner = session.provisioner();
    if let Some((set, count)) = choice.debugged(supplies)? {
        session.wait_for(async {
            for index in 0..count as usize {
                provisioner.ready(&set, index).await?;
            }
            Ok::<_, Error>(())
        })?;
    }
    // What a long deploy says is worth more than a bar, which leaves it no place.
    let makes = supplies.values().any(|supply| supply.makes_machines());
    let without_bar = makes && args.draws_bar() && !args.has("show-progress");
    let nextest = choice.nextest_run(without_bar)?;
    // nextest needs a while to come to its first entry.
    session.wait_for(async {
        let sets = supplies.values();
        sets.for_each(|set| provisioner.begin_missing(set));
    });
    if args.draws_bar() && !without_bar {
        ui::hold();
    }
    let ended = session.run(broker, nextest);
    ui::let_go();
    ended
}
