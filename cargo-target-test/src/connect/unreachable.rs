//! The transport of an instance that only its platform can connect to, where the platform does not.
//!
//! Owns the error.

use std::time::Duration;

use target_fixtures::wire::ShellCommand;

use super::{CommandStdin, ProbeAnswer, Running, Transport, TransportFuture};
use crate::error::Error;

/// No way to an instance.
pub(super) struct Unreachable {
    pub(super) instance: String,
}

impl Unreachable {
    fn error(&self) -> Error {
        let message = format!("the platform of `{}` does not connect to it", self.instance);
        Error::infra(message)
            .with_hint("a platform whose `deploy` returns `Reach::ByPlatform` overrides `connect`")
    }
}

impl Transport for Unreachable {
    fn exec(&self, _: &ShellCommand, _: &str, _: Option<CommandStdin>) -> Running {
        Running::lost(self.error())
    }

    fn probe(&self, _: Duration) -> TransportFuture<ProbeAnswer> {
        Box::pin(std::future::ready(Err(self.error())))
    }

    fn sweep(&self, _: &str, _: Duration) -> TransportFuture<()> {
        Box::pin(std::future::ready(Err(self.error())))
    }
}
