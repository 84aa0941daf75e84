//! From a machine that is there to one that serves: it answers, is as its recipe says, and has told what it is.
//!
//! Owns the order of these steps and the words for what fails. Must not know the pool, nor who waits: progress and
//! the wish to give up come in.

mod facts;
mod ready;
mod reboot;
mod recipe;
mod run;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use self::run::Shell;
use crate::{
    connect::{Transport, shell},
    error::{Error, ErrorKind, Result},
    failpoint,
    playbook::OnDirty,
    provision::{
        Wanted,
        platform::Deployed,
        pool::{Facts, Record},
    },
};

/// How long a machine that we did not make may take to answer: it should be up.
const STANDING: Duration = Duration::from_secs(15);
/// How many of a console's last lines are repeated.
const LINES: usize = 12;

/// Tells a machine what time it is, which was put back together with its clock; one that will not hear of it, a
/// container say, has that of its host.
pub(crate) async fn set_clock(transport: Arc<dyn Transport>) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let line = shell::set_clock(now.unwrap_or_default().as_secs());
    let shell = Shell::new(transport, "clock".to_owned());
    let _ = shell.run(&line, run::SHORT).await;
}

/// An instance that is being prepared.
pub(crate) struct Preparation<'a> {
    /// What it should be.
    pub(crate) wanted: &'a Wanted,
    /// Its record.
    pub(crate) record: &'a Record,
    /// How it is reached.
    pub(crate) deployed: &'a Deployed,
    /// Hears what takes long.
    pub(crate) progress: &'a (dyn Fn(&str) + Sync),
    /// Whether nobody waits any more.
    pub(crate) cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Preparation<'_> {
    /// Has the instance answer, its recipe run and its facts told; returns the live way to it. `recycled`: an older
    /// instance had to end for this cause, and what it left on a machine that was there before goes first, as the
    /// target's `on-dirty` says.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] with what failed, its output or the end of the console.
    pub(crate) async fn run(&self, recycled: Option<&str>) -> Result<(Arc<dyn Transport>, Facts)> {
        let mut shell = Shell::new(self.answer().await?, self.mark());
        if !self.record.ownership.is_created() {
            // Of an earlier preparation whose process died.
            shell.sweep().await?;
            if let (Some(on_dirty), Some(cause)) = (&self.wanted.care.on_dirty, recycled) {
                self.restore(&mut shell, on_dirty, cause).await?;
            }
        }
        for wait in &self.wanted.care.wait {
            self.wait(&shell, wait).await?;
        }
        if let Some(recipe) = &self.wanted.care.recipe {
            self.follow(&mut shell, recipe).await?;
        }
        let facts = facts::probe(&shell).await?;
        Ok((shell.transport, facts))
    }

    /// Undoes what a machine that was there before has been through.
    async fn restore(&self, shell: &mut Shell, on_dirty: &OnDirty, cause: &str) -> Result<()> {
        match on_dirty {
            // Then it would not have come here.
            OnDirty::Hold => Ok(()),
            OnDirty::Reboot => {
                (self.progress)(&format!("rebooting, since {cause}"));
                self.reboot(shell).await
            }
            OnDirty::Clean(recipe) => {
                (self.progress)(&format!(
                    "cleaning by recipe `{}`, since {cause}",
                    recipe.name
                ));
                self.follow(shell, recipe).await
            }
        }
    }

    /// A new way to the instance.
    fn connect(&self) -> Arc<dyn Transport> {
        self.wanted
            .platform
            .connect(&self.record.order, self.deployed)
    }

    /// What marks the commands of a preparation, so that a later one can end them.
    fn mark(&self) -> String {
        format!("prepare-{}", self.record.lease)
    }

    /// How long the instance may take to answer.
    fn patience(&self) -> Duration {
        match self.record.ownership.is_created() {
            true => self.wanted.care.ready_timeout,
            false => self.wanted.care.ready_timeout.min(STANDING),
        }
    }

    fn check_cancelled(&self) -> Result<()> {
        match (self.cancelled)() {
            true => Err(Error::new(ErrorKind::Infra, "cancelled")),
            false => Ok(()),
        }
    }

    /// The end of the console, to be put after an error; empty where there is none.
    fn console_tail(&self) -> String {
        let console = self.wanted.platform.console(&self.record.order);
        let text = console.and_then(|path| std::fs::read(path).ok());
        let text = text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let lines: Vec<_> = text.iter().flat_map(|text| text.lines()).collect();
        let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
        match last.trim() {
            "" => String::new(),
            last => format!("; its console ends:\n{last}"),
        }
    }

    /// A fault point between two steps.
    fn between(&self) -> Result<()> {
        failpoint::point("prepare-step");
        self.check_cancelled()
    }
}
