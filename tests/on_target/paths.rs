//! Tests that find the files of their package on their target, at the paths of this host.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    process::Command,
};

use super::{in_container, on_instance, run, tool};
use crate::support::{Outcome, Project, Sshd, User, eventually, processes::running};

const PATHS: &str = include_str!("../crates/on_target/paths.rs");
const MOVED: &str = include_str!("../crates/on_target/moved.rs");
/// A program that prints its path.
pub(super) const APP: &str =
    "fn main() {\n    print!(\"{}\", std::env::current_exe().unwrap().display());\n}\n";

/// A compiler that instruments the crates of the workspace. A shell would drop variables such as `CARGO_BIN_EXE_the-app`.
const INSTRUMENTED: &str = "#!/usr/bin/env perl\nexec @ARGV, '-C', 'instrument-coverage';\n";
/// The start of a profile of the LLVM runtime, for 64 bits.
const PROFILE: &[u8] = b"\x81rforpl\xff";

/// A filter of system calls for containers.
const NO_NAMESPACES: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW",
"syscalls": [{"names": ["unshare"], "action": "SCMP_ACT_ERRNO"}]}"#;

fn project(name: &str) -> Project {
    // All projects are built in one folder.
    let named = |text: &str| text.replace("the-app", &format!("{name}-app"));
    let project = Project::new(name)
        .file(&format!("src/bin/{name}-app.rs"), APP)
        .file("tests/paths.rs", &named(PATHS))
        .file("tests/moved.rs", &named(MOVED))
        .file("tests/data/greeting", "hello\n")
        .file("instrumented", INSTRUMENTED)
        .file(".gitignore", "ignored\n")
        .file("ignored", "");
    let link = project.path("tests/data/link");
    if !link.is_symlink() {
        symlink("greeting", link).expect("a link");
    }
    for left in ["written-by-on-target", "tests/data/more", "tests/data/deep"] {
        let _ = fs::remove_file(project.path(left));
        let _ = fs::remove_dir_all(project.path(left));
    }
    project
}

/// Runs the tests, which pass.
#[track_caller]
fn passes(project: &Project) -> Outcome {
    run(project, &["--keep-targets", "--success-output=final"])
        .code(0)
        .line_with(&["PASS", "finds_the_files_of_its_package[it]"])
        .line_with(&["PASS", "starts_a_program_of_its_package[it]"])
        .line_with(&["PASS", "writes_as_its_user[it]"])
}

/// On a container, which is thrown away, the files are at their paths. Only what changed is sent.
#[test]
fn files_are_sent_once_to_a_container() {
    let Some((project, _engine)) = in_container(project("on-target-paths"), "") else {
        return;
    };
    passes(&project).says("KiB) to it-0");
    passes(&project)
        .says("more: false")
        .never_says("KiB) to it-0");
    let project = project.file("tests/data/more", "one more\n");
    passes(&project).says("more: true").says("sent 1 file (");
    fs::remove_file(project.path("tests/data/more")).expect("the file");
    passes(&project)
        .says("more: false")
        .never_says("KiB) to it-0");
    assert!(!project.path("written-by-on-target").exists());
    // Those of a test, of the two programs that it starts, and of the program of a test that is killed.
    assert_eq!(profiles(&project), 4);
    let left = on_instance(&project, "find / -xdev -name '*.profraw'");
    assert_eq!(left, "");
    let folder = project.path("");
    let line = format!("ls -a {}", folder.display());
    let there = on_instance(&project, &line);
    assert!(there.contains("written-by-on-target"), "{there}");
    assert!(!there.contains("ignored\n.."), "{there}");
    project.run(&["--delete-targets"]).code(0);
}

/// Runs instrumented tests, and returns the number of profiles that come back.
fn profiles(project: &Project) -> usize {
    let compiler = project.path("instrumented");
    fs::set_permissions(&compiler, PermissionsExt::from_mode(0o755)).expect("a compiler");
    let profiles = project.private("profiles");
    let tests = "test(writes_a_profile) | test(starts_a_program)";
    tool(project, &["-E", tests, "--keep-targets"])
        .env("RUSTC_WORKSPACE_WRAPPER", &compiler)
        .env("LLVM_PROFILE_FILE", profiles.join("own-%p.profraw"))
        .run()
        .code(100)
        .line_with(&["PASS", "starts_a_program_of_its_package[it]"])
        .line_with(&["SIGABRT", "writes_a_profile[it]"]);
    let files = fs::read_dir(&profiles).expect("the profiles").flatten();
    // The tests that nextest lists here write profiles, too.
    let of_target = files.filter(|file| file.file_name().to_string_lossy().contains("-it-0-"));
    let contents = of_target.map(|file| fs::read(file.path()).expect("a profile"));
    contents
        .filter(|profile| profile.starts_with(PROFILE) && profile.len() > 100)
        .count()
}

