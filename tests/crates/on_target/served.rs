//! Tests that run on their target and use it.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
};

use target_fixtures::{net, prelude::*};

target_defaults! { runs_on = "target" }

/// A fixture of one test, with a tear-down that the test does itself.
#[target_fixture(tear_down = remove)]
fn scratch(target: &Target) -> Result<String> {
    Ok(target.run("mktemp -d")?.stdout.trim().to_owned())
}

fn remove(target: &Target, scratch: &String) -> Result<()> {
    target.run(format!("rm -r {scratch}"))?;
    println!("removed {scratch}");
    Ok(())
}

/// A process and a folder for all tests on the machine.
#[target_fixture(scope = "instance", tear_down = end)]
fn shared() -> Result<u32> {
    fs::create_dir(FOLDER)?;
    Ok(Command::new("sleep").arg("86397").spawn()?.id())
}

const FOLDER: &str = "/tmp/shared-by-tests";

fn end(target: &Target, shared: &u32) -> Result<()> {
    target.run(format!("test -d {FOLDER}"))?;
    assert!(
        Command::new("kill")
            .arg(shared.to_string())
            .status()?
            .success()
    );
    fs::remove_dir(FOLDER)?;
    Ok(())
}

#[target_fixture(scope = "run", tear_down = forget)]
fn of_run() -> Result<String> {
    fs::write("/tmp/of-the-run", "")?;
    Ok("/tmp/of-the-run".to_owned())
}

fn forget(file: &String) -> Result<()> {
    Ok(fs::remove_file(file)?)
}

/// Both ways lead to the same machine: the standard library's and the target's.
#[target_test]
fn is_on_its_target(target: &Target, scratch: &String) -> Result<()> {
    fs::write(format!("{scratch}/by-std"), "one")?;
    assert_eq!(target.cat(format!("{scratch}/by-std"))?, "one");
    target.write(format!("{scratch}/by-target"), "two")?;
    assert_eq!(fs::read_to_string(format!("{scratch}/by-target"))?, "two");
    assert_eq!(std::env::var_os("TARGET_TEST_SSH_CONFIG"), None);
    Ok(())
}

/// Several requests at once, with more input and output than pipes and windows hold.
#[target_test]
fn works_at_once(target: &Target) {
    let line = "head -c 3000000 /dev/zero; wc -c";
    let one = || {
        let input = vec![b'x'; 3_000_000];
        let output = target.command(line).stdin(input).quiet().run();
        output.expect("an output").stdout.len()
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
        for length in all {
            assert_eq!(length.join().expect("a thread"), 3_000_008);
        }
    });
}

#[target_test(programs = ["kvd"])]
fn starts_a_program(target: &Target) -> Result<()> {
    let output = target.program_of("kvd")?.arg("--where").run()?;
    assert!(fs::exists(output.stdout.trim())?);
    Ok(())
}

#[target_test]
fn skips() -> Result<()> {
    Err(skip("seen enough"))
}

#[target_test(expect_fail("bug 7"))]
fn fails_as_expected(target: &Target) -> Result<()> {
    target.run("exit 3")?;
    Ok(())
}

#[target_test]
fn fails(target: &Target) -> Result<()> {
    target.run("exit 3")?;
    Ok(())
}

/// Local paths are those of the machine on which the test runs.
#[target_test(count = 2)]
fn copies_files(targets: &[Target]) -> Result<()> {
    fs::create_dir_all("copied/inner")?;
    fs::write("copied/inner/file", "one")?;
    for target in targets {
        target.put("copied", "/tmp/there")?;
        assert_eq!(target.cat("/tmp/there/inner/file")?, "one");
        target.get("/tmp/there/inner/file", "back")?;
        assert_eq!(fs::read_to_string("back")?, "one");
        fs::remove_file("back")?;
        let missing = target.get("/tmp/there/none", "back");
        let said = missing.expect_err("no file").to_string();
        assert!(said.contains("file not found"), "{said}");
    }
    Ok(())
}

/// A request that would end the test is refused.
#[target_test]
fn is_refused(target: &Target) {
    let said = target.reboot().expect_err("reboot").to_string();
    let why = "not supported in a test that runs on its target";
    assert!(said.contains(why), "{said}");
}

/// A plain address leads to the test's own machine, and a relayed one to the other.
#[target_test(count = 2)]
fn forwards(targets: &[Target]) -> Result<()> {
    let own = TcpListener::bind("127.0.0.1:0")?;
    let port = own.local_addr()?.port();
    assert_eq!(targets[0].forward(port)?.port(), port);
    assert_eq!(targets[0].forward_back(port)?.port(), port);
    for port in [7001, 7002] {
        let mut server = net::tcp_server(&targets[1], port)
            .reply("welcome")
            .start()?;
        let forward = targets[1].forward(port)?;
        let mut stream = TcpStream::connect(forward.address())?;
        stream.write_all(b"hello\n")?;
        assert_eq!(server.receive(Duration::from_secs(20))?, "hello");
        let mut said = String::new();
        stream.shutdown(Shutdown::Write)?;
        stream.read_to_string(&mut said)?;
        assert_eq!(said.trim(), "welcome");
        drop(forward);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }
    let error = targets[1]
        .forward_back(port)
        .expect_err("no SSH")
        .to_string();
    assert!(error.contains("does not support forwarding"), "{error}");
    Ok(())
}

/// Finds the fixtures of its first attempt.
#[target_test(count = 2, retries = 1)]
fn shares(targets: &[Target], shared: &u32, of_run: &String) -> Result<()> {
    assert!(Path::new(&format!("/proc/{shared}")).exists());
    assert!(Path::new(of_run).exists());
    let file = format!("{FOLDER}/first");
    if !Path::new(&file).exists() {
        targets[0].write(file, "")?;
        panic!("the first attempt");
    }
    fs::remove_file(file)?;
    Ok(())
}

/// The other machine is reached through the host.
#[target_test(count = 2)]
fn reaches_another(targets: &[Target]) -> Result<()> {
    fs::write("/tmp/of-the-first", "")?;
    targets[0].run("test -e /tmp/of-the-first")?;
    assert!(targets[1].run("test -e /tmp/of-the-first").is_err());
    Ok(())
}

/// Ends before its fixture is torn down.
#[target_test]
fn dies(_: &Target, scratch: &String) {
    println!("in {scratch}");
    std::process::abort();
}

#[target_test(runs_on = "host")]
fn stays_here() {
    assert!(std::env::var_os("TARGET_TEST_SSH_CONFIG").is_some());
}
