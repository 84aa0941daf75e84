//! The story of a run: playbook, inventory, plan, provision, execute, aggregate.
//!
//! Owns the order of the steps. Must not know how any of them is done.

use std::sync::Arc;

use crate::{
    aggregate::summary::Results,
    cli::{Global, NextestArgs, RunArgs},
    commands::partitions,
    error::Result,
    execute::{
        broker::{Broker, Names},
        session::{Ended, Session},
    },
    provision::{Provisioner, pool::Pool},
    run::{
        options::Options,
        selection::{Selection, Supplies},
    },
    ui,
};

/// Runs the chosen cases; returns the exit code.
///
/// # Errors
/// Whatever keeps the run from starting.
pub fn run(global: &Global, args: &RunArgs) -> Result<u8> {
    let Some(options) = Options::resolve(global, args.clone())? else {
        return Ok(0);
    };
    let choice = Selection::make(options)?;
    if let Some(error) = choice.misspelt_verb() {
        return Err(error);
    }
    choice.say_notes();
    let args = &choice.run;
    if let Some(parts) = args
        .partitions
        .filter(|parts| *parts > 1 && choice.count() > 0)
    {
        return partitions::run(args, parts);
    }
    choice.say_unmatched();
    if args.tests.nextest.has("no-run") {
        return Ok(0);
    }
    let pool = Pool::open(&choice.pool)?;
    let provisioner = Arc::new(Provisioner::new(pool, choice.setting.run_info())?);
    let supplies = choice.supplies(&provisioner)?;
    choice.stage_run(&supplies)?;
    let session = Session::start(choice.directory.path(), Arc::clone(&provisioner))?;
    let broker = session.broker(names(&choice, &supplies)?)?;
    let ran = run_nextest(&choice, &supplies, &session, &broker, &args.tests.nextest);
    // Also where nextest never ran: something may have been deployed for it.
    let mut interrupts = ran.as_ref().map_or(0, |ended| ended.interrupts);
    if interrupts == 0 && args.shell_on_failure {
        session.wait_for(broker.open_shells());
    }
    let report = session.clean_up(&broker, args.keep_targets, &mut interrupts);
    let (status, mut report) = (ran?.status, report?);
    report.add(broker.take_released());
    let ended = Ended { status, interrupts };
    let outcomes = broker.take_outcomes();
    let results = Results {
        ended: &ended,
        outcomes: &outcomes,
        cases: &choice.case_names(),
        skipped: &choice.skipped(),
        used: &supplies
            .values()
            .map(|supply| supply.used())
            .collect::<Vec<_>>(),
        report: &report,
    };
    results.print();
    choice.remember(&outcomes);
    Ok(results.exit_code())
}

/// What the broker is told.
fn names(choice: &Selection, supplies: &Supplies) -> Result<Names> {
    let args = &choice.run;
    let mut names = choice.names(supplies, &choice.users_runner()?)?;
    names.set_captured(!args.tests.nextest.has("no-capture"));
    names.set_holds_failed(args.shell_on_failure);
    names.set_releases(choice.may_release());
    Ok(names)
}

/// A case that is debugged has its instances before.
fn run_nextest(
    choice: &Selection,
    supplies: &Supplies,
    session: &Session,
    broker: &Broker,
    args: &NextestArgs,
) -> Result<Ended> {
    if let Some((supply, count)) = choice.debugged(supplies)? {
        session.wait_for(broker.prepare(&supply, count))?;
    }
    // What a long deploy says is worth more than a bar, which leaves it no place.
    let makes = supplies.values().any(|supply| supply.makes_machines());
    let without_bar = makes && args.draws_bar() && !args.has("show-progress");
    let nextest = choice.nextest_run(without_bar)?;
    session.wait_for(async { broker.deploy_ahead(supplies.values()) });
    if args.draws_bar() && !without_bar {
        ui::defer();
    }
    let ended = session.run(broker, nextest);
    ui::flush();
    ended
}
