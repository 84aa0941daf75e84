//! Tests that run on their target: the binary is sent once, the verdicts are those of the host, and nothing stays there.

mod paths;
mod shares;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rustix::process::Signal;

use crate::{
    programs::programs_sent,
    support::{
        Outcome, Project, Sshd, Tool, container::Engine, eventually, here, processes::running,
    },
};

/// Tests with `#[target_test]`, and the program that one of them starts.
const SERVED: &str = include_str!("crates/on_target/served.rs");
const KVD: &str = include_str!("crates/programs/kvd.rs");
/// Ordinary tests.
const PLAIN: &str = include_str!("crates/on_target/plain.rs");
const ELSEWHERE: &str = include_str!("crates/on_target/elsewhere.rs");
const KILLS: &str = include_str!("crates/on_target/kills.rs");
/// A test that uses its target.
const USES: &str = r#"
#[target_fixture(scope = "instance", tear_down = end)]
fn shared(target: &Target) -> Result<String> {
    Ok(target.run("echo up")?.stdout)
}

fn end(_: &Target, _: &String) {}

#[target_test]
fn uses(target: &Target, shared: &String) -> Result<()> {
    assert_eq!(shared.trim(), "up");
    // A file beside the package is one of the test's namespace.
    let beside = format!("{}.beside", env!("CARGO_MANIFEST_DIR"));
    std::fs::write(&beside, "of the test")?;
    let folder = target.temp_dir()?;
    let there = folder.join("copy");
    target.put(&beside, &there)?;
    std::fs::remove_file(&beside)?;
    assert_eq!(target.cat(&there)?, "of the test");
    target.get(&there, &beside)?;
    assert_eq!(std::fs::read_to_string(&beside)?, "of the test");
    Ok(())
}

/// A server on the test's own machine is reached from the other, and one there from here.
#[target_test(count = 2)]
fn is_reached(targets: &[Target]) -> Result<()> {
    let server = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = server.local_addr()?.port();
    let from_other = targets[0].reach_from(&targets[1], port)?;
    assert_ne!(from_other.port(), port);
    let back = targets[1].reach_from(&targets[0], from_other.port())?;
    let mut client = std::net::TcpStream::connect(back.address())?;
    std::io::Write::write_all(&mut client, b"round")?;
    let mut said = [0; 5];
    std::io::Read::read_exact(&mut server.accept()?.0, &mut said)?;
    assert_eq!(&said, b"round");
    Ok(())
}
"#;
/// Cargo's configuration.
const CONFIG: &str = "[env]\nOF_CARGOS_CONFIG = \"it's\\n\\\"here\\\"\"\n";
/// The tests that need a machine with a file system of its own, or that hang.
const ALL: &str = "not test(hangs)";

fn project(name: &str) -> Project {
    Project::new(name)
        .file("tests/plain.rs", PLAIN)
        .file(".cargo/config.toml", CONFIG)
}

/// The tool, with variables of which only those about Rust are for the tests.
fn tool(project: &Project, args: &[&str]) -> Tool {
    let tool = project.tool(["--runs-on", "target", "--no-fail-fast"]);
    tool.args(args)
        .env("RUST_LOG", "debug")
        .env("TOKEN", "secret")
}

#[track_caller]
fn run(project: &Project, args: &[&str]) -> Outcome {
    tool(project, args).run()
}

/// The container has the C library, and none of this host's folders.
fn in_container(project: Project, more: &str) -> Option<(Project, Engine)> {
    let engine = here(Engine::with_glibc())?;
    let target = format!("{}{more}", engine.target("it"));
    Some((project.playbook(&target), engine))
}

/// The output of a command line on a kept instance.
#[track_caller]
fn on_instance(project: &Project, line: &str) -> String {
    let exec = ["exec", "it-0", "--", "sh", "-c", line];
    project.run(&exec).code(0).stdout
}

