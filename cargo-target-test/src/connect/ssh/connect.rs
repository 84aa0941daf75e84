//! How a session comes about: socket, handshake, host key, authentication.
//!
//! Owns everything that may block for long (names, agents, proxies), so it runs on a thread of its own
//! and whoever waits gives up at the deadline. Must not run commands.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::mpsc::Sender,
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags};
use ssh2::{MethodType, Session};

use super::{
    auth,
    dial::{Proxy, dial},
    handshake::{Handshake, timespec},
    host_key,
};
use crate::{
    connect::{
        SshReach,
        ssh_config::{self, SshConfig},
    },
    error::{Error, ErrorKind, Result},
    secret::{self, Bound},
};

/// How long a server that lets nobody in is left alone at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(40), Duration::from_secs(1));

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

/// What the connecting thread tells.
pub(super) enum News {
    /// From when on, and how long, it may take.
    Within(Instant, Duration),
    /// How it ended.
    Done(Box<Result<Link>>),
}

/// Connects, within the configured time unless name service or agent hang: who waits must look at the
/// clock too. A server that closes before it says hello has others at its door (sshd's `MaxStartups`): it is
/// asked again, later each time.
pub(super) fn open(instance: &str, reach: &SshReach, news: &Sender<News>) -> Result<Link> {
    let config = ssh_config::resolve(reach)?;
    let password = reach.password.as_ref();
    let password = password.map(|bound| look_up(bound, news)).transpose()?;
    let now = Instant::now();
    let _ = news.send(News::Within(now, config.connect_timeout));
    let deadline = now + config.connect_timeout;
    let (mut pause, most) = PAUSES;
    let mut tries = 0;
    loop {
        tries += 1;
        let error = match attempt(instance, &config, password.clone(), deadline) {
            Ok(link) => return Ok(link),
            Err(Failure::Told(error)) => return Err(error),
            Err(Failure::Unheard(error)) => error,
        };
        // Not in step with the others.
        let pause_now = pause.mul_f64(0.5 + fastrand::f64());
        if Instant::now() + pause_now >= deadline {
            let limit = humantime::format_duration(config.connect_timeout);
            let text = format!("{} ({tries} tries within {limit})", error.chain());
            return Err(Error::new(ErrorKind::Infra, text).with_hint(
                "it closes connections before it says hello: raise `MaxStartups` in its `sshd_config`, or                  `connect-timeout`; or no SSH server listens there",
            ));
        }
        thread::sleep(pause_now);
        pause = (pause * 2).min(most);
    }
}

/// Why there is no session.
enum Failure {
    /// The server, or what leads to it, closed without a word.
    Unheard(Error),
    Told(Error),
}

fn attempt(
    instance: &str,
    config: &SshConfig,
    password: Option<(String, String)>,
    deadline: Instant,
) -> Result<Link, Failure> {
    let address = config.address();
    let cannot = |error: io::Error| Failure::Told(cannot(instance, &address, error));
    let (socket, mut proxy) = dial(config, deadline).map_err(cannot)?;
    let fd = socket.as_fd().try_clone_to_owned().map_err(cannot)?;
    let mut session = Session::new().map_err(|error| cannot(error.into()))?;
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
    let heard = handshake.has_said_hello();
    let words = proxy.as_mut().map(Proxy::last_words).unwrap_or_default();
    let crowded = words.is_empty() || words.contains("kex_exchange_identification");
    let error = match words.is_empty() || error.hint().is_some() {
        true => error,
        false => Error::new(ErrorKind::Infra, format!("{}: {words}", error.chain())),
    };
    match heard || !crowded {
        true => Err(Failure::Told(error)),
        false => Err(Failure::Unheard(error)),
    }
}

/// The password and where it comes from; nobody at the other end waits meanwhile.
fn look_up(password: &Bound, news: &Sender<News>) -> Result<(String, String)> {
    let _ = news.send(News::Within(Instant::now(), secret::TIMEOUT));
    Ok((password.value()?, password.to_string()))
}

/// Looks whether a server says hello within `patience`: a machine that boots may take connections long before, and
/// answer none of them. Behind a proxy there is no telling: success.
pub(super) fn knock(instance: &str, reach: &SshReach, patience: Duration) -> Result<()> {
    let config = ssh_config::resolve(reach)?;
    if config.proxy_jump.is_some() || config.proxy_command.is_some() {
        return Ok(());
    }
    let address = config.address();
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

fn establish(handshake: &mut Handshake<'_>) -> Result<()> {
    let records = host_key::records(handshake.config)?;
    host_key::prefer(&handshake.session, &records);
    prefer_quick_ciphers(&handshake.session);
    let mut session = handshake.session.clone();
    handshake
        .drive(|| session.handshake())
        .map_err(|error| handshake.refused(&error))?;
    host_key::verify(handshake, &records)?;
    auth::authenticate(handshake)
}

/// AES in Galois counter mode first, of which one core does several times as much as of ChaCha20; where the processor has
/// no instructions for it, libssh2's own order is as good.
fn prefer_quick_ciphers(session: &Session) {
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
            // A refusal leaves the defaults.
            let _ = session.method_pref(kind, &ciphers.join(","));
        }
    }
}
