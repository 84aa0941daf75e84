//! A pool that is damaged, newer, read-only or on a full disk; records that nobody can delete or wants any more.

use std::{fs, process::Command};

use rustix::process::Signal;

use super::{DOWN, Lab, signal, target};
use crate::support::{Outcome, eventually};

fn edit(lab: &Lab, from: &str, to: &str) {
    let file = lab.path("pool/pool.json");
    let text = fs::read_to_string(&file).expect("pool.json");
    assert!(text.contains(from), "{text}");
    fs::write(file, text.replace(from, to)).expect("pool.json");
}

#[test]
fn a_damaged_or_newer_pool_is_refused_and_nothing_is_lost() {
    let lab = Lab::new(1);
    lab.run(&["quick", "--keep-targets"]).code(0);
    let file = lab.path("pool/pool.json");
    let whole = fs::read_to_string(&file).expect("pool.json");
    let newer = whole.replacen("\"version\": 1", "\"version\": 99", 1);
    assert_ne!(newer, whole);
    let torn = &whole[..whole.len() / 2];
    for text in [torn, "", "\0\u{1}garbage", "[]", &newer] {
        fs::write(&file, text).expect("pool.json");
        for verb in ["quick", "targets", "--delete-targets"] {
            let refused = lab.run(&[verb]).code(73).never_says("panicked");
            refused.says("pool.json").says("hint: ");
        }
        assert_eq!(fs::read_to_string(&file).expect("pool.json"), text);
        assert_eq!(lab.ledger(), ["alpha-0"]);
    }
    fs::remove_file(&file).expect("pool.json");
    lab.clean("a pool rebuilt from its notes");
}

/// As a user who may read it only.
#[test]
fn a_read_only_pool_is_refused() {
    let lab = Lab::new(1);
    lab.run(&["quick", "--keep-targets"]).code(0);
    // Everything in it, since a folder's owner may still write what is there.
    let mode = |mode| {
        let everything = lab.path("");
        let changed = Command::new("chmod")
            .args(["-R", mode])
            .arg(everything)
            .status();
        assert!(changed.expect("chmod").success());
    };
    mode("a-w");
    let me = Command::new("id").arg("-u").output().expect("id");
    let tool = env!("CARGO_BIN_EXE_cargo-target-test");
    for verb in ["targets", "--delete-targets"] {
        let refused: Outcome = if me.stdout == b"0\n" {
            let user = ["--reuid=65534", "--regid=65534", "--clear-groups", tool];
            lab.program("setpriv").args(user).args([verb]).run()
        } else {
            lab.run(&[verb])
        };
        refused.code(73).says("cannot ").says("--pool DIR");
    }
    mode("u+w");
    assert_eq!(lab.ledger(), ["alpha-0"]);
    lab.clean("a pool that was read-only");
}

/// In a mount of its own, which is gone with the command.
#[test]
fn a_full_disk_is_said() {
    let lab = Lab::new(1);
    let full = lab.path("full");
    fs::create_dir(&full).expect("a folder");
    let inside = |line: &str| {
        let mount = "mount -t tmpfs -o size=64k,nr_inodes=50 none \"$FAULTS_AT/full\" || exit 42
                     mkdir \"$FAULTS_AT/full/run\"
                     head -c 200k /dev/zero >\"$FAULTS_AT/full/filler\" 2>/dev/null";
        let script = format!("{mount}\n{line}");
        lab.program("unshare")
            .args(["-m", "sh", "-c", &script])
            .run()
    };
    let tool = env!("CARGO_BIN_EXE_cargo-target-test");
    let run = inside(&format!(
        "XDG_RUNTIME_DIR=\"$FAULTS_AT/full/run\" exec {tool} quick"
    ));
    if !matches!(run.status.code(), Some(70..=73)) {
        eprintln!(
            "skipped: no file system can be mounted here ({})",
            run.status
        );
        assert!(matches!(run.status.code(), Some(1 | 42)), "{run:?}");
        return;
    }
    run.says("No space left on device").never_says("panicked");
    let pool = inside(&format!(
        "exec {tool} --pool \"$FAULTS_AT/full/pool\" quick"
    ));
    pool.code(73)
        .says("No space left on device")
        .never_says("panicked");
    assert!(lab.ledger().is_empty());
}

