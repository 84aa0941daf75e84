//! The story of a run: playbook, inventory, plan, provision, execute, aggregate.
//!
//! Owns the order of the steps. Must not know how any of them is done.

mod reports;

use std::{path::PathBuf, sync::Arc};

use crate::{
    aggregate::FanOut,
    cli::{Global, NextestArgs, RunArgs},
    commands::{
        choice::{Choice, Supplies},
        partitions, setting,
    },
    error::Result,
    execute::{
        broker::{Broker, CaseTable},
        session::{Ended, Session},
    },
    provision::{Provisioner, pool::Pool},
    ui,
};
use reports::Reports;

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
    let choice = Choice::make(global, &tests)?;
    if let Some(error) = choice.misspelt_verb(&args.tests.nextest) {
        return Err(error);
    }
    choice.say_notes();
    choice.say_unmatched(&args.tests.nextest.filters);
    if args.tests.nextest.has("no-run") {
        return Ok(0);
    }
    let pool_directory = setting::pool_directory(global)?;
    let pool = Pool::open(&pool_directory)?;
    let provisioner = Arc::new(Provisioner::new(pool, choice.setting.run_info())?);
    let reports = Reports::new(&choice, args, &provisioner.run().id)?;
    let supplies = choice.supplies(&provisioner)?;
    choice.stage_run(&supplies, reports.nextest_config())?;
    let session = Session::start(choice.directory.path(), Arc::clone(&provisioner))?;
    let fan_out = FanOut::start(reports.aggregators(&pool_directory)?)?;
    let sink = fan_out.sink();
    reports.begin(&sink);
    let table = case_table(&choice, &supplies, args, reports.output())?;
    let broker = session.broker(table, sink.clone())?;
    let ran = run_nextest(&choice, &supplies, &session, &broker, &args.tests.nextest);
    // Also where nextest never ran: something may have been deployed for it.
    let mut interrupts = ran.as_ref().map_or(0, |ended| ended.interrupts);
    if interrupts == 0 && args.shell_on_failure {
        session.wait_for(broker.open_shells());
    }
    let report = session.clean_up(&broker, args.keep_targets, &mut interrupts);
    let ended = ran.and_then(|ended| {
        let mut report = report?;
        report.add(broker.take_released());
        let status = ended.status;
        Ok((Ended { status, interrupts }, report))
    });
    let code = ended.map(|(ended, report)| {
        let used = supplies.values().map(|supply| supply.used());
        reports.end(&sink, &fan_out.tally(), &ended, used, report)
    });
    fan_out.finish();
    code
}

/// The cases, for the broker.
fn case_table(
    choice: &Choice,
    supplies: &Supplies,
    args: &RunArgs,
    output: PathBuf,
) -> Result<CaseTable> {
    let mut table = choice.case_table(supplies, &choice.users_runner()?)?;
    table.set_captured(!args.tests.nextest.has("no-capture"));
    table.set_holds_failed(args.shell_on_failure);
    table.set_releases(choice.may_release(args));
    table.set_output(output);
    Ok(table)
}

/// A case that is debugged has its instances before.
fn run_nextest(
    choice: &Choice,
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
        ui::hold();
    }
    let ended = session.run(broker, nextest);
    ui::let_go();
    ended
}
