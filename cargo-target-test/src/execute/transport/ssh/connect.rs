//! How a session comes about: socket, handshake, host key, authentication.
//!
//! Owns everything that may block for long (names, agents, proxies), so it runs on a thread of its own
//! and whoever waits gives up at the deadline. Must not run commands.

use std::{
    io::{self, Read},
    net::{TcpStream, ToSocketAddrs},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Child, Command, Stdio},
    sync::mpsc::Sender,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec};
use ssh2::{BlockDirections, ErrorCode, Session};

use super::{auth, host_key};
use crate::{
    error::{Error, ErrorKind, Result},
    process,
    provision::platform::{
        SshReach,
        ssh_config::{self, SshConfig},
    },
    secret::{self, Bound},
};

/// How long a jump host may take to run `true`.
const WARM_UP: Duration = Duration::from_secs(3);

/// An authenticated session; dropped, its socket is closed first so that nothing waits for the peer.
pub(super) struct Link {
    pub(super) session: Session,
    pub(super) socket: OwnedFd,
    /// `host:port`, for messages.
    pub(super) address: String,
    _proxy: Option<Proxy>,
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }
}

/// A program whose standard streams are the connection.
struct Proxy {
    child: Child,
    /// A command to run on the jump host, and the folder of the socket by which it joins the connection.
    warm: Option<(Command, tempfile::TempDir)>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    /// Has the jump host's server turn off Nagle's algorithm, which it does when a session starts and not
    /// before: 44 ms per command become 2.5 ms. A jump host that allows no sessions is slow, not wrong.
    fn warm_up(&mut self) {
        if let Some((command, _folder)) = self.warm.take() {
            let _ = process::run(command, b"", WARM_UP, &|_| {});
        }
    }

    /// What it said before it ended; it is killed when it has not.
    fn last_words(&mut self) -> String {
        let _ = self.child.kill();
        let mut text = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            let _ = stderr.take(2048).read_to_string(&mut text);
        }
        text.trim().to_owned()
    }
}

/// What the connecting thread tells.
pub(super) enum News {
    /// From when on, and how long, it may take.
    Within(Instant, Duration),
    /// How it ended.
    Done(Box<Result<Link>>),
}

/// Connects, within the configured time unless name service or agent hang: who waits must look at the
/// clock too.
pub(super) fn open(instance: &str, reach: &SshReach, news: &Sender<News>) -> Result<Link> {
    let config = ssh_config::resolve(reach)?;
    let password = reach.password.as_ref();
    let password = password.map(|bound| look_up(bound, news)).transpose()?;
    let now = Instant::now();
    let _ = news.send(News::Within(now, config.connect_timeout));
    let deadline = now + config.connect_timeout;
    let address = format!("{}:{}", config.hostname, config.port);
    let cannot = |error: io::Error| cannot(instance, &address, error);
    let (socket, mut proxy) = dial(&config, deadline).map_err(cannot)?;
    let fd = socket.as_fd().try_clone_to_owned().map_err(cannot)?;
    let mut session = Session::new().map_err(|error| cannot(error.into()))?;
    session.set_tcp_stream(socket);
    session.set_blocking(false);
    let stage = Stage {
        instance,
        config: &config,
        password,
        session,
        fd: &fd,
        deadline,
    };
    let established = stage.establish();
    match established {
        Ok(session) => {
            if let Some(proxy) = &mut proxy {
                proxy.warm_up();
            }
            Ok(Link {
                session,
                socket: fd,
                address,
                _proxy: proxy,
            })
        }
        Err(error) => {
            let words = proxy.as_mut().map(Proxy::last_words).unwrap_or_default();
            if words.is_empty() || error.hint().is_some() {
                return Err(error);
            }
            Err(Error::new(
                ErrorKind::Infra,
                format!("{}: {words}", error.chain()),
            ))
        }
    }
}

/// The password and where it comes from; nobody at the other end waits meanwhile.
fn look_up(password: &Bound, news: &Sender<News>) -> Result<(String, String)> {
    let _ = news.send(News::Within(Instant::now(), secret::PATIENCE));
    Ok((password.value()?, password.to_string()))
}

/// Looks whether a server says hello within `patience`: a machine that boots may take connections long before, and
/// answer none of them. Behind a proxy there is no telling: success.
pub(super) fn knock(instance: &str, reach: &SshReach, patience: Duration) -> Result<()> {
    let config = ssh_config::resolve(reach)?;
    if config.proxy_jump.is_some() || config.proxy_command.is_some() {
        return Ok(());
    }
    let address = format!("{}:{}", config.hostname, config.port);
    let (socket, _) = dial(&config, Instant::now() + patience)
        .map_err(|error| cannot(instance, &address, error))?;
    let mut fds = [PollFd::new(&socket, PollFlags::IN)];
    let _ = rustix::event::poll(&mut fds, Some(&timespec(patience)));
    let mut byte = [0];
    match rustix::net::recv(&socket, &mut byte[..], rustix::net::RecvFlags::DONTWAIT) {
        Ok((1.., _)) => Ok(()),
        _ => Err(cannot(
            instance,
            &address,
            io::Error::other("no SSH server says hello"),
        )),
    }
}

fn cannot(instance: &str, address: &str, error: io::Error) -> Error {
    let text = format!("cannot connect to `{instance}` at {address}");
    Error::new(ErrorKind::Infra, text).with_source(error)
}

/// Any socket.
enum Socket {
    Tcp(TcpStream),
    Pair(UnixStream),
}