#[test]
fn verdicts_are_those_of_the_host() {
    let project = project("on-target-container");
    let collect = format!("collect = [{:?}]\n", project.path("kills.log"));
    let Some((project, _engine)) = in_container(project, &collect) else {
        return;
    };
    let project = project
        .file("tests/elsewhere.rs", ELSEWHERE)
        .file("tests/kills.rs", KILLS);
    let ended = run(
        &project,
        &["-E", ALL, "--run-ignored", "all", "--keep-targets"],
    )
    .code(100)
    .line_with(&["PASS", "passes[it]"])
    .line_with(&["PASS", "finds_its_variables[it]"])
    .line_with(&["PASS", "is_elsewhere[it]"])
    .line_with(&["PASS", "panics[it]"])
    .line_with(&["PASS", "ignored[it]"])
    .line_with(&["PASS", "leaves[it]"])
    .line_with(&["FAIL", "fails[it]"])
    .says("said on standard error")
    .says("assertion `left == right` failed")
    .line_with(&["FAIL", "exits[it]"])
    .says("(test failed with exit code 7)")
    .line_with(&["SIGABRT", "aborts[it]"])
    .line_with(&["SIGKILL", "kills_its_group[it]"])
    .line_with(&["SIGKILL", "kills_its_session[it]"])
    .line_with(&["11 cases: 6 passed", "5 failed, 0 infra"]);
    brings_log(&project, &ended);
    // Nothing stays but the binary, in its folder.
    assert!(!on_instance(&project, "ps").contains("8639"));
    let list = "cd /tmp/target-test-programs-0 && ls -i */plain-*; ls /root /tmp";
    let first = on_instance(&project, list);
    assert_eq!(first.matches("plain-").count(), 1, "{first}");
    run(&project, &["-E", "test(passes)", "--keep-targets"]).code(0);
    assert_eq!(on_instance(&project, list), first);
    project.run(&["--delete-targets"]).code(0);
}

/// The file that a test wrote in its package, and that the target names, comes back.
#[track_caller]
fn brings_log(project: &Project, ended: &Outcome) {
    let log = project.path("kills.log");
    assert!(!log.exists());
    let lines = ended.stderr.lines().chain(ended.stdout.lines());
    let folders = lines.filter_map(|line| line.split_once("target-test: artifacts: "));
    let folders = folders.map(|(_, folder)| Path::new(folder.trim()));
    let mut of_instances = folders.flat_map(|folder| [folder.join("it-0"), folder.join("it-1")]);
    let inside = log.strip_prefix("/").expect("an absolute path");
    assert!(of_instances.any(|folder| {
        let text = fs::read_to_string(folder.join(inside));
        text.is_ok_and(|text| text == "the last words\n")
    }));
}

/// A limit, an interrupt and the death of the tool each end all processes of the test on its machine.
#[test]
fn a_test_that_is_ended_leaves_no_process() {
    let Some((project, _engine)) = in_container(project("on-target-ends"), "") else {
        return;
    };
    let hangs = ["-E", "test(hangs)", "--no-capture", "--keep-targets"];
    let sleeps = || on_instance(&project, "ps").contains("86399");
    run(&project, &[&hangs[..], &["--timeout", "2s"]].concat())
        .code(100)
        .says("hanging")
        .says("timed out after 2s");
    assert!(!sleeps());
    for (signal, code) in [(Signal::INT, Some(130)), (Signal::KILL, None)] {
        let mut hanging = tool(&project, &hangs).start();
        hanging.wait_for("hanging");
        hanging.signal_group(signal);
        let ended = hanging.wait();
        assert_eq!(ended.status.code(), code, "{ended:?}");
        // After the death of the tool, the next holder cleans up.
        run(&project, &["-E", "test(passes)", "--keep-targets"]).code(0);
        assert!(!sleeps(), "{signal:?}");
    }
    project.run(&["--delete-targets"]).code(0);
}

