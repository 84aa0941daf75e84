//! A connection to the broker over named pipes: a test that runs on a target has no other way to it.
//!
//! The other side reads the names of new connections from one pipe, and then opens the two pipes of each. Must not know
//! the protocol.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
    process::{self, Command},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

/// The pipe in the folder that takes the names of new connections, one a line.
const ASK: &str = "ask";

/// The size of a piece, in bytes.
const CHUNK: usize = 64 << 10;

/// Makes a connection through the pipes of a folder.
///
/// # Errors
/// If a pipe cannot be made or opened.
pub(super) fn connect(folder: &Path) -> io::Result<UnixStream> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}-{number}", process::id());
    let [up, down] = ["up", "down"].map(|end| folder.join(format!("{name}.{end}")));
    let made = Command::new("mkfifo").arg(&up).arg(&down).status()?;
    if !made.success() {
        return Err(io::Error::other(format!("`mkfifo` failed: {made}")));
    }
    let write = |path: &Path| OpenOptions::new().write(true).open(path);
    write(&folder.join(ASK))?.write_all(format!("{name}\n").as_bytes())?;
    // In the order of the other side: each waits for the other.
    let (mut to, mut from) = (write(&up)?, File::open(&down)?);
    let (ours, theirs) = UnixStream::pair()?;
    let mut sent = theirs.try_clone()?;
    thread::spawn(move || pump(&mut sent, &mut to));
    thread::spawn(move || {
        let _ = pump(&mut from, &mut &theirs);
        theirs.shutdown(Shutdown::Write)
    });
    Ok(ours)
}

/// Copies each piece at once. `io::copy` from a socket to a pipe waits until the pipe is full.
fn pump(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut piece = vec![0; CHUNK];
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(()),
            read => to.write_all(&piece[..read])?,
        }
    }
}