impl AsFd for Socket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Pair(socket) => socket.as_fd(),
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.as_fd().as_raw_fd()
    }
}

fn dial(config: &SshConfig, deadline: Instant) -> io::Result<(Socket, Option<Proxy>)> {
    if let Some(jumps) = &config.proxy_jump {
        return jump(config, jumps);
    }
    if let Some(line) = &config.proxy_command {
        let mut command = process::command("/bin/sh");
        command.arg("-c").arg(format!("exec {line}"));
        let (socket, proxy) = through(command)?;
        return Ok((socket, Some(proxy)));
    }
    let mut last = io::Error::other("the name has no address");
    for address in (config.hostname.as_str(), config.port).to_socket_addrs()? {
        let left = deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&address, left) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                return Ok((Socket::Tcp(socket), None));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Through jump hosts. OpenSSH does all of it: chains, their keys, their agents.
fn jump(config: &SshConfig, jumps: &str) -> io::Result<(Socket, Option<Proxy>)> {
    let (before, last) = match jumps.rsplit_once(',') {
        Some((before, last)) => (Some(before), last),
        None => (None, jumps),
    };
    let last = match last.starts_with("ssh://") {
        true => last.to_owned(),
        false => format!("ssh://{last}"),
    };
    let folder = tempfile::Builder::new().prefix("tt-jump-").tempdir()?;
    let control = format!("ControlPath={}", folder.path().join("s").display());
    let mut command = process::command("ssh");
    if let Some(before) = before {
        command.arg("-J").arg(before);
    }
    command.args([
        "-o",
        "BatchMode=yes",
        "-o",
        "ControlMaster=yes",
        "-o",
        "ControlPersist=no",
    ]);
    command.args(["-o", &control, "-W"]);
    command.arg(format!("[{}]:{}", config.hostname, config.port));
    command.args(["--", &last]);
    let (socket, mut proxy) = through(command)?;
    let mut warm = process::command("ssh");
    warm.args([
        "-o",
        "BatchMode=yes",
        "-o",
        "ControlMaster=no",
        "-o",
        &control,
        "--",
        &last,
        "true",
    ]);
    proxy.warm = Some((warm, folder));
    Ok((socket, Some(proxy)))
}

fn through(mut command: Command) -> io::Result<(Socket, Proxy)> {
    let (ours, theirs) = UnixStream::pair()?;
    command.stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)));
    command.stdout(Stdio::from(OwnedFd::from(theirs)));
    command.stderr(Stdio::piped());
    let child = process::start(command).map_err(io::Error::other)?;
    Ok((Socket::Pair(ours), Proxy { child, warm: None }))
}

/// A session on its way.
pub(super) struct Stage<'a> {
    pub(super) instance: &'a str,
    pub(super) config: &'a SshConfig,
    /// And where it comes from.
    pub(super) password: Option<(String, String)>,
    pub(super) session: Session,
    fd: &'a OwnedFd,
    deadline: Instant,
}

impl Stage<'_> {
    fn establish(mut self) -> Result<Session> {
        let records = host_key::records(self.config)?;
        host_key::prefer(&self.session, &records);
        let mut session = self.session.clone();
        self.drive(|| session.handshake())
            .map_err(|error| self.refused(&error))?;
        drop(session);
        host_key::verify(&self, &records)?;
        auth::authenticate(&mut self)?;
        Ok(self.session)
    }

    /// Calls `step` until it does not want to wait any more.
    pub(super) fn drive<T>(
        &self,
        mut step: impl FnMut() -> Result<T, ssh2::Error>,
    ) -> Result<T, ssh2::Error> {
        loop {
            match step() {
                Err(error) if would_block(&error) => {}
                result => return result,
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ssh2::Error::new(
                    ErrorCode::Session(libssh2_sys::LIBSSH2_ERROR_TIMEOUT),
                    "no answer",
                ));
            }
            let mut flags = PollFlags::IN;
            if matches!(
                self.session.block_directions(),
                BlockDirections::Outbound | BlockDirections::Both
            ) {
                flags |= PollFlags::OUT;
            }
            let _ = rustix::event::poll(&mut [PollFd::new(self.fd, flags)], Some(&timespec(left)));
        }
    }

    /// An error of the handshake or of authentication, with the host named.
    pub(super) fn refused(&self, error: &ssh2::Error) -> Error {
        let SshConfig {
            hostname,
            port,
            connect_timeout,
            ..
        } = self.config;
        let what = match error.code() {
            ErrorCode::Session(libssh2_sys::LIBSSH2_ERROR_TIMEOUT) => {
                return late(
                    self.instance,
                    &format!("{hostname}:{port}"),
                    *connect_timeout,
                );
            }
            _ => error.message(),
        };
        let text = format!(
            "cannot connect to `{}` at {hostname}:{port}: {what}",
            self.instance
        );
        Error::new(ErrorKind::Infra, text)
    }
}

/// Nobody spoke SSH in time.
pub(super) fn late(instance: &str, address: &str, limit: Duration) -> Error {
    let limit = humantime::format_duration(limit);
    let text =
        format!("cannot connect to `{instance}` at {address}: no SSH session within {limit}");
    Error::new(ErrorKind::Infra, text)
        .with_hint("is an SSH server listening there, and not overloaded?")
}

pub(super) fn would_block(error: &ssh2::Error) -> bool {
    error.code() == ErrorCode::Session(libssh2_sys::LIBSSH2_ERROR_EAGAIN)
}

pub(super) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs() as _,
        tv_nsec: duration.subsec_nanos() as _,
    }
}
