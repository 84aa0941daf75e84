//! A file of captured frames, in the format that `tcpdump -r` and Wireshark read.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::error::{Error, Result};

/// The maximum length of a recorded frame.
const LONGEST: u32 = 65_535;
/// The link type of Ethernet.
const ETHERNET: u32 = 1;

/// An open capture.
pub(super) struct Capture(BufWriter<File>);

impl Capture {
    /// Creates the file with its header.
    ///
    /// # Errors
    /// If the file exists, or cannot be created.
    pub(super) fn create(path: &Path) -> Result<Self> {
        Self::begin(path).map_err(|error| {
            let shown = path.display();
            match error.kind() {
                io::ErrorKind::AlreadyExists => Error::usage(format!(
                    "file exists: `{shown}`: each capture of a test needs a file of its own"
                )),
                _ => Error::other(format!("failed to create `{shown}`")).with_source(error),
            }
        })
    }

    fn begin(path: &Path) -> io::Result<Self> {
        let mut capture = Self(BufWriter::new(File::create_new(path)?));
        let version = 2 | 4 << 16;
        capture.numbers([0xa1b2_c3d4, version, 0, 0, LONGEST, ETHERNET])?;
        capture.flush()?;
        Ok(capture)
    }

    /// Adds a frame that was sent now.
    pub(super) fn add(&mut self, frame: &[u8]) -> io::Result<()> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let length = frame.len() as u32;
        self.numbers([now.as_secs() as u32, now.subsec_micros(), length, length])?;
        self.0.write_all(frame)
    }

    /// Writes all frames to the file, so that a reader finds no frame cut off.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }

    fn numbers<const N: usize>(&mut self, numbers: [u32; N]) -> io::Result<()> {
        let mut all = numbers.into_iter();
        all.try_for_each(|number| self.0.write_all(&number.to_ne_bytes()))
    }
}
