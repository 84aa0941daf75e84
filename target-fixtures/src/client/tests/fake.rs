//! A fake broker, which runs in a thread of the test, with fixed replies to each request.

use std::{
    collections::HashMap,
    env, fs,
    io::BufReader,
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use crate::{
    Exit, Target,
    client::Client,
    wire::{self, AcquireRequest, BrokerRequest, Failure, FailureKind, Instance, Reply, Stream},
};

/// A running fake broker; ends when dropped.
pub(super) struct Fake {
    pub(super) socket: PathBuf,
    pub(super) connections: Arc<AtomicU32>,
}

impl Fake {
    /// Listens at a new path; `protocol` is its protocol version.
    pub(super) fn start(protocol: u32) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "tf-{}-{}.sock",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let socket = env::temp_dir().join(name);
        let listener = UnixListener::bind(&socket).unwrap();
        let connections = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            let files = Arc::default();
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                let mut play = Play {
                    stream: BufReader::new(stream),
                    protocol,
                    files: Arc::clone(&files),
                };
                thread::spawn(move || while play.next().is_some() {});
            }
        });
        Self {
            socket,
            connections,
        }
    }

    pub(super) fn target(&self) -> Target {
        let (client, mut instances) =
            Client::attach(self.socket.clone(), "lease-1".to_owned()).unwrap();
        Target::new(Arc::new(client), instances.remove(0))
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}

/// One connection of the play.
struct Play {
    stream: BufReader<UnixStream>,
    protocol: u32,
    files: Arc<Mutex<HashMap<String, Vec<u8>>>>,
}

impl Play {
    /// Answers one request; `None` closes the connection.
    fn next(&mut self) -> Option<()> {
        match self.read()?.0 {
            BrokerRequest::Hello { protocol, .. } if protocol == self.protocol => self.say(
                &Reply::Welcome {
                    version: "9.9.9".to_owned(),
                },
                &[],
            ),
            BrokerRequest::Hello { .. } => {
                self.refuse(FailureKind::Version, "talk to a broker of another version")
            }
            BrokerRequest::Attach { lease }
            | BrokerRequest::Acquire(AcquireRequest { test: lease, .. })
                if lease == "lease-1" =>
            {
                let instance = Instance {
                    name: "alpha-0".to_owned(),
                    ..Instance::default()
                };
                self.say(
                    &Reply::Note {
                        text: "a note".to_owned(),
                    },
                    &[],
                )?;
                self.say(
                    &Reply::Leased {
                        lease,
                        instances: vec![instance],
                        expect_fail: Vec::new(),
                    },
                    &[],
                )
            }
            BrokerRequest::Attach { .. } | BrokerRequest::Acquire(_) => {
                self.refuse(FailureKind::Infra, "no such lease")
            }
            BrokerRequest::Exec { command, stdin, .. } => self.exec(&command.line, stdin),
            BrokerRequest::Put {
                path, mode: None, ..
            } => {
                let content = self.upload()?;
                self.files.lock().unwrap().insert(path, content);
                self.say(&Reply::Done, &[])
            }
            BrokerRequest::Get { path, .. } => self.get(&path),
            BrokerRequest::Upload { from, to, .. } => {
                let content = fs::read(from).ok()?;
                self.files.lock().unwrap().insert(to, content);
                self.say(&Reply::Answer { value: 1.into() }, &[])
            }
            BrokerRequest::Download { from, to, .. } => {
                let Some(content) = self.files.lock().unwrap().get(&from).cloned() else {
                    return self.fail(
                        FailureKind::Request,
                        "read `/none` on `alpha-0`: no such file",
                    );
                };
                fs::write(to, content).ok()?;
                self.say(&Reply::Done, &[])
            }
            BrokerRequest::Ping { .. } => self.say(&Reply::Pong { micros: 250 }, &[]),
            BrokerRequest::Data | BrokerRequest::End => Some(()),
            _ => None,
        }
    }

    fn get(&mut self, path: &str) -> Option<()> {
        let content = self.files.lock().unwrap().get(path).cloned();
        let Some(content) = content else {
            return self.fail(
                FailureKind::Request,
                "read `/none` on `alpha-0`: no such file",
            );
        };
        self.out(Stream::Stdout, &content)?;
        self.say(&Reply::Done, &[])
    }

    fn exec(&mut self, line: &str, stdin: bool) -> Option<()> {
        let long = "x".repeat(2000);
        let exit = match line {
            "lines" => {
                for number in 0..50 {
                    self.out(Stream::Stdout, format!("{number} {long}\n").as_bytes())?;
                }
                Exit::Code(0)
            }
            "bytes" => {
                self.out(Stream::Stdout, &[0xff, 0, 0x1e])?;
                self.out(Stream::Stdout, &[0xc3])?;
                self.out(Stream::Stderr, b"aside")?;
                self.out(Stream::Stdout, &[0xbc])?;
                Exit::Code(0)
            }
            "cat" => {
                assert!(stdin);
                while let (BrokerRequest::Data, piece) = self.read()? {
                    self.took(&piece)?;
                    self.out(Stream::Stdout, &piece)?;
                }
                Exit::Code(0)
            }
            "fails" => {
                self.out(Stream::Stderr, b"first\nthe cause\n")?;
                Exit::Code(3)
            }
            "slow" => {
                self.out(Stream::Stdout, b"so far")?;
                return self.fail(
                    FailureKind::Timeout,
                    "run `slow` on `alpha-0`: killed after 1s",
                );
            }
            "killed" => Exit::Signal("KILL".to_owned()),
            "deaf" => Exit::Code(0),
            _ => {
                self.out(Stream::Stdout, b"last words\n")?;
                return None;
            }
        };
        self.say(&Reply::Exited { exit, millis: 7 }, &[])
    }

    fn upload(&mut self) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        while let (BrokerRequest::Data, piece) = self.read()? {
            self.took(&piece)?;
            content.extend_from_slice(&piece);
        }
        Some(content)
    }

    fn took(&mut self, piece: &[u8]) -> Option<()> {
        let bytes = piece.len();
        self.say(&Reply::Took { bytes }, &[])
    }

    fn read(&mut self) -> Option<(BrokerRequest, Vec<u8>)> {
        wire::read_frame(&mut self.stream).ok()
    }

    fn out(&mut self, stream: Stream, bytes: &[u8]) -> Option<()> {
        self.say(&Reply::Data { stream }, bytes)
    }

    fn fail(&mut self, kind: FailureKind, message: &str) -> Option<()> {
        self.say(
            &Reply::Failed(Failure {
                kind,
                message: message.to_owned(),
                hint: None,
            }),
            &[],
        )
    }

    fn refuse(&mut self, kind: FailureKind, message: &str) -> Option<()> {
        self.say(
            &Reply::Refused(Failure {
                kind,
                message: message.to_owned(),
                hint: None,
            }),
            &[],
        )
    }

    fn say(&mut self, reply: &Reply, body: &[u8]) -> Option<()> {
        wire::write_frame(&mut self.stream.get_ref(), reply, body).ok()
    }
}
