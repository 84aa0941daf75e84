//! Establishes a session: socket, handshake, host key, authentication.
//!
//! Runs on a separate thread, because name resolution, agents and proxies may block beyond the deadline. Must not run
//! commands.

use std::{
    io,
    os::fd::OwnedFd,
    sync::mpsc::Sender,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    net::RecvFlags,
};
use ssh2::{MethodType, Session};

use super::{
    Endpoint, auth,
    dial::{Proxy, dial},
    handshake::Handshake,
    host_key,
};
use crate::{
    connect::ssh_config::{self, SshConfig},
    error::{Error, Result},
    secret::{self, Bound},
    sync,
};

/// The time for which a login may use the connection of a knock: a server closes it when no login comes.
const KNOCKED: Duration = Duration::from_secs(10);
/// The first and the longest pause before the next attempt to connect to an overloaded server.
const PAUSES: (Duration, Duration) = (Duration::from_millis(40), Duration::from_secs(1));

/// An authenticated session. Dropping it shuts the socket down first, so that closing does not wait for the peer.
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

/// A message of the connecting thread.
pub(super) enum Progress {
    /// The start and the timeout of the current step.
    Timeout(Instant, Duration),
    /// The result.
    Done(Box<Result<Link>>),
}

/// Connects within the configured timeout.
///
/// Name resolution and agents may hang beyond the timeout, so the waiting thread must check the time as well. If the
/// server closes the connection before it sends its banner, it is overloaded (`MaxStartups` of sshd), and the attempt is
/// repeated after an increasing pause.
pub(super) fn open(endpoint: &Endpoint, progress: &Sender<Progress>) -> Result<Link> {
    let Endpoint {
        instance, reach, ..
    } = endpoint;
    let config = ssh_config::resolve(reach)?;
    let password = reach.password.as_ref();
    let password = password.map(|bound| look_up(bound, progress)).transpose()?;
    let now = Instant::now();
    let _ = progress.send(Progress::Timeout(now, config.connect_timeout));
    let deadline = now + config.connect_timeout;
    let (mut pause, most) = PAUSES;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let knocked = sync::lock(&endpoint.knocked).take();
        let dialed = match knocked {
            Some((socket, since)) if since.elapsed() < KNOCKED => Ok((socket, None)),
            _ => dial(&config, deadline),
        };
        let error = match attempt(instance, &config, dialed, password.clone(), deadline) {
            Ok(link) => {
                if let Some(key) = host_key::fingerprint(&link.session) {
                    // A machine that changes its key under a run is not the one that it was.
                    let _ = endpoint.host_key.set(key);
                }
                return Ok(link);
            }
            Err(ConnectError::Permanent(error)) => return Err(error),
            Err(ConnectError::Silent(error)) if attempts == 1 => return Err(error),
            Err(ConnectError::Silent(error) | ConnectError::Overloaded(error)) => error,
        };
        // Random, so that concurrent clients do not retry at the same time.
        let pause_now = pause.mul_f64(0.5 + fastrand::f64());
        if Instant::now() + pause_now >= deadline {
            let limit = humantime::format_duration(config.connect_timeout);
            let s = if attempts == 1 { "" } else { "s" };
            let text = format!("{} ({attempts} attempt{s} within {limit})", error.chain());
            return Err(Error::infra(text).with_hint(
                "the server closes connections before it sends its banner: raise `MaxStartups` in its `sshd_config`, or \
                 raise `connect-timeout` of the target; or it is not an SSH server",
            ));
        }
        thread::sleep(pause_now);
        pause = (pause * 2).min(most);
    }
}

/// A failed attempt to connect.
enum ConnectError {
    /// The server or a proxy closed the connection before the banner.
    Overloaded(Error),
    /// No banner came before the deadline.
    Silent(Error),
    /// Another attempt would fail too.
    Permanent(Error),
}

