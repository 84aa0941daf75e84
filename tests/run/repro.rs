//! `repro`: what is another one now, in a repository of its own, on a container.

use std::{fs, io::Write, os::unix::fs::PermissionsExt, path::Path};

use crate::support::{Outcome, Project, container::Engine, here};

/// The root file system of containers, which [`Engine::start`] makes.
const ROOT: &str = "rootfs.tar";

/// A test with a text that is in its binary.
fn test(text: &str) -> String {
    format!("#[target_test]\nfn it(target: &Target) {{ println!(\"{text}\"); }}\n")
}

/// Commits everything, and also nothing.
fn commit(project: &Project) -> String {
    let line = "git init --quiet && git add --all && git -c user.name=a -c user.email=a@b commit --quiet \
                --allow-empty --message a && git rev-parse HEAD";
    let commit = project.through("sh").args(["-c", line]).run().code(0);
    commit.stdout.trim().to_owned()
}

/// The warnings of `repro`.
fn warnings(repro: &Outcome) -> Vec<&str> {
    let lines = repro.stderr.lines();
    lines
        .filter_map(|line| line.strip_prefix("warning: "))
        .collect()
}

#[test]
fn what_differs_is_told() {
    let Some(engine) = here(Engine::start()) else {
        return;
    };
    let project = Project::new("repro").file(".gitignore", "/target\n");
    let root = project.private(ROOT);
    fs::copy(Path::new(env!("CARGO_TARGET_TMPDIR")).join(ROOT), &root).expect("a copy");
    let playbook = format!(
        "[[targets]]\nname = \"box\"\nplatform = \"container\"\nengine = {:?}\nrootfs = {root:?}\nnetwork = \"none\"\n",
        engine.program(),
    );
    let project = project.playbook(&playbook).test_file("it", &test("one"));
    // The build writes `Cargo.lock`.
    let build = |project: &Project| project.cargo(["test", "--no-run"]).run().code(0);
    build(&project);
    let first = commit(&project);
    project.tool(["it"]).run().code(0);
    let repro = || project.tool(["repro", "latest", "it[box]"]);
    let same = repro().run().code(0).says(&format!("# commit: {first}\n"));
    assert_eq!(warnings(&same), [""; 0], "{same:?}");

    let project = project.test_file("it", &test("two"));
    build(&project);
    let second = commit(&project);
    let project = project.file("src/lib.rs", "// not committed\n");
    let mut longer = fs::File::options()
        .append(true)
        .open(&root)
        .expect("a file");
    longer.write_all(&[0; 512]).expect("written");
    let compiler = project.private("rustc");
    fs::write(&compiler, "#!/bin/sh\necho rustc 1.0.0\n").expect("a script");
    fs::set_permissions(&compiler, PermissionsExt::from_mode(0o755)).expect("a script");
    let history = rusqlite::Connection::open(project.private("pool/history.sqlite"));
    let history = history.expect("the history");
    let moved = history.execute("UPDATE runs SET host = 'elsewhere'", []);
    assert_eq!(moved.expect("updated"), 1);
    let told = project
        .tool(["repro", "latest", "it[box]"])
        .env("RUSTC", &compiler)
        .run()
        .code(0);
    let expected = [
        format!("the commit differs: it is `{second}` now (`git checkout {first}`)"),
        "the working copy has changes that are not committed".to_owned(),
        "the compiler differs: it is `rustc 1.0.0` now".to_owned(),
        "the host differs: it is `".to_owned(),
        "/debug/deps/it-".to_owned(),
        "`rootfs` of target `box` is another one now: ".to_owned(),
    ];
    let warned = warnings(&told);
    assert_eq!(warned.len(), expected.len(), "{told:?}");
    for (warning, expected) in warned.iter().zip(&expected) {
        assert!(warning.contains(expected.as_str()), "{expected}: {told:?}");
    }

    // A run with changes has no commit that gives everything back.
    project.tool(["it"]).run().code(0);
    project
        .tool(["repro", "latest", "it[box]"])
        .run()
        .code(0)
        .says("warning: the run had changes that are not in its commit")
        .says("warning: the working copy has changes that are not committed");
    project.tool(["--delete-targets"]).run().code(0);
}
