//! Forwards TCP ports between this host and an instance until the client disconnects.
//!
//! Over SSH, OpenSSH forwards. An instance that is reached by commands alone relays with a program on the instance.

use std::{io, path::Path, process::Stdio, sync::Arc, time::Duration};

use target_fixtures::wire::{Direction, Reply, Stream};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, UnixStream},
    process::Child,
    sync::mpsc,
    time,
};

use super::{
    super::{
        active_lease::ActiveLease,
        connection::{Replies, Requests},
    },
    input,
};
use crate::{
    connect::Reach,
    connect::{CommandEvent, Transport, own_command, shell},
    error::{Error, ErrorKind, Result},
    process,
    provision::Machine,
};

/// The time limit for SSH to forward a port.
const START: Duration = Duration::from_secs(20);
/// The size of a relayed piece, in bytes.
const CHUNK: usize = 64 << 10;

/// Forwards connections until the client disconnects. Tells the client the port that accepts connections.
pub(super) async fn forward(
    ssh_config: &Path,
    (requests, replies): (&mut Requests, &mut Replies),
    held: &ActiveLease,
    at: &Machine,
    (direction, port): (Direction, u16),
) -> io::Result<Result<Reply>> {
    if port == 0 {
        return Ok(Err(Error::new(
            ErrorKind::Usage,
            "the port must be greater than zero",
        )));
    }
    let folder = tempfile::Builder::new().prefix("tt-port-").tempdir()?;
    let started = match (at.reach(), direction) {
        // A local instance shares this host's ports.
        (Reach::Local { .. }, _) => Ok(Forward::None(port)),
        (Reach::Ssh(_), Direction::ToTarget) => to_ssh(ssh_config, at, folder.path(), port).await,
        (Reach::Ssh(_), Direction::FromTarget) => from_ssh(ssh_config, at, port).await,
        (_, Direction::ToTarget) => listen().await.map(Forward::Relay),
        (_, Direction::FromTarget) => Err(cannot(at)),
    };
    let started = match started {
        Ok(started) => started,
        Err(error) => return Ok(Err(error)),
    };
    let taken = started.port()?;
    replies.send(&Reply::Forwarded { port: taken }).await?;
    let transport = at.transport();
    let socket = folder.path().join(SOCKET);
    tokio::select! {
        gone = input::gone(requests) => Err(gone),
        () = started.serve(&transport, &held.id, &socket, port) => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// The name of the socket on which OpenSSH accepts connections. A free port could be taken before OpenSSH binds it.
const SOCKET: &str = "s";

/// An active forwarding; ends when dropped.
enum Forward {
    /// No forwarding is needed.
    None(u16),
    /// Connections to this listener go through OpenSSH's socket.
    Socket(TcpListener, Tunnel),
    /// OpenSSH accepts connections on the instance, at this port.
    There(u16, Tunnel),
    /// Each connection to this listener is relayed by a command on the instance.
    Relay(TcpListener),
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
            Self::Socket(listener, _) | Self::Relay(listener) => Ok(listener.local_addr()?.port()),
        }
    }

    /// Serves connections until the forwarding process ends.
    async fn serve(self, transport: &Arc<dyn Transport>, lease: &str, socket: &Path, port: u16) {
        match self {
            Self::None(_) => std::future::pending().await,
            Self::There(_, mut tunnel) => drop(tunnel.0.wait().await),
            Self::Socket(listener, mut tunnel) => {
                let take = async {
                    while let Ok((here, _)) = listener.accept().await {
                        let socket = socket.to_owned();
                        tokio::spawn(through(here, socket));
                    }
                };
                tokio::select! {
                    () = take => {}
                    _ = tunnel.0.wait() => {}
                }
            }
            Self::Relay(listener) => {
                let mut relays = tokio::task::JoinSet::new();
                while let Ok((here, _)) = listener.accept().await {
                    let (transport, lease) = (Arc::clone(transport), lease.to_owned());
                    relays.spawn(async move { relay(here, &*transport, &lease, port).await });
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
    Error::new(ErrorKind::Usage, text)
        .with_hint("only instances that are reached by SSH support this")
}

async fn through(mut here: TcpStream, socket: std::path::PathBuf) {
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

async fn to_ssh(ssh_config: &Path, at: &Machine, folder: &Path, port: u16) -> Result<Forward> {
    let socket = folder.join(SOCKET);
    let what = format!("{}:127.0.0.1:{port}", socket.display());
    let mut tunnel = ssh(ssh_config, at, ["-L", &what])?;
    let listens = |line: &str| line.contains("Entering interactive session").then_some(0);
    said(&mut tunnel.0, listens).await?;
    Ok(Forward::Socket(listen().await?, tunnel))
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
    let infra = |text: String| Error::new(ErrorKind::Infra, text);
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
async fn relay(here: TcpStream, transport: &dyn Transport, lease: &str, port: u16) {
    let (mut from, mut to) = here.into_split();
    let (send, stdin) = mpsc::channel(4);
    let command = own_command(shell::connect_to(port), None);
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
