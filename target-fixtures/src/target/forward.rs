//! TCP ports between a test and an instance.
//!
//! Owns the author's calls. Must not know how connections travel.

use std::net::{Ipv4Addr, SocketAddr};

use super::{Result, Target};
use crate::{
    client::{Connection, unexpected},
    wire::{Direction, Reply, Request},
};

/// A forwarded port; dropped, nothing is forwarded any more.
#[must_use = "dropping it ends the forwarding"]
#[derive(Debug)]
pub struct Forward {
    port: u16,
    _connection: Connection,
}

impl Forward {
    /// The port at which connections are taken.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address at which connections are taken: `127.0.0.1` and the port, of this side or of the instance.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

impl Target {
    /// Has a port of the instance reached from here: what connects to the [address](Forward::address) is connected to
    /// `port` on the instance's `127.0.0.1`.
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
    /// [`crate::ErrorKind::Infra`] when SSH cannot forward it.
    pub fn forward(&self, port: u16) -> Result<Forward> {
        self.forwarded(Direction::ToTarget, port)
    }

    /// Has a port of this side reached from the instance: what connects to the [address](Forward::address) there is
    /// connected to `port` on `127.0.0.1` here.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Request`] where the instance is not reached by SSH, [`crate::ErrorKind::Infra`] when SSH
    /// cannot forward it.
    pub fn forward_back(&self, port: u16) -> Result<Forward> {
        self.forwarded(Direction::FromTarget, port)
    }

    fn forwarded(&self, direction: Direction, port: u16) -> Result<Forward> {
        let mut connection = self.client.start(&Request::Forward {
            instance: self.instance().to_owned(),
            direction,
            port,
        })?;
        match connection.receive()?.0 {
            Reply::Forwarded { port } => Ok(Forward {
                port,
                _connection: connection,
            }),
            other => Err(unexpected(other)),
        }
    }
}
