//! The story of a run: playbook, inventory, plan, provision, execute, aggregate.
//!
//! Owns the order of the steps. Must not know how any of them is done.

use std::sync::Arc;

use crate::{
    aggregate::summary::Results,
    cli::{Global, RunArgs},
    commands::{choice::Choice, setting},
    error::Result,
    execute::session::Session,
    provision::{Provisioner, pool::Pool},
};

/// Runs the chosen cases; returns the exit code.
///
/// # Errors
/// Whatever keeps the run from starting.
pub fn run(global: &Global, args: &RunArgs) -> Result<u8> {
    let choice = Choice::make(global, &args.tests)?;
    choice.say_notes();
    if args.tests.nextest.has("no-run") {
        return Ok(0);
    }
    let pool = Pool::open(&setting::pool_directory(global)?)?;
    let provisioner = Arc::new(Provisioner::new(pool, choice.setting.run_info())?);
    let supplies = choice.supplies()?;
    choice.stage_run(&supplies)?;
    let session = Session::start(choice.directory.path(), Arc::clone(&provisioner))?;
    let broker = session.broker(choice.names(&supplies, &choice.users_runner()?)?)?;
    if let Some((supply, count)) = choice.debugged(&supplies)? {
        session.wait_for(broker.prepare(&supply, count))?;
    }
    let mut ended = session.run(&broker, choice.nextest_run()?)?;
    let report = session.clean_up(&broker, args.keep_targets, &mut ended.interrupts)?;
    let results = Results {
        ended: &ended,
        outcomes: &broker.take_outcomes(),
        cases: &choice.case_names(),
        report: &report,
    };
    results.print();
    Ok(results.exit_code())
}
