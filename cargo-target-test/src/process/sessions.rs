//! A file that lists the sessions of programs, so that another process finds what remains of a program that was cut
//! short: also processes of other users, whose environment cannot be read.
//!
//! A program's own process writes the entry before the program starts. Must not kill.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    process::Command,
};

use super::table::ProcessEntry;

use crate::bounded;

/// The maximum length of an entry's beginning, in bytes. The rest is shorter.
const LONGEST: usize = 512;

/// The file of an instance. Without an instance there is no file.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionLog(pub PathBuf);

/// A session whose program has not ended by itself.
pub(super) struct Session {
    /// The process id of its first process, which is also the session's id.
    pub(super) id: i32,
    /// The start time of that process in clock ticks since boot.
    pub(super) started: u64,
}

impl Session {
    /// True if the process belongs to the session. The number of a session is not reused while a process belongs to it.
    pub(super) fn contains(&self, process: &ProcessEntry) -> bool {
        let is_first = process.id() == self.id;
        process.session == self.id
            && match is_first {
                true => process.started == self.started,
                false => process.started >= self.started,
            }
    }
}

impl SessionLog {
    /// Makes the new process write its entry before its program starts. The process must lead a session.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub(super) fn record(&self, command: &mut Command, tag: &str) -> io::Result<()> {
        let file = self.open()?;
        let head = format!("+{tag}\t{}\t", boot());
        if head.len() > LONGEST {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        super::before_exec(command, move || {
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
            let stat = rustix::fs::open(c"/proc/self/stat", flags, rustix::fs::Mode::empty())?;
            let mut line = [0; LONGEST * 2];
            let (start, rest) = line.split_at_mut(head.len());
            start.copy_from_slice(head.as_bytes());
            // Ends with a newline.
            let length = head.len() + rustix::io::read(stat, rest)?;
            rustix::io::write(&file, &line[..length])?;
            Ok(())
        });
        Ok(())
    }

    /// Notes that the program of a session ended by itself: what remains in the session was meant to.
    pub fn end(&self, leader: u32) {
        let written = self.open().and_then(|mut file| writeln!(file, "-{leader}"));
        // Then the session counts as cut short, and whoever deletes the instance waits for it.
        let _ = written;
    }

    /// Returns the sessions with this tag that were cut short since the host booted.
    pub(super) fn cut_short(&self, tag: &str) -> Vec<Session> {
        let text = bounded::read(&self.0).unwrap_or_default();
        let (boot, mut open) = (boot(), Vec::<(Session, bool)>::new());
        for line in String::from_utf8_lossy(&text).lines() {
            if let Some(leader) = line.strip_prefix('-') {
                open.retain(|(session, _)| session.id.to_string() != leader);
            } else if let Some((written, rest)) = line
                .strip_prefix('+')
                .and_then(|line| line.split_once('\t'))
                && let Some(stat) = rest.strip_prefix(&format!("{boot}\t"))
                && let Some(process) = ProcessEntry::parse(stat)
            {
                let session = Session {
                    id: process.id(),
                    started: process.started,
                };
                open.push((session, written == tag));
            }
        }
        let wanted = open.into_iter().filter(|(_, wanted)| *wanted);
        wanted.map(|(session, _)| session).collect()
    }

    /// True if a program with this tag was cut short, or runs.
    pub fn has(&self, tag: &str) -> bool {
        !self.cut_short(tag).is_empty()
    }

    fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).open(&self.0)
    }
}

/// Returns the id of this boot; empty if the host has none.
fn boot() -> String {
    kernel("random/boot_id")
}

/// Returns a value of the kernel's settings; empty if it cannot be read.
pub(crate) fn kernel(name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/sys/kernel/{name}"));
    text.unwrap_or_default().trim().to_owned()
}
