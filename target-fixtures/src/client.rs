//! The author's side of the broker's protocol: connections to one lease.
//!
//! Owns framing errors, the pool of idle connections and uploads that run beside their answer. Must not
//! know how a broker is found, nor what a test is.

use std::{
    io::{self, BufReader, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
};

mod window;

pub(crate) use window::{Upload, Window};

use crate::{
    error::{ErrorKind, TargetError},
    wire::{self, Instance, LONGEST, PROTOCOL, Reply, Request, Stream},
};

type Result<T> = std::result::Result<T, TargetError>;

/// One connection, used for one request at a time.
#[derive(Debug)]
pub(crate) struct Connection(BufReader<UnixStream>);

/// What the broker says of a lease.
pub(crate) struct Leased {
    lease: String,
    /// Its instances.
    pub(crate) instances: Vec<Instance>,
    /// Why the test is expected to fail on them; `None` also where a runner sees to that.
    pub(crate) expect_fail: Option<String>,
}

impl Connection {
    /// Connects, agrees on the protocol and asks for instances, all at once: a test waits for one answer
    /// instead of two.
    fn open(socket: &Path, request: &Request) -> Result<(Self, Leased)> {
        let mut stream = UnixStream::connect(socket).map_err(|error| broken(&error))?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let protocol = PROTOCOL;
        let mut frames = Vec::new();
        wire::write_frame(&mut frames, &Request::Hello { protocol, version }, &[])
            .and_then(|()| wire::write_frame(&mut frames, request, &[]))
            .and_then(|()| stream.write_all(&frames))
            .map_err(|error| broken(&error))?;
        let mut connection = Self(BufReader::new(stream));
        match connection.answer()? {
            Reply::Welcome { .. } => {}
            other => return Err(unexpected(other)),
        }
        match connection.answer()? {
            Reply::Leased {
                lease,
                instances,
                expect_fail,
            } => Ok((
                connection,
                Leased {
                    lease,
                    instances,
                    expect_fail,
                },
            )),
            other => Err(unexpected(other)),
        }
    }

    /// The next answer; notes go to standard error as they come.
    pub(crate) fn answer(&mut self) -> Result<Reply> {
        loop {
            match self.receive()? {
                (Reply::Note { text }, _) => note(&text),
                (reply, _) => return Ok(reply),
            }
        }
    }

    pub(crate) fn send(&self, request: &Request, body: &[u8]) -> Result<()> {
        wire::write_frame(&mut self.0.get_ref(), request, body).map_err(|error| broken(&error))
    }

    /// The socket, for who writes while another thread reads.
    pub(crate) fn stream(&self) -> Result<UnixStream> {
        self.0.get_ref().try_clone().map_err(|error| broken(&error))
    }

    /// The next answer, whatever it is.
    pub(crate) fn receive(&mut self) -> Result<(Reply, Vec<u8>)> {
        wire::read_frame(&mut self.0).map_err(|error| broken(&error))
    }
}

/// A request with what goes and comes beside it.
pub(crate) struct Call<'a> {
    /// The first frame.
    pub(crate) request: Request,
    /// What follows it, as data frames.
    pub(crate) upload: Option<&'a mut (dyn Read + Send)>,
    /// Takes each piece that comes back.
    pub(crate) piece: &'a mut dyn FnMut(Stream, &[u8]) -> io::Result<()>,
}

/// A lease and its connections. Any number of threads may use it: each gets a connection of its own.
pub(crate) struct Client {
    socket: PathBuf,
    lease: String,
    idle: Mutex<Vec<Connection>>,
    /// Where there is no runner, the connection whose end is the lease's end.
    _holder: Option<Connection>,
}

impl Client {
    /// Attaches to a lease that a runner holds.
    pub(crate) fn attach(socket: PathBuf, lease: String) -> Result<(Self, Vec<Instance>)> {
        let (connection, instances) = attached(&socket, &lease)?;
        Ok((
            Self {
                socket,
                lease,
                idle: Mutex::new(vec![connection]),
                _holder: None,
            },
            instances,
        ))
    }

    /// Takes a lease that ends with this client.
    pub(crate) fn acquire(socket: PathBuf, request: &Request) -> Result<(Self, Leased)> {
        let (holder, leased) = Connection::open(&socket, request)?;
        Ok((
            Self {
                socket,
                lease: leased.lease.clone(),
                idle: Mutex::default(),
                _holder: Some(holder),
            },
            leased,
        ))
    }

    /// Sends a request whose answers the caller reads; the connection is its own from then on.
    pub(crate) fn start(&self, request: &Request) -> Result<Connection> {
        let connection = self.connection()?;
        connection.send(request, &[])?;
        Ok(connection)
    }

