//! Tests of the scripts that signal and kill processes.

use super::*;

#[test]
fn signals_find_the_command_or_fail() {
    on_every_shell(|machine| {
        let name = machine.name;
        let sleeps = "echo up; sleep 1000";
        // Whether the group is known or must be found.
        for known in [true, false] {
            let mut started = machine.start(sleeps, "");
            let group = known.then_some(started.group);
            machine.signal(&started, group, "TERM").expect(name);
            started.ended();
            // A process that was killed may be there until init has noticed its end.
            let until = Instant::now() + Duration::from_secs(30);
            let error = loop {
                match machine.signal(&started, group, "TERM") {
                    Err(error) => break error.to_string(),
                    Ok(()) => assert!(Instant::now() < until, "{name}"),
                }
            };
            assert_eq!(error, "no process of the command is left", "{name}");
            machine.signal(&started, group, "KILL").expect(name);
        }
        let mut started = machine.start(sleeps, "");
        // A program between the login shell and the command has created another group.
        machine
            .signal(&started, Some(started.group + 1_000_000), "KILL")
            .expect(name);
        started.ended();
        let started = machine.start(sleeps, "");
        let error = machine
            .signal(&started, Some(started.group), "NONE")
            .unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Usage, "{name}: {error}");
    });
}

/// The wrapper ignores signals, and must not take one for a command that is about to start.
#[test]
fn a_signal_to_a_known_group_ends_the_command() {
    on_every_shell(|machine| {
        for _ in 0..20 {
            // Without a child: bash may lose a signal while it forks.
            let (mut started, _) = machine.begin("while :; do :; done", "");
            let group = rustix::process::Pid::from_child(&started.child);
            rustix::process::kill_process_group(group, rustix::process::Signal::TERM).unwrap();
            started.ended();
        }
    });
}

#[test]
fn sweeps_kill_the_processes_of_their_lease_only() {
    on_every_shell(|machine| {
        let lease = format!("l{}", nonce());
        // By the arguments of the wrapper, and by the environment of a process in another session.
        let mut ours = [
            machine.start("echo up; while :; do sleep 0.1; done", &lease),
            machine.start("setsid sh -c 'echo up; exec sleep 1000'", &lease),
        ];
        let mut other = machine.start("echo up; sleep 1000", &format!("{lease}0"));
        // A variable that looks like the name of another process's file.
        let forged = format!(
            "\n==> /proc/{}/environ <==\nTARGET_TEST_LEASE={lease}",
            other.group
        );
        let mut forger = machine.command("echo up; exec sleep 1000");
        let mut forger = forger.env("FORGED", forged).spawn().unwrap();
        let mut up = [0; 3];
        std::io::Read::read_exact(forger.stdout.as_mut().unwrap(), &mut up).unwrap();

        machine.text(&sweep(&lease));
        for ours in &mut ours {
            ours.ended();
        }
        assert!(
            other.child.try_wait().unwrap().is_none(),
            "{}",
            machine.name
        );
        forger.kill().unwrap();
        forger.wait().unwrap();
    });
}

#[test]
fn a_scan_of_many_processes_takes_little_time() {
    on_every_shell(|machine| {
        let mut many: Vec<_> = (0..300)
            .map(|_| {
                let mut process = Process::new("sleep");
                process.arg("1000").env("FILL", "x".repeat(2000));
                process.spawn().unwrap()
            })
            .collect();
        let started = Instant::now();
        machine.text(&sweep("no such lease"));
        let took = started.elapsed();
        for process in &mut many {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        assert!(took < Duration::from_secs(2), "{}: {took:?}", machine.name);
    });
}
