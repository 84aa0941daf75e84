//! `run`: the steps of a run in order: playbook, inventory, plan, provision, execute, aggregate.
//!
//! Must not know how a step is done.

mod reports;

use std::{path::PathBuf, sync::Arc};

use crate::{
    aggregate::FanOut,
    cli::{Global, NextestArgs, RunArgs},
    commands::partitions,
    error::{Error, Result},
    execute::{
        broker::{Broker, CaseTable},
        session::{NextestEnd, Session},
    },
    provision::{PoolProvisioner, PoolRun, platform::Platforms, pool::Pool},
    run::{
        options::RunOptions,
        selection::{InstanceSets, Selection},
    },
    ui,
};
use reports::Reports;

/// Runs the chosen cases, and returns the exit code.
///
/// # Errors
/// Errors that keep the run from starting.
pub fn run(platforms: &Platforms, global: &Global, args: &RunArgs) -> Result<u8> {
    let Some(options) = RunOptions::resolve(platforms, global, args.clone())? else {
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
    let provisioner = Arc::new(provisioner(&choice)?);
    let reports = Reports::new(&choice, &provisioner.run().run().id)?;
    let instance_sets = choice.instance_sets(&provisioner)?;
    choice.stage_run(&instance_sets, reports.nextest_config())?;
    let session = Session::start(choice.directory.path(), Arc::clone(&provisioner))?;
    let fan_out = FanOut::start(reports.aggregators()?)?;
    let sink = fan_out.sink();
    provisioner.emit_to(sink.clone());
    reports.begin(&sink);
    let table = case_table(&choice, &instance_sets, reports.output())?;
    let broker = session.broker(table, sink.clone())?;
    let ran = run_nextest(
        &choice,
        &instance_sets,
        &session,
        &broker,
        &args.tests.nextest,
    );
    // Even if nextest never ran: instances may have been deployed.
    let mut interrupts = ran.as_ref().map_or(0, |ended| ended.interrupts);
    if interrupts == 0 && args.shell_on_failure {
        session.wait_for(broker.open_shells());
    }
    let report = session.clean_up(&broker, args.keep_targets, &mut interrupts);
    let ended = ran.and_then(|ended| {
        let status = ended.status;
        Ok((NextestEnd { status, interrupts }, report?))
    });
    let code = ended.map(|(ended, report)| {
        let used = instance_sets
            .values()
            .map(|instance_set| instance_set.used());
        reports.end(&sink, &fan_out.tally(), &ended, used, report)
    });
    fan_out.finish();
    code
}

/// Returns the provisioner of a run's instances.
fn provisioner(choice: &Selection) -> Result<PoolProvisioner> {
    let run = PoolRun::new(Pool::open(&choice.pool)?, choice.workspace.run_info())?;
    let ssh_config = Broker::ssh_config_in(choice.directory.path());
    Ok(PoolProvisioner::new(run, &ssh_config, ui::live))
}

/// Returns the table of cases for the broker.
fn case_table(
    choice: &Selection,
    instance_sets: &InstanceSets,
    output: PathBuf,
) -> Result<CaseTable> {
    let args = &choice.run;
    let mut table = choice.case_table(instance_sets, &choice.users_runner()?)?;
    table.set_captured(!args.tests.nextest.has("no-capture"));
    table.set_holds_failed(args.shell_on_failure);
    table.set_releases(choice.may_release());
    table.set_output(output);
    Ok(table)
}

/// Runs nextest. Deploys the instances of a debugged case first.
fn run_nextest(
    choice: &Selection,
    instance_sets: &InstanceSets,
    session: &Session,
    broker: &Broker,
    args: &NextestArgs,
) -> Result<NextestEnd> {
    let provisioner = session.provisioner();
    if let Some((set, count)) = choice.debugged(instance_sets)? {
        session.wait_for(async {
            for index in 0..count as usize {
                provisioner.ready(&set, index).await?;
            }
            Ok::<_, Error>(())
        })?;
    }
    // A progress bar leaves no room for the messages of long deploys, so it is disabled.
    let makes = instance_sets
        .values()
        .any(|instance_set| instance_set.makes_machines());
    let without_bar = makes && args.draws_bar() && !args.has("show-progress");
    let nextest = choice.nextest_run(without_bar)?;
    // Deploys begin while nextest starts.
    session.wait_for(async {
        let sets = instance_sets.values();
        sets.for_each(|set| provisioner.begin_missing(set));
    });
    if args.draws_bar() && !without_bar {
        ui::defer();
    }
    let ended = session.run(broker, nextest);
    ui::flush();
    ended
}
