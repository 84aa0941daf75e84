//! Machines that show folders of this host, whose tests need no copies.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use rustix::process::{Pid, Signal, kill_process};

use super::{in_container, on_instance, paths::APP};
use crate::support::{
    Outcome, Project, eventually, here,
    processes::running,
    vm::{self, Images},
};

const SHARES: &str = include_str!("../crates/on_target/shares.rs");

fn project(name: &str) -> Project {
    let written = Project::new(name)
        .file(&format!("src/bin/{name}-app.rs"), APP)
        .file(
            "tests/shares.rs",
            &SHARES.replace("the-app", &format!("{name}-app")),
        )
        .file("tests/data/greeting", "hello\n");
    let _ = fs::remove_file(written.path("written-by-on-target"));
    written
}

/// The key that shares the workspace at its own path, and its tests at another.
fn share(project: &Project) -> String {
    let projects = project.path("");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    assert!(projects.starts_with(folder));
    format!(
        "share = [{{ host = {folder:?} }}, {{ host = {:?}, guest = \"/code\", read-only = true }}]\n",
        project.path("tests")
    )
}

#[track_caller]
fn run(project: &Project, args: &[&str]) -> Outcome {
    project.tool(args).patience(vm::PATIENCE).run()
}

/// The test ran in the folder of this host, and nothing was copied.
#[track_caller]
fn ran_in_the_folder(run: Outcome, project: &Project) {
    run.code(0)
        .line_with(&["PASS", "is_in_the_shared_folder[it]"])
        .never_says("KiB) to it-0");
    let written = fs::read_to_string(project.path("written-by-on-target"));
    assert_eq!(written.expect("a file on this host"), "it-0");
}

#[test]
fn a_container_shows_the_workspace() {
    let project = project("shares-container");
    let share = share(&project);
    let Some((project, _engine)) = in_container(project, &share) else {
        return;
    };
    let shared = ["-E", "test(is_in_the_shared_folder)", "--keep-targets"];
    ran_in_the_folder(run(&project, &shared), &project);
    let there = on_instance(
        &project,
        "cat /code/data/greeting; touch /code/x; find /tmp/target-test-programs-0 -name 'shares-*'",
    );
    assert_eq!(there, "hello\n");
    project.run(&["--delete-targets"]).code(0);
    only_the_package_is_shared(&project);
    let missing = project.playbook("[[targets]]\nname = \"it\"\nplatform = \"container\"\nimage = \"x\"\nshare = [{ host = \"gone\" }]\n");
    missing
        .run(&["check"])
        .code(78)
        .says("`share` of target `it`: folder not found: `");
    let local = missing
        .playbook("[[targets]]\nname = \"it\"\nplatform = \"local\"\nshare = [{ host = \".\" }]\n");
    local.run(&["check"]).code(78).says("unknown key `share`");
}

/// A machine that shares the package, but not Cargo's target folder, does not change the package on this host.
fn only_the_package_is_shared(project: &Project) {
    let playbook = project.path("target-test.toml");
    let whole = fs::read_to_string(&playbook).expect("the playbook");
    let kept = project.path("kept-on-this-host");
    fs::write(&kept, "").expect("a file");
    let manifest = project.path("Cargo.toml");
    let changed = || {
        let facts = fs::metadata(&manifest).expect("the manifest");
        (facts.ctime(), facts.ctime_nsec())
    };
    let before = changed();
    let (lines, rest) = (
        whole.lines(),
        format!("share = [{{ host = {:?} }}]", project.path("")),
    );
    let lines: Vec<_> = lines
        .map(|line| {
            if line.starts_with("share") {
                &*rest
            } else {
                line
            }
        })
        .collect();
    let part = lines.join("\n");
    for more in ["", "\n[on-target]\nexclude = [\"kept-on-this-host\"]\n"] {
        fs::write(&playbook, part.clone() + more).expect("the playbook");
        run(
            project,
            &["-E", "test(is_in_the_shared_folder)", "--keep-targets"],
        );
    }
    assert!(kept.exists(), "deleted on this host");
    assert_eq!(changed(), before, "written on this host");
    project.run(&["--delete-targets"]).code(0);
    fs::write(&playbook, whole).expect("the playbook");
    fs::remove_file(kept).expect("a file");
}

/// The servers of the shared folders of a project's machines.
fn servers(project: &Project) -> Vec<Pid> {
    let folder = format!("TARGET_TEST_FOLDER={}/", project.private("pool").display());
    running(|one| one.words()[0].contains("virtiofsd") && one.has_variable(&folder))
}

#[test]
fn a_virtual_machine_shows_the_workspace() {
    let (Some(images), Some(with_9p)) = (here(Images::build()), here(Images::with_9p())) else {
        return;
    };
    let target = images.target("it");
    let project = project("shares-vm");
    let share = share(&project);
    let project = project.playbook(&format!("{target}{share}"));
    let dying = project.tool(["up", "it"]).start();
    eventually("a server", || !servers(&project).is_empty());
    dying.signal_group(Signal::KILL);
    dying.wait();
    project.run(&["--delete-targets"]).code(0);
    assert_eq!(servers(&project), []);
    ran_in_the_folder(run(&project, &["--keep-targets"]), &project);
    let [.., last] = servers(&project)[..] else {
        panic!("no server");
    };
    kill_process(last, Signal::KILL).expect("a server");
    run(&project, &["up", "it"])
        .code(0)
        .says("the server of a shared folder has ended");
    project.run(&["--delete-targets"]).code(0);
    assert_eq!(servers(&project), []);
    let without_virtiofs = |target: &str| {
        let target = target.replace("console=ttyS0", "console=ttyS0 module_blacklist=virtiofs");
        format!("{target}retries = 0\n{share}")
    };
    let project = project.playbook(&without_virtiofs(&with_9p.target("it")));
    ran_in_the_folder(run(&project, &[]), &project);
    let project = project.playbook(&without_virtiofs(&target));
    run(&project, &["up", "it"])
        .code(69)
        .says("`it-0` cannot mount the share `")
        .says("virtiofs: ")
        .says("9p: ");
    assert_eq!(servers(&project), []);
}
