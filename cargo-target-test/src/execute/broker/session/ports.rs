//! Forwards TCP ports and Unix sockets between this host and an instance until the client disconnects.
//!
//! Over SSH, OpenSSH forwards. An instance that is reached by commands alone relays with a program on the instance.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use target_fixtures::wire::{ForwardTo, Reply, Stream};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, UnixStream},
    process::Child,
    sync::mpsc,
    time,
};

use super::{super::place::BrokerPlace, Answer, Client, input};
use crate::{
    connect::{CommandEvent, Reach, Transport, own_command, shell},
    error::{Error, Result},
    process,
    provision::Machine,
};

/// The time limit for SSH to forward a port.
const START: Duration = Duration::from_secs(20);
/// The size of a relayed piece, in bytes.
const CHUNK: usize = 64 << 10;

impl Client<'_> {
    /// Forwards connections until the client disconnects. Tells the client the port that accepts connections.
    pub(super) async fn forward(&mut self, at: &Machine, to: &ForwardTo) -> Answer {
        let folder = tempfile::Builder::new().prefix("tt-port-").tempdir()?;
        let ssh_config = BrokerPlace::ssh_config_in(&self.server.setup.place.folder);
        let place = (ssh_config.as_path(), folder.path());
        let held = self.held;
        let started = match to {
            ForwardTo::Between { instance, port } => match held.at(instance) {
                Ok(other) => between(place, at, (other, *port)).await,
                Err(failure) => Err(Error::usage(failure.message)),
            },
            to => forward(place, at, to).await.map(|one| (one, None)),
        };
        let (started, beyond) = match started {
            Ok(started) => started,
            Err(error) => return Ok(Err(error)),
        };
        let taken = started.port()?;
        self.replies.send(&Reply::Forwarded { port: taken }).await?;
        let transport = at.transport();
        let beyond = async {
            match beyond {
                Some((forward, other)) => forward.serve(&other, &held.id).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            gone = input::gone(self.requests) => Err(gone),
            () = started.serve(&transport, &held.id) => Err(io::ErrorKind::BrokenPipe.into()),
            () = beyond => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// Starts a forwarding between this host and an instance. `place` is the file for `ssh -F`, and a folder.
async fn forward(
    (ssh_config, folder): (&Path, &Path),
    at: &Machine,
    to: &ForwardTo,
) -> Result<Forward> {
    check(to)?;
    match (at.reach(), to) {
        // A local instance shares this host's ports and sockets.
        (Reach::Local(_), ForwardTo::Port(port) | ForwardTo::Back(port)) => {
            Ok(Forward::None(*port))
        }
        (Reach::Local(_), ForwardTo::Socket(path)) => listen()
            .await
            .map(|listener| Forward::Socket(listener, path.into(), None)),
        (Reach::Ssh(_), ForwardTo::Back(port)) => from_ssh(ssh_config, at, *port).await,
        (Reach::Ssh(_), to) => to_ssh(ssh_config, at, folder, to).await,
        (_, ForwardTo::Back(_)) => Err(cannot(at)),
        (_, to) => Ok(Forward::Relay(listen().await?, line_to(to)?)),
    }
}

/// Forwards connections from an instance to a port of another one, through a port of this host.
async fn between(
    place: (&Path, &Path),
    at: &Machine,
    (other, port): (&Machine, u16),
) -> Result<(Forward, Option<(Forward, Arc<dyn Transport>)>)> {
    let beyond = forward(place, other, &ForwardTo::Port(port)).await?;
    let started = forward(place, at, &ForwardTo::Back(beyond.port()?)).await?;
    Ok((started, Some((beyond, other.transport()))))
}

/// Returns the script that connects standard input and output to a port or socket of an instance.
pub(super) fn line_to(to: &ForwardTo) -> Result<String> {
    check(to)?;
    match to {
        ForwardTo::Port(port) => Ok(shell::connect_to(*port)),
        ForwardTo::Socket(path) => Ok(shell::connect_to_socket(path)),
        to => Err(Error::usage(format!("no connection leads to {to}"))),
    }
}

fn check(to: &ForwardTo) -> Result<()> {
    match to {
        ForwardTo::Port(0) | ForwardTo::Back(0) => {
            Err(Error::usage("the port must be greater than zero"))
        }
        ForwardTo::Socket(path) if !path.starts_with('/') || path.contains(['\n', '\0']) => Err(
            Error::usage("the path of a socket is absolute, and has no newline"),
        ),
        _ => Ok(()),
    }
}

/// The name of the socket on which OpenSSH accepts connections. A free port could be taken before OpenSSH binds it.
const SOCKET: &str = "s";

/// An active forwarding; ends when dropped.
enum Forward {
    /// No forwarding is needed.
    None(u16),
    /// Connections to this listener go to a socket of this host: OpenSSH's, or that of a local instance.
    Socket(TcpListener, PathBuf, Option<Tunnel>),
    /// OpenSSH accepts connections on the instance, at this port.
    There(u16, Tunnel),
    /// Each connection to this listener is relayed by a command on the instance.
    Relay(TcpListener, String),
}

/// An OpenSSH process; killed when dropped.
struct Tunnel(Child);

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.0.start_kill();
    }
}

impl Forward {
    fn port(&self) -> io::Result<u16> {
        match self {
            Self::None(port) | Self::There(port, _) => Ok(*port),
            Self::Socket(listener, ..) | Self::Relay(listener, _) => {
                Ok(listener.local_addr()?.port())
            }
        }
    }

    /// Serves connections until the forwarding process ends.
    async fn serve(self, transport: &Arc<dyn Transport>, lease: &str) {
        match self {
            Self::None(_) => std::future::pending().await,
            Self::There(_, mut tunnel) => drop(tunnel.0.wait().await),
            Self::Socket(listener, socket, tunnel) => {
                let take = async {
                    while let Ok((here, _)) = listener.accept().await {
                        tokio::spawn(through(here, socket.clone()));
                    }
                };
                let ends = async {
                    match tunnel {
                        Some(mut tunnel) => drop(tunnel.0.wait().await),
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = take => {}
                    () = ends => {}
                }
            }
            Self::Relay(listener, line) => {
                let mut relays = tokio::task::JoinSet::new();
                while let Ok((here, _)) = listener.accept().await {
                    let (transport, lease) = (Arc::clone(transport), lease.to_owned());
                    let line = line.clone();
                    relays.spawn(async move { relay(here, &*transport, &lease, line).await });
                }
            }
        }
    }
}

async fn listen() -> Result<TcpListener> {
    Ok(TcpListener::bind(("127.0.0.1", 0)).await?)
}

fn cannot(at: &Machine) -> Error {
    let platform = at.describe().platform;
    let text =
        format!("platform `{platform}` does not support forwarding from an instance to this host");
    Error::usage(text).with_hint("only instances that are reached by SSH support this")
}

async fn through(mut here: TcpStream, socket: PathBuf) {
    if let Ok(mut there) = UnixStream::connect(socket).await {
        let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
    }
}

/// Starts OpenSSH with a forwarding.
fn ssh(ssh_config: &Path, at: &Machine, forward: [&str; 2]) -> Result<Tunnel> {
    let mut command = process::command("ssh");
    command.arg("-F").arg(ssh_config);
    command.args(["-N", "-T", "-v", "-o", "BatchMode=yes"]);
    command.args([
        "-o",
        "ExitOnForwardFailure=yes",
        "-o",
        "ServerAliveInterval=15",
    ]);
    command.args(forward).args(["--", at.name()]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    process::Spawn::new(command)
        .dies_with_parent()
        .start_async()
        .map(Tunnel)
}

async fn to_ssh(ssh_config: &Path, at: &Machine, folder: &Path, to: &ForwardTo) -> Result<Forward> {
    let socket = folder.join(SOCKET);
    let to = match to {
        ForwardTo::Port(port) | ForwardTo::Back(port) | ForwardTo::Between { port, .. } => {
            format!("127.0.0.1:{port}")
        }
        // Colons separate the two ends.
        ForwardTo::Socket(path) => path.replace('\\', "\\\\").replace(':', "\\:"),
    };
    let what = format!("{}:{to}", socket.display());
    let mut tunnel = ssh(ssh_config, at, ["-L", &what])?;
    let listens = |line: &str| line.contains("Entering interactive session").then_some(0);
    said(&mut tunnel.0, listens).await?;
    Ok(Forward::Socket(listen().await?, socket, Some(tunnel)))
}

async fn from_ssh(ssh_config: &Path, at: &Machine, port: u16) -> Result<Forward> {
    let mut tunnel = ssh(
        ssh_config,
        at,
        ["-R", &format!("127.0.0.1:0:127.0.0.1:{port}")],
    )?;
    let allocated = |line: &str| {
        let rest = line.trim().strip_prefix("Allocated port ")?;
        rest.split(' ').next()?.parse().ok()
    };
    Ok(Forward::There(
        said(&mut tunnel.0, allocated).await?,
        tunnel,
    ))
}

/// Waits for a line of OpenSSH's output that `find` recognizes. Later output is discarded.
async fn said(child: &mut Child, find: impl Fn(&str) -> Option<u16>) -> Result<u16> {
    let infra = |text: String| Error::infra(text);
    let stderr = child
        .stderr
        .take()
        .ok_or_else(|| infra("no stderr".to_owned()))?;
    let mut lines = BufReader::new(stderr).lines();
    let mut words = Vec::new();
    let found = time::timeout(START, async {
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(found) = find(&line) {
                return Some(found);
            }
            if !line.starts_with("debug1: ") && !line.starts_with("OpenSSH") {
                words.push(line);
            }
        }
        None
    });
    let found = found.await;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    match found {
        Ok(Some(port)) => Ok(port),
        Ok(None) => Err(infra(format!("ssh: {}", words.join("; ")))),
        Err(_) => Err(infra(format!(
            "timed out after {START:?} waiting for ssh to forward the port"
        ))),
    }
}

/// Relays one connection through the standard streams of a command on the instance.
async fn relay(here: TcpStream, transport: &dyn Transport, lease: &str, line: String) {
    let (mut from, mut to) = here.into_split();
    let (send, stdin) = mpsc::channel(4);
    let command = own_command(line, None);
    let mut running = transport.exec(&command, lease, Some(stdin));
    let up = async move {
        let mut piece = vec![0; CHUNK];
        while let Ok(read @ 1..) = from.read(&mut piece).await {
            if send.send(piece[..read].to_vec()).await.is_err() {
                return;
            }
        }
    };
    let down = async move {
        while let Some(event) = running.events.recv().await {
            match event {
                CommandEvent::Output(Stream::Stdout, bytes) => {
                    if to.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                CommandEvent::Output(Stream::Stderr, _) => {}
                CommandEvent::Exited(_) | CommandEvent::Lost(_) => return,
            }
        }
    };
    // One side may still send after the other side has finished.
    tokio::join!(up, down);
}
