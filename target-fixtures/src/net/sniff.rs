//! A look at the packets of a machine, by `tcpdump`.

use std::time::{Duration, Instant};

use super::{Result, no_packet, program};
use crate::{
    error::{ErrorKind, Placed, TargetError},
    target::{Process, Target},
    wire::Stream,
};

/// The time limit for `tcpdump` to start.
const START: Duration = Duration::from_secs(30);

/// Watches the packets that pass a machine and match a filter of `tcpdump`: `udp port 5000`. Needs root, as `sudo` gives it.
///
/// ```no_run
/// # use target_fixtures::{net, prelude::*};
/// # fn test(watcher: &Target, client: &Target) -> Result<()> {
/// let mut sniffer = net::sniff(watcher, "icmp").interface("eth1").start()?;
/// net::ping(client, "10.77.1.1").run()?;
/// let packets = sniffer.packets(2, Duration::from_secs(5))?;
/// assert!(packets[0].contains("ICMP echo request"));
/// # Ok(())
/// # }
/// ```
pub fn sniff(on: &Target, filter: impl ToString) -> Sniff<'_> {
    Sniff {
        on,
        filter: filter.to_string(),
        interface: "any".to_owned(),
    }
}

/// A sniffer to start, created by [`sniff`].
#[derive(Clone)]
#[must_use = "call `start` to start it"]
pub struct Sniff<'a> {
    on: &'a Target,
    filter: String,
    interface: String,
}

/// A running sniffer. Dropping it ends it.
#[derive(Debug)]
#[must_use = "dropping it ends the sniffer"]
pub struct Sniffer {
    process: Process,
    name: String,
}

impl Sniff<'_> {
    /// Watches this interface only: `eth1`.
    pub fn interface(mut self, name: impl ToString) -> Self {
        self.interface = name.to_string();
        self
    }

    /// Starts the sniffer, and returns when it sees packets.
    ///
    /// # Errors
    /// [`ErrorKind::Exit`] with the message of `tcpdump`, for example of an invalid filter; a skip without `tcpdump` on the
    /// machine.
    #[track_caller]
    pub fn start(self) -> Result<Sniffer> {
        program(self.on, &["tcpdump"], "tcpdump")?;
        let name = format!("`{}` on `{}`", self.filter, self.on.instance());
        let line = "PATH=$PATH:/usr/sbin:/sbin exec tcpdump -Z root -l -n --immediate-mode -i \"$1\" \"$2\"";
        let command = self.on.command(line).args([self.interface, self.filter]);
        let mut process = command.sudo().spawn()?;
        process.wait_for_text("listening on", START)?;
        Ok(Sniffer { process, name })
    }
}

impl Sniffer {
    /// Returns the next `count` packets, each as the line that `tcpdump -n` prints for it.
    ///
    /// # Errors
    /// [`ErrorKind::NoPacket`] if there are fewer within `limit`.
    #[track_caller]
    pub fn packets(&mut self, count: usize, limit: Duration) -> Result<Vec<String>> {
        let (mut found, deadline) = (Vec::new(), Instant::now() + limit);
        while found.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.process.next_line(left) {
                Ok(Some(line)) if line.stream == Stream::Stdout => found.push(line.text),
                Ok(Some(_)) => {}
                Ok(None) => {
                    let what = format!("see packets of {}: the sniffer has ended", self.name);
                    return Err(TargetError::new(ErrorKind::Exit, what).placed());
                }
                Err(error) if error.kind() == ErrorKind::Timeout => {
                    return Err(self.silence(&found, count, limit).placed());
                }
                Err(error) => return Err(error.placed()),
            }
        }
        Ok(found)
    }

    fn silence(&self, found: &[String], count: usize, limit: Duration) -> TargetError {
        let name = &self.name;
        no_packet(match found {
            [] => format!("see a packet of {name}: no packet seen within {limit:?}"),
            found => format!(
                "see {count} packets of {name}: only these within {limit:?}:\n{}",
                found.join("\n")
            ),
        })
    }
}
