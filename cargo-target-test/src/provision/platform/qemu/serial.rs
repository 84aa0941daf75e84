//! The serial console of a machine: its input. QEMU writes its output to a file, whether or not somebody is connected.

use std::{
    io::{ErrorKind::*, Read, Write},
    net::Shutdown,
    time::Instant,
};

use super::{QemuSpec, START, qmp};
use crate::error::{Error, ErrorKind, Result};

/// The socket's name in a machine's folder.
pub(super) const SOCKET: &str = "serial";

/// Writes to the machine's console, and waits until the machine has read it: QEMU then closes the connection.
pub(super) fn type_text(spec: &QemuSpec, text: &str) -> Result<()> {
    let name = &spec.instance;
    let lost = |error: std::io::Error| match error.kind() {
        WouldBlock | TimedOut => Error::new(
            ErrorKind::Timeout,
            format!("`{name}` does not read its console"),
        ),
        _ => Error::infra(format!("the console of `{name}` does not answer")).with_source(error),
    };
    let mut stream = qmp::connect(&spec.scratch, SOCKET).map_err(lost)?;
    stream.write_all(text.as_bytes()).map_err(lost)?;
    stream.shutdown(Shutdown::Write).map_err(lost)?;
    // Unread output would stop the machine.
    let (started, mut output) = (Instant::now(), [0; 4096]);
    while stream.read(&mut output).map_err(lost)? > 0 {
        if started.elapsed() > START {
            return Err(lost(TimedOut.into()));
        }
    }
    Ok(())
}
