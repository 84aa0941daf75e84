//! Requests to a switch: one line of JSON each way, over its control socket.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::Path,
    time::Duration,
};

use super::serve::{CONTROL, SwitchRequest};
use crate::bounded;

/// The time limit for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the switch with this folder. The inner error is its refusal.
///
/// # Errors
/// The switch does not answer.
pub(super) fn ask(folder: &Path, request: &SwitchRequest) -> io::Result<Result<(), String>> {
    // The path of a socket is limited to 108 bytes; a path through a descriptor is short.
    let folder = File::open(folder)?;
    let path = format!("/proc/self/fd/{}/{CONTROL}", folder.as_raw_fd());
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(bounded::LIMIT as u64)).read_line(&mut answer)?;
    let refusal: Option<String> = serde_json::from_str(&answer)?;
    Ok(refusal.map_or(Ok(()), Err))
}
