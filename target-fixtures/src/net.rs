//! Traffic between machines: pings, servers and clients, and a look at what passes by.
//!
//! The functions use programs of the machines: `ping`, `tracepath` or `traceroute`, `tcpdump`, and `nc` (of OpenBSD, or for
//! TCP of BusyBox) or `socat`. A program that a machine does not have is a [skip](fn@crate::skip) that names its Debian package.
//! Servers and sniffers run until they are dropped, on as many machines at a time as a test needs:
//!
//! ```no_run
//! use target_fixtures::{net, prelude::*};
//!
//! #[target_test(count = 3)]
//! fn a_message_passes_by(targets: &[Target]) -> Result<()> {
//!     let [server, client, watcher] = targets else { unreachable!() };
//!     let address = "10.77.1.1";
//!     let mut sniffer = net::sniff(watcher, "udp port 5000").interface("eth1").start()?;
//!     let mut inbox = net::udp_server(server, 5000).start()?;
//!     net::send_udp(client, address, 5000, "hello")?;
//!     assert_eq!(inbox.receive(Duration::from_secs(5))?, "hello");
//!     assert!(sniffer.packets(1, Duration::from_secs(5))?[0].contains("10.77.1.2"));
//!     Ok(())
//! }
//! # fn main() {}
//! ```

// Must not know connections and networks of the playbook.

mod ping;
mod server;
mod sniff;
mod trace;

use crate::{
    error::{ErrorKind, TargetError, skip},
    target::Target,
};

pub use ping::{Ping, Pings, ping};
pub use server::{Connect, Serve, Server, connect, send_udp, tcp_server, udp_server};
pub use sniff::{Sniff, Sniffer, sniff};
pub use trace::trace;

type Result<T> = std::result::Result<T, TargetError>;

/// Returns the first of these programs that the machine has.
///
/// # Errors
/// A skip that names the package, if the machine has none of them.
#[track_caller]
fn program(target: &Target, names: &[&'static str], package: &str) -> Result<&'static str> {
    let search = "PATH=$PATH:/usr/sbin:/sbin; for one; do command -v \"$one\" >/dev/null && echo \"$one\" && exit; done; exit 1";
    let search = target.command(search).args(names).allow_failure().quiet();
    let output = search.run()?;
    let found = names.iter().find(|name| output.stdout.trim() == **name);
    found
        .copied()
        .ok_or_else(|| missing(target, &format!("`{}`", names[0]), package))
}

/// The skip of a test whose machine has no such program.
fn missing(target: &Target, program: &str, package: &str) -> TargetError {
    let instance = target.instance();
    skip(format!(
        "program {program} not found on `{instance}`: install the Debian package `{package}`"
    ))
}

/// The error for silence.
fn no_packet(what: String) -> TargetError {
    TargetError::new(ErrorKind::NoPacket, what)
}