/// A folder where nothing can be started is passed over, and so is one without room; that all are is told.
#[test]
fn a_binary_needs_a_folder_with_room_that_runs_programs() {
    let noexec = "args = [\"--tmpfs=/tmp:rw,noexec,mode=1777\"]\n";
    let Some((project, engine)) = in_container(project("on-target-folders"), noexec) else {
        return;
    };
    let passes = ["-E", "test(passes)", "--no-capture"];
    run(&project, &[&passes[..], &["--keep-targets"]].concat())
        .code(0)
        .says("on its target");
    let cached =
        "ls -d /tmp/target-test-programs-0/*/plain-* /root/.cache/target-test-programs-0/*/plain-*";
    let cached = on_instance(&project, &format!("{cached} 2>/dev/null; true"));
    assert!(cached.starts_with("/root/.cache/"), "{cached}");
    project.run(&["--delete-targets"]).code(0);
    let noexec = "args = [\"--tmpfs=/tmp:rw,noexec\", \"--tmpfs=/root:rw,noexec\"]\n";
    let project = project.playbook(&format!("{}{noexec}", engine.target("it")));
    run(&project, &passes)
        .code(69)
        .says("no program can be written and started in /tmp, /var/tmp or /root/.cache")
        .says("0 failed, 1 infra");
    let small = |folders: &[&str]| {
        let args = folders.iter();
        let args = args.map(|folder| format!("\"--tmpfs={folder}:rw,exec,size=256k\""));
        let args = args.collect::<Vec<_>>().join(", ");
        format!("{}args = [{args}]\n", engine.target("it"))
    };
    let project = project.playbook(&small(&["/tmp"]));
    run(&project, &[&passes[..], &["--keep-targets"]].concat())
        .code(0)
        .says("on its target");
    let left = on_instance(&project, "find /tmp -type f");
    assert_eq!(left, "");
    project.run(&["--delete-targets"]).code(0);
    let project = project.playbook(&small(&["/tmp", "/root"]));
    run(&project, &passes)
        .code(69)
        .says("cannot run on `it-0`: no program can be written and started in /tmp, /var/tmp or /root/.cache; /tmp: ")
        .says(" KiB needed; /root/.cache: ")
        .says("0 failed, 1 infra");
}

/// A library that the machine lacks is named, with the triple that needs none; so is another architecture.
#[test]
fn a_machine_that_cannot_run_the_binary_is_told() {
    let Some(engine) = here(Engine::start()) else {
        return;
    };
    let hint = format!("`--target {}-unknown-linux-musl`", std::env::consts::ARCH);
    let project = project("on-target-bare").playbook(&engine.target("it"));
    run(&project, &["-E", "test(passes)"])
        .code(69)
        .says("cannot run on `it-0`: dynamic loader `/lib")
        .says("` not found")
        .says(&hint);
    let manifest = "fn main() {\n    let out = std::env::var(\"OUT_DIR\").unwrap();\n    let library = format!(\"{out}/libours.so\");\n    \
                    let cc = std::process::Command::new(\"cc\")\n        .args([\"-shared\", \"-o\", &library, \"-x\", \"c\", \"ours.c\"])\n        \
                    .status();\n    assert!(cc.unwrap().success());\n    println!(\"cargo::rustc-link-search=native={out}\");\n}\n";
    let test = "#[link(name = \"ours\")]\nunsafe extern \"C\" {\n    safe fn ours() -> i32;\n}\n\n#[test]\nfn calls() {\n    \
                assert_eq!(ours(), 7);\n}\n";
    let sshd = Sshd::start(&["it-0"]);
    let linked = Project::new("on-target-linked")
        .file("build.rs", manifest)
        .file("ours.c", "int ours(void) { return 7; }\n")
        .file("tests/linked.rs", test)
        .playbook(&sshd.playbook(&[("it", &["it-0"])]));
    linked.run(&[]).code(0);
    run(&linked, &[])
        .code(69)
        .says("libours.so => not found")
        .says(&hint);
    let of_32_bits = "ForceCommand setarch i686 /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"";
    let sshd = Sshd::with(&["it-0"], of_32_bits);
    let linked = linked.playbook(&sshd.playbook(&[("it", &["it-0"])]));
    if std::env::consts::ARCH == "x86_64" {
        run(&linked, &[])
            .code(69)
            .says("cannot run on `it-0`: it is built for x86_64, and the instance is i686")
            .says("`--target i686-unknown-linux-gnu` builds tests for it");
    }
    // A machine that says that its library is an old one.
    let programs = linked.private("old");
    fs::create_dir(&programs).expect("a folder");
    let getconf = programs.join("getconf");
    fs::write(&getconf, "#!/bin/sh\necho glibc 2.17\n").expect("a program");
    fs::set_permissions(&getconf, fs::Permissions::from_mode(0o755)).expect("a program");
    let path = format!("SetEnv PATH={}:/usr/bin:/bin", programs.display());
    let sshd = Sshd::with(&["it-0"], &path);
    let linked = linked.playbook(&sshd.playbook(&[("it", &["it-0"])]));
    run(&linked, &[])
        .code(69)
        .says("cannot run on `it-0`: it needs glibc 2.")
        .says("and the instance has glibc 2.17")
        .says(&hint);
}

