//! Tests that start and kill real programs.

use std::cell::RefCell;

use super::*;

pub(super) const LONG: Duration = Duration::from_secs(60);

pub(super) fn sh(script: &str) -> Command {
    let mut command = command("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn input_output_and_lines() {
    let lines = RefCell::new(Vec::new());
    let script = "cat; echo one >&2; printf 'two' >&2; exit 3";
    let input = vec![b'x'; 1 << 20];
    let finished = Spawn::new(sh(script))
        .run(&input, LONG, &|line| {
            lines.borrow_mut().push(line.to_owned());
        })
        .unwrap();
    assert_eq!(ending(finished.status), "exited with code 3");
    assert_eq!(finished.stdout, input);
    assert_eq!(finished.stderr, b"one\ntwo");
    assert_eq!(*lines.borrow(), ["one", "two"]);
    assert!(!finished.held);
}

#[test]
fn unread_input_is_not_an_error() {
    let finished = Spawn::new(sh("exit 0"))
        .run(&vec![b'x'; 1 << 20], LONG, &|_| {})
        .unwrap();
    assert!(finished.status.success());
}

#[test]
fn a_program_may_close_its_output_before_it_exits() {
    let script = "exec >&- 2>&-; sleep 0.05; exit 4";
    let finished = Spawn::new(sh(script)).run(b"", LONG, &|_| {}).unwrap();
    assert_eq!(finished.status.code(), Some(4));
}

#[test]
fn the_process_group_is_killed_at_the_timeout() {
    let pid = RefCell::new(String::new());
    let error = Spawn::new(sh("sleep 1000 & echo $! >&2; wait"))
        .run(b"", Duration::from_millis(300), &|line| {
            *pid.borrow_mut() = line.to_owned()
        })
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.to_string(), "`sh` timed out after 300ms");
    await_gone(&pid.borrow());
}

#[test]
fn a_background_process_that_holds_the_output_is_kept() {
    let started = Instant::now();
    let finished = Spawn::new(sh("sleep 1000 & echo $!"))
        .run(b"", LONG, &|_| {})
        .unwrap();
    assert!(finished.held);
    assert!(started.elapsed() < Duration::from_secs(30));
    let pid = String::from_utf8(finished.stdout).unwrap();
    assert!(alive(pid.trim()));
    kill(pid.trim());
}

#[test]
fn a_missing_program_is_named() {
    let error = Spawn::new(command("no-such-program"))
        .run(b"", LONG, &|_| {})
        .unwrap_err();
    assert_eq!(error.to_string(), "failed to start `no-such-program`");
    assert!(error.hint().is_some());
}

fn pid(text: &str) -> Pid {
    Pid::from_raw(text.parse().unwrap()).unwrap()
}

pub(super) fn kill(text: &str) {
    rustix::process::kill_process(pid(text), Signal::KILL).unwrap();
}

/// True if the process runs. A zombie does not count: nothing may reap an orphan.
pub(super) fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

pub(super) fn await_gone(pid: &str) {
    let started = Instant::now();
    while alive(pid) {
        assert!(started.elapsed() < LONG, "{pid} is still there");
        std::thread::yield_now();
    }
}
