//! Clients that speak another version, nonsense or nothing, and very many of them.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::Barrier,
    thread,
    time::Duration,
};

use target_fixtures::wire::{
    BrokerRequest, Exit, FailureKind, PROTOCOL, Reply, ShellCommand, read_frame, write_frame,
};

use super::Lab;
use crate::support::PATIENCE;

/// The socket of the run under way.
fn socket(lab: &Lab) -> PathBuf {
    let runs = fs::read_dir(lab.path("run")).expect("the folder for runs");
    let mut sockets = runs.map(|run| run.expect("a run's folder").path().join("s"));
    sockets
        .find(|path| path.exists())
        .expect("a broker's socket")
}

fn connect(lab: &Lab) -> UnixStream {
    let stream = UnixStream::connect(socket(lab)).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

fn ask(stream: &mut UnixStream, request: &BrokerRequest) -> Reply {
    write_frame(stream, request, &[]).expect("a request");
    read_frame(stream).expect("a reply").0
}

fn hello(protocol: u32) -> BrokerRequest {
    let version = "7.7.7".to_owned();
    BrokerRequest::Hello { protocol, version }
}

#[test]
fn strange_clients_disturb_nobody() {
    let lab = Lab::new(1);
    let run = lab.start(&["holds"]);
    let [_, _, instance, lease] = lab.said("held");

    let mut newer = connect(&lab);
    let Reply::Refused(failure) = ask(&mut newer, &hello(PROTOCOL + 1)) else {
        panic!("not refused")
    };
    assert_eq!(failure.kind, FailureKind::Version);
    let said = format!("protocol {} of target-fixtures 7.7.7", PROTOCOL + 1);
    assert!(failure.message.contains(&said), "{failure:?}");
    assert!(failure.hint.is_some());
    assert_eq!(newer.read(&mut [0]).expect("the end"), 0, "and closed");

    let too_long = u32::MAX.to_be_bytes().repeat(2);
    for garbage in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &[0; 64], &too_long] {
        let mut stream = connect(&lab);
        stream.write_all(garbage).expect("sent");
        // Answered or not: closed, though we keep our end open.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let half_open: Vec<_> = (0..20).map(|_| connect(&lab)).collect();
    many(&lab, &instance, &lease);
    lab.let_go();
    run.wait().code(0).line_with(&["PASS", "holds[alpha]"]);
    drop(half_open);
    assert!(lab.ledger().is_empty());
}

/// All at once, on one lease and on one that has ended.
fn many(lab: &Lab, instance: &str, lease: &str) {
    const CLIENTS: usize = 200;
    let together = Barrier::new(CLIENTS);
    let client = |number: usize| {
        let mut stream = connect(lab);
        assert!(matches!(
            ask(&mut stream, &hello(PROTOCOL)),
            Reply::Welcome { .. }
        ));
        together.wait();
        let lease = if number.is_multiple_of(4) {
            "ended"
        } else {
            lease
        };
        let attached = ask(
            &mut stream,
            &BrokerRequest::Attach {
                lease: lease.to_owned(),
            },
        );
        if lease == "ended" {
            assert!(matches!(attached, Reply::Refused(_)), "{attached:?}");
            return;
        }
        let exec = BrokerRequest::Exec {
            instance: instance.to_owned(),
            command: ShellCommand {
                line: format!("exit {}", number % 7),
                ..ShellCommand::default()
            },
            stdin: false,
        };
        let Reply::Exited { exit, .. } = ask(&mut stream, &exec) else {
            panic!("no exit")
        };
        assert_eq!(exit, Exit::Code(i32::try_from(number % 7).expect("small")));
    };
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            scope.spawn(move || client(number));
        }
    });
}

/// One that never says hello is let go in the end.
#[test]
fn a_half_open_client_is_let_go() {
    let lab = Lab::new(1);
    let run = lab.start(&["holds"]);
    let _: [String; 1] = lab.said("held");
    let mut silent = connect(&lab);
    silent
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a timeout");
    let mut said = Vec::new();
    silent.read_to_end(&mut said).expect("closed by the broker");
    assert!(String::from_utf8_lossy(&said).contains("hello"));
    lab.let_go();
    run.wait().code(0);
}
