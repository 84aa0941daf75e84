//! The limits of what is read into memory from programs and files of others, and files that are read within them.
//!
//! Must not know what the content means.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::Path,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The maximum size of a program's standard output or of a file, in bytes.
pub(crate) const LIMIT: usize = 16 << 20;
/// The maximum size of what this tool, Cargo and nextest write for each other, in bytes: lists of a million cases.
pub(crate) const LISTS: usize = 1 << 30;
/// The size of the end of a program's standard error that is kept, in bytes.
pub(crate) const TAIL: usize = 64 << 10;
/// The time limit for the writer of a FIFO.
const WRITER: Duration = Duration::from_secs(10);

/// Appends to what was read.
///
/// # Errors
/// [`io::ErrorKind::FileTooLarge`] if it then exceeds the limit.
pub(crate) fn extend(all: &mut Vec<u8>, piece: &[u8]) -> io::Result<()> {
    extend_within(LIMIT, all, piece)
}

/// As [`extend`], with a limit of its own.
pub(crate) fn extend_within(limit: usize, all: &mut Vec<u8>, piece: &[u8]) -> io::Result<()> {
    if all.len() + piece.len() > limit {
        return Err(too_large(limit));
    }
    all.extend_from_slice(piece);
    Ok(())
}

/// Appends to the kept end of a program's standard error.
pub(crate) fn extend_tail(tail: &mut Vec<u8>, piece: &[u8]) {
    tail.extend_from_slice(piece);
    if tail.len() > 2 * TAIL {
        tail.drain(..tail.len() - TAIL);
    }
}

/// Returns the end of a text, at most `most` bytes, from the start of a line unless the lines are long.
pub(crate) fn end(text: &[u8], most: usize) -> &[u8] {
    let Some(cut) = text.len().checked_sub(most).filter(|cut| *cut > 0) else {
        return text;
    };
    // The byte before the end shows whether the end begins a line.
    let line = text[cut - 1..].iter().position(|byte| *byte == b'\n');
    if let Some(line) = line.filter(|line| *line <= most / 2) {
        return &text[cut + line..];
    }
    let is_inside_character = |byte: &&u8| **byte & 0xc0 == 0x80;
    let inside = text[cut..].iter().take_while(is_inside_character).count();
    &text[cut + inside..]
}

/// The flag with which a FIFO is opened without waiting for its writer.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// A file that was opened with [`NONBLOCK`]. A FIFO without a writer is an error, as is one whose writer is silent for
/// 10 s.
struct PatientFile<F> {
    file: F,
    /// True for a FIFO that nothing was read from.
    is_new_fifo: bool,
}

impl<F: Read + AsFd> PatientFile<F> {
    fn new(file: F) -> io::Result<Self> {
        let mode = rustix::fs::fstat(&file)?.st_mode;
        Ok(Self {
            file,
            is_new_fifo: rustix::fs::FileType::from_raw_mode(mode).is_fifo(),
        })
    }
}

impl<F: Read + AsFd> Read for PatientFile<F> {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let started = Instant::now();
        loop {
            match self.file.read(piece) {
                Ok(0) if self.is_new_fifo => {
                    return Err(io::Error::other("it is a FIFO that no program writes to"));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
                Ok(length) => {
                    self.is_new_fifo = false;
                    return Ok(length);
                }
            }
            let left = WRITER.saturating_sub(started.elapsed());
            if left.is_zero() {
                let message = format!("nothing was written to it for {} s", WRITER.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            let left = Timespec::try_from(left).unwrap_or_default();
            let _ = poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&left));
        }
    }
}

/// Reads a file.
///
/// # Errors
/// As the system says; [`io::ErrorKind::FileTooLarge`] above the limit; as [`PatientFile`] for a FIFO.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_all(open(path)?)
}

/// Reads a file that this tool, Cargo or nextest has written, which may be larger than others.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_list(path: &Path) -> io::Result<Vec<u8>> {
    within(LISTS, open(path)?)
}

/// Reads an open file to its end.
///
/// # Errors
/// As the system says; [`io::ErrorKind::FileTooLarge`] above the limit.
pub(crate) fn read_all(file: impl Read) -> io::Result<Vec<u8>> {
    within(LIMIT, file)
}

/// Opens a file that is read piece by piece.
///
/// # Errors
/// As the system says.
pub(crate) fn open(path: &Path) -> io::Result<impl Read> {
    let mut options = OpenOptions::new();
    PatientFile::new(options.read(true).custom_flags(NONBLOCK).open(path)?)
}

fn within(limit: usize, file: impl Read) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut all)?;
    match all.len() > limit {
        true => Err(too_large(limit)),
        false => Ok(all),
    }
}

/// Reads a file that must be text.
///
/// # Errors
/// As [`read`]; [`io::ErrorKind::InvalidData`] if it is not UTF-8.
pub(crate) fn read_to_string(path: &Path) -> io::Result<String> {
    let text = String::from_utf8(read(path)?);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not valid UTF-8"))
}

fn too_large(limit: usize) -> io::Error {
    let message = format!("larger than {} MiB", limit >> 20);
    io::Error::new(io::ErrorKind::FileTooLarge, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_file_and_a_fifo_without_a_writer_are_errors() {
        let error = read(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.to_string(), "larger than 16 MiB");
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        let mut command = crate::process::command("mkfifo");
        command.arg(&fifo);
        crate::process::Spawn::new(command).output().unwrap();
        let error = read(&fifo).unwrap_err();
        assert_eq!(error.to_string(), "it is a FIFO that no program writes to");
    }

    #[test]
    fn the_end_of_standard_error_is_kept() {
        let mut tail = Vec::new();
        for _ in 0..1000 {
            extend_tail(&mut tail, &[b'x'; 1000]);
        }
        extend_tail(&mut tail, b"end");
        assert!(tail.ends_with(b"xend") && (TAIL..=2 * TAIL).contains(&tail.len()));
    }
}
