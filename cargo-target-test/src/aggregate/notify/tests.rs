//! Notices to a command that hangs, and to servers that answer, fail, are slow or are dead.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::Sender as Tell,
};

use serde_json::Value;

use super::*;
use crate::{
    case::{CaseInfo, verdict::Verdict},
    playbook::Limit,
    run_event::{Attempt, AttemptResult},
    secret::Text,
};

/// Reads a request, and returns its body.
fn body(stream: &mut TcpStream) -> String {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| {
                    line.to_lowercase()
                        .strip_prefix("content-length:")?
                        .trim()
                        .parse()
                        .ok()
                })
                .next();
            if length.is_none_or(|length: usize| body.len() >= length) {
                return body.to_owned();
            }
        }
        match stream.read(&mut piece).expect("a request") {
            0 => return text,
            length => bytes.extend_from_slice(&piece[..length]),
        }
    }
}

/// Starts a server that answers every request with `status`, or never, and tells the bodies.
fn server(status: Option<&'static str>, tell: Tell<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let mut unanswered = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let _ = tell.send(body(&mut stream));
            match status {
                Some(status) => {
                    let answer = format!(
                        "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    );
                    let _ = stream.write_all(answer.as_bytes());
                }
                None => unanswered.push(stream),
            }
        }
    });
    format!("http://{address}/hook?token=of-the-hook")
}

/// More than a busy machine needs.
fn patient() -> Limit {
    Limit(Duration::from_secs(60))
}

fn short() -> Limit {
    Limit(Duration::from_millis(300))
}

fn settings(on: &[NotifyOn]) -> NotifySettings {
    NotifySettings {
        on: on.to_vec(),
        timeout: patient(),
        ..NotifySettings::default()
    }
}

fn ended(name: &str, verdict: Verdict) -> RunEventKind {
    RunEventKind::AttemptEnded {
        attempt: Attempt::first(&Arc::new(CaseInfo::on_host("hello", name))),
        result: Box::new(AttemptResult::new(verdict)),
    }
}

/// Tells a run with a test that passes and one that fails; returns the error at the end.
fn tell(settings: &NotifySettings, folder: &Path) -> Option<String> {
    let notify = Notify::new(settings, folder, folder).expect("a thread");
    let mut notify = notify.expect("notices");
    let kinds = [
        ended("passes", Verdict::Pass),
        ended(
            "fails",
            Verdict::Infra("the-hook-secret is lost".to_owned()),
        ),
        RunEventKind::RunEnded {
            exit_code: 69,
            interrupted: false,
        },
    ];
    for (seq, kind) in (0..).zip(kinds) {
        let event = RunEvent::new(seq, Duration::ZERO, Duration::ZERO, kind);
        notify.ingest(&event).expect("ingested");
    }
    notify.finish().err().map(|error| error.chain())
}

#[test]
fn an_address_gets_what_is_wanted_without_secrets() {
    secret::register("HOOK", "the-hook-secret");
    let folder = tempfile::tempdir().expect("a folder");
    for (on, expected) in [
        (&[NotifyOn::End][..], &["end"][..]),
        (&[NotifyOn::Failure], &["failure"]),
        (&[NotifyOn::Case, NotifyOn::End], &["case", "case", "end"]),
        (&[NotifyOn::Failure, NotifyOn::Case], &["case", "failure"]),
    ] {
        let (tell_body, bodies) = mpsc::channel();
        let url = server(Some("204 No Content"), tell_body);
        let settings = NotifySettings {
            url: Some(Text::Plain(url)),
            ..settings(on)
        };
        assert_eq!(tell(&settings, folder.path()), None);
        let bodies: Vec<_> = bodies.try_iter().collect();
        let read = |body: &String| serde_json::from_str::<Value>(body).expect("JSON")["on"].clone();
        assert_eq!(bodies.iter().map(read).collect::<Vec<_>>(), *expected);
        for body in bodies.iter().filter(|body| body.contains("is lost")) {
            assert!(body.contains("[secret HOOK] is lost"), "{body}");
        }
    }
}