fn attempt(
    instance: &str,
    config: &SshConfig,
    dialed: io::Result<(OwnedFd, Option<Proxy>)>,
    password: Option<(String, String)>,
    deadline: Instant,
) -> Result<Link, ConnectError> {
    let address = config.address();
    let failed = |error: io::Error| ConnectError::Permanent(failed(instance, &address, error));
    let (socket, mut proxy) = dialed.map_err(failed)?;
    let fd = socket.try_clone().map_err(failed)?;
    let mut session = Session::new().map_err(|error| failed(error.into()))?;
    session.set_tcp_stream(socket);
    session.set_blocking(false);
    let mut handshake = Handshake {
        instance,
        config,
        password,
        session,
        fd: &fd,
        deadline,
    };
    let Err(error) = establish(&mut handshake) else {
        let session = handshake.session;
        if let Some(proxy) = &mut proxy {
            proxy.warm_up();
        }
        return Ok(Link {
            session,
            socket: fd,
            address,
            _proxy: proxy,
        });
    };
    let has_banner = handshake.has_banner();
    let stderr = proxy.as_mut().map(Proxy::stderr).unwrap_or_default();
    let is_overloaded = stderr.is_empty() || stderr.contains("kex_exchange_identification");
    let error = match stderr.is_empty() || error.hint().is_some() {
        true => error,
        false => Error::infra(format!("{}: {stderr}", error.chain())),
    };
    Err(match has_banner || !is_overloaded {
        true => ConnectError::Permanent(error),
        false if Instant::now() >= deadline => ConnectError::Silent(error),
        false => ConnectError::Overloaded(error),
    })
}

/// Looks up the password and returns it with its source, before the connection is opened.
fn look_up(password: &Bound, progress: &Sender<Progress>) -> Result<(String, String)> {
    let _ = progress.send(Progress::Timeout(Instant::now(), secret::TIMEOUT));
    Ok((password.value()?, password.to_string()))
}

/// Waits for the banner of a server, for at most `timeout`.
///
/// A booting machine may accept connections long before its SSH server answers. The next login uses the connection.
/// Succeeds if the server is behind a proxy.
pub(in crate::connect) fn knock(endpoint: &Endpoint, timeout: Duration) -> Result<()> {
    let instance = &endpoint.instance;
    let config = ssh_config::resolve(&endpoint.reach)?;
    if config.proxy_jump.is_some() || config.proxy_command.is_some() {
        return Ok(());
    }
    let address = config.address();
    let (socket, _) = dial(&config, Instant::now() + timeout)
        .map_err(|error| failed(instance, &address, error))?;
    let mut fds = [PollFd::new(&socket, PollFlags::IN)];
    let _ = rustix::event::poll(&mut fds, Timespec::try_from(timeout).ok().as_ref());
    let mut byte = [0];
    let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
    match rustix::net::recv(&socket, &mut byte[..], flags) {
        Ok((1.., _)) => {
            *sync::lock(&endpoint.knocked) = Some((socket, Instant::now()));
            Ok(())
        }
        _ => Err(failed(
            instance,
            &address,
            io::Error::other("no SSH banner received"),
        )),
    }
}

fn failed(instance: &str, address: &str, error: io::Error) -> Error {
    Error::infra(format!("failed to connect to `{instance}` at {address}")).with_source(error)
}

fn establish(handshake: &mut Handshake<'_>) -> Result<()> {
    let records = host_key::known_keys(handshake.config)?;
    host_key::prefer(&handshake.session, &records);
    prefer_fast_ciphers(&handshake.session);
    let mut session = handshake.session.clone();
    handshake
        .drive(|| session.handshake())
        .map_err(|error| handshake.refused(&error))?;
    host_key::verify(handshake, &records)?;
    auth::authenticate(handshake)
}

/// Prefers AES-GCM, which is several times faster than ChaCha20 on processors with AES instructions.
fn prefer_fast_ciphers(session: &Session) {
    #[cfg(target_arch = "x86_64")]
    let has_aes = std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    let has_aes = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let has_aes = false;
    for kind in [MethodType::CryptCs, MethodType::CryptSc] {
        let Ok(mut ciphers) = session.supported_algs(kind) else {
            continue;
        };
        ciphers.sort_by_key(|name| !name.contains("-gcm@"));
        if has_aes {
            // On failure the defaults remain.
            let _ = session.method_pref(kind, &ciphers.join(","));
        }
    }
}
