//! Runs commands through a program of this host: a container engine or a program of the user.
//!
//! The exit status of a command comes from the markers in its output, not from the program's exit code. Must not start
//! processes itself: `process` does.

use std::{
    any::Any,
    os::unix::process::ExitStatusExt,
    pin::Pin,
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use target_fixtures::{
    env,
    wire::{Exit, ShellCommand, Stream},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{mpsc, oneshot, watch},
    time,
};

use super::{
    CommandEvent, CommandStdin, FileAccess, ProbeAnswer, Running, RunningEnd, SignalRequest,
    Transport, TransportFuture, answered, input, local,
    openssh::OpenSsh,
    own_command,
    shell::{self, KeptShell},
    swept, timed_out, unconfirmed,
};
use crate::{
    connect::{ContainerReach, ProgramReach},
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
    Container(ContainerReach),
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
    pub(super) _guard: Box<dyn Any + Send>,
}

impl StartedProgram {
    /// Ends the input and waits until the program has ended, which has forwarded all output.
    pub(super) async fn close(mut self) {
        drop(self.stdin.take());
        let _ = time::timeout(LINGER, self.end.wait()).await;
    }
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
            Self::Container(reach) => in_container(reach, false, line),
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
            _guard: Box::new(group),
        })
    }
}

/// Creates a command that runs a line in a container, with a terminal (`tty`) or without.
pub(super) fn in_container(reach: &ContainerReach, tty: bool, line: &str) -> std::process::Command {
    let mut command = process::command(&reach.engine);
    command.args(["exec", "--interactive"]);
    command.args(tty.then_some("--tty"));
    command.args(reach.user.iter().flat_map(|user| ["--user", user]));
    command.args([&reach.container, "/bin/sh", "-c", line]);
    command
}

