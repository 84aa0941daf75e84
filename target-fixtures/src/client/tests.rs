//! Tests of the client against a fake broker, which runs in a thread of the test.

use std::{env, fs, sync::atomic::Ordering, thread, time::Duration};

use crate::{ErrorKind, Exit, client::Client, error::TargetError, wire::PROTOCOL};

use fake::Fake;

mod fake;

#[test]
fn one_connection_serves_one_request_after_another() {
    let fake = Fake::start(PROTOCOL);
    let target = fake.target();
    assert_eq!(target.instance(), "alpha-0");
    assert_eq!(target.ping().unwrap(), Duration::from_micros(250));
    for _ in 0..20 {
        target.write("/etc/x", "content").unwrap();
        assert_eq!(target.cat("/etc/x").unwrap(), "content");
        target.command("cat").stdin("in").run().unwrap();
        assert_eq!(target.run("fails").unwrap_err().kind(), ErrorKind::Exit);
    }
    assert_eq!(fake.connections.load(Ordering::Relaxed), 1);
}

#[test]
fn many_threads_use_one_target() {
    let fake = Fake::start(PROTOCOL);
    let target = fake.target();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert_eq!(target.run("lines").unwrap().stdout.lines().count(), 50);
                }
            });
        }
    });
    assert!(fake.connections.load(Ordering::Relaxed) <= 9);
}

#[test]
fn output_is_kept_as_it_came() {
    let fake = Fake::start(PROTOCOL);
    let target = fake.target();
    let output = target.command("bytes").run().unwrap();
    assert_eq!(output.stdout_bytes, [0xff, 0, 0x1e, 0xc3, 0xbc]);
    assert_eq!(output.stdout, "\u{fffd}\0\u{1e}ü");
    assert_eq!(
        (output.stderr.as_str(), output.duration),
        ("aside", Duration::from_millis(7))
    );
    let output = target.run("lines").unwrap();
    assert!(output.stdout.lines().all(|line| line.len() >= 2002));
}

#[test]
fn a_large_input_runs_beside_its_output() {
    let fake = Fake::start(PROTOCOL);
    let target = fake.target();
    let input: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    let output = target.command("cat").stdin(input.clone()).run().unwrap();
    assert_eq!(output.stdout_bytes, input);
    // A command that does not read its input ends nevertheless.
    assert!(
        target
            .command("deaf")
            .stdin(input)
            .run()
            .unwrap()
            .exit
            .success()
    );
    target.ping().unwrap();
}

#[test]
fn a_failure_says_what_where_and_the_last_lines() {
    let fake = Fake::start(PROTOCOL);
    let target = fake.target();
    let error = target.run("fails").unwrap_err();
    assert_eq!(
        error.to_string(),
        "run `fails` on `alpha-0`: exit code 3\n--- stderr\nfirst\nthe cause"
    );
    assert_eq!(
        target.command("fails").allow_failure().run().unwrap().exit,
        Exit::Code(3)
    );
    let error = target.run("killed").unwrap_err();
    assert_eq!(error.to_string(), "run `killed` on `alpha-0`: signal KILL");
    let error = target.run("slow").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(
        error.to_string(),
        "run `slow` on `alpha-0`: killed after 1s\n--- stdout\nso far"
    );
}

#[test]
fn a_broker_that_goes_is_told_and_not_waited_for() {
    let fake = Fake::start(PROTOCOL);
    let target = fake.target();
    let error = target.run("broker dies").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Infra);
    assert!(error.to_string().starts_with("broker gone: "), "{error}");
    assert!(
        error.to_string().ends_with("--- stdout\nlast words"),
        "{error}"
    );
    // The next request uses another connection.
    target.ping().unwrap();
    drop(fake);
    let nowhere = Client::attach(
        env::temp_dir().join("tf-no-such.sock"),
        "lease-1".to_owned(),
    );
    assert!(kind_and_text(nowhere.err()).starts_with("Infra: broker gone: "));
}

#[test]
fn refusals_are_told_with_what_to_do() {
    let fake = Fake::start(PROTOCOL + 1);
    let refused = Client::attach(fake.socket.clone(), "lease-1".to_owned()).err();
    assert!(
        refused
            .as_ref()
            .and_then(TargetError::hint)
            .is_some_and(|hint| hint.contains("cargo install"))
    );
    assert_eq!(
        kind_and_text(refused),
        "Version: talk to a broker of another version"
    );
    let fake = Fake::start(PROTOCOL);
    let refused = Client::attach(fake.socket.clone(), "lease-2".to_owned()).err();
    // No line of the test is to blame.
    assert_eq!(
        format!("{:?}", refused.as_ref().unwrap()),
        "infra: no such lease"
    );
    assert_eq!(kind_and_text(refused), "Infra: no such lease");
}

#[test]
fn files_travel_both_ways() {
    let fake = Fake::start(PROTOCOL);
    let target = fake.target();
    let folder = env::temp_dir().join(format!("tf-files-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (here, back) = (folder.join("here"), folder.join("back"));
    let content: Vec<u8> = (0..300_000u32).map(|n| (n * 7) as u8).collect();
    fs::write(&here, &content).unwrap();
    target.put(&here, "/there").unwrap();
    target.get("/there", &back).unwrap();
    assert_eq!(fs::read(&back).unwrap(), content);
    assert_eq!(target.read("/there").unwrap(), content);

    let error = target.get("/none", folder.join("none")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request);
    assert_eq!(error.to_string(), "read `/none` on `alpha-0`: no such file");
    assert_eq!(
        target.put(folder.join("missing"), "/x").unwrap_err().kind(),
        ErrorKind::File
    );
    let nowhere = folder.join("none/file");
    assert_eq!(
        target.get("/there", nowhere).unwrap_err().kind(),
        ErrorKind::File
    );
    assert_eq!(
        fs::read_dir(&folder).unwrap().count(),
        2,
        "no part of a file stays"
    );
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_failure_says_where_the_method_was_called() {
    let fake = Fake::start(PROTOCOL);
    let target = fake.target();
    let second = std::time::Duration::from_secs(1);
    let mut process = target.command("fails").spawn().unwrap();
    let calls: [(u32, Result<(), TargetError>); 8] = [
        (line!(), target.run("fails").map(drop)),
        (line!(), target.command("fails").run().map(drop)),
        (line!(), target.cat("/none").map(drop)),
        (line!(), target.put("/none/here", "/x")),
        (line!(), target.get("/none", "/none/here")),
        (line!(), process.wait_for_line("never", second).map(drop)),
        (line!(), process.wait().map(drop)),
        (line!(), target.wait_for_command("fails", Duration::ZERO)),
    ];
    for (line, failed) in calls {
        let error = failed.unwrap_err();
        let place = format!("at {}:{line}:", file!());
        assert!(format!("{error:?}").contains(&place), "{error:?}");
        let source = std::error::Error::source(&error).map(ToString::to_string);
        assert!(source.is_some_and(|source| source.starts_with(&place)));
        // The call goes before the `?` that converts it.
        assert!(format!("{:?}", crate::Error::from(error)).contains(&place));
    }
}

fn kind_and_text(error: Option<TargetError>) -> String {
    error
        .map(|error| format!("{:?}: {error}", error.kind()))
        .unwrap_or_default()
}
