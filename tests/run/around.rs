//! The surroundings of a case: its environment, the user's own runner, scripts, configuration and debugger, and tests
//! that are not cases.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::world::{World, summary};
use crate::support::Sshd;

/// The variable that gives this host's tests a runner.
fn runner_variable() -> String {
    let host = if cfg!(target_arch = "aarch64") {
        "AARCH64"
    } else {
        "X86_64"
    };
    format!("CARGO_TARGET_{host}_UNKNOWN_LINUX_GNU_RUNNER")
}

#[test]
fn a_case_finds_its_target_in_the_environment() {
    let world = World::new();
    let sshd = Sshd::start(&["alpha-0"]);
    world.file(
        "target-test.toml",
        &sshd.playbook(&[("alpha", &["alpha-0"])]),
    );
    world
        .run(&["around::environment", "around::logs_in"])
        .code(0);
    let environment = world.read("environment");
    let address = sshd.address("alpha-0");
    let (host, port) = address.rsplit_once(':').expect("a port");
    for line in [
        "TARGET_TEST_NAME=alpha".to_owned(),
        "TARGET_TEST_INSTANCE=alpha-0".to_owned(),
        "TARGET_TEST_PLATFORM=ssh".to_owned(),
        format!("TARGET_TEST_HOST={host}"),
        format!("TARGET_TEST_PORT={port}"),
        format!("TARGET_TEST_USER={}", sshd.setting("alpha-0", "user")),
    ] {
        assert!(
            environment.lines().any(|found| found == line),
            "{line}: {environment}"
        );
    }
    let params = environment
        .lines()
        .find_map(|line| line.strip_prefix("TARGET_TEST_PARAMS="));
    let params: serde_json::Value =
        serde_json::from_str(params.expect("parameters")).expect("JSON");
    assert!(params.is_object(), "{params}");
}

/// A run reads the OpenSSH configuration of each host once, however many deploys, cases and messages need it.
#[test]
fn ssh_is_asked_once_per_host() {
    let world = World::new();
    let sshd = Sshd::start(&["one", "two"]);
    world.file(
        "target-test.toml",
        &sshd.playbook(&[("alpha", &["one", "two"]), ("beta", &["one"])]),
    );
    let path = std::env::var("PATH").expect("PATH");
    let programs = std::env::split_paths(&path).map(|folder| folder.join("ssh"));
    let ssh = { programs }.find(|file| file.exists()).expect("ssh");
    fs::create_dir(world.path("bin")).expect("a folder");
    let (calls, ssh) = (world.path("calls"), ssh.display());
    let wrapper = format!("echo \"$*\" >>{calls:?}\nexec {ssh} \"$@\"\n");
    world.program("bin/ssh", &wrapper);
    let bin = world.path("bin");
    let cases = [
        "passes",
        "quick",
        "prints",
        "skips",
        "verdict::fails",
        "environment",
    ];
    world
        .tool(&cases)
        .args(["--stress-count", "2"])
        .env("PATH", format!("{}:{path}", bin.display()))
        .run()
        .code(100);
    let calls = world.read("calls");
    let of = |host: &str| {
        let port = format!("-p {} ", sshd.setting(host, "port"));
        let calls = calls.lines().filter(|line| line.starts_with("-G "));
        calls.filter(|line| line.contains(&port)).count()
    };
    assert_eq!((of("one"), of("two")), (1, 1), "{calls}");
}

/// Nothing of ours in a test's environment changes cargo, nextest or ourselves in it.
#[test]
fn cargo_in_a_case_is_as_ever() {
    let world = World::new();
    world.run(&["around::nests[east]"]).code(0);
}

#[test]
fn the_users_own_runner_is_chained() {
    let world = World::new();
    let script = "echo \"$@\" >>\"$SCRATCH/ran\"\nexec \"$@\"\n";
    let runner = world.program("runner", script);
    let check = |seen: &str| {
        let ran = world.read("ran");
        std::fs::remove_file(world.path("ran")).expect(seen);
        let line = ran
            .lines()
            .find(|line| line.contains("--exact"))
            .expect(&ran);
        let (binary, rest) = line.split_once(' ').expect("arguments");
        assert!(
            Path::new(binary)
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("cases-"))
        );
        assert!(
            rest.starts_with("--exact verdict::passes "),
            "{seen}: {rest}"
        );
    };
    let tool = world
        .tool(&["passes[east]"])
        .env(&runner_variable(), &runner);
    tool.run().code(0);
    check("by the environment");
    let triple = runner_variable().to_lowercase();
    let triple = triple
        .trim_start_matches("cargo_target_")
        .trim_end_matches("_runner");
    let triple = triple
        .replacen("x86_64_", "x86_64-", 1)
        .replacen("aarch64_", "aarch64-", 1);
    let triple = triple.replace("unknown_linux_gnu", "unknown-linux-gnu");
    // Cargo reads it from the folder in which it is called.
    std::fs::create_dir(world.path(".cargo")).expect("a folder");
    let config = format!("[target.{triple}]\nrunner = {runner:?}\n");
    world.file(".cargo/config.toml", &config);
    let binary = env!("CARGO_BIN_EXE_cargo-target-test");
    let there = format!(
        "manifest=$PWD/Cargo.toml; cd $SCRATCH; exec {binary} --manifest-path \"$manifest\" \"$@\"\n"
    );
    let there = world.program("there", &there);
    world.through(&there, &["passes[east]"]).run().code(0);
    check("by Cargo's configuration");
    let option = format!(
        "target.{triple}.runner={:?}",
        runner.to_str().expect("UTF-8")
    );
    world.run(&["--config", &option, "passes[east]"]).code(0);
    check("by an option");
}