/// Creates a command for a user's program. Of this tool's variables, only the request is in its environment.
pub(super) fn program(words: &[String], reach: &ProgramReach) -> Result<std::process::Command> {
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
        mut to: SignalledGroup,
        mut signals: mpsc::UnboundedReceiver<SignalRequest>,
        killed: oneshot::Sender<Result<()>>,
    ) {
        let mut killed = Some(killed);
        while let Some(request) = signals.recv().await {
            if wrapped.request.is_some() {
                // Before, there may be no process to signal. Fails if the command has ended.
                let _ = to.group.wait_for(Option::is_some).await;
            }
            to.is_signalled.store(true, Ordering::SeqCst);
            let group = *to.group.borrow();
            let sent = self.signal(&wrapped, group, &request.name).await;
            if request.name == "KILL"
                && let Some(killed) = killed.take()
            {
                // Fails if the command has ended.
                let _ = killed.send(sent.clone());
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
            group: watch::Sender::new(None),
            is_signalled: Arc::default(),
            events,
            early: Vec::new(),
            no_shell,
            _fresh: match &self.exec_program {
                ExecProgram::OpenSsh(openssh) if shell::ends_shells(command) => {
                    Some(openssh.kept.close())
                }
                _ => None,
            },
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

/// The process group of a command, for the task that forwards signals.
struct SignalledGroup {
    group: watch::Receiver<Option<u32>>,
    is_signalled: Arc<AtomicBool>,
}

/// The state of one running command.
struct Follower {
    piped: PipedTransport,
    wrapped: shell::WrappedLine,
    filter: shell::Filter,
    /// The command's process group, once it is known and until a kept shell may serve another command.
    group: watch::Sender<Option<u32>>,
    /// True if a signal was sent to the group, which may arrive after the end of the command.
    is_signalled: Arc<AtomicBool>,
    events: mpsc::Sender<CommandEvent>,
    /// Output that arrived with the answer of a kept shell.
    early: Vec<CommandEvent>,
    /// The kind of the error if the program does not run lines.
    no_shell: ErrorKind,
    /// Prevents kept shells while a command runs that must have a login of its own.
    _fresh: Option<Arc<()>>,
}

impl Follower {
    async fn run(
        mut self,
        lease: String,
        stdin: Option<CommandStdin>,
        timeout: Option<Duration>,
        signals: mpsc::UnboundedReceiver<SignalRequest>,
    ) {
        let events = self.events.clone();
        let started = tokio::select! {
            started = self.start(&lease, stdin.is_some(), timeout) => started,
            () = events.closed() => {
                // A kept shell may just have started the command.
                let _ = self.kill().await;
                return;
            }
        };
        match started {
            Ok((program, shell)) => self.follow(program, shell, stdin, timeout, signals).await,
            // Fails if the receiver is gone.
            Err(error) => drop(events.send(CommandEvent::Lost(error)).await),
        }
    }

    /// Starts the command in a kept shell, or in a program of its own.
    async fn start(
        &mut self,
        lease: &str,
        stdin: bool,
        timeout: Option<Duration>,
    ) -> Result<(StartedProgram, Option<KeptShell>)> {
        if let (ExecProgram::OpenSsh(openssh), Some(request)) =
            (&self.piped.exec_program, &self.wrapped.request)
        {
            let (openssh, request) = (Arc::clone(openssh), request.clone());
            while let Some((mut program, shell)) = openssh.shell().await? {
                let answered = tokio::select! {
                    answered = self.request(&mut program, &request) => answered,
                    () = local::sleep(timeout) => {
                        drop(program);
                        self.kill().await?;
                        return Err(timed_out(timeout.unwrap_or_default()));
                    }
                };
                if answered.is_some() {
                    return Ok((program, Some(shell)));
                }
                program.close().await;
                openssh.kept.ended(&shell);
                self.filter = shell::Filter::new(&self.wrapped.nonce);
            }
        }
        let (program, line) = (&self.piped.exec_program, &self.wrapped.line);
        Ok((program.start(line, lease, stdin).await?, None))
    }

    /// Sends a request to a kept shell; `None` if the shell ends instead of starting the command.
    async fn request(&mut self, program: &mut StartedProgram, request: &[u8]) -> Option<()> {
        program.stdin.as_mut()?.write_all(request).await.ok()?;
        let (stdout, stderr) = (program.stdout.as_mut()?, program.stderr.as_mut()?);
        let (mut out, mut err) = ([0; 4096], [0; 4096]);
        while self.filter.stamp().is_none() {
            let (stream, bytes) = tokio::select! {
                read = stdout.read(&mut out) => match read.ok()? {
                    0 => return None,
                    read => (Stream::Stdout, self.filtered(Stream::Stdout, &out[..read])),
                },
                Ok(read @ 1..) = stderr.read(&mut err) => (Stream::Stderr, self.filtered(Stream::Stderr, &err[..read])),
            };
            if !bytes.is_empty() {
                self.early.push(CommandEvent::Output(stream, bytes));
            }
        }
        Some(())
    }

    /// Returns the command's output in the next chunk of a stream.
    fn filtered(&mut self, stream: Stream, bytes: &[u8]) -> Vec<u8> {
        let bytes = match stream {
            Stream::Stdout => self.filter.stdout(bytes),
            Stream::Stderr => self.filter.stderr(bytes),
        };
        if let group @ Some(_) = self.filter.group() {
            self.group.send_replace(group);
        }
        bytes
    }

    async fn follow(
        mut self,
        mut program: StartedProgram,
        shell: Option<KeptShell>,
        stdin: Option<CommandStdin>,
        timeout: Option<Duration>,
        signals: mpsc::UnboundedReceiver<SignalRequest>,
    ) {
        let pipe = match shell {
            Some(_) => None,
            None => program.stdin.take(),
        };
        let feed = tokio::spawn(local::feed(pipe, stdin));
        let events = self.events.clone();
        let (killed, kill) = oneshot::channel();
        // Not a part of this future: a command may end before the program that signals it.
        let wrapped = self.wrapped.clone();
        let group = SignalledGroup {
            group: self.group.subscribe(),
            is_signalled: Arc::clone(&self.is_signalled),
        };
        let forward = self.piped.clone();
        tokio::spawn(forward.forward_signals(wrapped, group, signals, killed));
        let last = tokio::select! {
            last = self.read(&mut program) => match last {
                Some(last) => last,
                None => self.ended_without_marker(&mut program.end).await,
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
        if let (ExecProgram::OpenSsh(openssh), Some(shell)) = (&self.piped.exec_program, shell) {
            // The group of the next command has the same number.
            self.group.send_replace(None);
            if !self.is_signalled.load(Ordering::SeqCst)
                && let (Some(stamp), Some(_)) = (self.filter.stamp(), self.filter.exit())
                && let Some(shell) = openssh.kept.served(shell, stamp)
            {
                openssh.keep(program, shell);
                let _ = events.send(last).await;
                return;
            }
        }
        let _ = events.send(last).await;
        program.close().await;
    }

    async fn kill(&self) -> Result<()> {
        let group = *self.group.borrow();
        self.piped.signal(&self.wrapped, group, "KILL").await
    }

    /// Returns the signal that killed the command's shell on the instance, from the exit status of the program: 128 plus
    /// the number, or the signal itself if a user's program became the shell.
    fn shell_killed_by(&self, status: ExitStatus) -> Option<String> {
        let by_code = status.code().and_then(process::signal_of_code);
        match self.piped.exec_program {
            ExecProgram::Container(_) | ExecProgram::OpenSsh(_) => by_code,
            ExecProgram::Programs(_) => by_code.or(status.signal().map(process::signal_name)),
        }
    }

    /// Forwards the output and returns the last event of the command; `None` if the program ended without an end marker.
    async fn read(&mut self, program: &mut StartedProgram) -> Option<CommandEvent> {
        let end = &mut program.end;
        let (stdout, stderr) = (program.stdout.as_mut()?, program.stderr.as_mut()?);
        for event in std::mem::take(&mut self.early) {
            if self.events.send(event).await.is_err() {
                return std::future::pending().await;
            }
        }
        if let Some(exit) = self.filter.exit() {
            return Some(CommandEvent::Exited(exit));
        }
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
                    (Stream::Stdout, self.filtered(Stream::Stdout, &out[..read]))
                }
                read = stderr.read(&mut err), if err_open => {
                    let read = read.unwrap_or(0);
                    err_open = read > 0;
                    (Stream::Stderr, self.filtered(Stream::Stderr, &err[..read]))
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
