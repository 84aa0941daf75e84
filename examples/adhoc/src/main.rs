//! Runs the shell tests of two folders on whatever machine of a playbook is free, and writes JUnit.

use std::{error::Error, process::ExitCode, sync::Arc};

use cargo_target_test::{
    aggregate::{FanOut, junit::Junit, summary::Summary},
    execute::ShellTests,
    orchestrate::{Orchestrator, Pull},
    provision::PoolProvisioner,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let machines = PoolProvisioner::open("target-test.toml")?;
    let tests = ShellTests::new("output")
        .folder("smoke")?
        .folder("network")?;
    let cases = tests.cases();

    let reports = FanOut::start(vec![
        ("the summary", Box::<Summary>::default()),
        ("the report", Box::new(Junit::without_nextest("junit.xml"))),
    ])?;
    let tests = Arc::new(tests);
    let pull = Pull::default().retries(1);
    let result = pull
        .run(&cases, Arc::new(machines), tests, &reports.sink())
        .await;
    reports.finish();

    let result = result?;
    println!("{result}");
    Ok(result.exit_code().into())
}
