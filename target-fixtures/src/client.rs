//! The client of the broker's protocol: connections to one lease, concurrent uploads and protocol errors.
//!
//! Must not know how a broker is found.

use std::{
    io::{self, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
};

mod pipes;
mod window;

pub(crate) use window::{Upload, Window};

use crate::{
    error::{ErrorKind, Placed, TargetError},
    wire::{self, BrokerRequest, ExpectedFailure, Instance, LONGEST, PROTOCOL, Reply, Stream},
};

type Result<T> = std::result::Result<T, TargetError>;

/// A connection, used for one request at a time.
#[derive(Debug)]
pub(crate) struct BrokerConnection(BufReader<UnixStream>);

/// A lease, as described by the broker.
pub(crate) struct Leased {
    lease: String,
    pub(crate) instances: Vec<Instance>,
    /// The failures that are expected on these instances. Empty if the runner checks that.
    pub(crate) expect_fail: Vec<ExpectedFailure>,
}

impl BrokerConnection {
    /// Connects, sends the protocol version and the request for instances together, and waits for both answers. This
    /// saves a round trip.
    fn open(socket: &Path, request: &BrokerRequest) -> Result<(Self, Leased)> {
        let connect = match socket.is_dir() {
            true => pipes::connect,
            false => |socket: &Path| UnixStream::connect(socket),
        };
        let mut stream = connect(socket).map_err(|error| broken(&error))?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let protocol = PROTOCOL;
        let mut frames = Vec::new();
        wire::write_frame(
            &mut frames,
            &BrokerRequest::Hello { protocol, version },
            &[],
        )
        .and_then(|()| wire::write_frame(&mut frames, request, &[]))
        .and_then(|()| stream.write_all(&frames))
        .map_err(|error| broken(&error))?;
        let mut connection = Self(BufReader::new(stream));
        match connection.answer()? {
            Reply::Welcome { .. } => {}
            other => return Err(refused(other)),
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
            other => Err(refused(other)),
        }
    }

    /// Receives the next reply that is not a note. Prints notes to standard error as they arrive.
    pub(crate) fn answer(&mut self) -> Result<Reply> {
        loop {
            match self.receive()? {
                (Reply::Note { text }, _) => note(&text),
                (reply, _) => return Ok(reply),
            }
        }
    }

    pub(crate) fn send(&self, request: &BrokerRequest, body: &[u8]) -> Result<()> {
        wire::write_frame(&mut self.0.get_ref(), request, body).map_err(|error| broken(&error))
    }

    /// Clones the socket, to write while another thread reads.
    pub(crate) fn stream(&self) -> Result<UnixStream> {
        self.0.get_ref().try_clone().map_err(|error| broken(&error))
    }

    /// Receives the next frame.
    pub(crate) fn receive(&mut self) -> Result<(Reply, Vec<u8>)> {
        wire::read_frame(&mut self.0).map_err(|error| broken(&error))
    }
}

/// A request with its upload and download.
pub(crate) struct Call<'a> {
    /// The first frame.
    pub(crate) request: BrokerRequest,
    /// The content of the data frames that follow.
    pub(crate) upload: Option<&'a mut (dyn Read + Send)>,
    /// Receives each piece of data.
    pub(crate) piece: &'a mut dyn FnMut(Stream, &[u8]) -> io::Result<()>,
}

/// A lease and its connections. Several threads can use it at once; each call has its own connection.
pub(crate) struct Client {
    socket: PathBuf,
    lease: String,
    idle: Mutex<Vec<BrokerConnection>>,
    /// The connection that holds the lease; the lease ends when it is closed. `None` if a runner holds the lease.
    holder: Option<BrokerConnection>,
}

impl Client {
    /// Attaches to a lease held by a runner.
    pub(crate) fn attach(socket: PathBuf, lease: String) -> Result<(Self, Vec<Instance>)> {
        let (connection, instances) = attached(&socket, &lease)?;
        Ok((
            Self {
                socket,
                lease,
                idle: Mutex::new(vec![connection]),
                holder: None,
            },
            instances,
        ))
    }

    /// Acquires a lease that ends when the client is dropped.
    pub(crate) fn acquire(socket: PathBuf, request: &BrokerRequest) -> Result<(Self, Leased)> {
        let (holder, leased) = BrokerConnection::open(&socket, request)?;
        Ok((
            Self {
                socket,
                lease: leased.lease.clone(),
                idle: Mutex::default(),
                holder: Some(holder),
            },
            leased,
        ))
    }

    /// True if the lease belongs to a runner, which tells the broker when the test must end.
    pub(crate) fn has_runner(&self) -> bool {
        self.holder.is_none()
    }

    /// Sends a request on a connection and returns the connection. The caller reads the replies.
    #[track_caller]
    pub(crate) fn start(&self, request: &BrokerRequest) -> Result<BrokerConnection> {
        let connection = self.connection().placed()?;
        connection.send(request, &[]).placed()?;
        Ok(connection)
    }

