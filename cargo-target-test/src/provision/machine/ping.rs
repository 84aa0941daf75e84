//! Pings a machine: by an ICMP echo if that is permitted, otherwise by a new connection.
//!
//! Retries with growing pauses. Must not run commands.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto},
};
use tokio::time;

use super::Machine;
use crate::{
    connect::{Reach, ssh_config},
    error::{Error, Result},
    sync,
};

/// The first and the longest pause between two tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// The time limit for one try.
const TRY: Duration = Duration::from_secs(1);

impl Machine {
    /// Tries until the machine answers, at most for `limit`; returns the time that the answer took.
    ///
    /// # Errors
    /// Fails if no try succeeds, with the cause of the last one.
    pub async fn ping(&self, limit: Duration) -> Result<Duration> {
        let (started, mut pause) = (Instant::now(), PAUSES.0);
        loop {
            let error = match once(self).await {
                Ok(took) => return Ok(took),
                Err(error) => error,
            };
            if started.elapsed() + pause >= limit {
                let tried = humantime::format_duration(limit);
                let text = format!("{} (tried for {tried})", error.chain());
                return Err(Error::infra(text));
            }
            time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}

async fn once(machine: &Machine) -> Result<Duration> {
    let transport = machine.transport();
    let reach = machine.reach().clone();
    let Reach::Ssh(reach) = reach else {
        return Ok(transport.probe(TRY).await?.took);
    };
    let config = sync::blocking(move || ssh_config::resolve(&reach)).await?;
    if config.proxy_jump.is_some() || config.proxy_command.is_some() {
        // With a jump host, the same address on this host may be another machine.
        return Ok(transport.probe(TRY).await?.took);
    }
    let address = (config.hostname, config.port);
    let echoed = tokio::task::spawn_blocking(move || echo(&address)).await;
    if let Ok(Some(took)) = echoed {
        return Ok(took);
    }
    let asked = Instant::now();
    Arc::clone(&transport).knock(TRY).await?;
    Ok(asked.elapsed())
}

/// Sends an ICMP echo. `None` if it is not permitted, not answered, or answered by this host itself.
fn echo(address: &(String, u16)) -> Option<Duration> {
    let host = address.to_socket_addrs().ok()?.next()?.ip();
    if host.is_loopback() {
        return None;
    }
    let asked = Instant::now();
    let socket = socket(host).ok()?;
    // Type, code, checksum and identifier (both set by the kernel), sequence number.
    let kind = if host.is_ipv4() { 8 } else { 128 };
    rustix::net::send(&socket, &[kind, 0, 0, 0, 0, 0, 0, 1], SendFlags::empty()).ok()?;
    let mut ready = [PollFd::new(&socket, PollFlags::IN)];
    poll(&mut ready, Some(&Timespec::try_from(TRY).ok()?)).ok()?;
    let mut answer = [0; 64];
    let (_, length) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::DONTWAIT).ok()?;
    let replies = if host.is_ipv4() { 0 } else { 129 };
    (length >= 8 && answer[0] == replies).then(|| asked.elapsed())
}

fn socket(host: IpAddr) -> io::Result<OwnedFd> {
    let (family, protocol) = match host {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let socket = rustix::net::socket(family, SocketType::DGRAM, Some(protocol))?;
    rustix::net::connect(&socket, &SocketAddr::new(host, 0))?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
