//! Servers and clients that exchange lines of text, by `nc` or `socat`.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::{Result, missing, no_packet};
use crate::{
    error::{ErrorKind, Placed, TargetError},
    target::{Command, Process, Target},
    wire::Stream,
};

/// The time limit for a server to listen.
const START: Duration = Duration::from_secs(20);
/// The time limit for a connection, in seconds.
const PATIENCE: u64 = 5;

/// A protocol of the transport layer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Protocol {
    Tcp,
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// The programs that this file knows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Netcat {
    /// The name of the program.
    OpenBsd(&'static str),
    Socat,
    /// TCP only.
    BusyBox,
}

/// A server for one TCP connection on a machine, from any address.
///
/// ```no_run
/// # use target_fixtures::{net, prelude::*};
/// # fn test(server: &Target, client: &Target) -> Result<()> {
/// let mut web = net::tcp_server(server, 8080).reply("welcome").start()?;
/// let answer = net::connect(client, "10.77.1.1", 8080).send("hello").run()?;
/// assert_eq!(answer, "welcome");
/// assert_eq!(web.receive(Duration::from_secs(5))?, "hello");
/// # Ok(())
/// # }
/// ```
pub fn tcp_server(on: &Target, port: u16) -> Serve<'_> {
    Serve {
        on,
        port,
        protocol: Protocol::Tcp,
        reply: String::new(),
    }
}

/// A server that receives lines by UDP on a machine, from any address.
pub fn udp_server(on: &Target, port: u16) -> Serve<'_> {
    Serve {
        protocol: Protocol::Udp,
        ..tcp_server(on, port)
    }
}

/// A server to start, created by [`tcp_server`] or [`udp_server`].
#[derive(Clone)]
#[must_use = "call `start` to start it"]
pub struct Serve<'a> {
    on: &'a Target,
    port: u16,
    protocol: Protocol,
    reply: String,
}

/// A running server. Dropping it ends it.
#[derive(Debug)]
#[must_use = "dropping it ends the server"]
pub struct Server {
    process: Process,
    name: String,
}

impl Serve<'_> {
    /// Sets a line that a TCP server sends to its client.
    pub fn reply(mut self, line: impl ToString) -> Self {
        self.reply = line.to_string();
        self
    }

    /// Starts the server, and returns when it listens.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] if it does not listen, for example because the port is in use; a skip without `nc` and `socat`
    /// on the machine.
    #[track_caller]
    pub fn start(self) -> Result<Server> {
        let Self {
            on,
            port,
            protocol,
            reply,
        } = self;
        let netcat = Netcat::of(on, protocol)?;
        let mut process = netcat.listen(on, protocol, port).spawn()?;
        if !reply.is_empty() {
            process.write(format!("{reply}\n"))?;
        }
        match protocol {
            Protocol::Tcp => on.wait_for_port(port, START).placed()?,
            // `0: 00000000:1388 00000000:0000 07 ...`
            Protocol::Udp => {
                let listens = format!(
                    "grep -qs '^ *[0-9]*: [0-9A-F]*:{port:04X} ' /proc/net/udp /proc/net/udp6"
                );
                on.wait_for_command(listens, START).placed()?;
            }
        }
        let name = format!("{protocol} port {port} of `{}`", on.instance());
        Ok(Server { process, name })
    }
}

impl Server {
    /// Returns the next line that was received.
    ///
    /// # Errors
    /// [`ErrorKind::NoPacket`] if there is none within `limit`, [`ErrorKind::Exit`] if the connection has ended.
    #[track_caller]
    pub fn receive(&mut self, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        let name = &self.name;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.process.next_line(left) {
                Ok(Some(line)) if line.stream == Stream::Stdout => return Ok(line.text),
                Ok(Some(_)) => {}
                Ok(None) => {
                    let what = format!("receive a line on {name}: the connection has ended");
                    return Err(TargetError::new(ErrorKind::Exit, what).placed());
                }
                Err(error) if error.kind() == ErrorKind::Timeout => {
                    let what =
                        format!("receive a line on {name}: nothing arrived within {limit:?}");
                    return Err(no_packet(what).placed());
                }
                Err(error) => return Err(error.placed()),
            }
        }
    }
}

/// Connects from a machine to a TCP port, within 5 s.
pub fn connect(from: &Target, to: impl ToString, port: u16) -> Connect<'_> {
    Connect {
        from,
        to: to.to_string(),
        port,
        text: String::new(),
    }
}

/// A TCP connection to open, created by [`connect`].
#[derive(Clone)]
#[must_use = "call `run` to connect"]
pub struct Connect<'a> {
    from: &'a Target,
    to: String,
    port: u16,
    text: String,
}

