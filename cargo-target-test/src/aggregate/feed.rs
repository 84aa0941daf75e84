//! The feed: a file with every run event as one JSON line, written within a moment so that it survives a killed run.

use std::{io::Write, path::Path};

use super::Aggregator;
use crate::{
    error::{Error, ErrorKind, Result},
    run_event::RunEvent,
    secret,
};

/// Writes the feed.
#[derive(Debug)]
pub struct Feed(fs_err::File);

impl Feed {
    /// Creates the file.
    ///
    /// # Errors
    /// Fails if the file cannot be created.
    pub fn create(file: &Path) -> Result<Self> {
        Ok(Self(fs_err::File::create(file)?))
    }
}

impl Aggregator for Feed {
    fn ingest(&mut self, event: &RunEvent) -> Result<()> {
        let line = secret::json_line(event).map_err(|error| {
            Error::new(ErrorKind::Other, "failed to write an event").with_source(error)
        })?;
        Ok(self.0.write_all(line.as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::run_event::RunEventKind;

    #[test]
    fn lines_are_there_at_once_and_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("feed.jsonl");
        let mut feed = Feed::create(&file).expect("a file");
        let event = |seq| {
            let message = "two\nlines".to_owned();
            let kind = RunEventKind::Warning { message };
            RunEvent::new(seq, Duration::ZERO, Duration::ZERO, kind)
        };
        for seq in 0..2 {
            feed.ingest(&event(seq)).expect("written");
            let text = std::fs::read_to_string(&file).expect("the feed");
            let read: Vec<RunEvent> = text
                .lines()
                .map(|line| serde_json::from_str(line).expect("an event"))
                .collect();
            assert_eq!(read, (0..=seq).map(event).collect::<Vec<_>>());
        }
    }
}
