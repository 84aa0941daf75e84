//! `run`: the steps of a run in order: playbook, inventory, plan, provision, execute, aggregate.
//!
//! Must not know how a step is done.

mod reports;

use std::sync::Arc;

use crate::{
    aggregate::{FanOut, NewAggregator},
    case::verdict::exit_code_for,
    cli::{Global, RunArgs},
    error::Result,
    orchestrate::Orchestrator,
    provision::platform::Platforms,
    run::{checkout, options::RunOptions, runtime, selection::Selection},
};

/// Runs the chosen cases, and returns the exit code. `added` are aggregators of the tool; `None` for a run without any
/// aggregator.
///
/// # Errors
/// Errors that keep the run from starting.
pub(crate) fn run(
    platforms: &Platforms,
    added: Option<&[NewAggregator]>,
    global: &Global,
    args: &RunArgs,
) -> Result<u8> {
    let Some(options) = RunOptions::resolve(platforms, global, args.clone())? else {
        return Ok(0);
    };
    options.say_playbook();
    let infra_code = options.run.infra_exit_code;
    chosen(added, options).map_err(|error| {
        let code = exit_code_for(error.exit_code(), infra_code);
        error.with_exit_code(code.into())
    })
}

fn chosen(added: Option<&[NewAggregator]>, options: RunOptions) -> Result<u8> {
    let origin = checkout::find_origin(&options.workspace.root);
    let mut choice = Selection::make(options)?;
    if choice.run.load_orch {
        choice.load_orchestrations()?;
        return Ok(0);
    }
    choice.refuse_misspelt_verb()?;
    choice.say_notes();
    choice.say_unmatched();
    choice.build_programs()?;
    if choice.run.tests.nextest.has("no-run") {
        return Ok(0);
    }
    runtime::block_on(async {
        let provisioner = Arc::new(choice.provisioner()?);
        let mut folder = choice.run_folder(&provisioner.run().run().id)?;
        let nextest = choice.nextest(
            &provisioner,
            &folder,
            origin.wait_briefly().unwrap_or_default(),
        )?;
        choice.say_targets(&nextest)?;
        let reports = match added {
            Some(added) => reports::aggregators(added, &choice, &folder, &nextest)?,
            None => Vec::new(),
        };
        let fan_out = FanOut::start(reports)?;
        folder.begin(choice.workspace.playbook.report.keep);
        let sink = fan_out.sink();
        provisioner.emit_to(sink.clone());
        provisioner.run().save_consoles_in(folder.consoles());
        let executor = Arc::new(nextest.on_target(folder.output(), choice.test_packages())?);
        let result = nextest
            .run(&choice.infos(), provisioner, executor, &sink)
            .await;
        fan_out.finish();
        reports::say_report(&choice, &folder);
        Ok(result?.exit_code())
    })
}