/// The tests over SSH, as a user of this host: a machine that we did not create, which has this host's files.
fn over_ssh(name: &str, user: Option<&User>) -> (Project, Sshd) {
    let sshd = Sshd::start(&["it-0"]);
    let temporary = sshd.directory().join("tmp");
    fs::create_dir(&temporary).expect("a folder");
    for (folder, mode) in [(sshd.directory(), 0o755), (&temporary, 0o777)] {
        fs::set_permissions(folder, PermissionsExt::from_mode(mode)).expect("a folder");
    }
    let mut playbook = sshd.playbook(&[("it", &["it-0"])]);
    if let Some(user) = user {
        let own = format!("user = {:?}", sshd.setting("it-0", "user"));
        playbook = playbook.replace(&own, &format!("user = {:?}", user.name()));
    }
    let beside = [format!("../{name}.beside"), format!("../{name}.file")];
    playbook += &format!("env = {{ TMPDIR = {temporary:?} }}\n[on-target]\nsync = {beside:?}\n");
    let project = project(name)
        .playbook(&playbook)
        .file(&format!("../{name}.beside/file"), "")
        .file(&format!("../{name}.file"), "as it was");
    (project, sshd)
}

/// The tests have changed copies, in one namespace, which is gone with the run.
#[track_caller]
fn has_changed_copies(project: &Project, outcome: &Outcome) {
    for written in ["", "../on-target-view.beside/"] {
        let written = project.path(&format!("{written}written-by-on-target"));
        assert!(!written.exists(), "{written:?}");
    }
    let file = fs::read_to_string(project.path("../on-target-view.file"));
    assert_eq!(file.expect("a file"), "as it was");
    let namespaces: BTreeSet<_> = outcome
        .stdout
        .lines()
        .chain(outcome.stderr.lines())
        .filter_map(|line| line.trim().strip_prefix("in mnt:"))
        .collect();
    assert_eq!(namespaces.len(), 1, "{namespaces:?}");
    let folder = project.path("").display().to_string();
    eventually("the end of the namespace", || {
        running(|one| one.has_mount(&folder)).is_empty()
    });
}

/// The user's own files stay as they are: tests see copies at the same paths.
#[test]
fn files_of_a_host_are_not_touched() {
    let (project, sshd) = over_ssh("on-target-view", None);
    let sent = "KiB) to it-0";
    passes(&project).says(sent).says("user 0");
    has_changed_copies(&project, &passes(&project).never_says(sent));
    drop((project, sshd));
    let Some(user) = User::new("secret") else {
        return;
    };
    let (project, _sshd) = over_ssh("on-target-view", Some(&user));
    let uid = |name: &str| {
        let users = fs::read_to_string("/etc/passwd").expect("users");
        let line = users
            .lines()
            .find(|line| line.starts_with(&format!("{name}:")));
        line.and_then(|line| line.split(':').nth(2))
            .expect("a user")
            .to_owned()
    };
    // An earlier user may have had this id.
    let cache = format!("/tmp/target-test-programs-{}", uid(user.name()));
    let _ = fs::remove_dir_all(&cache);
    passes(&project)
        .says(sent)
        .says("set-uid programs such as `sudo` do not work")
        .says(&format!("user {}", uid(user.name())));
    has_changed_copies(&project, &passes(&project).never_says(sent));
    // Files that the machine has lost are sent again. A folder that becomes a file here becomes one there.
    let caches = |path: &str| {
        let found = Command::new("find")
            .arg(&cache)
            .args(["-path", path])
            .output();
        let found = String::from_utf8(found.expect("find").stdout).expect("UTF-8");
        found.lines().map(PathBuf::from).collect::<Vec<_>>()
    };
    let [binary] = <[_; 1]>::try_from(caches("*/????????????????/paths-*")).expect("one binary");
    let [greeting] = <[_; 1]>::try_from(caches("*/data/greeting")).expect("one file");
    fs::write(binary, "").expect("written");
    fs::remove_file(greeting).expect("the file");
    passes(&project).says("sent 1 file (");
    let project = project.file("tests/data/deep/er/file", "");
    passes(&project).says("sent 1 file (");
    fs::remove_dir_all(project.path("tests/data/deep")).expect("a folder");
    let project = project.file("tests/data/deep", "no folder");
    passes(&project).says("sent 1 file (");
    fs::remove_file(project.path("tests/data/deep")).expect("a file");
    passes(&project).never_says(sent);
    assert!(caches("*/data/deep").is_empty());
    fs::remove_dir_all(cache).expect("the cache of the user");
}

/// Where paths cannot be shown, tests that need them are skipped, and the others find the files by variables.
#[test]
fn tests_that_cannot_find_their_paths_are_skipped() {
    let project = project("on-target-moved");
    let path = project.path("");
    let above = path.parent().expect("the folder of the projects");
    let closed = format!("--tmpfs={}:rw,mode=755", above.display());
    let project = project.file("seccomp.json", NO_NAMESPACES);
    let filter = project.path("seccomp.json");
    let filter = format!("--security-opt=seccomp={}", filter.display());
    let more = format!("user = \"tester\"\nargs = [{closed:?}, {filter:?}]\n");
    let Some((project, _engine)) = in_container(project, &more) else {
        return;
    };
    run(&project, &[])
        .code(0)
        .line_with(&["PASS", "finds_moved_files[it]"])
        .says("is compiled into the test, and `it-0` cannot show files there")
        .line_with(&["6 cases: 2 passed, 4 skipped"]);
}