    fn connection(&self) -> Result<BrokerConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let found = idle.pop();
        drop(idle);
        match found {
            Some(connection) => Ok(connection),
            None => Ok(attached(&self.socket, &self.lease)?.0),
        }
    }

    /// Makes a call and returns its last reply; a failure or refusal becomes an error. The connection is reused only if
    /// the call ended according to the protocol. Otherwise it is closed, which cancels the call in the broker.
    #[track_caller]
    pub(crate) fn call(&self, call: Call<'_>) -> Result<Reply> {
        self.complete(call).placed()
    }

    fn complete(&self, call: Call<'_>) -> Result<Reply> {
        let mut connection = self.connection()?;
        connection.send(&call.request, &[])?;
        let (reply, reusable) = match call.upload {
            None => (
                answer(&mut connection, call.piece, &Window::default())?,
                true,
            ),
            Some(upload) => answer_beside(&mut connection, upload, call.piece, || ())?,
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

    /// Relays a connection by a request whose input and output are those of a command, until one side closes it.
    pub(crate) fn relay(&self, request: &BrokerRequest, stream: &TcpStream) -> Result<()> {
        let mut connection = self.connection()?;
        connection.send(request, &[])?;
        let mut piece = |from: Stream, bytes: &[u8]| match from {
            Stream::Stdout => (&mut &*stream).write_all(bytes),
            Stream::Stderr => Ok(()),
        };
        // The sender waits for the other side of the stream.
        let ended = || drop(stream.shutdown(Shutdown::Both));
        answer_beside(&mut connection, &mut &*stream, &mut piece, ended).map(drop)
    }

    /// Makes a call without data.
    #[track_caller]
    pub(crate) fn ask(&self, request: BrokerRequest) -> Result<Reply> {
        self.call(Call {
            request,
            upload: None,
            piece: &mut |_, _| Ok(()),
        })
    }
}

fn attached(socket: &Path, lease: &str) -> Result<(BrokerConnection, Vec<Instance>)> {
    let lease = lease.to_owned();
    let (connection, leased) = BrokerConnection::open(socket, &BrokerRequest::Attach { lease })?;
    Ok((connection, leased.instances))
}

/// Prints progress at once. `eprintln!` would be captured by the test harness.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Receives data until the last reply.
fn answer(
    connection: &mut BrokerConnection,
    piece: &mut dyn FnMut(Stream, &[u8]) -> io::Result<()>,
    window: &Window,
) -> Result<Reply> {
    loop {
        match connection.receive()? {
            (Reply::Data { stream }, body) => piece(stream, &body).map_err(|error| {
                TargetError::new(ErrorKind::File, format!("write received data: {error}"))
            })?,
            (Reply::Note { text }, _) => note(&text),
            (Reply::Took { bytes }, _) => window.widen(bytes),
            (reply, _) => return Ok(reply),
        }
    }
}

/// Uploads on another thread while this thread receives, since a command may print before it has read all its input, or
/// end without reading it. Calls `ended` at the last reply, which it returns, and true if the connection can be reused.
fn answer_beside(
    connection: &mut BrokerConnection,
    upload: &mut (dyn Read + Send),
    piece: &mut dyn FnMut(Stream, &[u8]) -> io::Result<()>,
    ended: impl FnOnce(),
) -> Result<(Reply, bool)> {
    let (stream, window) = (connection.stream()?, Window::default());
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let send = |request: &BrokerRequest, body: &[u8]| {
                wire::write_frame(&mut &stream, request, body)
            };
            // Close a connection with an incomplete upload: the broker would wait for the rest.
            let sent = window.send_all(upload, send);
            sent.inspect_err(|_| drop(stream.shutdown(Shutdown::Both)))
        });
        let reply = answer(connection, piece, &window);
        window.close();
        ended();
        match sending.join() {
            Ok(Err(Upload::Source(error))) => Err(TargetError::new(
                ErrorKind::File,
                format!("read data to send: {error}"),
            )),
            Ok(sent) => Ok((reply?, sent.is_ok())),
            Err(panic) => resume_unwind(panic),
        }
    })
}

/// Converts an I/O error of a connection: the broker is gone, or a frame is invalid or too large.
pub(crate) fn broken(error: &io::Error) -> TargetError {
    let message = match error.kind() {
        io::ErrorKind::InvalidData => {
            return TargetError::new(
                ErrorKind::Version,
                format!("invalid reply of the broker: {error}"),
            )
            .with_hint(UPDATE);
        }
        io::ErrorKind::InvalidInput => {
            let message = format!("send the request: larger than {} MiB", LONGEST >> 20);
            return TargetError::new(ErrorKind::Request, message);
        }
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset => "broker gone: the connection was closed".to_owned(),
        _ => format!("broker gone: {error}"),
    };
    TargetError::infra(message)
        .with_hint("the run that held the lease has ended or was killed; start the run again")
}

/// The hint for different versions of crate and tool.
const UPDATE: &str = "use the same version of both: `cargo install cargo-target-test` and \
                      `cargo update -p target-fixtures`";

/// Converts a failure, a refusal or an unexpected reply to an error.
#[track_caller]
pub(crate) fn unexpected(reply: Reply) -> TargetError {
    refused(reply).placed()
}

/// The same for a request that no line of the test made.
fn refused(reply: Reply) -> TargetError {
    let (Reply::Refused(failure) | Reply::Failed(failure)) = reply else {
        return TargetError::new(
            ErrorKind::Version,
            "invalid reply of the broker: unexpected kind of reply",
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
