//! Deploy scripts that fail, each in its own way, beside one that works.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{DOWN, Lab, UP, target};

#[test]
fn every_failure_names_script_and_instance_and_spares_the_others() {
    let lab = Lab::new(1);
    let cases = [
        (
            "code",
            "echo no disk for it >&2; exit 3",
            "exited with code 3: no disk for it",
        ),
        ("garbage", "echo hello", "`./garbage` for `garbage-0`"),
        ("silent", "exit 0", "`./silent` for `silent-0`"),
        ("wrong", "echo '{\"host\": 7}'", "`./wrong` for `wrong-0`"),
        (
            "hangs",
            "sleep 1000",
            "did not end within 1s and was killed",
        ),
    ];
    let mut playbook = target("alpha", 1, "");
    for (name, line, _) in cases {
        lab.script(
            name,
            &UP.replace("echo '{", &format!("{line}\nexit\necho '{{")),
        );
        let more = "timeout = \"1s\"";
        playbook += &target(name, 1, more).replace("./up", &format!("./{name}"));
    }
    lab.playbook(&playbook);
    let run = lab.run(&["quick"]).code(69);
    let run = run.line_with(&["PASS", "quick[alpha]"]);
    for (name, _, says) in cases {
        let entry = format!("infra: quick[{name}]: {name}-0 could not be deployed");
        assert!(run.lines_with(&[&entry]) == 1, "{name}: {run:?}");
        assert!(run.lines_with(&[says]) >= 1, "{name}: {run:?}");
    }
    assert!(lab.ledger().is_empty(), "{:?}", lab.ledger());
}

#[test]
fn a_script_that_cannot_start_is_the_playbooks_fault() {
    let lab = Lab::new(1);
    fs::set_permissions(lab.path("up"), PermissionsExt::from_mode(0o644)).expect("permissions");
    lab.run(&["quick"])
        .code(78)
        .says("is not executable")
        .says("chmod +x")
        .never_says("deploy[alpha-0]");
    assert!(lab.ledger().is_empty());
}

#[test]
fn what_a_script_says_is_seen_while_it_works() {
    let lab = Lab::new(1);
    let wait = "echo half way >&2; until [ -e go ]; do sleep 0.01; done\n";
    lab.script("up", &UP.replace("echo '{", &format!("{wait}echo '{{")));
    let mut run = lab.start(&["quick"]);
    run.wait_for("alpha-0: half way");
    lab.let_go();
    run.wait().code(0);
    assert!(lab.ledger().is_empty());
}

/// The most memory that the process had, in KiB.
fn peak(pid: rustix::process::Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
    let status = status.unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let words = line.and_then(|line| line.split_whitespace().nth(1));
    words.map_or(0, |number| number.parse().expect("a number"))
}

#[test]
fn endless_output_and_endless_files_are_errors() {
    let lab = Lab::new(1);
    let once = "retries = 0\n";
    let deploy = target("alpha", 1, once).replace("\"./up\"", "[\"cat\", \"/dev/zero\"]");
    let noisy = target("alpha", 1, once);
    lab.script(
        "noisy",
        "#!/bin/sh\nhead -c 50000000 /dev/zero >&2\nexec ./up\n",
    );
    let noisy = noisy.replace("./up", "./noisy");
    let secret = target(
        "alpha",
        1,
        "retries = 0\nenv.A = { command = [\"cat\", \"/dev/zero\"] }",
    );
    for (playbook, code, says) in [
        (deploy, 69, "cat` is larger than 16 MiB"),
        (secret, 69, "cat` is larger than 16 MiB"),
        (noisy, 0, "PASS"),
    ] {
        lab.playbook(&playbook);
        within_memory(&lab, &["quick"], code, says);
        assert!(lab.ledger().is_empty());
    }
    let zero = lab.run(&["quick", "--playbook", "/dev/zero"]);
    zero.code(78)
        .says("failed to read playbook `/dev/zero`: larger than 16 MiB");
    lab.playbook("include = [\"/dev/zero\"]\n");
    lab.run(&["quick"]).code(78).says("larger than 16 MiB");
    for (file, says) in [
        ("/dev/zero", "larger than 16 MiB"),
        ("fifo", "no program writes to"),
    ] {
        let made = std::process::Command::new("mkfifo")
            .arg(lab.path("fifo"))
            .output();
        made.expect("mkfifo");
        let more = format!("retries = 0\nenv.A = {{ file = {file:?} }}");
        lab.playbook(&target("alpha", 1, &more));
        lab.run(&["quick"]).code(69).says(says);
    }
}

