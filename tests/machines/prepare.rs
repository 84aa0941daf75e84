//! Recipes on real sshd: each step, what fails, what is done again, and what happens to a host that is dirty.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use rustix::process::Signal;

use super::Lab;
use crate::support::{Sshd, eventually};

/// A playbook for one sshd, with a recipe and more keys of the target.
fn lab(sshd: &Sshd, steps: &str, more: &str) -> Lab {
    let target = sshd.playbook(&[("it", &["it-0"])]);
    Lab::new(&format!(
        "[recipes.base]\nsteps = [{steps}]\n{target}recipe = \"base\"\n{more}\n"
    ))
}

#[test]
fn every_step_does_what_it_says() {
    let sshd = Sshd::start(&["it-0"]);
    let at = sshd.directory().join("made");
    let at = at.display();
    let steps = format!(
        "{{ run = \"mkdir {at}\" }}, {{ put = \"cfg/\", to = \"{at}/cfg\" }}, \
         {{ put = \"one\", to = \"{at}/one\", mode = \"0640\" }}, {{ script = \"set-up.sh\", args = [\"a b\", \"{at}\"] }}, \
         {{ wait = {{ command = \"test -e {at}/later\", timeout = \"20s\" }} }}"
    );
    let lab = lab(&sshd, &steps, "");
    fs::create_dir_all(lab.path("cfg/inner")).unwrap();
    lab.write("cfg/inner/file", "inside");
    std::os::unix::fs::symlink("inner/file", lab.path("cfg/link")).unwrap();
    fs::set_permissions(
        lab.path("cfg/inner/file"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    lab.write("one", "1");
    lab.write(
        "set-up.sh",
        "#!/bin/sh\necho \"$1\" >\"$2/said\"\n(sleep 0.3; touch \"$2/later\") >/dev/null 2>&1 &\n",
    );
    lab.run(&["quick"]).code(0);

    let made = sshd.directory().join("made");
    let mode = |name: &str| fs::metadata(made.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(fs::read_to_string(made.join("cfg/link")).unwrap(), "inside");
    assert!(made.join("cfg/link").is_symlink());
    assert_eq!((mode("cfg/inner/file"), mode("one")), (0o755, 0o640));
    assert_eq!(fs::read_to_string(made.join("said")).unwrap(), "a b\n");
}

/// A recipe's variables are defaults, which a target replaces. A host's variables are there for every command.
#[test]
fn variables_and_excluded_files() {
    let sshd = Sshd::start(&["it-0"]);
    let made = sshd.directory().join("made");
    let at = made.display();
    let steps = format!(
        "{{ run = \"mkdir {at}; echo $VERSION $KIND $COLOUR >{at}/run\" }}, {{ script = \"s.sh\", args = [\"{at}\"] }}, \
         {{ put = \"src/\", to = \"{at}/src\", exclude = [\"*.o\", \"/target\"] }}"
    );
    let more = "recipe-env = { VERSION = \"2\" }\nenv = { COLOUR = \"red\" }";
    let lab = lab(&sshd, &steps, more);
    let playbook = fs::read_to_string(lab.path("target-test.toml")).unwrap();
    let env = "[recipes.base]\nenv = { VERSION = \"1\", KIND = { file = \"kind\" } }\n";
    lab.write(
        "target-test.toml",
        &playbook.replace("[recipes.base]\n", env),
    );
    lab.write("kind", "plain word\n");
    lab.write(
        "s.sh",
        "#!/bin/sh\necho \"$VERSION $KIND\" >\"$1/script\"\n",
    );
    for folder in ["src/target", "src/a/target"] {
        fs::create_dir_all(lab.path(folder)).unwrap();
    }
    for file in ["src/a/x.c", "src/a/x.o", "src/target/y", "src/a/target/z"] {
        lab.write(file, "");
    }
    let run = lab.run(&["quick", "--keep-targets"]).code(0);
    run.never_says("plain word");
    let read = |name: &str| fs::read_to_string(made.join(name)).unwrap();
    assert_eq!(read("run"), "2 plain word red\n");
    assert_eq!(read("script"), "2 plain word\n");
    let is_there = |name: &&str| made.join("src").join(name).exists();
    let there: Vec<_> = ["a/x.c", "a/x.o", "target", "a/target/z"]
        .into_iter()
        .filter(is_there)
        .collect();
    assert_eq!(there, ["a/x.c", "a/target/z"]);
    let line = "echo $COLOUR $VERSION";
    let exec = lab.run(&["exec", "it-0", "--shell", line]).code(0);
    assert_eq!(exec.stdout, "red\n");
    // An excluded file is not part of the recipe, a variable is.
    lab.write("src/a/x.o", "new");
    lab.run(&["quick", "--keep-targets"])
        .code(0)
        .never_says("recycled");
    let set = ["--set", "targets.it.recipe-env.VERSION=\"3\""];
    lab.run(&[&["quick", "--keep-targets"][..], &set].concat())
        .code(0)
        .says("it-0: recycled: key `recipe.env` changed");
    assert_eq!(read("run"), "3 plain word red\n");
    lab.run(&["--delete-targets"]).code(0);
}

/// Once, however often the program is called.
#[test]
fn an_old_program_is_told_with_its_version() {
    let target = "[[targets]]\nname = \"old\"\nplatform = \"container\"\nimage = \"any\"\n";
    let lab = Lab::new("");
    let engine = lab.path("engine");
    lab.write(
        "engine",
        "#!/bin/sh\n[ \"$1\" = version ] && echo 2.1.0 || { echo no such image >&2; exit 1; }\n",
    );
    fs::set_permissions(&engine, fs::Permissions::from_mode(0o755)).unwrap();
    let engine = engine.display().to_string();
    lab.write(
        "target-test.toml",
        &format!("{target}engine = {engine:?}\n"),
    );
    let run = lab.run(&["quick"]).code(69);
    let warning =
        format!("warning: `{engine}` is version 2.1.0; versions before 3.0.0 are not supported");
    assert_eq!(run.lines_with(&[&warning]), 1, "{run:?}");
}

/// Two people, or two CI machines, prepare one host with one login: neither ends the other's steps. And a tool that is
/// killed in the midst of a script leaves nothing on the host once it is prepared again.
#[test]
fn preparations_of_two_pools_leave_each_other_alone() {
    let sshd = Sshd::start(&["it-0"]);
    let at = sshd.directory().to_owned();
    let lab = lab(&sshd, "{ script = \"wait.sh\" }", "");
    let wait = format!(
        "#!/bin/sh\necho \"$0\" >>{0}/started\nwhile ! [ -e {0}/go ]; do sleep 0.05; done\n",
        at.display()
    );
    lab.write("wait.sh", &wait);
    let scripts = || fs::read_to_string(at.join("started")).unwrap_or_default();
    let started = |count: usize| {
        eventually("a script", || scripts().lines().count() == count);
    };
    let other = at.join("other-pool").display().to_string();
    let first = lab.tool(&["quick"]).start();
    started(1);
    let second = lab.tool(&["quick", "--pool", &other]).start();
    started(2);
    fs::write(at.join("go"), "").unwrap();
    first.wait().code(0);
    second.wait().code(0);
    for script in scripts().lines() {
        assert!(!Path::new(script).exists(), "{script}");
    }
    // Killed, nothing is removed; the next preparation of this pool does it.
    fs::remove_file(at.join("go")).unwrap();
    let killed = lab.tool(&["quick"]).start();
    started(3);
    killed.signal(Signal::KILL);
    drop(killed);
    fs::write(at.join("go"), "").unwrap();
    lab.run(&["quick"]).code(0);
    assert_eq!(scripts().lines().count(), 4);
    for script in scripts().lines() {
        assert!(!Path::new(script).exists(), "{script}");
    }
}

/// Two runs of one pool prepare one host for two targets: one after the other, and neither ends the other's steps.
#[test]
fn one_host_is_prepared_for_one_target_at_a_time() {
    let sshd = Sshd::start(&["it-0"]);
    let go = sshd.directory().join("go");
    let started = sshd.directory().join("started");
    let step = format!(
        "{{ run = \"echo x >>{}; while ! [ -e {} ]; do sleep 0.05; done\" }}",
        started.display(),
        go.display()
    );
    let lab = lab(&sshd, &step, "");
    let playbook = fs::read_to_string(lab.path("target-test.toml")).unwrap();
    lab.write("beside.toml", &playbook.replace("\"it\"", "\"beside\""));
    let count = || {
        fs::read_to_string(&started)
            .unwrap_or_default()
            .lines()
            .count()
    };
    let first = lab.tool(&["quick"]).start();
    eventually("a step", || count() == 1);
    let beside = lab.path("beside.toml").display().to_string();
    let mut second = lab.tool(&["quick", "--playbook", &beside]).start();
    second.wait_for("beside-0: waiting for pid ");
    assert_eq!(count(), 1);
    fs::write(&go, "").unwrap();
    first.wait().code(0);
    second.wait().code(0);
    assert_eq!(count(), 2);
}

#[test]
fn a_failing_step_is_shown_and_is_no_tests_fault() {
    let sshd = Sshd::start(&["it-0"]);
    let lab = lab(
        &sshd,
        "{ run = \"true\" }, { run = \"echo no such package; exit 7\" }",
        "",
    );
    lab.run(&["quick", "--keep-targets"])
        .code(69)
        .line_with(&["FAIL", "deploy[it-0]"])
        .line_with(&["infra: it-0 could not be deployed: step 2 of recipe `base` (run `echo no such package; exit 7`) failed: exit code 7:"])
        .says("no such package");
}

/// A kept instance serves as long as its recipe and the files in it are as they were.
#[test]
fn another_recipe_makes_another_instance() {
    let sshd = Sshd::start(&["it-0"]);
    let count = sshd.directory().join("count");
    let lab = lab(
        &sshd,
        &format!(
            "{{ script = \"count.sh\", args = [\"{}\"] }}",
            count.display()
        ),
        "",
    );
    let times = || fs::read_to_string(&count).unwrap().len();
    lab.write("count.sh", "#!/bin/sh\nprintf x >>\"$1\"\n");
    for _ in 0..2 {
        lab.run(&["quick", "--keep-targets"]).code(0);
        assert_eq!(times(), 1);
    }
    lab.write("count.sh", "#!/bin/sh\nprintf y >>\"$1\"\n");
    let run = lab.run(&["quick", "--keep-targets"]).code(0);
    run.says("it-0: recycled: key `recipe.files` changed");
    assert_eq!(times(), 2);
    lab.run(&["--delete-targets"]).code(0);
}

/// A test that spends its instance is refused where nothing follows from that, and obeyed where something does.
#[test]
fn a_spent_host_is_cleaned_or_held() {
    let sshd = Sshd::start(&["it-0"]);
    let done = sshd.directory().join("done");
    let say = |word: &str| format!("{{ run = \"echo {word} >>{}\" }}", done.display());
    let refused = lab(&sshd, &say("prepared"), "");
    for (args, test) in [
        (&["spends"][..], "`spends` declares `reuse = false`"),
        // The first of all.
        (
            &["check", "--tests"],
            "`restored_1` declares `reuse = \"snapshot\"`",
        ),
    ] {
        refused
            .run(args)
            .code(78)
            .says(&format!(
                "{test}, and target `it` (platform `ssh`) cannot make a fresh machine"
            ))
            .says("on-dirty");
    }
    assert!(!done.exists());

    let more = format!(
        "on-dirty = \"clean\"\nclean = \"tidy\"\n[recipes.tidy]\nsteps = [{}]",
        say("cleaned")
    );
    let cleaned = lab(&sshd, &say("prepared"), &more);
    cleaned
        .run(&["spends", "quick", "-j1", "--keep-targets"])
        .code(0);
    cleaned.run(&["spends", "quick", "-j1"]).code(0);
    let said = fs::read_to_string(&done).unwrap();
    assert!(said.starts_with("prepared\ncleaned\nprepared\n"), "{said}");

    let held = lab(&sshd, "{ script = \"step\" }", "on-dirty = \"hold\"");
    held.write("step", "#!/bin/sh\ntrue\n");
    held.run(&["spends"])
        .code(0)
        .says("warning: it-0 is dirty: `spends[it]` declares `reuse = false`");
    held.run(&["quick"])
        .code(69)
        .says("`it-0` is on hold because it is dirty");
    held.run(&["--delete-targets"]).code(0);
    held.run(&["quick", "--keep-targets"]).code(0);
    // A recipe that changed makes it no dirty one.
    held.write("step", "#!/bin/sh\ntrue again\n");
    held.run(&["quick"])
        .code(0)
        .says("it-0: recycled: key `recipe.files` changed");
}

#[test]
fn what_is_waited_for_in_vain_is_named() {
    let sshd = Sshd::start(&["it-0"]);
    let more = "wait = [{ command = \"false\", timeout = \"1s\" }]";
    let lab = lab(&sshd, "{ run = \"true\" }", more);
    lab.run(&["quick"])
        .code(69)
        .says("timed out after 1s waiting for `false` of `it-0`: exit code 1");
}

/// Commands of a local target as another user, in a folder of that user's own.
#[test]
fn a_local_target_can_be_another_users() {
    let steps = "{ run = \"test $(id -un) = nobody && test -O $PWD && test $USER = nobody && touch here\" }";
    let playbook = format!(
        "[recipes.who]\nsteps = [{steps}]\n[[targets]]\nname = \"it\"\nplatform = \"local\"\ncount = 1\n\
         user = \"nobody\"\nrecipe = \"who\"\n"
    );
    let lab = Lab::new(&playbook);
    if !rustix::process::geteuid().is_root() {
        lab.run(&["quick"])
            .code(78)
            .says("only root can run commands as another user");
        return;
    }
    // The folder has no name that another user could take first, and goes with the instance.
    let mine = || {
        let all = fs::read_dir(std::env::temp_dir()).unwrap().flatten();
        let theirs = all.filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.starts_with("target-test-")
                && entry.metadata().is_ok_and(|data| data.uid() == 65534)
        });
        theirs.map(|entry| entry.path()).collect::<BTreeSet<_>>()
    };
    let before = mine();
    lab.run(&["quick", "--keep-targets"]).code(0);
    let made: Vec<_> = mine().difference(&before).cloned().collect();
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(
        fs::metadata(&made[0]).unwrap().permissions().mode() & 0o7777,
        0o700
    );
    let label = fs::read_to_string(lab.path("pool/pool.json")).unwrap();
    let label: serde_json::Value = serde_json::from_str(&label).unwrap();
    assert!(
        !made[0]
            .to_string_lossy()
            .contains(label["label"].as_str().unwrap())
    );
    lab.run(&["quick"]).code(0);
    assert!(!made[0].exists());
    lab.write(
        "target-test.toml",
        &playbook.replace("\"nobody\"\nrecipe", "\"no-such-user\"\nrecipe"),
    );
    lab.run(&["check"])
        .code(78)
        .says("user `no-such-user` not found");
}

#[test]
fn an_engine_that_is_not_there_is_named() {
    let target =
        "[[targets]]\nname = \"it\"\nplatform = \"container\"\nimage = \"x\"\nretries = 0\n";
    let lab = Lab::new(&format!("{target}engine = \"no-such-engine\"\n"));
    lab.run(&["quick"])
        .code(69)
        .says("no container engine answers: ")
        .says("`no-such-engine`")
        .says("install podman");
}

/// A machine that is up and runs no lines, such as a switch, does not use up the time limit.
#[test]
fn a_machine_without_a_posix_shell_is_named() {
    let lab = Lab::new(
        "[[targets]]\nname = \"switch\"\nplatform = \"command\"\ndeploy = [\"echo\", '{\"host\": \"x\"}']\ndelete = \"true\"\nretries = 0\n\
         exec = [\"echo\", \"% unknown command:\"]\nready-timeout = \"10m\"\n",
    );
    lab.run(&["quick"])
        .code(69)
        .says("`switch-0` has no POSIX shell")
        .says("% unknown command: exec /bin/sh")
        .says("hint: commands are lines for a POSIX shell");
}
