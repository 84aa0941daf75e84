//! Shell tests on machines that are this host.

use std::{os::unix::fs::OpenOptionsExt, sync::Mutex};

use tempfile::TempDir;

use super::*;
use crate::{
    connect::Reach,
    execute::LocalLauncher,
    provision::{Provisioner, Request, Wrapped},
};

/// A folder of tests, and a machine whose commands start in a folder of its own.
struct World {
    folder: TempDir,
    machines: Wrapped,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (tests, machine) = (folder.path().join("disk"), folder.path().join("machine"));
        std::fs::create_dir(tests).unwrap();
        std::fs::create_dir(&machine).unwrap();
        let machines = Wrapped::new([Machine::wrap("here", &Reach::local(machine))]);
        Self { folder, machines }
    }

    fn tests(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn none(&self) -> ShellTests {
        ShellTests::new(self.folder.path().join("output"))
    }

    fn file(&self, name: &str, mode: u32, text: &str) {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(self.tests().join(name));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// The result of a case, and its output as the files have it.
    async fn run(&self, tests: &ShellTests, name: &str) -> (AttemptResult, String) {
        let shown = Arc::new(Mutex::new([String::new(), String::new()]));
        let all = Arc::clone(&shown);
        let sink = Sink::new(move |kind| {
            if let RunEventKind::AttemptOutput { stream, text, .. } = kind {
                let at = usize::from(stream == Stream::Stderr);
                all.lock().unwrap()[at] += &text;
            }
        });
        let cases = tests.cases();
        let case = cases.iter().find(|case| case.name == name).unwrap();
        let lease = self.machines.acquire(Request::one("here")).await.unwrap();
        let attempt = Attempt::first(case);
        let result = tests.run(&attempt, &lease, &LocalLauncher, &sink).await;
        let files = [&result.stdout, &result.stderr];
        let read = |file: &OutputFile| {
            let text = std::fs::read_to_string(&file.path).unwrap();
            assert_eq!((text.len() as u64, &text), (file.length, &file.tail));
            text
        };
        let output: String = files.into_iter().flatten().map(read).collect();
        assert_eq!(output, shown.lock().unwrap().concat());
        (result, output)
    }
}

#[tokio::test]
async fn files_are_tests_named_by_their_folder() {
    let world = World::new();
    world.file(
        "program",
        0o755,
        "#!/bin/sh\necho $0 on $TARGET_TEST_INSTANCE\n",
    );
    world.file("lines", 0o644, "echo broken >&2; exit 3");
    world.file(".hidden", 0o755, "");
    std::fs::create_dir(world.tests().join("data")).unwrap();
    let tests = world.none().folder(world.tests()).unwrap();
    let names: Vec<_> = tests.cases().iter().map(|case| case.name.clone()).collect();
    assert_eq!(names, ["disk/lines", "disk/program"]);

    let (passed, output) = world.run(&tests, "disk/program").await;
    assert_eq!(passed.verdict, Verdict::Pass);
    assert!(output.ends_with("/program on here\n"), "{output}");
    let copy = output.split(' ').next().unwrap();
    assert!(
        !Path::new(copy).parent().unwrap().exists(),
        "{copy} is left"
    );
    let (failed, output) = world.run(&tests, "disk/lines").await;
    assert_eq!(
        (failed.verdict, failed.exit),
        (Verdict::Fail, Some(Exit::Code(3)))
    );
    assert_eq!(output, "broken\n");
}

#[tokio::test]
async fn a_test_that_takes_too_long_fails() {
    let world = World::new();
    let tests = world.none().command("hangs", "echo begun; sleep 60");
    let tests = tests.timeout(Duration::from_millis(300));
    let (result, output) = world.run(&tests, "hangs").await;
    assert_eq!((result.verdict, result.exit), (Verdict::Fail, None));
    assert_eq!(output, "begun\n");
}

#[tokio::test]
async fn a_machine_that_is_lost_is_infra() {
    let nowhere = Reach::local("/no/such/folder");
    let world = World {
        machines: Wrapped::new([Machine::wrap("here", &nowhere)]),
        ..World::new()
    };
    let tests = world.none().command("any", "true");
    let (result, _) = world.run(&tests, "any").await;
    assert!(result.verdict.is_infra(), "{:?}", result.verdict);
}

#[test]
fn folders_without_tests_or_of_one_name_are_refused() {
    let world = World::new();
    let empty = world.none().folder(world.tests());
    assert_eq!(empty.unwrap_err().kind(), ErrorKind::Usage);
    world.file("one", 0o755, "");
    let twice = world
        .none()
        .folder(world.tests())
        .unwrap()
        .folder(world.tests());
    assert_eq!(twice.unwrap_err().kind(), ErrorKind::Usage);
}