/// Scripts, answers, facts and names that somebody else chose.
#[test]
fn machines_do_not_drive_the_terminal() {
    let lab = Lab::new(1);
    let says = "printf 'loud \\033[2J\\033]0;title\\007\\n' >&2\n";
    let loud = |end: &str| UP.replace("echo '{", &format!("{says}{end}echo '{{"));
    lab.script("up", &loud(""));
    lab.script("fails", &loud("exit 3\n"));
    lab.script(
        "lies",
        &UP.replace("\"localhost\"", "\"local\\\\u001b[2Jhost\""),
    );
    lab.script(
        "lists",
        "#!/bin/sh\necho '[{\"unique\": \"tt-a\", \"what\": \"a \\u001b[2J\"}]'\n",
    );
    lab.script("stays", &format!("#!/bin/sh\n{says}exit 4\n"));
    fs::create_dir(lab.path("bin")).expect("a folder");
    lab.script("bin/uname", "#!/bin/sh\nprintf 'arch\\033[2J\\n'\n");
    let path = lab.path("bin").display().to_string();
    lab.script(
        "exec",
        &format!("#!/bin/sh\nPATH={path}:$PATH exec sh -c \"$1\"\n"),
    );
    let once = |more: &str| target("alpha", 1, &format!("retries = 0\n{more}"));
    let step = "recipe = \"loud\"\n[recipes.loud]\nsteps = [{ run = \"printf '\\\\033[2J' >&2; exit 3\" }]";
    let quiet = |args: &[&str], code: i32| {
        let run = lab.run(args).code(code);
        let text = format!("{}{}", run.stdout, run.stderr);
        let raw = |one: char| one.is_control() && !"\n\t".contains(one);
        assert!(!text.contains(raw), "{args:?}: {text:?}");
        text
    };
    for (playbook, code) in [
        (once(""), 0),
        (once("").replace("./up", "./fails"), 69),
        (once("").replace("./up", "./lies"), 69),
        (once(step), 69),
    ] {
        lab.playbook(&playbook);
        let text = quiet(&["quick"], code);
        assert!(text.contains(r"\u{1b}[2J"), "{playbook}: {text}");
    }
    lab.playbook(&once("exec = \"./exec\"\nlist = \"./lists\""));
    quiet(&["quick", "--keep-targets"], 0);
    quiet(&["targets", "-v"], 0);
    assert!(quiet(&["targets", "--json"], 0).contains(r"arch\u001b[2J"));
    quiet(&["gc", "--dry-run"], 0);
    quiet(&["--delete-targets"], 0);
    lab.playbook(&once("").replace("./down", "./stays"));
    quiet(&["quick"], 69);
    quiet(&["--delete-targets"], 69);
    lab.script("stays", DOWN);
    lab.clean("a loud delete");
}

/// Runs the tool to its end, which takes little memory.
#[track_caller]
fn within_memory(lab: &Lab, args: &[&str], code: i32, says: &str) {
    let run = lab.start(args);
    let pid = run.pid();
    let (most, run) = std::thread::scope(|scope| {
        let (done, ended) = std::sync::mpsc::channel::<()>();
        let watch = scope.spawn(move || {
            let mut most = 0;
            let pause = std::time::Duration::from_millis(5);
            while ended.recv_timeout(pause) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                most = most.max(peak(pid));
            }
            most
        });
        let run = run.wait();
        drop(done);
        (watch.join().expect("the figures"), run)
    });
    run.code(code).says(says);
    assert!(most < 200 << 10, "{most} KiB for {args:?}");
}

/// Programs of a platform, files of SSH, and what somebody else put in the pool.
#[test]
fn what_others_print_and_write_takes_little_memory() {
    let lab = Lab::new(1);
    let zeros = "[\"cat\", \"/dev/zero\"]";
    // `exec` passes what a command prints on, for as long as somebody reads it.
    lab.script(
        "exec",
        "#!/bin/sh\ncase $1 in *endless*) exec cat /dev/zero;; esac\nexec sh -c \"$1\"\n",
    );
    let on_exec = |more: &str| {
        target(
            "alpha",
            1,
            &format!("retries = 0\nexec = \"./exec\"\n{more}"),
        )
    };
    for step in ["echo endless", "cat /dev/zero"] {
        let recipe = format!("[recipes.long]\nsteps = [{{ run = {step:?}, timeout = \"1s\" }}]\n");
        lab.playbook(&(recipe + &on_exec("recipe = \"long\"")));
        within_memory(&lab, &["quick"], 69, "timed out after 1s");
    }
    lab.playbook(&on_exec(""));
    within_memory(
        &lab,
        &["quick", "reads_without_end"],
        0,
        "2 cases: 2 passed",
    );
    lab.script("engine", "#!/bin/sh\nexec cat /dev/zero\n");
    lab.playbook(&format!(
        "[[targets]]\nname = \"alpha\"\nplatform = \"container\"\nimage = \"x\"\nretries = 0\nengine = {:?}\n",
        lab.path("engine")
    ));
    within_memory(&lab, &["quick"], 69, "larger than 16 MiB");
    lab.playbook(&target("alpha", 1, &format!("retries = 0\nlist = {zeros}")));
    within_memory(&lab, &["gc"], 69, "larger than 16 MiB");
    let huge = |name: &str| {
        let file = fs::File::create(lab.path(name)).expect("a file");
        file.set_len(1 << 30).expect("a sparse file");
    };
    huge("known");
    lab.playbook(
        "[[targets]]\nname = \"alpha\"\nplatform = \"ssh\"\nhosts = [\"127.0.0.1:1\"]\n\
         known-hosts = \"known\"\nretries = 0\nconnect-timeout = \"2s\"\n",
    );
    within_memory(&lab, &["quick"], 69, "127.0.0.1");
    // A lost pool with a note from another program.
    lab.playbook(&target("alpha", 1, ""));
    fs::remove_file(lab.path("pool/pool.json")).expect("the pool");
    huge("pool/instances/tt-huge.json");
    within_memory(&lab, &["--delete-targets"], 69, "tt-huge");
    huge("pool/pool.json");
    within_memory(&lab, &["targets"], 73, "larger than 16 MiB");
}