#[test]
fn a_record_of_an_unknown_platform_stays_and_is_named() {
    let lab = Lab::new(1);
    lab.run(&["quick", "--keep-targets"]).code(0);
    edit(&lab, "\"platform\": \"command\"", "\"platform\": \"moon\"");
    for _ in 0..2 {
        lab.run(&["--delete-targets"])
            .code(69)
            .says("failed to delete `alpha-0`: its platform `moon` is unknown");
    }
    lab.run(&["targets"]).code(0).says("alpha-0").says("moon");
    edit(&lab, "\"platform\": \"moon\"", "\"platform\": \"command\"");
    lab.clean("a platform that is known again");
}

#[test]
fn a_delete_that_fails_is_recorded_with_its_cause_and_tried_again() {
    let lab = Lab::new(1);
    lab.script("down", "#!/bin/sh\necho the door is locked >&2\nexit 3\n");
    let run = lab.run(&["quick"]).code(69);
    run.line_with(&["PASS", "quick[alpha]"])
        .says("alpha-0 could not be deleted")
        .says("the door is locked");
    lab.run(&["targets"])
        .code(0)
        .says("deleting (`./down` for `alpha-0`");
    lab.run(&["--delete-targets"])
        .code(69)
        .says("failed to delete `alpha-0`")
        .says("the door is locked");
    assert_eq!(lab.ledger(), ["alpha-0"]);
    lab.script("down", DOWN);
    lab.run(&["quick"]).code(0);
    assert!(lab.ledger().is_empty(), "the next run tries again");
    lab.clean("a delete that works again");
}

/// An instance that cannot be deleted any more is known before, named, and dropped by who says so.
#[test]
fn a_record_that_cannot_be_deleted_can_be_forgotten() {
    let lab = Lab::new(1);
    lab.run(&["quick", "--keep-targets"]).code(0);
    lab.run(&["check"]).code(0).never_says("cannot be deleted");
    lab.run(&["pool", "forget", "alpha-0"])
        .code(2)
        .says("--yes");
    // A program that is gone, and one that cannot start.
    fs::rename(lab.path("down"), lab.path("away")).expect("a script");
    for (script, cause) in [
        (None, "file not found"),
        (Some("#!/no/such/shell\n"), "interpreter `/no/such/shell`"),
    ] {
        if let Some(script) = script {
            lab.script("down", script);
            lab.run(&["check"]).code(78).says(cause);
        }
        let playbook = target("alpha", 1, "").replace("./down", "true");
        lab.playbook(&playbook);
        lab.run(&["check"])
            .code(0)
            .says("`alpha-0` cannot be deleted: ")
            .says(cause);
        lab.playbook(&target("alpha", 1, ""));
        lab.run(&["--delete-targets"])
            .code(69)
            .says("failed to delete `alpha-0`: `delete` of target `alpha`: ")
            .says(cause)
            .says("cargo target-test pool forget alpha-0");
    }
    let forgotten = lab.run(&["pool", "forget", "alpha-0", "--yes"]).code(0);
    forgotten
        .says("remove by hand")
        .says("platform  command")
        .says("named     tt-");
    lab.run(&["--delete-targets"])
        .code(0)
        .says("nothing to delete");
    lab.run(&["pool", "forget", "alpha-0", "--yes"])
        .code(2)
        .says("not found");
    assert_eq!(lab.ledger(), ["alpha-0"], "it deletes nothing");
    let files: Vec<_> = fs::read_dir(lab.path("pool/instances"))
        .expect("a folder")
        .collect();
    assert!(files.is_empty(), "{files:?}");
}

/// One that is in use is not forgotten.
#[test]
fn an_instance_in_use_is_not_forgotten() {
    let lab = Lab::new(1);
    lab.run(&["quick", "--keep-targets"]).code(0);
    lab.run(&["lease", "alpha-0"]).code(0);
    lab.run(&["pool", "forget", "alpha-0", "--yes"])
        .code(69)
        .says("is in use");
    lab.run(&["release", "alpha-0"]).code(0);
    lab.clean("a lease by hand");
}

