//! QEMU's monitor: QMP over a Unix socket, one answer per command. Must not know the purpose of a command.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::Path,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    bounded,
    error::{Error, Result},
};

/// The time limit for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The socket's name in a machine's folder.
pub(super) const SOCKET: &str = "qmp";

/// A connection to a machine's monitor.
pub(super) struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects to the monitor of the machine with this folder.
    pub(super) fn connect(folder: &Path) -> Result<Self> {
        let stream = connect(folder, SOCKET).map_err(lost)?;
        let mut monitor = Self {
            stream: BufReader::new(stream),
        };
        monitor.read()?;
        monitor.ask("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    /// Executes a command; returns its answer.
    pub(super) fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        self.stream
            .get_mut()
            .write_all(line.as_bytes())
            .map_err(lost)?;
        loop {
            let mut answer = self.read()?;
            if let Some(error) = answer.get("error") {
                let text = error["desc"].as_str().unwrap_or_default();
                return Err(other(format!("QEMU refuses `{command}`: {text}")));
            }
            // Other messages are events.
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
    }

    /// Replaces the time limit for answers.
    pub(super) fn patient(self, limit: Duration) -> Result<Self> {
        let stream = self.stream.get_ref();
        stream.set_read_timeout(Some(limit)).map_err(lost)?;
        Ok(self)
    }

    /// Executes a command of the human monitor; returns its output.
    pub(super) fn tell(&mut self, line: &str) -> Result<String> {
        let answer = self.ask("human-monitor-command", &json!({ "command-line": line }))?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        let mut answer = (&mut self.stream).take(bounded::LIMIT as u64);
        match answer.read_line(&mut line).map_err(lost)? {
            0 => Err(other("QEMU closed its monitor".to_owned())),
            _ => serde_json::from_str(&line)
                .map_err(|error| other(format!("QEMU's monitor speaks no JSON: {error}"))),
        }
    }
}

/// Connects to a socket in a machine's folder, with a time limit for each read and write.
pub(super) fn connect(folder: &Path, socket: &str) -> std::io::Result<UnixStream> {
    // The path of a socket is limited to 108 bytes; a path through a descriptor is short.
    let folder = File::open(folder)?;
    let path = format!("/proc/self/fd/{}/{socket}", folder.as_raw_fd());
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn lost(error: std::io::Error) -> Error {
    other("QEMU's monitor does not answer".to_owned()).with_source(error)
}

fn other(message: String) -> Error {
    Error::infra(message)
}