/// A notice is tried three times, those after it once; the error names no token.
#[test]
fn a_server_that_fails_is_slow_or_dead_fails_nothing_else() {
    let dead = TcpListener::bind("127.0.0.1:0").and_then(|dead| dead.local_addr());
    let dead = format!("http://{}/hook?token=of-the-hook", dead.expect("a port"));
    let (tell_failing, failing) = mpsc::channel();
    let (tell_slow, slow) = mpsc::channel();
    let error = Some("500 Internal Server Error");
    thread::scope(|scope| {
        for (url, timeout, error, bodies) in [
            (server(error, tell_failing), patient(), "500", Some(failing)),
            (server(None, tell_slow), short(), "timeout", Some(slow)),
            (dead, patient(), "refused", None),
        ] {
            scope.spawn(move || {
                let folder = tempfile::tempdir().expect("a folder");
                let settings = NotifySettings {
                    url: Some(Text::Plain(url)),
                    timeout,
                    ..settings(&[NotifyOn::Case, NotifyOn::End])
                };
                let told = tell(&settings, folder.path()).expect("an error");
                let start = "3 of 3 notices were not sent: `http://";
                assert!(told.starts_with(start), "{told}");
                assert!(told.to_lowercase().contains(error), "{told}");
                assert!(!told.contains("of-the-hook"), "{told}");
                if let Some(bodies) = bodies {
                    let next = || bodies.recv_timeout(Duration::from_secs(60));
                    (0..5).for_each(|_| drop(next().expect("a request")));
                    assert!(bodies.try_recv().is_err(), "{told}");
                }
            });
        }
    });
}

/// The notice is on the standard input of a command; one that hangs is killed.
#[test]
fn a_command_gets_the_notice_and_may_hang() {
    let folder = tempfile::tempdir().expect("a folder");
    let with = |command: &str| NotifySettings {
        command: Some(command.to_owned()),
        ..settings(&[NotifyOn::Failure, NotifyOn::End])
    };
    let working = with("echo $TARGET_TEST_NOTIFY >> kinds; cat >> notices");
    assert_eq!(tell(&working, folder.path()), None);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a file");
    assert_eq!(read("kinds"), "failure\nend\n");
    for (line, event) in read("notices").lines().zip(["attempt-ended", "run-ended"]) {
        let notice: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(notice["event"]["event"], event, "{line}");
    }

    let hanging = NotifySettings {
        timeout: short(),
        ..with("echo $$ >> pids; exec sleep 600")
    };
    let told = tell(&hanging, folder.path()).expect("an error");
    assert!(told.starts_with("2 of 2 notices were not sent: "), "{told}");
    assert!(told.contains("timed out after 300ms"), "{told}");
    // A busy machine may have killed all of them before they wrote.
    let pids = std::fs::read_to_string(folder.path().join("pids")).unwrap_or_default();
    for pid in pids.lines() {
        assert!(!Path::new("/proc").join(pid).exists(), "{pid}");
    }
    let told = tell(&with("echo no such room >&2; exit 3"), folder.path()).expect("an error");
    assert!(told.contains("exited with code 3: no such room"), "{told}");
}

/// A command that takes longer than the end of the run waits is killed, with all that it started.
#[test]
fn no_command_outlives_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = NotifySettings {
        command: Some("sleep 600 & echo $! > pid; wait".to_owned()),
        ..settings(&[NotifyOn::End])
    };
    let told = tell(&settings, folder.path()).expect("an error");
    assert!(told.starts_with("1 of 1 notices were not sent: "), "{told}");
    let pid = std::fs::read_to_string(folder.path().join("pid")).expect("it was started");
    let process = Path::new("/proc").join(pid.trim());
    let deadline = Instant::now() + patient().0;
    while process.join("stat").exists() && !is_zombie(&process) {
        assert!(Instant::now() < deadline, "{pid}");
        thread::yield_now();
    }
}

/// True if the process has ended, and is still listed.
fn is_zombie(process: &Path) -> bool {
    let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.contains(") Z ")
}
