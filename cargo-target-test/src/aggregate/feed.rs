//! The feed: a file with every run event as one JSON line, written within a moment so that it survives a killed run; and
//! its readers.
//!
//! Must not wait for a reader.

mod follow;
mod socket;

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    sync::Arc,
};

use super::Aggregator;
use crate::{
    error::{Error, ErrorKind, Result},
    run_event::RunEvent,
    secret,
};

pub use self::follow::FeedTo;
use self::follow::{FeedLength, Follower};

/// Writes the feed.
#[derive(Debug)]
pub struct Feed {
    file: fs_err::File,
    progress: Arc<FeedLength>,
    follower: Option<Follower>,
}

impl Feed {
    /// Creates the file.
    ///
    /// # Errors
    /// Fails if the file cannot be created.
    pub fn create(file: &Path) -> Result<Self> {
        Ok(Self {
            file: fs_err::File::create(file)?,
            progress: Arc::default(),
            follower: None,
        })
    }

    /// Also passes the feed on, from its beginning.
    ///
    /// # Errors
    /// Fails if the destination cannot be used.
    pub fn and_to(mut self, to: &FeedTo) -> Result<Self> {
        let follower = Follower::start(self.file.path(), &self.progress, to)?;
        self.follower = Some(follower);
        Ok(self)
    }
}

impl Aggregator for Feed {
    fn ingest(&mut self, event: &RunEvent) -> Result<()> {
        let line = secret::json_line(event).map_err(|error| {
            Error::new(ErrorKind::Other, "failed to write an event").with_source(error)
        })?;
        self.file.write_all(line.as_bytes())?;
        self.progress.add(line.len());
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.progress.end();
        match self.follower.take() {
            Some(follower) => follower.finish(),
            None => Ok(()),
        }
    }
}

impl Drop for Feed {
    /// Ends the readers of a feed that could not be written, too.
    fn drop(&mut self) {
        self.progress.end();
    }
}

/// Reads the events of a feed in order. Returns the number of lines that are no events of this version; the last line of
/// a killed run may be incomplete, and is not counted.
///
/// # Errors
/// Fails if the file cannot be read, and with the errors of `ingest`.
pub fn replay(file: &Path, mut ingest: impl FnMut(&RunEvent) -> Result<()>) -> Result<usize> {
    let mut feed = BufReader::new(fs_err::File::open(file)?);
    let (mut line, mut unknown) = (Vec::new(), 0);
    while feed.read_until(b'\n', &mut line)? > 0 {
        match serde_json::from_slice(&line) {
            Ok(event) => ingest(&event)?,
            Err(_) if line.ends_with(b"\n") => unknown += 1,
            Err(_) => {}
        }
        line.clear();
    }
    Ok(unknown)
}

#[cfg(test)]
mod tests;
