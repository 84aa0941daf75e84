//! The feed: a file with every run event as one JSON line, written within a moment so that it survives a killed run.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
};

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

    #[test]
    fn a_feed_is_read_up_to_a_line_that_a_kill_cut() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("feed.jsonl");
        let event = |seq| {
            let kind = RunEventKind::Progress {
                message: "é".to_owned(),
            };
            RunEvent::new(seq, Duration::ZERO, Duration::ZERO, kind)
        };
        let line = |seq| serde_json::to_string(&event(seq)).expect("JSON");
        let newer = r#"{"version":2,"event":"later"}"#;
        let whole = format!("{}\n{newer}\n{}\n{}\n", line(0), line(1), line(2));
        let first = line(0).len() + 1;
        for cut in first..=whole.len() {
            std::fs::write(&file, &whole.as_bytes()[..cut]).expect("a feed");
            let mut read = Vec::new();
            let unknown = replay(&file, |event| {
                read.push(event.seq);
                Ok(())
            });
            let lines = whole.as_bytes()[..cut]
                .iter()
                .filter(|one| **one == b'\n')
                .count();
            assert_eq!(unknown.expect("a feed"), usize::from(lines > 1));
            // A line that lacks only its end is whole.
            assert!(
                read.len() + usize::from(lines > 1) >= lines,
                "{cut}: {read:?}"
            );
            assert!(read.iter().copied().eq(0..read.len() as u64));
        }
    }
}
