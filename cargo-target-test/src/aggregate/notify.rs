//! Tells a command or an address of the user about tests and the end of the run, as `[notify]` says.
//!
//! Must not fail or slow the run: notices are sent by a thread of their own, each within a time limit.

mod send;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use self::send::{Destination, Sender};
use super::Aggregator;
use crate::{
    case::verdict::CaseCounts,
    error::{Error, Result},
    playbook::{NotifyOn, NotifySettings},
    process,
    run_event::{RunEvent, RunEventKind},
    secret, sync,
};

/// The version of the format of notices.
const VERSION: u32 = 1;
/// The number of notices that can wait; more are dropped.
const WAITING: usize = 1000;
/// The time limit for the notices that are left at the end of the run.
const PATIENCE: Duration = Duration::from_secs(8);

/// Sends the notices of a run.
#[derive(Debug)]
pub struct Notify {
    on: Vec<NotifyOn>,
    folder: PathBuf,
    run: Option<(String, PathBuf)>,
    counts: Option<CaseCounts>,
    notices: Option<SyncSender<Notice>>,
    /// The number of notices so far.
    count: usize,
    shared: Arc<Shared>,
    /// Disconnected when all notices were sent or given up.
    done: Receiver<()>,
}

/// The state that the sending thread shares.
#[derive(Debug, Default)]
struct Shared {
    sent: AtomicUsize,
    /// The time after which nothing is sent.
    deadline: Mutex<Option<Instant>>,
    /// The last error.
    error: Mutex<Option<String>>,
}

/// One notice, as JSON without secrets.
struct Notice {
    on: NotifyOn,
    json: String,
}

/// The JSON of a notice.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct NoticeBody<'a> {
    version: u32,
    on: NotifyOn,
    /// The run's id.
    run: Option<&'a str>,
    workspace: Option<&'a Path>,
    /// The run's folder.
    folder: &'a Path,
    /// The cases by their results, at the end of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    cases: Option<&'a CaseCounts>,
    /// The run event.
    event: &'a RunEvent,
}

impl Notify {
    /// Starts the thread that sends the notices; `None` if none are wanted. Commands start in `directory`; `folder` is the
    /// run's folder.
    ///
    /// # Errors
    /// Fails if the thread cannot be started.
    pub fn new(settings: &NotifySettings, directory: &Path, folder: &Path) -> Result<Option<Self>> {
        let mut destinations = Vec::new();
        if let Some(command) = &settings.command {
            destinations.push(Destination::Command {
                line: command.clone(),
                directory: directory.to_owned(),
            });
        }
        if let Some(url) = &settings.url {
            let url = url.bound("`url` of `[notify]`", directory);
            destinations.push(Destination::Url(url));
        }
        if destinations.is_empty() || settings.on.is_empty() {
            return Ok(None);
        }
        let shared = Arc::<Shared>::default();
        let (notices, waiting) = mpsc::sync_channel(WAITING);
        let (ended, done) = mpsc::channel::<()>();
        let mut sender = Sender::new(destinations, settings.timeout.0);
        let of_thread = Arc::clone(&shared);
        let work = move || {
            let _ended = ended;
            for notice in waiting {
                of_thread.send(&mut sender, &notice);
            }
        };
        thread::Builder::new()
            .name("notices".to_owned())
            .spawn(work)?;
        Ok(Some(Self {
            on: settings.on.clone(),
            folder: folder.to_owned(),
            run: None,
            counts: None,
            notices: Some(notices),
            count: 0,
            shared,
            done,
        }))
    }

    /// Returns the kind of notice for an event, if one is wanted.
    fn wanted(&self, kind: &RunEventKind) -> Option<NotifyOn> {
        let kinds: &[NotifyOn] = match kind {
            RunEventKind::AttemptEnded { result, .. } if !result.verdict.is_final() => {
                &[NotifyOn::Failure, NotifyOn::Case]
            }
            RunEventKind::AttemptEnded { .. } => &[NotifyOn::Case],
            RunEventKind::Overruled { verdict, .. } if verdict.is_failure() => &[NotifyOn::Failure],
            RunEventKind::FlakyFailed { .. } => &[NotifyOn::Failure],
            RunEventKind::RunEnded { .. } => &[NotifyOn::End],
            _ => &[],
        };
        kinds.iter().find(|kind| self.on.contains(kind)).copied()
    }
}

impl Aggregator for Notify {
    fn ingest(&mut self, event: &RunEvent) -> Result<()> {
        match &event.kind {
            RunEventKind::RunStarted { run, workspace, .. } => {
                self.run = Some((run.clone(), workspace.clone()));
            }
            RunEventKind::CasesCounted(counts) => self.counts = Some(counts.clone()),
            _ => {}
        }
        let Some(on) = self.wanted(&event.kind) else {
            return Ok(());
        };
        let body = NoticeBody {
            version: VERSION,
            on,
            run: self.run.as_ref().map(|(run, _)| run.as_str()),
            workspace: self.run.as_ref().map(|(_, workspace)| workspace.as_path()),
            folder: &self.folder,
            cases: self.counts.as_ref(),
            event,
        };
        let json = secret::json_line(&body)
            .map_err(|error| Error::other("failed to write a notice").with_source(error))?;
        self.count += 1;
        if let Some(notices) = &self.notices {
            // A full queue is told at the end.
            let _ = notices.try_send(Notice { on, json });
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        *sync::lock(&self.shared.deadline) = Some(Instant::now() + PATIENCE);
        self.notices = None;
        let in_time = self.done.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout);
        if !in_time {
            // Scripts of the run have ended by now. A command of a notice would outlive the run.
            process::kill_scripts();
        }
        let sent = self.shared.sent.load(Ordering::Relaxed);
        let missing = self.count.saturating_sub(sent);
        if missing == 0 {
            return Ok(());
        }
        let error = sync::lock(&self.shared.error).take();
        let error = error.unwrap_or_else(|| match in_time {
            true => "too many notices at once".to_owned(),
            false => format!("not sent within {} s after the run", PATIENCE.as_secs()),
        });
        let message = format!("{missing} of {} notices were not sent: {error}", self.count);
        Err(Error::other(message))
    }
}

impl Shared {
    /// Sends a notice, unless the time for it is over.
    fn send(&self, sender: &mut Sender, notice: &Notice) {
        let left = || {
            let deadline = *sync::lock(&self.deadline);
            deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
        };
        match sender.send(notice.on, &notice.json, &left) {
            Ok(()) => {
                self.sent.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => *sync::lock(&self.error) = Some(error),
        }
    }
}

#[cfg(test)]
mod tests;
