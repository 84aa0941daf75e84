//! The kept shells of an instance that are processes of this host: of OpenSSH, or of the engine of a container.
//!
//! Must not know how such a process is started.

use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use super::{
    CommandStdin,
    program::StartedProgram,
    shell::{KeptShell, KeptShells, WrappedLine},
};
use crate::{error::Result, sync};

/// Kept shells that serve no command.
pub(super) struct ShellPool {
    pub(super) kept: Arc<KeptShells>,
    /// The maximum number of shells.
    most: usize,
    idle: Mutex<Vec<StartedProgram>>,
}

impl ShellPool {
    pub(super) fn new(kept: Arc<KeptShells>, most: usize) -> Self {
        let idle = Mutex::default();
        Self { kept, most, idle }
    }

    /// Starts a command in a kept shell, and opens one if none is idle; `None` if the command must have a login of its own.
    pub(super) async fn start(
        &self,
        wrapped: &WrappedLine,
        open: impl AsyncFnOnce(CommandStdin) -> Result<StartedProgram>,
    ) -> Result<Option<StartedProgram>> {
        // Stale shells count as sessions, too.
        self.close_stale().await;
        let Some(request) = &wrapped.request else {
            return Ok(None);
        };
        let idle = sync::lock(&self.idle).pop();
        let program = match (idle, self.kept.login()) {
            (Some(idle), _) => idle,
            (None, None) => return Ok(None),
            (None, Some(shell)) => {
                let (requests, stdin) = mpsc::channel(1);
                StartedProgram {
                    shell: Some(shell),
                    requests: Some(requests),
                    ..open(stdin).await?
                }
            }
        };
        if let Some(requests) = &program.requests {
            // Fails if the shell has ended.
            let _ = requests.send(request.clone()).await;
        }
        Ok(Some(program))
    }

    /// Keeps a shell for the next command.
    pub(super) fn keep(&self, program: StartedProgram, shell: KeptShell) {
        let mut idle = sync::lock(&self.idle);
        if idle.len() < self.most {
            let shell = Some(shell);
            idle.push(StartedProgram { shell, ..program });
        }
    }

    /// Closes the shells that may serve no more command.
    async fn close_stale(&self) {
        let is_current = |shell: &KeptShell| self.kept.is_current(shell);
        let is_stale =
            |program: &mut StartedProgram| !program.shell.as_ref().is_some_and(is_current);
        let stale: Vec<_> = sync::lock(&self.idle).extract_if(.., is_stale).collect();
        for program in stale {
            program.close().await;
        }
    }
}
