//! Copies of the consoles of failed instances: an instance that is deleted takes its console along.
//!
//! Must not decide which instances are deleted.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock},
};

use super::PoolRun;
use crate::{
    provision::{platform::read_end, pool::Record, unit},
    run_event::RunEventKind,
    secret, sync,
};

/// The maximum size of a copy, from the end of the console, in bytes.
const MOST: u64 = 64 << 20;
/// The number of bytes, from the end of a console, in an event.
const TAIL: u64 = 16 << 10;

/// The copies of a run.
#[derive(Default)]
pub(super) struct Consoles {
    /// The folder of the copies; without one, nothing is copied.
    folder: OnceLock<PathBuf>,
    /// The files of failed machines, by unique name.
    files: Mutex<BTreeMap<String, PathBuf>>,
}

impl Consoles {
    /// Returns the file for the console of a machine, another one for each record; `None` if nothing is copied.
    fn file(&self, record: &Record) -> Option<PathBuf> {
        let folder = self.folder.get()?;
        let mut files = sync::lock(&self.files);
        if let Some(known) = files.get(&record.spec.unique) {
            return Some(known.clone());
        }
        let name = record.name();
        let free = (1..).map(|number| match number {
            1 => folder.join(format!("{name}.log")),
            number => folder.join(format!("{name}.{number}.log")),
        });
        let file = { free }.find(|file| !files.values().any(|known| known == file))?;
        files.insert(record.spec.unique.clone(), file.clone());
        Some(file)
    }

    fn is_failed(&self, record: &Record) -> bool {
        sync::lock(&self.files).contains_key(&record.spec.unique)
    }
}

impl PoolRun {
    /// Copies the consoles of failed instances into this folder.
    pub fn save_consoles_in(&self, folder: PathBuf) {
        let _ = self.consoles.folder.set(folder);
    }

    /// Notes that an instance failed, or that a case failed on it: its console is copied before it is deleted, and at the end
    /// of the run.
    pub(in crate::provision) fn note_failed(&self, record: &Record) {
        for machine in unit::machines(record).unwrap_or_default() {
            let _ = self.consoles.file(&machine);
        }
    }

    /// Copies the console of an instance that failed just now, and emits its end.
    pub(in crate::provision) fn save_console(&self, record: &Record) {
        for machine in unit::machines(record).unwrap_or_default() {
            let Some(file) = self.copy_console(&machine) else {
                continue;
            };
            let text = read_end(&file, 0, TAIL).unwrap_or_default();
            self.emit(RunEventKind::Console {
                instance: machine.name().to_owned(),
                text: secret::redacted(&text).into_owned(),
                file: Some(file),
            });
        }
    }

    /// Copies the console of an instance that is about to be deleted, if it failed.
    pub(super) fn save_last_console(&self, record: &Record) {
        for machine in unit::machines(record).unwrap_or_default() {
            if self.consoles.is_failed(&machine) {
                let _ = self.copy_console(&machine);
            }
        }
    }

    /// Copies the consoles of failed instances that stay.
    pub(super) fn save_consoles_that_stay(&self) {
        if let Ok(state) = self.pool.state() {
            let records = state.records.values();
            records.for_each(|record| self.save_last_console(record));
        }
    }

    /// Returns the copy; `None` if there is no output, or if it cannot be copied.
    fn copy_console(&self, record: &Record) -> Option<PathBuf> {
        let platform = self.run.platforms.get(&record.platform)?;
        let file = self.consoles.file(record)?;
        let copied = match platform.console(&record.spec) {
            Some(console) => copy(&console, &file),
            None => save(platform.output(&record.spec).ok()??.as_bytes(), &file),
        };
        copied.ok()?.then_some(file)
    }
}

/// Copies the end of a console without secrets; false if it is empty.
fn copy(console: &Path, to: &Path) -> io::Result<bool> {
    let mut from = File::open(console)?;
    let length = from.metadata()?.len();
    from.seek(SeekFrom::Start(length.saturating_sub(MOST)))?;
    // A running machine may write on.
    save(from.take(MOST), to)
}

/// Saves an output without secrets; false if it is empty.
fn save(from: impl Read, to: &Path) -> io::Result<bool> {
    let mut from = BufReader::new(from);
    if from.fill_buf()?.is_empty() {
        return Ok(false);
    }
    std::fs::create_dir_all(to.parent().unwrap_or(to))?;
    let (mut to, mut secrets) = (File::create(to)?, secret::stream());
    let mut piece = [0; 16 << 10];
    loop {
        match from.read(&mut piece)? {
            0 => break,
            length => to.write_all(&secrets.push(&piece[..length]))?,
        }
    }
    to.write_all(&secrets.finish())?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_end_and_no_secrets() {
        let folder = tempfile::tempdir().expect("a folder");
        let (console, to) = (folder.path().join("c"), folder.path().join("new/a.log"));
        secret::register("CONSOLE", "the-console-secret");
        std::fs::write(&console, "boot\nlogin: the-console-secret\n").expect("written");
        assert!(copy(&console, &to).expect("a copy"));
        let text = std::fs::read_to_string(&to).expect("the copy");
        assert_eq!(text, "boot\nlogin: [secret CONSOLE]\n");
        std::fs::write(&console, "").expect("written");
        assert!(!copy(&console, &to).expect("no copy"));
    }
}