/// Over SSH, the binary is sent once for all tests and runs, and a test that hangs is ended.
#[test]
fn a_binary_is_sent_once_over_ssh() {
    let project = project("on-target-ssh");
    let temporary = project.private("tmp");
    fs::create_dir(&temporary).expect("a folder");
    let variable = format!("TMPDIR={}", temporary.display());
    let is_there = || !running(|one| one.has_variable(&variable)).is_empty();
    let names = ["it-0", "it-1"];
    let sshd = Sshd::with(&names, &format!("SetEnv TMPDIR={}", temporary.display()));
    let collect = format!("collect = [{:?}]\n", project.path("kills.log"));
    let project = project
        .file("tests/kills.rs", KILLS)
        .playbook(&(sshd.playbook(&[("it", &names)]) + &collect));
    let sent = || {
        let mut files = programs_sent(&temporary);
        // The copies of the package's files.
        files.retain(|(_, path)| !path.to_string_lossy().contains("/tree-"));
        files
    };
    let words = ["-E", "not test(hangs)"];
    let ended = run(&project, &words)
        .code(100)
        .line_with(&["SIGABRT", "aborts[it]"])
        .says("(test failed with exit code 7)")
        .line_with(&["PASS", "leaves[it]"])
        .line_with(&["SIGKILL", "kills_its_group[it]"])
        .line_with(&["SIGKILL", "kills_its_session[it]"])
        .line_with(&["9 cases: 4 passed", "5 failed, 0 infra"]);
    brings_log(&project, &ended);
    eventually("the end of what a test left", || !is_there());
    let first = sent();
    assert_eq!(first.len(), 2, "{first:?}");
    run(&project, &words).code(100);
    assert_eq!(sent(), first);
    run(&project, &["-E", "test(hangs)", "--timeout", "2s"])
        .code(100)
        .says("timed out after 2s");
    eventually("the end of all processes there", || !is_there());
    // The pipes of a test with `#[target_test]` are gone with it.
    let project = project.test_file("uses", USES);
    run(&project, &["-E", "test(uses) or test(is_reached)"])
        .code(0)
        .line_with(&["PASS", "uses[it]"])
        .line_with(&["PASS", "is_reached[it]"]);
    assert!(!project.path("../on-target-ssh.beside").exists());
    assert!(sent().iter().all(|(_, path)| path.is_file()));
    // So are the commands that served it, and the tear-down at the end of the run, where each has its login and a signal is late.
    let late = "ForceCommand case $SSH_ORIGINAL_COMMAND in *perl*) exit 1 ;; *\"kill -KILL -\"*) sleep 1 ;; esac; \
                exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"";
    let sshd = Sshd::with(
        &names,
        &format!("SetEnv TMPDIR={}\n{late}", temporary.display()),
    );
    let project = project.playbook(&sshd.playbook(&[("it", &names)]));
    run(&project, &["-E", "test(uses)"]).code(0);
    eventually("the end of the commands that served them", || !is_there());
}

