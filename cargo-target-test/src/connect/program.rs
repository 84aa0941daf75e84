//! A program that runs a line: its output and its exit as events, over a channel of SSH or the pipes of a process.
//!
//! Must not know markers: `remote` does.

use std::{any::Any, os::fd::AsFd, time::Duration};

use target_fixtures::wire::{Exit, Stream};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, JoinSet},
    time,
};

use super::{CommandEvent, CommandStdin, EVENTS, local, shell::KeptShell};

/// The time that a program may take to exit after its output.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// A started program. Dropping it ends what is left of it.
pub(super) struct StartedProgram {
    /// The output, and the exit status if there is one. Closed after both; output may follow the exit status if another
    /// process holds the pipes.
    pub(super) events: mpsc::Receiver<CommandEvent>,
    /// The kept shell that the program is.
    pub(super) shell: Option<KeptShell>,
    /// Takes the requests of a kept shell that is a process.
    pub(super) requests: Option<mpsc::Sender<Vec<u8>>>,
    pub(super) carrier: Carrier,
}

/// The way to a program.
pub(super) enum Carrier {
    /// A channel of the built-in SSH client. The sender gives a kept shell back.
    Channel(oneshot::Sender<KeptShell>),
    /// The pipes of a process on this host.
    Pipes(Pipes),
}

/// The tasks that write and read the pipes of a process.
pub(super) struct Pipes {
    feed: AbortHandle,
    _tasks: JoinSet<()>,
    /// Ends what is left of the process when it is dropped.
    _guard: Box<dyn Any + Send>,
}

/// The end of a process.
pub(super) struct ProgramEnd<F> {
    /// Completes with the exit status, if there is one.
    pub(super) exit: F,
    /// True if the output must be read to its end before `exit` is awaited.
    pub(super) after_output: bool,
}

impl StartedProgram {
    /// Follows a process, which reads `stdin`.
    pub(super) fn of_process(
        pipe: Option<impl AsyncWrite + Send + Unpin + 'static>,
        stdin: Option<CommandStdin>,
        stdout: Option<impl AsyncRead + AsFd + Send + Sync + Unpin + 'static>,
        stderr: Option<impl AsyncRead + AsFd + Send + Sync + Unpin + 'static>,
        end: ProgramEnd<impl Future<Output = Option<Exit>> + Send + 'static>,
        guard: impl Any + Send,
    ) -> Self {
        let (send, events) = mpsc::channel(EVENTS);
        let mut tasks = JoinSet::new();
        let feed = tasks.spawn(local::feed(pipe, stdin));
        tasks.spawn(async move {
            // The streams are forwarded to their ends.
            let (_never, ended) = watch::channel(false);
            let stdout = local::pump(stdout, Stream::Stdout, send.clone(), ended.clone());
            let stderr = local::pump(stderr, Stream::Stderr, send.clone(), ended);
            let pumps = async { tokio::join!(stdout, stderr) };
            let exit = async {
                if let Some(exit) = end.exit.await {
                    // Fails if the receiver is gone.
                    let _ = send.send(CommandEvent::Exited(exit)).await;
                }
            };
            tokio::pin!(pumps, exit);
            tokio::select! {
                _ = &mut pumps => drop(time::timeout(LINGER, exit).await),
                () = &mut exit, if !end.after_output => drop(pumps.await),
            }
        });
        let carrier = Carrier::Pipes(Pipes {
            feed,
            _tasks: tasks,
            _guard: Box::new(guard),
        });
        Self {
            events,
            shell: None,
            requests: None,
            carrier,
        }
    }

    /// Ends the input of a process, and waits for the end of its output, up to [`LINGER`].
    pub(super) async fn close(mut self) {
        if let Carrier::Pipes(pipes) = &self.carrier {
            pipes.feed.abort();
            let rest = async { while self.events.recv().await.is_some() {} };
            let _ = time::timeout(LINGER, rest).await;
        }
    }
}
