//! The methods of [`Target`] that forward TCP ports and Unix sockets.
//!
//! Must not know how connections are transported.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
};

use super::{Result, Target, files::on_instance};
use crate::{
    client::{BrokerConnection, Client, unexpected},
    error::{ErrorKind, Placed, TargetError},
    wire::{BrokerRequest, ForwardTo, Question, Reply},
};

/// A forwarded port, or the way to one. Dropping it ends the forwarding.
#[must_use = "dropping it ends the forwarding"]
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    /// The connections that keep up the forwarding.
    connections: Vec<BrokerConnection>,
    /// The port that this process relays.
    relay: Option<Relay>,
}

impl Forward {
    /// The listening port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The listening address. For [`Target::forward`] on `127.0.0.1` of this machine, for [`Target::forward_back`] on
    /// `127.0.0.1` of the instance, for [`Target::reach_from`] as seen from the client.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The address: `127.0.0.1:8080`.
impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Target {
    /// Forwards connections from the machine of this test to the instance: connections to the
    /// [address](Forward::address) are forwarded to `port` on `127.0.0.1` of the instance.
    ///
    /// ```no_run
    /// # use target_fixtures::prelude::*;
    /// # fn test(target: &Target) -> Result<()> {
    /// let web = target.forward(80)?;
    /// let stream = std::net::TcpStream::connect(web.address())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`crate::ErrorKind::Infra`] if SSH cannot forward the port.
    #[track_caller]
    pub fn forward(&self, port: u16) -> Result<Forward> {
        self.forwarded(ForwardTo::Port(port))
    }

    /// Forwards connections from the machine of this test to a Unix socket of the instance: connections to the
    /// [address](Forward::address), a TCP port of this machine, are forwarded to the socket at an absolute path. Without SSH
    /// the instance needs `socat`, an `nc` that knows `-U`, or Python.
    ///
    /// ```no_run
    /// # use target_fixtures::prelude::*;
    /// # fn test(target: &Target) -> Result<()> {
    /// let engine = target.forward_socket("/run/podman/podman.sock")?;
    /// let stream = std::net::TcpStream::connect(engine.address())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`crate::ErrorKind::Request`] if the path is not absolute, [`crate::ErrorKind::Infra`] if SSH cannot forward it.
    #[track_caller]
    pub fn forward_socket(&self, path: impl AsRef<Path>) -> Result<Forward> {
        self.forwarded(ForwardTo::Socket(on_instance(path.as_ref())?))
    }

    /// Forwards connections from the instance to the machine of this test: connections to the
    /// [address](Forward::address) on the instance are forwarded to `port` on `127.0.0.1` of this machine.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Request`] if the instance is not reached by SSH, [`crate::ErrorKind::Infra`] if SSH cannot
    /// forward the port.
    #[track_caller]
    pub fn forward_back(&self, port: u16) -> Result<Forward> {
        self.forwarded(ForwardTo::Back(port))
    }

    /// Makes `port` of this instance reachable from another instance of the test, and returns the address to use there.
    ///
    /// - On platform `local`, both are this host: the port itself, on `127.0.0.1`. Two servers need two ports.
    /// - On platform `container`, the address of the container on the engine's network. The server must listen on all
    ///   addresses (`0.0.0.0`).
    /// - Elsewhere two forwards through this host: a port on `127.0.0.1` of the client leads to `port` on `127.0.0.1` of
    ///   this instance. That works whatever networks and firewalls are between them, but is not a measure of speed. The
    ///   client must be reached by SSH: platforms `ssh` and `qemu`, and `command` and `container` with SSH.
    ///
    /// ```no_run
    /// # use target_fixtures::prelude::*;
    /// #[target_test]
    /// fn talk(client: &Target, server: &Target) -> Result<()> {
    ///     let web = server.reach_from(client, 8080)?;
    ///     client.run(format!("curl -fsS http://{web}/health"))?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// [`crate::ErrorKind::Request`] if there is no way: the container has no address, or the client is reached by programs.
    /// [`crate::ErrorKind::Infra`] if SSH cannot forward the port.
    #[track_caller]
    pub fn reach_from(&self, client: &Target, port: u16) -> Result<Forward> {
        if self.platform() == client.platform()
            && let Some(address) = self.ask::<Option<IpAddr>>(Question::Address)?
        {
            return Ok(Forward {
                address: (address, port).into(),
                connections: Vec::new(),
                relay: None,
            });
        }
        let mut here = self.forward(port)?;
        let back = client.forward_back(here.port());
        let mut there = back.map_err(|error| {
            let (server, client) = (self.instance(), client.instance());
            error.with_request(&format!("reach port {port} of `{server}` from `{client}`"))
        })?;
        there.connections.append(&mut here.connections);
        there.relay = here.relay.take();
        Ok(there)
    }

    #[track_caller]
    fn forwarded(&self, to: ForwardTo) -> Result<Forward> {
        let instance = self.instance().to_owned();
        let mut connection = self.client.start(&BrokerRequest::Forward {
            instance: instance.clone(),
            to: to.clone(),
        })?;
        match connection.receive().placed()?.0 {
            Reply::Forwarded { port } => Ok(Forward {
                address: (Ipv4Addr::LOCALHOST, port).into(),
                connections: vec![connection],
                relay: None,
            }),
            Reply::ForwardHere => {
                let request = BrokerRequest::Connect { instance, to };
                let relay = Relay::start(Arc::clone(&self.client), request);
                let relay = relay.map_err(|error| {
                    TargetError::new(ErrorKind::Infra, format!("listen on 127.0.0.1: {error}"))
                });
                let relay = relay.placed()?;
                Ok(Forward {
                    address: relay.address,
                    connections: Vec::new(),
                    relay: Some(relay),
                })
            }
            other => Err(unexpected(other)),
        }
    }
}

/// A port of this machine. Each connection to it is relayed by a request of its own.
#[derive(Debug)]
struct Relay {
    address: SocketAddr,
    streams: Arc<Mutex<RelayedStreams>>,
}

/// The connections that are relayed; `None` once the forwarding has ended.
type RelayedStreams = Option<Vec<Weak<TcpStream>>>;

impl Relay {
    fn start(client: Arc<Client>, request: BrokerRequest) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let streams = Arc::new(Mutex::new(RelayedStreams::Some(Vec::new())));
        let relayed = Arc::clone(&streams);
        thread::spawn(move || {
            for stream in listener.incoming().flatten().map(Arc::new) {
                let mut relayed = relayed.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(streams) = &mut *relayed else {
                    return;
                };
                streams.retain(|stream| stream.strong_count() > 0);
                streams.push(Arc::downgrade(&stream));
                let (client, request) = (Arc::clone(&client), request.clone());
                // A connection that cannot be relayed is closed.
                thread::spawn(move || client.relay(&request, &stream));
            }
        });
        Ok(Self { address, streams })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in streams.take().into_iter().flatten() {
            let stream = stream.upgrade();
            let _ = stream.map(|stream| stream.shutdown(Shutdown::Both));
        }
        drop(streams);
        // The thread that listens ends at the next connection.
        let _ = TcpStream::connect(self.address);
    }
}
