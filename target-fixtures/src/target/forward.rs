//! The methods of [`Target`] that forward TCP ports and Unix sockets.
//!
//! Must not know how connections are transported.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use super::{Result, Target, files::on_instance};
use crate::{
    client::{BrokerConnection, unexpected},
    error::Placed,
    wire::{BrokerRequest, ForwardTo, Question, Reply},
};

/// A forwarded port, or the way to one. Dropping it ends the forwarding.
#[must_use = "dropping it ends the forwarding"]
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    /// The connections that keep up the forwarding.
    connections: Vec<BrokerConnection>,
}

impl Forward {
    /// The listening port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The listening address. For [`Target::forward`] on `127.0.0.1` of this host, for [`Target::forward_back`] on
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
    /// Forwards connections from this host to the instance: connections to the [address](Forward::address) are
    /// forwarded to `port` on `127.0.0.1` of the instance.
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

    /// Forwards connections from this host to a Unix socket of the instance: connections to the
    /// [address](Forward::address), a TCP port of this host, are forwarded to the socket at an absolute path. Without SSH
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

    /// Forwards connections from the instance to this host: connections to the [address](Forward::address) on the
    /// instance are forwarded to `port` on `127.0.0.1` of this host.
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
            });
        }
        let mut here = self.forward(port)?;
        let back = client.forward_back(here.port());
        let mut there = back.map_err(|error| {
            let (server, client) = (self.instance(), client.instance());
            error.with_request(&format!("reach port {port} of `{server}` from `{client}`"))
        })?;
        there.connections.append(&mut here.connections);
        Ok(there)
    }

    #[track_caller]
    fn forwarded(&self, to: ForwardTo) -> Result<Forward> {
        let mut connection = self.client.start(&BrokerRequest::Forward {
            instance: self.instance().to_owned(),
            to,
        })?;
        match connection.receive().placed()?.0 {
            Reply::Forwarded { port } => Ok(Forward {
                address: (Ipv4Addr::LOCALHOST, port).into(),
                connections: vec![connection],
            }),
            other => Err(unexpected(other)),
        }
    }
}
