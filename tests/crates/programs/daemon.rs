//! Tests that start the program of their own workspace on their target.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use target_fixtures::prelude::*;

target_defaults! { programs = ["kvd"] }

/// The daemon runs on the target, and answers from here.
#[target_test]
fn answers(target: &Target) -> Result<()> {
    let mut kvd = target.program_of("kvd")?.spawn()?;
    let line = kvd.wait_for_line("listening on", Duration::from_secs(20))?;
    let port: u16 = line.rsplit(' ').next().unwrap_or_default().parse()?;
    let forward = target.forward(port)?;
    let ask = |question: &str| -> Result<String> {
        let mut stream = TcpStream::connect(forward.address())?;
        writeln!(stream, "{question}")?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    };
    assert_eq!(ask("set colour green")?, "done");
    assert_eq!(ask("get colour")?, "green");
    kvd.kill()?;
    Ok(())
}

/// A program that is there is found again.
#[target_test]
fn again(target: &Target) -> Result<()> {
    let paths = || target.program_of("kvd")?.arg("--where").run();
    assert_eq!(paths()?.stdout, paths()?.stdout);
    Ok(())
}

/// A name that the test does not declare.
#[target_test]
fn undeclared(target: &Target) -> Result<()> {
    target.program_of("other")?.run()?;
    Ok(())
}

/// A program of this machine that is not linked statically.
#[target_test]
fn dynamic(target: &Target) -> Result<()> {
    let folder = target.temp_dir()?;
    let program = folder.join("env");
    target.put("/usr/bin/env", &program)?;
    let mut env = target.program(&program).spawn()?;
    env.wait_for_line("PATH", Duration::from_secs(20))?;
    Ok(())
}