/// A lost `pool.json` is rebuilt; a note that is torn too is never forgotten in silence.
#[test]
fn a_torn_note_of_a_lost_pool_is_named_until_somebody_acts() {
    let lab = Lab::new(2);
    lab.run(&["quick", "other", "--keep-targets"]).code(0);
    let notes = fs::read_dir(lab.path("pool/instances"))
        .expect("a folder")
        .flatten();
    let notes = notes
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "json"));
    let note = notes.min().expect("a note");
    let id = note
        .file_stem()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    fs::write(&note, "{").expect("a torn note");
    fs::remove_file(lab.path("pool/pool.json")).expect("pool.json");
    for _ in 0..2 {
        let told = lab.run(&["--delete-targets", "--all"]).code(69);
        told.says(&format!("failed to delete `{id}`: its record is damaged"))
            .says("gc");
    }
    assert_eq!(lab.ledger().len(), 1, "the other one is deleted");
    assert!(note.exists());
    lab.run(&["pool", "forget", &id, "--yes"])
        .code(0)
        .says(&format!("what is named `{id}`"));
    lab.run(&["--delete-targets", "--all"]).code(0);
    assert!(!note.exists());
}

/// An instance on which every case is infra serves no further case of the run, since the other one does; it is named.
#[test]
fn a_broken_instance_is_set_aside_for_the_run() {
    let lab = Lab::new(2);
    // The broken one answers, and loses what tests send, once the other one has served.
    lab.script(
        "exec",
        "#!/bin/sh\ncase $1 in *poison*) case $TARGET_TEST_REQUEST in\n\
         *alpha-0*) while ! [ -e served ]; do sleep 0.02; done; exit 9;;\n\
         *) touch served;; esac;; esac\nexec /bin/sh -c \"$1\"\n",
    );
    let many = "[[criteria]]\nname = \"poisoned\"\ntimes = 12\n";
    lab.playbook(&(target("alpha", 2, "exec = \"./exec\"") + many));
    let run = lab.run(&["poisoned", "--keep-targets"]).code(69);
    run.line_with(&["12 cases: 9 passed", " 3 infra"])
        .line_with(&["set aside after 3 infra in a row: alpha-0"])
        .line_with(&["Kept ", "alpha-1"]);
    fs::write(lab.path("exec"), "#!/bin/sh\nexec /bin/sh -c \"$1\"\n").unwrap();
    lab.run(&["poisoned"]).code(0).never_says("set aside");
}

/// A disabled instance serves no case, whether or not it exists; with none left, cases are infra at once.
#[test]
fn a_disabled_instance_does_not_serve() {
    let lab = Lab::new(2);
    let disable = |name: &str, more: &[&str]| {
        lab.run(&[&["pool", "disable", name, "--reason", "bad RAM"], more].concat())
    };
    disable("alpha-0", &[]).code(0).says("disabled alpha-0");
    lab.run(&["quick", "other", "--keep-targets"]).code(0);
    assert_eq!(lab.ledger(), ["alpha-1"]);
    disable("alpha-1", &["--until", "2h"]).code(0);
    lab.run(&["targets"]).code(0).says("disabled (bad RAM)");
    let none = lab.run(&["quick", "--keep-targets"]).code(69);
    none.says("is disabled")
        .says(": bad RAM")
        .says("pool enable alpha-")
        .never_says("retrying");
    assert_eq!(lab.ledger(), ["alpha-1"]);
    // A person can still look at it.
    lab.run(&["exec", "alpha-1", "--", "true"]).code(0);
    lab.run(&["pool", "enable", "alpha-1"])
        .code(0)
        .says("enabled alpha-1");
    lab.run(&["quick", "--keep-targets"])
        .code(0)
        .never_says("bad RAM");
    assert_eq!(lab.ledger(), ["alpha-1"]);
    for (words, said) in [
        (
            &["pool", "disable", "omega-0", "--reason", "x"][..],
            "instance or host `omega-0` not found",
        ),
        (&["pool", "enable", "omega-0"], "not found"),
        (&["pool", "disable", "alpha-0"], "--reason"),
        (
            &[
                "pool", "disable", "alpha-0", "--reason", "x", "--until", "soon",
            ],
            "expected a duration",
        ),
        (
            &[
                "pool",
                "disable",
                "alpha-0",
                "--reason",
                "x",
                "--until",
                "1999-01-01",
            ],
            "is not in the future",
        ),
    ] {
        lab.run(words).code(2).says(said);
    }
    lab.run(&["pool", "enable", "alpha-0"]).code(0);
    lab.clean("enabled again");
}

