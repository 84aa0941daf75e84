//! Echo requests, by the `ping` of iputils or BusyBox.

use std::time::Duration;

use super::{Result, no_packet, program};
use crate::{
    error::{ErrorKind, Placed, TargetError},
    target::Target,
};

/// Pings an address from a machine: three times, and waits 2 s for replies.
///
/// ```no_run
/// # use target_fixtures::{net, prelude::*};
/// # fn test(tester: &Target) -> Result<()> {
/// let pings = net::ping(tester, "10.77.1.1").interface("eth1").run()?;
/// assert_eq!(pings.received, 3);
/// # Ok(())
/// # }
/// ```
pub fn ping(from: &Target, to: impl ToString) -> Ping<'_> {
    Ping {
        from,
        to: to.to_string(),
        interface: None,
        count: 3,
        timeout: Duration::from_secs(2),
    }
}

/// Echo requests to send, created by [`ping`].
#[derive(Clone)]
#[must_use = "call `run` to send them"]
pub struct Ping<'a> {
    from: &'a Target,
    to: String,
    interface: Option<String>,
    count: u32,
    timeout: Duration,
}

/// The replies to echo requests.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Pings {
    /// The number of requests.
    pub sent: u32,
    /// The number of replies, at least one.
    pub received: u32,
    /// The average time from a request to its reply.
    pub average: Duration,
}

impl Ping<'_> {
    /// Sends the requests through this interface: `eth1`, or `eth1.93` of a VLAN.
    pub fn interface(mut self, name: impl ToString) -> Self {
        self.interface = Some(name.to_string());
        self
    }

    /// Sets the number of requests, which are sent every 200 ms.
    pub fn count(mut self, count: u32) -> Self {
        self.count = count.max(1);
        self
    }

    /// Sets the time to wait for the last reply, in whole seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends the requests and waits for the replies.
    ///
    /// # Errors
    /// [`ErrorKind::NoPacket`] if no reply came; [`ErrorKind::Request`] if `ping` did not start, such as for an unknown name
    /// or interface; a skip if the machine has no `ping`.
    #[track_caller]
    pub fn run(self) -> Result<Pings> {
        program(self.from, &["ping"], "iputils-ping")?;
        let seconds = self.timeout.as_secs().max(1).to_string();
        let mut command = self.from.program("ping");
        command = command.args(["-q", "-i", "0.2", "-W", &seconds]);
        command = command.arg("-c").arg(self.count);
        if let Some(interface) = &self.interface {
            command = command.arg("-I").arg(interface);
        }
        let output = command.arg(&self.to).allow_failure().run()?;
        let (to, from, said) = (&self.to, self.from.instance(), output.stderr.trim());
        let failed = |why: &str| format!("ping `{to}` from `{from}`: {why}");
        let pings = match read(&output.stdout) {
            Some(pings) if pings.received > 0 => Ok(pings),
            // No packet was sent, such as for a wrong name or interface.
            None if !said.is_empty() && !said.contains("unreachable") => {
                Err(TargetError::new(ErrorKind::Request, failed(said)))
            }
            _ if said.is_empty() => Err(no_packet(failed("no reply"))),
            _ => Err(no_packet(failed(said))),
        };
        pings.placed()
    }
}

/// Reads the summary of iputils or BusyBox.
fn read(text: &str) -> Option<Pings> {
    let counts = text
        .lines()
        .find(|line| line.contains(" packets transmitted"))?;
    let mut counts = counts
        .split(", ")
        .filter_map(|part| part.split(' ').next()?.parse().ok());
    let (sent, received) = (counts.next()?, counts.next()?);
    // `rtt min/avg/max/mdev = 1.1/2.2/3.3/0.4 ms`; BusyBox: `round-trip min/avg/max = 1.1/2.2/3.3 ms`
    let average = text.lines().find_map(|line| {
        let times = line.split_once("min/avg/max")?.1.split_once("= ")?.1;
        times.split('/').nth(1)?.parse::<f64>().ok()
    });
    let average = Duration::from_secs_f64(average.unwrap_or_default() / 1000.0);
    Some(Pings {
        sent,
        received,
        average,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_read() {
        let iputils = "PING 10.0.0.1 (10.0.0.1) 56(84) bytes of data.\n\n--- 10.0.0.1 ping statistics ---\n\
            3 packets transmitted, 2 received, 33% packet loss, time 402ms\n\
            rtt min/avg/max/mdev = 0.020/1.500/0.049/0.011 ms\n";
        let busybox = "--- 10.0.0.1 ping statistics ---\n\
            3 packets transmitted, 2 packets received, 33% packet loss\n\
            round-trip min/avg/max = 0.020/1.500/0.049 ms\n";
        let average = Duration::from_micros(1500);
        let expected = Pings {
            sent: 3,
            received: 2,
            average,
        };
        assert_eq!(read(iputils), Some(expected.clone()));
        assert_eq!(read(busybox), Some(expected));
        let lost = "4 packets transmitted, 0 received, +1 errors, 100% packet loss, time 0ms\n";
        assert_eq!(
            read(lost).map(|pings| (pings.sent, pings.received)),
            Some((4, 0))
        );
        assert_eq!(read("ping: bad address"), None);
    }
}