/// The option, the scenario and the target decide, in this order; what cannot run there is refused before anything starts.
#[test]
fn the_side_is_chosen() {
    let playbook = "[[targets]]\nname = \"it\"\nplatform = \"local\"\ncount = 1\nruns-on = \"target\"\n\n\
                    [[scenarios]]\nname = \"here\"\nruns-on = \"host\"\n";
    let project = project("on-target-side").playbook(playbook);
    let passes = |more: &[&str]| {
        let words = [&["-E", "test(passes)", "--no-capture"], more].concat();
        project.run(&words)
    };
    let there = "on its target";
    passes(&[]).code(0).says(there);
    passes(&["--scenario", "here"]).code(0).never_says(there);
    passes(&["--scenario", "here", "--runs-on", "target"])
        .code(0)
        .says(there);
    passes(&["--runs-on", "host"]).code(0).never_says(there);
    project
        .run(&["check"])
        .code(0)
        .line_with(&["runs-on = \"target\"", "# target"]);
    passes(&["--debugger", "env"])
        .code(2)
        .says("a debugger cannot start `passes[it]` on its target")
        .says("`--runs-on host` runs the test here");
    project
        .run(&["--all-tests", "passes"])
        .code(0)
        .line_with(&["PASS", "passes[it]"]);
}

fn served(name: &str) -> Project {
    Project::new(name)
        .file("src/bin/kvd.rs", KVD)
        .file("tests/served.rs", SERVED)
}

/// Runs the tests that use their target, in a place where two machines are not one.
#[track_caller]
fn run_served(project: &Project) {
    project
        .tool(["--no-fail-fast", "--keep-targets", "--success-output=final"])
        .args(["-E", "not test(dies)"])
        .run()
        .code(100)
        .line_with(&["PASS", "is_on_its_target[it]"])
        .says("removed /")
        .line_with(&["PASS", "works_at_once[it]"])
        .line_with(&["PASS", "starts_a_program[it]"])
        .says("skip: seen enough")
        .line_with(&["FAIL", "fails[it]"])
        .says("exit code 3")
        .line_with(&["PASS", "copies_files[it]"])
        .line_with(&["PASS", "is_refused[it]"])
        .line_with(&["FLAKY 2/2", "shares[it]"])
        .line_with(&["PASS", "forwards[it]"])
        .line_with(&["PASS", "reaches_another[it]"])
        .line_with(&["PASS", "stays_here[it]"])
        .line_with(&[
            "12 cases: 9 passed",
            "1 skipped, 1 failed as expected, 1 failed, 0 infra",
        ]);
}

/// A test on a container without any network uses its target through the tool.
#[test]
fn a_target_is_served_to_a_test_in_a_container() {
    let Some(engine) = here(Engine::with_glibc()) else {
        return;
    };
    let target = format!("{}count = 2\n", engine.target("it"));
    let project = served("on-target-served").playbook(&target);
    run_served(&project);
    // Fixtures are torn down on their machine, that of a test that dies too.
    project
        .run(&["-E", "test(dies)", "--keep-targets"])
        .code(100)
        .line_with(&["SIGABRT", "dies[it]"])
        .never_says("failed to tear down");
    let left = "find / -xdev -type p 2>/dev/null; ls -d /tmp/tmp.* /tmp/shared-by-tests /tmp/of-the-run 2>/dev/null; \
                ps | grep 86397 | grep -v grep; true";
    assert_eq!(on_instance(&project, left), "");
    project.run(&["--delete-targets"]).code(0);
}
