//! The files that keep the output of attempts; runners write them.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    execute::output_file,
    run_event::{Attempt, OutputFile, TAIL},
};

/// The paths of output files.
pub(in super::super) struct OutputPaths {
    /// `None` if the output is not kept.
    folder: Option<PathBuf>,
    counter: AtomicU64,
}

impl OutputPaths {
    pub(in super::super) fn new(folder: Option<&Path>) -> Self {
        Self {
            folder: folder.map(Path::to_owned),
            counter: AtomicU64::new(0),
        }
    }

    /// Returns a unique path for the output of an attempt, without file extension.
    pub(super) fn of(&self, attempt: &Attempt) -> Option<PathBuf> {
        let plain = |text: &str| -> String {
            let plain = |letter: char| match letter {
                letter if letter.is_ascii_alphanumeric() => letter,
                '.' | '_' | '-' | '[' | ']' | '#' => letter,
                _ => '-',
            };
            text.chars().map(plain).take(120).collect()
        };
        let unique = self.counter.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}.{}-{unique}", plain(&attempt.case.name), attempt.number);
        let folder = self.folder.as_ref()?.join(plain(&attempt.case.binary_id));
        Some(folder.join(name))
    }
}

/// Returns the files to which the runner wrote standard output and standard error.
pub(super) fn output_files(output: Option<&Path>) -> [Option<OutputFile>; 2] {
    ["stdout", "stderr"].map(|ending| {
        let path = output_file(output?, ending);
        let mut file = File::open(&path).ok()?;
        let length = file.metadata().ok()?.len();
        let start = length.saturating_sub(TAIL as u64);
        file.seek(SeekFrom::Start(start)).ok()?;
        let mut tail = Vec::new();
        file.take(TAIL as u64).read_to_end(&mut tail).ok()?;
        Some(OutputFile {
            path,
            length,
            tail: String::from_utf8_lossy(&tail).into_owned(),
        })
    })
}
