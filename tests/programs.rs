//! Programs of a workspace on targets: built with the tests or for the target, sent once, refused with what to write.

use std::{
    env::consts::ARCH,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{
    author::{program, without::end_broker},
    support::{Project, Sshd, container::Engine, here},
};

/// The tests.
const DAEMON: &str = include_str!("crates/programs/daemon.rs");
/// The program.
const KVD: &str = include_str!("crates/programs/kvd.rs");
/// Tests of a library: nextest builds no program for them.
const LIBRARY: &str = r#"
#[cfg(test)]
mod tests {
    use target_fixtures::prelude::*;

    #[target_test(programs = ["kvd"])]
    fn runs(target: &Target) -> Result<()> {
        target.program_of("kvd")?.arg("--where").run()?;
        Ok(())
    }

    #[target_test(programs = ["kvb"])]
    fn misspelt(_: &Target) {}
}
"#;

/// The programs that instances with this `TMPDIR` were sent: inode and path.
pub(crate) fn programs_sent(temporary: &Path) -> Vec<(u64, PathBuf)> {
    let user = rustix::process::getuid().as_raw();
    let folder = temporary.join(format!("target-test-programs-{user}"));
    let entries = |folder: &Path| {
        let entries = fs::read_dir(folder).expect("a folder of programs");
        entries.map(|entry| entry.expect("an entry").path())
    };
    let files = entries(&folder).flat_map(|folder| entries(&folder));
    let files = files.map(|path| (path.metadata().expect("a file").ino(), path));
    files.collect()
}

/// A project with a program, and tests that start it.
fn project(name: &str) -> Project {
    Project::new(name)
        .file("src/bin/kvd.rs", KVD)
        .file("tests/daemon.rs", DAEMON)
}

/// A program that was built with the tests runs on a host with this machine's C library. It is sent once for all tests
/// and runs.
#[test]
fn a_program_is_sent_once_over_ssh() {
    let project = project("programs-ssh");
    let temporary = project.private("tmp");
    fs::create_dir(&temporary).expect("a folder");
    let sshd = Sshd::with(&["it-0"], &format!("SetEnv TMPDIR={}", temporary.display()));
    let project = project.playbook(&sshd.playbook(&[("it", &["it-0"])]));
    let sent = || programs_sent(&temporary);
    let words = ["-E", "test(answers) + test(again)"];
    project.run(&words).code(0).says("2 passed");
    let first = sent();
    assert_eq!(first.len(), 1, "{first:?}");
    project.run(&words).code(0).says("2 passed");
    assert_eq!(sent(), first);
}

/// A container of busybox alone has no C library: the program is built again, statically, with and without the tool.
#[test]
fn a_daemon_runs_on_busybox() {
    let Some(engine) = here(Engine::start()) else {
        return;
    };
    let project = project("programs-container").playbook(&engine.target("tiny"));
    project
        .run(&["-E", "not test(again)"])
        .code(100)
        .line_with(&["PASS", "answers[tiny]"])
        // A program that does not start says so where its first line is awaited.
        .line_with(&["FAIL", "dynamic[tiny]"])
        .says("exit code 127")
        .says("`target.program_of(\"name\")`")
        .line_with(&["FAIL", "undeclared[tiny]"])
        .says("put program `other` on `tiny-0`: the test does not declare it")
        .says("write `#[target_test(programs = [\"other\"])]`");
    let plain = ["test", "--test", "daemon", "--", "answers"];
    project.cargo(plain).run().code(0).says("1 passed");
    end_broker(&project);
}

/// A program that nextest did not build is built before the run, or for the target's triple. A program of another
/// architecture is not started.
#[test]
fn a_program_is_built_for_its_target() {
    let project = project("programs-local").file("src/lib.rs", LIBRARY);
    program(&project, "uname", "echo s390x\n");
    let path = std::env::var("PATH").expect("PATH");
    let path = format!("{}:{path}", project.private("").display());
    let project = project.playbook(&format!(
        "[[targets]]\nname = \"here\"\nplatform = \"local\"\n\
         [[targets]]\nname = \"named\"\nplatform = \"local\"\ntriple = \"{ARCH}-unknown-linux-gnu\"\n\
         [[targets]]\nname = \"other\"\nplatform = \"local\"\nenv = {{ PATH = {path:?} }}\n"
    ));
    project
        .run(&["--lib", "-E", "test(runs)"])
        .code(100)
        .line_with(&["PASS", "runs[here]"])
        .line_with(&["PASS", "runs[named]"])
        .line_with(&["FAIL", "runs[other]"])
        .says(&format!(
            "it is built for {ARCH}, and the instance is s390x"
        ))
        .says("set `triple = \"s390x-unknown-linux-gnu\"` for the target in the playbook");
    project
        .run(&["--lib"])
        .code(101)
        .says("declares program `kvb`: the workspace has no such binary")
        .says("did you mean `kvd`?");
    let plain = ["test", "--lib", "--", "runs"];
    project.cargo(plain).run().code(0).says("1 passed");
    end_broker(&project);
}
