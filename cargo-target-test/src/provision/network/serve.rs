//! The process of a switch: carries frames between the sockets of its ports, and obeys its control socket.
//!
//! One loop over descriptors that never blocks. Must not decide about frames ([`Switch`] does).

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    time::Instant,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use super::{
    capture::Capture,
    conditions::{Conditions, NetworkFault},
    port_stream::PortStream,
    switch::Switch,
};
use crate::{
    bounded,
    error::{Error, Result},
    ui,
};

/// The file with the [`SwitchPlan`] in a switch's folder.
pub(super) const PLAN: &str = "plan.json";
/// The control socket in a switch's folder. The ports' sockets are named by their numbers.
pub(super) const CONTROL: &str = "control";

/// The ports and the first conditions of a switch.
#[derive(Serialize, Deserialize)]
pub(super) struct SwitchPlan {
    /// The names of the machines, in the order of the ports.
    pub(super) machines: Vec<String>,
    pub(super) conditions: Conditions,
    /// Decides which frames are lost.
    pub(super) seed: u64,
}

/// A request to a switch: one line of JSON. The answer is a line too: `null`, or the text of an error.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SwitchRequest {
    /// Answers.
    Ping,
    /// Adds a fault.
    Fault(NetworkFault),
    /// Writes all frames that machines send to a new file, until [`SwitchRequest::Heal`].
    Capture(PathBuf),
    /// Ends all faults and captures.
    Heal,
}

/// Serves as the switch of the network with this folder, until it is killed. Returns the exit code.
pub(crate) fn serve(folder: &Path) -> u8 {
    let Err(error) = Served::open(folder).and_then(Served::serve);
    ui::error(&error);
    error.exit_code()
}

/// A switch with its sockets.
pub(super) struct Served {
    plan: SwitchPlan,
    switch: Switch,
    started: Instant,
    ports: Vec<Port>,
    control: UnixListener,
    requests: Vec<Requests>,
    captures: Vec<Capture>,
}

/// A port, with the machine that is connected to it.
struct Port {
    listener: UnixListener,
    connected: Option<PortStream>,
}

/// A connection to the control socket.
struct Requests {
    stream: UnixStream,
    read: Vec<u8>,
}

impl Served {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        // The path of a socket is limited to 108 bytes; a path through a descriptor is short.
        let open = File::open(folder)?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
        let plan: SwitchPlan = serde_json::from_slice(&bounded::read(&folder.join(PLAN))?)
            .map_err(|error| Error::other(format!("failed to read `{PLAN}`")).with_source(error))?;
        let ports =
            (0..plan.machines.len()).map(|number| Port::open(&short.join(number.to_string())));
        let ports = ports.collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            switch: Switch::new(ports.len(), plan.conditions.clone(), plan.seed),
            plan,
            started: Instant::now(),
            ports,
            // Last: who can ask finds the ports.
            control: listen(&short.join(CONTROL))?,
            requests: Vec::new(),
            captures: Vec::new(),
        })
    }

    pub(super) fn serve(mut self) -> Result<std::convert::Infallible> {
        loop {
            self.wait()?;
            self.accept();
            self.answer();
            self.receive();
            self.deliver();
        }
    }

    /// Waits until a descriptor is ready or a frame is due.
    fn wait(&self) -> Result<()> {
        let listeners = self
            .ports
            .iter()
            .map(|port| &port.listener)
            .chain([&self.control]);
        let listeners = listeners.map(|listener| PollFd::new(listener, PollFlags::IN));
        let requests = self.requests.iter();
        let requests = requests.map(|requests| PollFd::new(&requests.stream, PollFlags::IN));
        let streams = self
            .ports
            .iter()
            .filter_map(|port| port.connected.as_ref())
            .map(|stream| {
                let mut flags = PollFlags::IN;
                flags.set(PollFlags::OUT, stream.is_waiting());
                PollFd::from_borrowed_fd(stream.socket.as_fd(), flags)
            });
        let mut awaited: Vec<_> = listeners.chain(requests).chain(streams).collect();
        let next = self.switch.next_time();
        let left = next.map(|due| due.saturating_sub(self.started.elapsed()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut awaited, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    /// Accepts connections. A machine that connects again replaces the former one.
    fn accept(&mut self) {
        for port in &mut self.ports {
            if let Ok((stream, _)) = port.listener.accept() {
                port.connected = PortStream::new(stream).ok();
            }
        }
        if let Ok((stream, _)) = self.control.accept()
            && stream.set_nonblocking(true).is_ok()
        {
            let read = Vec::new();
            self.requests.push(Requests { stream, read });
        }
    }

    /// Takes the frames of all machines.
    fn receive(&mut self) {
        let Self {
            switch,
            ports,
            captures,
            ..
        } = self;
        let now = self.started.elapsed();
        for (number, port) in ports.iter_mut().enumerate() {
            let Some(stream) = &mut port.connected else {
                continue;
            };
            let received = stream.receive(|frame| {
                // A capture ends where the disk is full.
                captures.retain_mut(|capture| capture.add(frame).is_ok());
                switch.receive(now, number, frame);
            });
            if received.is_err() {
                port.connected = None;
            }
        }
        captures.retain_mut(|capture| capture.flush().is_ok());
    }

    /// Delivers the frames that are due.
    fn deliver(&mut self) {
        let now = self.started.elapsed();
        while let Some(delivery) = self.switch.next_due(now) {
            if let Some(stream) = &mut self.ports[delivery.to].connected {
                stream.queue(&delivery.frame);
            }
        }
        for port in &mut self.ports {
            if port
                .connected
                .as_mut()
                .is_some_and(|stream| stream.send().is_err())
            {
                port.connected = None;
            }
        }
    }

    /// Obeys the requests that have arrived.
    fn answer(&mut self) {
        let mut connected = std::mem::take(&mut self.requests);
        connected.retain_mut(|requests| {
            let line = match requests.line() {
                Ok(Some(line)) => line,
                Ok(None) => return true,
                Err(_) => return false,
            };
            let answer = match serde_json::from_slice(&line) {
                Ok(request) => self.obey(request).err().map(|error| error.chain()),
                Err(error) => Some(format!("unknown request: {error}")),
            };
            let mut answer = serde_json::json!(answer).to_string();
            answer.push('\n');
            requests.stream.write_all(answer.as_bytes()).is_ok()
        });
        self.requests.append(&mut connected);
    }

    fn obey(&mut self, request: SwitchRequest) -> Result<()> {
        match request {
            SwitchRequest::Ping => {}
            SwitchRequest::Fault(fault) => {
                self.switch.conditions.add(&fault, &self.plan.machines)?
            }
            SwitchRequest::Capture(file) => {
                self.captures.push(Capture::create(&file)?);
            }
            SwitchRequest::Heal => {
                self.switch.conditions = self.plan.conditions.clone();
                self.captures.clear();
            }
        }
        Ok(())
    }
}

impl Port {
    fn open(socket: &Path) -> io::Result<Self> {
        let (listener, connected) = (listen(socket)?, None);
        Ok(Self {
            listener,
            connected,
        })
    }
}

impl Requests {
    /// Returns the next line, if it is complete.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => self.read.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        if self.read.len() > bounded::LIMIT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let end = self.read.iter().position(|byte| *byte == b'\n');
        Ok(end.map(|end| self.read.drain(..=end).collect()))
    }
}

/// Listens at a socket, in place of one that was left.
fn listen(socket: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests;