/// A kept instance can be disabled, too, and the end of that is shown.
#[test]
fn the_end_of_a_disabled_time_is_shown() {
    let lab = Lab::new(1);
    lab.run(&["quick", "--keep-targets"]).code(0);
    lab.run(&[
        "pool",
        "disable",
        "alpha-0",
        "--reason",
        "mine",
        "--until",
        "2099-12-24",
    ])
    .code(0);
    let infra = lab.run(&["quick"]).code(69);
    infra.says("`alpha-0` is disabled until 2099-12-24T00:00:00Z: mine");
    lab.run(&["pool", "enable", "alpha-0"]).code(0);
    lab.clean("enabled again");
}

#[test]
fn kept_instances_of_a_renamed_target_are_named() {
    let lab = Lab::new(2);
    lab.run(&["quick", "other", "--keep-targets"])
        .code(0)
        .says("Kept alpha-0")
        .says("Kept alpha-1");
    lab.playbook(&target("omega", 1, ""));
    let run = lab.run(&["quick"]).code(0);
    run.says("kept earlier and not used by this run: alpha-0, alpha-1");
    assert_eq!(lab.ledger(), ["alpha-0", "alpha-1"]);
    lab.clean("renamed");
}

#[test]
fn a_changed_definition_recycles_and_says_why() {
    let lab = Lab::new(1);
    lab.playbook(&target("alpha", 1, "params = { size = 1 }"));
    lab.run(&["quick", "--keep-targets"]).code(0);
    lab.run(&["quick", "--keep-targets"])
        .code(0)
        .never_says("recycled");
    lab.playbook(&target("alpha", 1, "params = { size = 2 }"));
    let run = lab.run(&["quick", "--keep-targets"]).code(0);
    run.says("alpha-0: recycled: key `params.size` changed");
    assert_eq!(lab.ledger(), ["alpha-0"]);
    lab.clean("recycled");
}

#[test]
fn who_keeps_the_pool_locked_is_named() {
    let lab = Lab::new(1);
    lab.run(&["quick", "--keep-targets"]).code(0);
    let locked = lab.path("pool/pool.lock");
    let mut keeper = Command::new("flock");
    keeper.args([
        "--no-fork",
        locked.to_str().expect("a path"),
        "sleep",
        "1000",
    ]);
    let mut keeper = keeper.spawn().expect("flock");
    let pid = keeper.id();
    eventually("the lock", || {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
        comm.is_ok_and(|name| name.trim() == "sleep")
    });
    signal(&pid.to_string(), Signal::STOP);
    let verbs: [&[&str]; 6] = [
        &["quick", "--keep-targets"],
        &["exec", "alpha-0", "--", "true"],
        &["shell", "alpha-0"],
        &["up", "alpha"],
        &["pool", "disable", "alpha-0", "--reason", "it is mine"],
        &["--delete-targets"],
    ];
    let runs = verbs.map(|verb| (verb, lab.start(verb)));
    let mut runs = runs.map(|(verb, mut run)| {
        run.wait_for(&format!("which `sleep` (pid {pid}, user "));
        assert!(
            run.printed().contains(", stopped) has locked"),
            "{verb:?}: {}",
            run.printed()
        );
        (verb, run)
    });
    // Nobody has to wait for it.
    for (verb, run) in &mut runs[..5] {
        run.signal(Signal::INT);
        eventually(&format!("the end of {verb:?}"), || run.has_ended());
    }
    let [.., (_, delete)] = runs;
    keeper.kill().expect("the keeper");
    keeper.wait().expect("the keeper");
    delete.wait().code(0).says("deleted alpha-0");
}
