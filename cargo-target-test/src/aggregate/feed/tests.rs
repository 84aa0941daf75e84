//! The feed's file, and its readers: slow, gone, or not yet there.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::net::UnixStream,
    time::Duration,
};

use super::*;
use crate::run_event::RunEventKind;

fn event(seq: u64) -> RunEvent {
    let message = "two\nlines".to_owned();
    let kind = RunEventKind::Warning { message };
    RunEvent::new(seq, Duration::ZERO, Duration::ZERO, kind)
}

/// An event with a long text.
fn long(seq: u64) -> RunEvent {
    let message = "x".repeat(64 << 10);
    RunEvent::new(
        seq,
        Duration::ZERO,
        Duration::ZERO,
        RunEventKind::Warning { message },
    )
}

fn parse(text: &str) -> Vec<RunEvent> {
    let event = |line: &str| serde_json::from_str(line).expect("an event");
    text.lines().map(event).collect()
}

#[test]
fn lines_are_there_at_once_and_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, copy) = (folder.path().join("feed.jsonl"), folder.path().join("copy"));
    let to = FeedTo::File(copy.clone());
    let feed = Feed::create(&file).expect("a file");
    let mut feed = feed.and_to(&to).expect("another file");
    for seq in 0..2 {
        feed.ingest(&event(seq)).expect("written");
        let text = std::fs::read_to_string(&file).expect("the feed");
        assert_eq!(parse(&text), (0..=seq).map(event).collect::<Vec<_>>());
    }
    feed.finish().expect("written");
    let text = std::fs::read_to_string(&copy).expect("the copy");
    assert_eq!(text, std::fs::read_to_string(&file).expect("the feed"));
}

/// Each client gets the feed from its beginning, live; one that does not read and one that goes away affect nothing.
#[test]
fn clients_of_a_socket_come_and_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let to = FeedTo::Unix(path.clone());
    // What a dead run left is replaced, and the socket of a living one is not.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let start = |name: &str| {
        Feed::create(&folder.path().join(name))
            .expect("a file")
            .and_to(&to)
    };
    let mut feed = start("feed.jsonl").expect("a socket");
    start("other.jsonl").expect_err("the socket is in use");
    let mode = std::fs::metadata(&path).expect("the socket").permissions();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
        0o600
    );

    feed.ingest(&event(0)).expect("written");
    let connect = || UnixStream::connect(&path).expect("a connection");
    let [silent, gone] = [connect(), connect()];
    let mut reader = BufReader::new(connect());
    for seq in 0..2 {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        assert_eq!(parse(&line), [event(seq)]);
        feed.ingest(&event(seq + 1)).expect("written");
    }
    drop(gone);
    // More than a socket holds.
    (3..100).for_each(|seq| feed.ingest(&long(seq)).expect("written"));
    let rest = std::thread::spawn(move || {
        let mut rest = String::new();
        reader.read_to_string(&mut rest).map(|_| rest)
    });
    feed.finish().expect("no error");
    let rest = parse(&rest.join().expect("no panic").expect("the rest"));
    assert_eq!(rest.len(), 98);
    assert!(!path.exists());
    drop(silent);
}

/// A FIFO without a reader delays nothing, and is told.
#[test]
fn a_fifo_may_have_no_reader() {
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = folder.path().join("fifo");
    let (kind, bits) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, bits, 0).expect("a FIFO");
    let to = FeedTo::File(fifo);
    let feed = Feed::create(&folder.path().join("feed.jsonl")).expect("a file");
    let mut feed = feed.and_to(&to).expect("a FIFO");
    feed.ingest(&event(0)).expect("written");
    let error = feed
        .finish()
        .expect_err("a feed without a reader")
        .to_string();
    assert!(error.ends_with("its reader does not read"), "{error}");
}

#[test]
fn a_destination_is_read() {
    for (text, expected) in [
        ("-", FeedTo::Stdout),
        ("unix:/run/x", FeedTo::Unix("/run/x".into())),
        ("a/b", FeedTo::File("a/b".into())),
    ] {
        let read: FeedTo = text.parse().expect("a destination");
        assert_eq!((&read, read.to_string()), (&expected, text.to_owned()));
    }
    "unix:".parse::<FeedTo>().expect_err("no path");
}

#[test]
fn a_feed_is_read_up_to_a_line_that_a_kill_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("feed.jsonl");
    let event = |seq| {
        let kind = RunEventKind::Progress {
            message: "é".to_owned(),
        };
        RunEvent::new(seq, Duration::ZERO, Duration::ZERO, kind)
    };
    let line = |seq| serde_json::to_string(&event(seq)).expect("JSON");
    let newer = r#"{"version":2,"event":"later"}"#;
    let whole = format!("{}\n{newer}\n{}\n{}\n", line(0), line(1), line(2));
    let first = line(0).len() + 1;
    for cut in first..=whole.len() {
        std::fs::write(&file, &whole.as_bytes()[..cut]).expect("a feed");
        let mut read = Vec::new();
        let unknown = replay(&file, |event| {
            read.push(event.seq);
            Ok(())
        });
        let lines = whole.as_bytes()[..cut]
            .iter()
            .filter(|one| **one == b'\n')
            .count();
        assert_eq!(unknown.expect("a feed"), usize::from(lines > 1));
        // A line that lacks only its end is whole.
        assert!(
            read.len() + usize::from(lines > 1) >= lines,
            "{cut}: {read:?}"
        );
        assert!(read.iter().copied().eq(0..read.len() as u64));
    }
}