impl Connect<'_> {
    /// Sends a line.
    pub fn send(mut self, line: impl ToString) -> Self {
        self.text = format!("{}\n", line.to_string());
        self
    }

    /// Connects, sends the line and returns the server's text until the end of the connection, without a newline at its end.
    ///
    /// # Errors
    /// [`ErrorKind::NoConnection`] if the server does not accept the connection within 5 s or does not end it within 5 s more;
    /// a skip without `nc` and `socat` on the machine.
    #[track_caller]
    pub fn run(self) -> Result<String> {
        let Self {
            from,
            to,
            port,
            text,
        } = self;
        let netcat = Netcat::of(from, Protocol::Tcp)?;
        let command = netcat.connect(from, &to, port).stdin(text);
        let limit = Duration::from_secs(2 * PATIENCE);
        let ended = command.timeout(limit).allow_failure().run();
        let from = from.instance();
        let failed = |why: &str| {
            let what = format!("connect to TCP port {port} of `{to}` from `{from}`: {why}");
            TargetError::new(ErrorKind::NoConnection, what)
        };
        match ended {
            Ok(output) if output.exit.success() => Ok(output.stdout.trim_end().to_owned()),
            Ok(output) => Err(match output.stderr.trim() {
                "" => failed(&format!("no answer within {PATIENCE} s")),
                said => failed(said),
            }
            .placed()),
            Err(error) if error.kind() == ErrorKind::Timeout => {
                Err(failed(&format!("timed out after {limit:?}")).placed())
            }
            Err(error) => Err(error.placed()),
        }
    }
}

/// Sends a line by UDP from a machine. That it arrives is not known.
///
/// # Errors
/// [`ErrorKind::Exit`] if the machine cannot send it; a skip without `nc` of OpenBSD and `socat` on the machine.
#[track_caller]
pub fn send_udp(from: &Target, to: impl ToString, port: u16, line: impl ToString) -> Result<()> {
    let netcat = Netcat::of(from, Protocol::Udp)?;
    let line = format!("{}\n", line.to_string());
    let command = netcat.send(from, &to.to_string(), port).stdin(line);
    command.run().map(drop).placed()
}

impl Netcat {
    /// Returns the program of the machine that knows the protocol.
    #[track_caller]
    fn of(target: &Target, protocol: Protocol) -> Result<Self> {
        let ask = "for nc in nc.openbsd nc; do case $($nc -h 2>&1) in *OpenBSD*) echo \"$nc\" ;; \
             *BusyBox*) echo busybox ;; esac; done; command -v socat";
        let answer = target.command(ask).allow_failure().quiet().run()?.stdout;
        let has = |word: &str| {
            answer
                .lines()
                .any(|line| line.rsplit('/').next() == Some(word))
        };
        match protocol {
            _ if has("nc.openbsd") => Ok(Self::OpenBsd("nc.openbsd")),
            _ if has("nc") => Ok(Self::OpenBsd("nc")),
            _ if has("socat") => Ok(Self::Socat),
            Protocol::Tcp if has("busybox") => Ok(Self::BusyBox),
            Protocol::Tcp => Err(missing(
                target,
                "`nc` of OpenBSD or BusyBox",
                "netcat-openbsd",
            )),
            Protocol::Udp => Err(missing(target, "`nc` with option `-u`", "netcat-openbsd")),
        }
    }

    /// The command that serves one TCP connection, or receives by UDP.
    fn listen(self, on: &Target, protocol: Protocol, port: u16) -> Command<'_> {
        let words = match (self, protocol) {
            (Self::OpenBsd(nc), Protocol::Tcp) => format!("{nc} -l {port}"),
            (Self::OpenBsd(nc), Protocol::Udp) => format!("{nc} -k -u -l {port}"),
            (Self::Socat, Protocol::Tcp) => format!("socat - TCP-LISTEN:{port},reuseaddr"),
            (Self::Socat, Protocol::Udp) => format!("socat -u UDP-RECV:{port} -"),
            (Self::BusyBox, _) => format!("nc -l -p {port}"),
        };
        command(on, &words)
    }

    fn connect<'a>(self, from: &'a Target, to: &str, port: u16) -> Command<'a> {
        command(
            from,
            &match self {
                Self::OpenBsd(nc) => format!("{nc} -v -N -w {PATIENCE} {to} {port}"),
                Self::Socat => format!(
                    "socat -t {PATIENCE} - TCP:{},connect-timeout={PATIENCE}",
                    with_port(to, port)
                ),
                Self::BusyBox => format!("nc -w {PATIENCE} {to} {port}"),
            },
        )
    }

    fn send<'a>(self, from: &'a Target, to: &str, port: u16) -> Command<'a> {
        command(
            from,
            &match self {
                Self::Socat => format!("socat -u - UDP-SENDTO:{}", with_port(to, port)),
                Self::OpenBsd(nc) => format!("{nc} -u -q 0 {to} {port}"),
                Self::BusyBox => format!("nc -u {to} {port}"),
            },
        )
    }
}

/// `10.0.0.1:80`, or `[fe80::1]:80`.
fn with_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// The command of these words: a program and its arguments.
fn command<'a>(on: &'a Target, words: &str) -> Command<'a> {
    let mut words = words.split(' ');
    on.program(words.next().unwrap_or_default()).args(words)
}
