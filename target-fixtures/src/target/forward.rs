//! The methods of [`Target`] that forward TCP ports.
//!
//! Must not know how connections are transported.

use std::net::{Ipv4Addr, SocketAddr};

use super::{Result, Target};
use crate::{
    client::{BrokerConnection, unexpected},
    error::Placed,
    wire::{BrokerRequest, Direction, Reply},
};

/// A forwarded port. Dropping it ends the forwarding.
#[must_use = "dropping it ends the forwarding"]
#[derive(Debug)]
pub struct Forward {
    port: u16,
    _connection: BrokerConnection,
}

impl Forward {
    /// The listening port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The listening address: the port on `127.0.0.1`, of this host or of the instance.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
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
        self.forwarded(Direction::ToTarget, port)
    }

    /// Forwards connections from the instance to this host: connections to the [address](Forward::address) on the
    /// instance are forwarded to `port` on `127.0.0.1` of this host.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Request`] if the instance is not reached by SSH, [`crate::ErrorKind::Infra`] if SSH cannot
    /// forward the port.
    #[track_caller]
    pub fn forward_back(&self, port: u16) -> Result<Forward> {
        self.forwarded(Direction::FromTarget, port)
    }

    #[track_caller]
    fn forwarded(&self, direction: Direction, port: u16) -> Result<Forward> {
        let mut connection = self.client.start(&BrokerRequest::Forward {
            instance: self.instance().to_owned(),
            direction,
            port,
        })?;
        match connection.receive().placed()?.0 {
            Reply::Forwarded { port } => Ok(Forward {
                port,
                _connection: connection,
            }),
            other => Err(unexpected(other)),
        }
    }
}