    fn connection(&self) -> Result<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let found = idle.pop();
        drop(idle);
        match found {
            Some(connection) => Ok(connection),
            None => Ok(attached(&self.socket, &self.lease)?.0),
        }
    }

    /// Makes a call and returns its last answer, which is not a failure. The connection is used again
    /// only if the call ended as the protocol says; else it is closed, which ends the call over there.
    pub(crate) fn call(&self, call: Call<'_>) -> Result<Reply> {
        let mut connection = self.connection()?;
        connection.send(&call.request, &[])?;
        let (reply, reusable) = match call.upload {
            None => (
                answer(&mut connection, call.piece, &Window::default())?,
                true,
            ),
            Some(upload) => answer_beside(&mut connection, upload, call.piece)?,
        };
        if reusable {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(connection);
        }
        match reply {
            Reply::Failed(failure) | Reply::Refused(failure) => Err(failure.into()),
            reply => Ok(reply),
        }
    }

    /// A call that sends and receives nothing but its first frame and the answer.
    pub(crate) fn ask(&self, request: Request) -> Result<Reply> {
        self.call(Call {
            request,
            upload: None,
            piece: &mut |_, _| Ok(()),
        })
    }
}

fn attached(socket: &Path, lease: &str) -> Result<(Connection, Vec<Instance>)> {
    let lease = lease.to_owned();
    let (connection, leased) = Connection::open(socket, &Request::Attach { lease })?;
    Ok((connection, leased.instances))
}

/// Tells progress at once: the test harness would keep what `eprintln!` writes until the test has failed.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Reads pieces until the last answer.
fn answer(
    connection: &mut Connection,
    piece: &mut dyn FnMut(Stream, &[u8]) -> io::Result<()>,
    window: &Window,
) -> Result<Reply> {
    loop {
        match connection.receive()? {
            (Reply::Data { stream }, body) => piece(stream, &body).map_err(|error| {
                TargetError::new(ErrorKind::File, format!("write what came: {error}"))
            })?,
            (Reply::Note { text }, _) => note(&text),
            (Reply::Took { bytes }, _) => window.widen(bytes),
            (reply, _) => return Ok(reply),
        }
    }
}

/// Uploads on a thread while this one reads: a command may answer while it is still being fed, and may
/// end without having read everything. Returns whether the connection can be used again.
fn answer_beside(
    connection: &mut Connection,
    upload: &mut (dyn Read + Send),
    piece: &mut dyn FnMut(Stream, &[u8]) -> io::Result<()>,
) -> Result<(Reply, bool)> {
    let (stream, window) = (connection.stream()?, Window::default());
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let send =
                |request: &Request, body: &[u8]| wire::write_frame(&mut &stream, request, body);
            // Without an end the broker would wait, and so would the answer.
            let ended = window.send_all(upload, send);
            ended.inspect_err(|_| drop(stream.shutdown(Shutdown::Both)))
        });
        let reply = answer(connection, piece, &window);
        window.close();
        match sending.join() {
            Ok(Err(Upload::Source(error))) => Err(TargetError::new(
                ErrorKind::File,
                format!("read what to send: {error}"),
            )),
            Ok(sent) => Ok((reply?, sent.is_ok())),
            Err(panic) => resume_unwind(panic),
        }
    })
}

/// The broker does not answer any more, or answers nonsense.
pub(crate) fn broken(error: &io::Error) -> TargetError {
    let message = match error.kind() {
        io::ErrorKind::InvalidData => {
            return TargetError::new(
                ErrorKind::Version,
                format!("broker not understood: {error}"),
            )
            .with_hint(UPDATE);
        }
        io::ErrorKind::InvalidInput => {
            let message = format!("send that: it has more than {} MiB", LONGEST >> 20);
            return TargetError::new(ErrorKind::Request, message);
        }
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset => "broker gone: the connection was closed".to_owned(),
        _ => format!("broker gone: {error}"),
    };
    TargetError::infra(message)
        .with_hint("the run that held the lease has ended or was killed; start it again")
}

/// How crate and tool become the same version.
const UPDATE: &str = "use the same version of both: `cargo install cargo-target-test` and \
                      `cargo update -p target-fixtures`";

/// A refusal, or an answer to some other question.
pub(crate) fn unexpected(reply: Reply) -> TargetError {
    let (Reply::Refused(failure) | Reply::Failed(failure)) = reply else {
        return TargetError::new(
            ErrorKind::Version,
            "broker not understood: another answer than asked for",
        )
        .with_hint(UPDATE);
    };
    let error = TargetError::from(failure);
    match (error.kind(), error.hint()) {
        (ErrorKind::Version, None) => error.with_hint(UPDATE),
        _ => error,
    }
}

#[cfg(test)]
mod tests;
