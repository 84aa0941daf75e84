//! Runs commands through a program of this host: a container engine or a program of the user.
//!
//! The exit status of a command comes from the markers in its output, not from the program's exit code. Must not start
//! processes itself: `process` does.

use std::{
    any::Any,
    os::unix::process::ExitStatusExt,
    pin::Pin,
    process::ExitStatus,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use target_fixtures::{
    env,
    wire::{Exit, ShellCommand, Stream},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    sync::{mpsc, oneshot},
    time,
};

use super::{
    CommandEvent, CommandStdin, FileAccess, ProbeAnswer, Running, RunningEnd, SignalRequest,
    Transport, TransportFuture, answered, copied, input, local, openssh::OpenSsh, own_command,
    shell, swept, timed_out, unconfirmed,
};
use crate::{
    connect::ProgramReach,
    error::{Error, ErrorKind, Result},
    process,
};

/// The size of a read, in bytes.
const CHUNK: usize = 128 << 10;
/// The timeout of killing a command.
const KILL: Duration = Duration::from_secs(10);
/// The time that the program may take to exit after its command.
const LINGER: Duration = Duration::from_secs(2);

/// The hint if the program does not run lines.
const NO_SHELL: &str = "commands are lines for a POSIX shell on the instance, `/bin/sh`; the program must run its last argument there";

/// The program that runs a line in the instance's shell.
#[derive(Clone)]
pub(super) enum ExecProgram {
    Container {
        engine: String,
        container: String,
        user: Option<String>,
    },
    Programs(ProgramReach),
    OpenSsh(Arc<OpenSsh>),
}

/// A started program.
pub(super) struct StartedProgram {
    pub(super) stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    pub(super) stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    pub(super) stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    pub(super) end: ProgramEnd,
    /// Ends what is left of the program when it is dropped.
    pub(super) guard: Box<dyn Any + Send>,
}

/// The end of a program.
pub(super) struct ProgramEnd {
    exit: Pin<Box<dyn Future<Output = Option<ExitStatus>> + Send>>,
    status: Option<Option<ExitStatus>>,
    /// True if output is lost when the end is waited for before all of it was read.
    after_output: bool,
}

impl ProgramEnd {
    /// The future completes with the exit status, if there is one.
    pub(super) fn new(exit: impl Future<Output = Option<ExitStatus>> + Send + 'static) -> Self {
        Self {
            exit: Box::pin(exit),
            status: None,
            after_output: false,
        }
    }

    /// As [`ProgramEnd::new`], for a program whose output is lost if the end is waited for before all of it was read.
    pub(super) fn after_output(
        exit: impl Future<Output = Option<ExitStatus>> + Send + 'static,
    ) -> Self {
        Self {
            after_output: true,
            ..Self::new(exit)
        }
    }

    /// Waits for the end. May be called again.
    async fn wait(&mut self) -> Option<ExitStatus> {
        match self.status {
            Some(status) => status,
            None => *self.status.insert(self.exit.as_mut().await),
        }
    }
}

#[derive(Clone)]
pub(super) struct PipedTransport {
    instance: String,
    exec_program: ExecProgram,
}

impl ExecProgram {
    /// Starts the program, with a standard input or without.
    async fn start(&self, line: &str, lease: &str, stdin: bool) -> Result<StartedProgram> {
        let mut command = match self {
            Self::Container {
                engine,
                container,
                user,
            } => in_container((engine, container, user), false, line),
            Self::Programs(reach) => {
                let mut command = program(&reach.exec, reach)?;
                command.arg(line);
                command
            }
            Self::OpenSsh(openssh) => return openssh.open(line, stdin).await,
        };
        // Marks the program, so that it is found on this host after its lease was abandoned.
        match lease {
            "" => command.env_remove(env::LEASE),
            lease => command.env(env::LEASE, lease),
        };
        let (mut child, group) = local::start(command, stdin)?;
        Ok(StartedProgram {
            stdin: child.stdin.take().map(|pipe| Box::new(pipe) as _),
            stdout: child.stdout.take().map(|pipe| Box::new(pipe) as _),
            stderr: child.stderr.take().map(|pipe| Box::new(pipe) as _),
            end: ProgramEnd::new(async move { child.wait().await.ok() }),
            guard: Box::new(group),
        })
    }
}

/// Creates a command that runs a line in a container, with a terminal (`tty`) or without.
pub(super) fn in_container(
    (engine, container, user): (&str, &str, &Option<String>),
    tty: bool,
    line: &str,
) -> std::process::Command {
    let mut command = process::command(engine);
    command.args(["exec", "--interactive"]);
    command.args(tty.then_some("--tty"));
    command.args(user.iter().flat_map(|user| ["--user", user]));
    command.args([container, "/bin/sh", "-c", line]);
    command
}

/// Creates a command for a user's program. Of this tool's variables, only the request is in its environment.
fn program(words: &[String], reach: &ProgramReach) -> Result<std::process::Command> {
    let mut words = words.iter();
    let mut command = process::command(words.next().map_or("", String::as_str));
    command.args(words).current_dir(&reach.directory);
    process::remove_own_variables(&mut command);
    command.envs(reach.environment()?);
    Ok(command)
}

impl PipedTransport {
    pub(super) fn new(instance: &str, exec_program: ExecProgram) -> Self {
        let instance = instance.to_owned();
        Self {
            instance,
            exec_program,
        }
    }

    /// Forwards signals to a command, in order, as long as its [`Running`] exists; tells `killed` about `KILL`.
    async fn forward_signals(
        self,
        wrapped: shell::WrappedLine,
        group: Arc<OnceLock<u32>>,
        mut signals: mpsc::UnboundedReceiver<SignalRequest>,
        killed: oneshot::Sender<Result<()>>,
    ) {
        let mut killed = Some(killed);
        while let Some(request) = signals.recv().await {
            let sent = self.signal(&wrapped, group.get().copied(), &request.name);
            let sent = sent.await;
            if request.name == "KILL"
                && let Some(killed) = killed.take()
            {
                // Fails if the command has ended.
                let _ = killed.send(sent.as_ref().copied().map_err(copied));
            }
            request.answer(sent);
        }
    }

    /// Sends a signal to a command on the instance.
    async fn signal(
        &self,
        wrapped: &shell::WrappedLine,
        group: Option<u32>,
        name: &str,
    ) -> Result<()> {
        let mut command = shell::signal(wrapped, group, name);
        command.timeout = u64::try_from(KILL.as_millis()).ok();
        let stdin = input(&command, None);
        let ended = self.exec(&command, "", stdin).finished().await;
        shell::signalled(name, ended?)
    }

    fn lost(&self, what: &str) -> CommandEvent {
        CommandEvent::Lost(Error::infra(format!("`{}` {what}", self.instance)))
    }
}

impl PipedTransport {
    /// As [`Transport::exec`]; `no_shell` is the kind of the error if the program does not run lines.
    fn run(
        &self,
        command: &ShellCommand,
        lease: &str,
        stdin: Option<CommandStdin>,
        no_shell: ErrorKind,
    ) -> Running {
        let wrapped = match shell::wrap(command, lease, stdin.is_some()) {
            Ok(wrapped) => wrapped,
            Err(error) => return Running::lost(error),
        };
        let (running, RunningEnd { events, signals }) = Running::new();
        let follower = Follower {
            piped: self.clone(),
            filter: shell::Filter::new(&wrapped.nonce),
            wrapped,
            group: Arc::default(),
            events,
            no_shell,
        };
        let timeout = command.timeout.map(Duration::from_millis);
        tokio::spawn(follower.run(lease.to_owned(), stdin, timeout, signals));
        running
    }
}

impl Transport for PipedTransport {
    fn exec(&self, command: &ShellCommand, lease: &str, stdin: Option<CommandStdin>) -> Running {
        self.run(command, lease, stdin, ErrorKind::Infra)
    }

    fn file_program(&self, access: &FileAccess<'_>) -> Result<Option<std::process::Command>> {
        let ExecProgram::Programs(reach) = &self.exec_program else {
            return Ok(None);
        };
        let words = match access {
            FileAccess::Put { .. } => &reach.put,
            FileAccess::Get { .. } => &reach.get,
        };
        let Some(words) = words else {
            return Ok(None);
        };
        let mut command = program(words, reach)?;
        match access {
            FileAccess::Put { path, mode } => command.arg(path).arg(format!("{mode:04o}")),
            FileAccess::Get { path } => command.arg(path),
        };
        Ok(Some(command))
    }

    fn probe(&self, timeout: Duration) -> TransportFuture<ProbeAnswer> {
        let (asked, command) = (
            Instant::now(),
            own_command(shell::BOOT_ID.to_owned(), Some(timeout)),
        );
        let running = self.run(&command, "", None, ErrorKind::Unfit);
        answered(&self.instance, asked, Ok(running))
    }

    fn losses(&self) -> usize {
        match &self.exec_program {
            ExecProgram::OpenSsh(ssh) => ssh.losses(),
            _ => 0,
        }
    }

    fn host_key(&self) -> Option<String> {
        match &self.exec_program {
            ExecProgram::OpenSsh(openssh) => openssh.host_key(),
            _ => None,
        }
    }

    fn sweep(&self, lease: &str, timeout: Duration) -> TransportFuture<()> {
        let command = own_command(shell::sweep(lease), Some(timeout));
        swept(&self.instance, lease, Ok(self.exec(&command, "", None)))
    }
}

/// The state of one running command.
struct Follower {
    piped: PipedTransport,
    wrapped: shell::WrappedLine,
    filter: shell::Filter,
    /// The command's process group, once it is known.
    group: Arc<OnceLock<u32>>,
    events: mpsc::Sender<CommandEvent>,
    /// The kind of the error if the program does not run lines.
    no_shell: ErrorKind,
}

impl Follower {
    async fn run(
        self,
        lease: String,
        stdin: Option<CommandStdin>,
        timeout: Option<Duration>,
        signals: mpsc::UnboundedReceiver<SignalRequest>,
    ) {
        let (program, line) = (&self.piped.exec_program, &self.wrapped.line);
        let started = tokio::select! {
            started = program.start(line, &lease, stdin.is_some()) => started,
            () = self.events.closed() => return,
        };
        match started {
            Ok(program) => self.follow(program, stdin, timeout, signals).await,
            // Fails if the receiver is gone.
            Err(error) => drop(self.events.send(CommandEvent::Lost(error)).await),
        }
    }

    async fn follow(
        mut self,
        program: StartedProgram,
        stdin: Option<CommandStdin>,
        timeout: Option<Duration>,
        signals: mpsc::UnboundedReceiver<SignalRequest>,
    ) {
        let StartedProgram {
            stdin: pipe,
            stdout,
            stderr,
            mut end,
            guard,
        } = program;
        let feed = tokio::spawn(local::feed(pipe, stdin));
        let events = self.events.clone();
        let (killed, kill) = oneshot::channel();
        // Not a part of this future: a command may end before the program that signals it.
        let (wrapped, group) = (self.wrapped.clone(), Arc::clone(&self.group));
        let forward = self.piped.clone();
        tokio::spawn(forward.forward_signals(wrapped, group, signals, killed));
        let last = tokio::select! {
            last = self.read(&mut end, stdout, stderr) => match last {
                Some(last) => last,
                None => self.ended_without_marker(&mut end).await,
            },
            Ok(killed) = kill => {
                confirmed(killed, CommandEvent::Exited(Exit::Signal("KILL".to_owned())))
            }
            () = local::sleep(timeout) => {
                let late = CommandEvent::Lost(timed_out(timeout.unwrap_or_default()));
                confirmed(self.kill().await, late)
            }
            () = events.closed() => {
                // The receiver is gone. What survives is found by the sweep of the lease.
                let _ = self.kill().await;
                return;
            }
        };
        feed.abort();
        let _ = events.send(last).await;
        // The program has forwarded all output.
        let _ = time::timeout(LINGER, end.wait()).await;
        drop(guard);
    }

    async fn kill(&self) -> Result<()> {
        let group = self.group.get().copied();
        self.piped.signal(&self.wrapped, group, "KILL").await
    }

    /// Returns the signal that killed the command's shell on the instance, from the exit status of the program: 128 plus
    /// the number, or the signal itself if a user's program became the shell.
    fn shell_killed_by(&self, status: ExitStatus) -> Option<String> {
        let by_code = status.code().and_then(process::signal_of_code);
        match self.piped.exec_program {
            ExecProgram::Container { .. } | ExecProgram::OpenSsh(_) => by_code,
            ExecProgram::Programs(_) => by_code.or(status.signal().map(process::signal_name)),
        }
    }

    /// Forwards the output and returns the last event of the command; `None` if the program ended without an end marker.
    async fn read(
        &mut self,
        end: &mut ProgramEnd,
        stdout: Option<impl AsyncRead + Unpin>,
        stderr: Option<impl AsyncRead + Unpin>,
    ) -> Option<CommandEvent> {
        let (mut stdout, mut stderr) = (stdout?, stderr?);
        let (mut out, mut err) = (vec![0; CHUNK], vec![0; CHUNK]);
        let (mut out_open, mut err_open) = (true, true);
        // After the end of the program, a process that still holds the pipes is not waited for.
        let (mut has_exited, mut late) = (false, Box::pin(local::sleep(None)));
        let waits = !end.after_output;
        while out_open || err_open {
            let (stream, bytes) = tokio::select! {
                _ = end.wait(), if waits && !has_exited => {
                    has_exited = true;
                    late.set(local::sleep(Some(LINGER)));
                    continue;
                }
                () = &mut late => {
                    // What survives is found by the sweep of the lease.
                    let _ = self.kill().await;
                    break;
                }
                read = stdout.read(&mut out), if out_open => {
                    let read = read.unwrap_or(0);
                    out_open = read > 0;
                    (Stream::Stdout, self.filter.stdout(&out[..read]))
                }
                read = stderr.read(&mut err), if err_open => {
                    let read = read.unwrap_or(0);
                    err_open = read > 0;
                    let bytes = self.filter.stderr(&err[..read]);
                    if let Some(group) = self.filter.group() {
                        self.group.get_or_init(|| group);
                    }
                    (Stream::Stderr, bytes)
                }
            };
            if !bytes.is_empty()
                && self
                    .events
                    .send(CommandEvent::Output(stream, bytes))
                    .await
                    .is_err()
            {
                // The receiver is gone: `follow` notices that and kills the command.
                return std::future::pending().await;
            }
            if has_exited {
                late.set(local::sleep(Some(LINGER)));
            }
            if let Some(exit) = self.filter.exit() {
                return Some(CommandEvent::Exited(exit));
            }
        }
        None
    }

    /// Returns the last event of a command whose end markers are missing.
    async fn ended_without_marker(&self, end: &mut ProgramEnd) -> CommandEvent {
        let status = time::timeout(LINGER, end.wait()).await.ok().flatten();
        if self.filter.has_started() {
            return match status.and_then(|status| self.shell_killed_by(status)) {
                Some(signal) => CommandEvent::Exited(Exit::Signal(signal)),
                None => (self.piped).lost("did not report the exit status of the command"),
            };
        }
        let noise = self.filter.noise();
        let what = format!("did not run the command; it printed `{noise}`");
        match status.and_then(|status| status.code()) {
            Some(code @ (0 | 126 | 127)) => {
                let text = format!("`{}` {what} (exit code {code})", self.piped.instance);
                let error = Error::new(self.no_shell, text);
                CommandEvent::Lost(error.with_hint(NO_SHELL))
            }
            _ => self.piped.lost(&what),
        }
    }
}

/// Returns the last event of a command that was killed.
fn confirmed(killed: Result<()>, last: CommandEvent) -> CommandEvent {
    match killed {
        Ok(()) => last,
        Err(error) => unconfirmed(last, error),
    }
}
