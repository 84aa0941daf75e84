//! A switch with real sockets, whose machines are this test.

use std::{thread, time::Duration};

use super::{super::control, *};

/// A switch in a folder of its own.
struct Lab {
    folder: tempfile::TempDir,
}

/// The end of a line at a machine.
struct End(UnixStream);

impl Lab {
    fn new(machines: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plan = SwitchPlan {
            machines: machines.iter().map(|name| (*name).to_owned()).collect(),
            conditions: Conditions::default(),
            seed: 1,
        };
        let plan = serde_json::to_vec(&plan).unwrap();
        std::fs::write(folder.path().join(PLAN), plan).unwrap();
        let switch = Served::open(folder.path()).unwrap();
        thread::spawn(move || drop(switch.serve()));
        Self { folder }
    }

    fn connect(&self, port: &str) -> End {
        let stream = UnixStream::connect(self.folder.path().join(port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        End(stream)
    }

    fn ask(&self, request: &SwitchRequest) -> Result<(), String> {
        control::ask(self.folder.path(), request).unwrap()
    }

    fn fault(&self, fault: NetworkFault) -> Result<(), String> {
        self.ask(&SwitchRequest::Fault(fault))
    }
}

impl End {
    /// Sends a broadcast frame with this text.
    fn send(&mut self, text: &str) {
        let mut frame = [&[0xff; 6][..], &[2; 6], &[8, 0], text.as_bytes()].concat();
        frame.splice(0..0, (frame.len() as u32).to_be_bytes());
        self.0.write_all(&frame).unwrap();
    }

    /// The text of the next frame.
    fn next(&mut self) -> String {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame).unwrap();
        String::from_utf8(frame[HEADER..].to_vec()).unwrap()
    }
}

const HEADER: usize = 14;

fn partition(one: &str, other: &str) -> NetworkFault {
    NetworkFault::Partition(vec![one.to_owned()], vec![other.to_owned()])
}

#[test]
fn machines_reach_each_other_unless_they_are_separated() {
    let lab = Lab::new(&["a", "b", "c"]);
    let [mut a, mut b, mut c] = ["0", "1", "2"].map(|port| lab.connect(port));
    a.send("one");
    assert_eq!((b.next(), c.next()), ("one".into(), "one".into()));
    lab.fault(partition("a", "b")).unwrap();
    a.send("two");
    assert_eq!(c.next(), "two");
    let refused = lab.fault(partition("a", "x")).unwrap_err();
    assert_eq!(
        refused,
        "machine `x` not found in the network: it has a, b, c"
    );
    lab.ask(&SwitchRequest::Heal).unwrap();
    a.send("three");
    assert_eq!((b.next(), c.next()), ("three".into(), "three".into()));
    // A machine that starts again takes its port again.
    drop(b);
    let mut b = lab.connect("1");
    lab.ask(&SwitchRequest::Ping).unwrap();
    a.send("four");
    assert_eq!(b.next(), "four");
}

#[test]
fn frames_are_late_and_captured() {
    let lab = Lab::new(&["a", "b"]);
    let [mut a, mut b] = ["0", "1"].map(|port| lab.connect(port));
    lab.fault(NetworkFault::Delay(Duration::from_millis(80)))
        .unwrap();
    let file = lab.folder.path().join("x.pcap");
    lab.ask(&SwitchRequest::Capture(file.clone())).unwrap();
    let started = Instant::now();
    a.send("late");
    assert_eq!(b.next(), "late");
    assert!(started.elapsed() >= Duration::from_millis(80));
    let captured = std::fs::read(&file).unwrap();
    let length = captured.len();
    assert_eq!(
        (length, &captured[length - 4..]),
        (24 + 16 + 18, &b"late"[..])
    );
    let twice = lab.ask(&SwitchRequest::Capture(file.clone())).unwrap_err();
    let expected = format!(
        "file exists: `{}`: each capture of a test needs a file of its own",
        file.display()
    );
    assert_eq!(twice, expected);
    let refused = lab
        .ask(&SwitchRequest::Capture("/nowhere/x".into()))
        .unwrap_err();
    assert!(
        refused.starts_with("failed to create `/nowhere/x`"),
        "{refused}"
    );
    let mut stream = UnixStream::connect(lab.folder.path().join(CONTROL)).unwrap();
    stream.write_all(b"nonsense\n").unwrap();
    let mut answer = [0; 17];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"\"unknown request:");
}