#[test]
fn a_wrapper_that_bypasses_us_is_noticed() {
    let world = World::new().nextest(
        "experimental = ['wrapper-scripts']\n\
         [scripts.wrapper.mine]\ncommand = 'env'\ntarget-runner = 'ignore'\n\
         [[profile.default.scripts]]\nfilter = 'test(passes)'\nrun-wrapper = 'mine'\n",
    );
    world.run(&["passes", "skips"]).code(69).line_with(&[
        "warning: 2 of the cases",
        "never asked for an instance",
        "wrapper",
    ]);
    let within = World::new().nextest(
        "experimental = ['wrapper-scripts']\n\
         [scripts.wrapper.mine]\ncommand = 'env'\ntarget-runner = 'within-wrapper'\n\
         [[profile.default.scripts]]\nfilter = 'test(passes)'\nrun-wrapper = 'mine'\n",
    );
    within.run(&["passes"]).code(0).never_says("warning");
}

/// An override of the user's beats what a test declares; what is only our default, the user's profile beats.
#[test]
fn the_users_configuration_wins() {
    let world = World::new().nextest(
        "[profile.default]\nfail-fast = true\ntest-threads = 1\n\n\
         [[profile.default.overrides]]\nfilter = 'test(/flaky/)'\nretries = 0\n",
    );
    let run = world
        .run(&["flaky[east]", "-E", "test(/^verdict::flaky.east/)"])
        .code(100)
        .never_says("FLAKY");
    assert_eq!(world.read("flaky"), "attempt\n", "{run:?}");
    let run = world.run(&["fails[east]", "fails[west]"]).code(100);
    assert_eq!(run.lines_with(&["tests run:"]), 1, "{run:?}");
    assert!(summary(&run).contains("/4 tests run"), "{run:?}");
    // Without it: one failure hides nothing.
    let run = World::new().run(&["fails[east]", "fails[west]"]).code(100);
    assert_eq!(summary(&run), "4 tests run: 2 passed, 2 failed, 0 skipped");
}

#[test]
fn plain_tests_run_once_and_lease_nothing() {
    let world = World::on_machines("[[targets]]\nname = \"east\"\nplatform = \"command\"\n");
    let run = world.run(&["--workspace", "plain", "expands"]).code(0);
    assert_eq!(summary(&run), "2 tests run: 2 passed, 0 skipped");
    run.line_with(&["PASS", "run-world-macros tests::expands"])
        .line_with(&["PASS", "run-world::cases plain"])
        .line_with(&["run once, on the host", "--all-tests"])
        .never_says("warning");
    assert_eq!(
        (world.read("plain"), world.read("ledger")),
        ("\n".to_owned(), String::new())
    );
    world
        .run(&["--workspace", "plain", "expands", "--all-tests"])
        .code(0)
        .line_with(&["PASS", "run-world-macros tests::expands"])
        .line_with(&["PASS", "run-world::cases plain[east]"]);
    assert_eq!(world.read("plain"), "\neast\n");
}

#[test]
fn a_debugger_gets_one_case_on_its_target() {
    let world = World::new();
    let debugger = world.program(
        "debugger",
        "echo \"$@\" >>\"$SCRATCH/debugged\"\nexec \"$@\"\n",
    );
    let debugger = debugger.to_str().expect("UTF-8");
    for (option, name, test) in [
        ("--debugger", "verdict::passes[east]", "verdict::passes"),
        ("--tracer", "plain", "plain"),
    ] {
        let run = world
            .run(&[option, debugger, "--", "--exact", name])
            .code(0);
        run.never_says("deploy[").never_says("warning");
        let line = world.read("debugged");
        let wanted = format!("--exact {test} --nocapture");
        assert!(line.contains(&wanted), "{line}");
        std::fs::remove_file(world.path("debugged")).expect("a file");
    }
    world
        .run(&["--debugger", debugger, "passes"])
        .code(2)
        .says("exactly one case, but 2 were chosen");
    world
        .run(&["--tracer", debugger, "no_such_case"])
        .code(2)
        .says("exactly one case, but 0 were chosen");
    assert_eq!(world.read("debugged"), "");
    world.is_clean();
}

/// Nothing is installed, built or deployed where nextest is missing or too old.
#[test]
fn nextest_must_be_there() {
    let world = World::new();
    let cargo = env!("CARGO");
    let bin = world.path("bin");
    std::fs::create_dir(&bin).expect("a folder");
    for name in ["cargo", "rustc"] {
        let program = Path::new(cargo).with_file_name(name);
        std::os::unix::fs::symlink(program, bin.join(name)).expect("a link");
    }
    // Cargo's caches without its programs.
    let home = world.path("cargo-home");
    std::fs::create_dir(&home).expect("a folder");
    let registry = cargo_home().join("registry");
    std::os::unix::fs::symlink(registry, home.join("registry")).expect("a link");
    let tool = || {
        let tool = world.tool(&["passes"]).env("PATH", &bin);
        tool.env("CARGO_HOME", &home)
    };
    let missing = tool().run().code(70).says("cargo-nextest is not installed");
    missing.line_with(&["hint: ", "cargo install cargo-nextest --locked"]);
    world.program("bin/cargo-nextest", "echo cargo-nextest 0.9.50\n");
    let old = tool()
        .run()
        .code(70)
        .says("cargo-nextest 0.9.50 is too old");
    old.line_with(&["hint: ", "cargo install cargo-nextest --locked"])
        .never_says("Compiling");
}

pub(crate) fn cargo_home() -> PathBuf {
    let given = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let of_user = || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cargo");
    given.unwrap_or_else(of_user)
}
