//! Runs commands through a program: that of a container engine or of the user, or a login by SSH.
//!
//! The exit status of a command comes from the markers in its output, not from the program's exit code. Must not start
//! processes itself: `process` does.

use std::{
    any::Any,
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
    sync::{mpsc, oneshot, watch},
    time,
};

use super::{
    CommandEvent, CommandOutput, CommandStdin, FileAccess, ProbeAnswer, Running, RunningEnd,
    SignalRequest, Transport, TransportFuture, input, local, own_command,
    program::{LINGER, ProgramEnd, StartedProgram},
    shell::{self, KeptShell, KeptShells},
    shell_pool::ShellPool,
    ssh,
    ssh_client::SshClients,
    timed_out,
};
use crate::{
    connect::{ContainerReach, ProgramReach, Shells},
    error::{Error, ErrorKind, Result},
    process,
    secret::Bound,
    sync,
};

/// The timeout of killing a command.
pub(super) const KILL: Duration = Duration::from_secs(10);

/// The maximum number of idle kept shells in a container.
const SHELLS: usize = 8;

/// The exit code of a shell that does not find a program.
const NOT_FOUND: i32 = 127;

/// The hint if the program does not run lines.
const NO_SHELL: &str = "commands are lines for a POSIX shell on the instance, `/bin/sh`; the program must run its last argument there";

/// The hint if no program reaches the instance.
const NO_CONNECT: &str =
    "a platform whose `deploy` returns `Reach::ByPlatform` overrides `connect`";
/// The possible causes of a missing exit status on a host that is reached by SSH.
const KILLED_OR_CLOSED: &str = ": its shell was killed, or the server closed the channel (`ChannelTimeout` in its `sshd_config`)";

/// The program that runs a line in the instance's shell.
#[derive(Clone)]
pub(super) enum ExecProgram {
    Container(ContainerReach, Arc<ShellPool>),
    Programs(ProgramReach),
    Ssh(Arc<SshClients>),
    /// Only the platform can connect to the instance, and it does not.
    None,
}

impl ExecProgram {
    pub(super) fn container(reach: &ContainerReach) -> Self {
        let kept = Arc::new(KeptShells::new(Shells::Kept));
        Self::Container(reach.clone(), Arc::new(ShellPool::new(kept, SHELLS)))
    }
}

#[derive(Clone)]
pub(super) struct RemoteTransport {
    instance: String,
    exec_program: ExecProgram,
}

/// The reason for which a command runs.
#[derive(Clone, Copy, PartialEq)]
enum Purpose {
    /// The caller's.
    Command,
    /// A question whether the instance answers within this time, which includes connecting.
    Probe(Duration),
    /// The end of a lease, within this time.
    Sweep(Duration),
    /// A signal for another command.
    Signal,
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

/// Starts a shell in a container that is about to serve commands.
fn start_shell(reach: &ContainerReach, stdin: CommandStdin) -> Result<StartedProgram> {
    let mut command = in_container(reach, false, &shell::keep());
    command.env_remove(env::LEASE);
    let (child, group) = local::start(command, true)?;
    // The engine keeps a record of a session whose program is killed.
    group.leave();
    Ok(of_child(child, Some(stdin), ()))
}

/// Follows a process, which reads `stdin`.
fn of_child(
    mut child: tokio::process::Child,
    stdin: Option<CommandStdin>,
    guard: impl Any + Send,
) -> StartedProgram {
    let pipe = child.stdin.take();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let end = ProgramEnd {
        exit: async move { child.wait().await.ok().map(local::exit) },
        after_output: false,
    };
    StartedProgram::of_process(pipe, stdin, stdout, stderr, end, guard)
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

impl RemoteTransport {
    pub(super) fn new(instance: &str, exec_program: ExecProgram) -> Self {
        let instance = instance.to_owned();
        Self {
            instance,
            exec_program,
        }
    }

    /// Returns the SSH clients, if the instance is reached by SSH.
    fn ssh(&self) -> Option<&SshClients> {
        match &self.exec_program {
            ExecProgram::Ssh(clients) => Some(clients),
            _ => None,
        }
    }

    /// Returns the state of the kept shells, if commands run in such.
    fn kept(&self) -> Option<&KeptShells> {
        match &self.exec_program {
            ExecProgram::Container(_, shells) => Some(&shells.kept),
            ExecProgram::Ssh(clients) => Some(&clients.endpoint.kept),
            _ => None,
        }
    }

    /// Keeps a shell for the next command.
    fn keep(&self, program: StartedProgram, shell: KeptShell) {
        match &self.exec_program {
            ExecProgram::Container(_, shells) => shells.keep(program, shell),
            ExecProgram::Ssh(clients) => clients.keep(program, shell),
            _ => {}
        }
    }

    /// Starts the program of a command.
    async fn start(
        &self,
        wrapped: &shell::WrappedLine,
        lease: &str,
        stdin: Option<CommandStdin>,
        purpose: Purpose,
    ) -> Result<StartedProgram> {
        let mut command = match &self.exec_program {
            ExecProgram::Container(reach, shells) => {
                let open = async |stdin| start_shell(reach, stdin);
                if let Some(program) = shells.start(wrapped, open).await? {
                    return Ok(program);
                }
                in_container(reach, false, &wrapped.line)
            }
            ExecProgram::Programs(reach) => {
                let mut command = program(&reach.exec, reach)?;
                command.arg(&wrapped.line);
                command
            }
            ExecProgram::Ssh(clients) => {
                let is_urgent = purpose == Purpose::Signal;
                return clients.start(wrapped, stdin, is_urgent).await;
            }
            ExecProgram::None => {
                let text = format!("the platform of `{}` does not connect to it", self.instance);
                return Err(Error::infra(text).with_hint(NO_CONNECT));
            }
        };
        // Marks the program, so that it is found on this host after its lease was abandoned.
        match lease {
            "" => command.env_remove(env::LEASE),
            lease => command.env(env::LEASE, lease),
        };
        let (child, group) = local::start(command, stdin.is_some())?;
        Ok(of_child(child, stdin, group))
    }

    /// As [`Transport::exec`].
    fn run(
        &self,
        command: &ShellCommand,
        lease: &str,
        stdin: Option<CommandStdin>,
        purpose: Purpose,
    ) -> Running {
        let wrapped = match shell::wrap(command, lease, stdin.is_some()) {
            Ok(wrapped) => wrapped,
            Err(error) => return Running::lost(error),
        };
        let within = match purpose {
            Purpose::Command => None,
            Purpose::Probe(within) | Purpose::Sweep(within) => Some(within),
            Purpose::Signal => Some(self.ssh().map_or(KILL, SshClients::kill_timeout)),
        };
        let (running, ends) = Running::new();
        let RunningEnd {
            events,
            signals,
            left_nothing,
        } = ends;
        let follower = Follower {
            remote: self.clone(),
            filter: shell::Filter::new(&wrapped.nonce),
            wrapped,
            group: watch::Sender::new(None),
            is_signalled: Arc::default(),
            events,
            left_nothing,
            purpose,
            timeout: command.timeout.map(Duration::from_millis),
            expires: within.and_then(|within| Instant::now().checked_add(within)),
            _fresh: self
                .kept()
                .filter(|_| shell::ends_shells(command))
                .map(KeptShells::close),
        };
        tokio::spawn(follower.run(lease.to_owned(), stdin, signals));
        running
    }

    /// Runs a command of this tool, which must succeed; `what` is the start of the error.
    fn succeed(
        &self,
        line: String,
        purpose: Purpose,
        what: String,
    ) -> impl Future<Output = Result<CommandOutput>> + Send + use<> {
        let running = self.run(&own_command(line, None), "", None, purpose);
        async move { running.finished().await?.success(&what) }
    }

    /// Forwards signals to a command, in order, as long as its [`Running`] exists; sends the result of `KILL` to `killed`.
    async fn forward_signals(
        self,
        wrapped: shell::WrappedLine,
        mut group: watch::Receiver<Option<u32>>,
        is_signalled: Arc<AtomicBool>,
        mut signals: mpsc::UnboundedReceiver<SignalRequest>,
        killed: oneshot::Sender<Result<()>>,
    ) {
        let mut killed = Some(killed);
        while let Some(request) = signals.recv().await {
            if wrapped.request.is_some() {
                // Until the shell says its group, there may be no process. Fails if the command has ended.
                let _ = group.wait_for(Option::is_some).await;
            }
            is_signalled.store(true, Ordering::SeqCst);
            let group = *group.borrow();
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
        let command = shell::signal(wrapped, group, name);
        let stdin = input(&command, None);
        let ended = self.run(&command, "", stdin, Purpose::Signal).finished();
        shell::signalled(name, ended.await?)
    }

    fn lost(&self, what: &str) -> CommandEvent {
        CommandEvent::Lost(Error::infra(format!("`{}` {what}", self.instance)))
    }
}

impl Transport for RemoteTransport {
    fn exec(&self, command: &ShellCommand, lease: &str, stdin: Option<CommandStdin>) -> Running {
        self.run(command, lease, stdin, Purpose::Command)
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

    fn knock(&self, timeout: Duration) -> TransportFuture<()> {
        match self.ssh() {
            Some(clients) => {
                let endpoint = Arc::clone(&clients.endpoint);
                Box::pin(sync::blocking(move || ssh::knock(&endpoint, timeout)))
            }
            None => Box::pin(std::future::ready(Ok(()))),
        }
    }

    fn probe(&self, timeout: Duration) -> TransportFuture<ProbeAnswer> {
        let asked = Instant::now();
        let what = format!("`{}` does not answer", self.instance);
        let answer = self.succeed(shell::BOOT_ID.to_owned(), Purpose::Probe(timeout), what);
        Box::pin(async move {
            let output = answer.await?;
            Ok(ProbeAnswer {
                took: asked.elapsed(),
                boot_id: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            })
        })
    }

    fn losses(&self) -> usize {
        let losses = |clients: &SshClients| clients.endpoint.losses.load(Ordering::Relaxed);
        self.ssh().map_or(0, losses)
    }

    fn host_key(&self) -> Option<String> {
        self.ssh()?.endpoint.host_key.get().cloned()
    }

    fn sudo_password(&self) -> Option<&Bound> {
        self.ssh()?.endpoint.reach.password.as_ref()
    }

    fn env(&self) -> Option<&std::collections::BTreeMap<String, Bound>> {
        self.ssh().map(|clients| &clients.endpoint.reach.env)
    }

    fn sweep(&self, lease: &str, timeout: Duration) -> TransportFuture<()> {
        let what = format!(
            "`{}`: failed to kill the processes of lease `{lease}`",
            self.instance
        );
        let swept = self.succeed(shell::sweep(lease), Purpose::Sweep(timeout), what);
        Box::pin(async move { swept.await.map(drop) })
    }
}

/// The time at which a command ends at the latest, and the error.
type Deadline = Option<(Instant, Error)>;

/// The state of one running command.
struct Follower {
    remote: RemoteTransport,
    wrapped: shell::WrappedLine,
    filter: shell::Filter,
    /// The command's process group, once it is known and until a kept shell may serve another command.
    group: watch::Sender<Option<u32>>,
    /// True if a signal was sent to the group, which may arrive after the end of the command.
    is_signalled: Arc<AtomicBool>,
    events: mpsc::Sender<CommandEvent>,
    /// Set if the command has left no process.
    left_nothing: Arc<AtomicBool>,
    purpose: Purpose,
    /// The timeout, from the start of the command.
    timeout: Option<Duration>,
    /// The deadline, which includes connecting.
    expires: Option<Instant>,
    /// Prevents kept shells while a command runs that must have a login of its own.
    _fresh: Option<Arc<()>>,
}

impl Follower {
    async fn run(
        mut self,
        lease: String,
        stdin: Option<CommandStdin>,
        signals: mpsc::UnboundedReceiver<SignalRequest>,
    ) {
        let events = self.events.clone();
        let started = tokio::select! {
            started = self.start(&lease, stdin) => started,
            () = events.closed() => {
                // The command may just have started.
                let _ = self.kill().await;
                return;
            }
        };
        match started {
            Ok((program, deadline)) => self.follow(program, deadline, signals).await,
            // Fails if the receiver is gone.
            Err(error) => drop(events.send(CommandEvent::Lost(error)).await),
        }
    }

    /// Starts the command in a kept shell, or in a program of its own.
    async fn start(
        &mut self,
        lease: &str,
        mut stdin: Option<CommandStdin>,
    ) -> Result<(StartedProgram, Deadline)> {
        loop {
            let (remote, stdin) = (&self.remote, stdin.take());
            let started = remote.start(&self.wrapped, lease, stdin, self.purpose);
            let mut program = tokio::select! {
                program = started => program?,
                error = passed(self.overdue()) => return Err(error),
            };
            let timeout = self.timeout.and_then(|timeout| {
                let at = Instant::now().checked_add(timeout)?;
                Some((at, timed_out(timeout)))
            });
            let deadlines = self.overdue().into_iter().chain(timeout);
            let deadline = deadlines.min_by_key(|(at, _)| *at);
            let is_started = tokio::select! {
                is_started = self.is_started(&mut program) => is_started?,
                error = passed(deadline.clone()) => {
                    drop(program);
                    self.kill().await?;
                    return Err(error);
                }
            };
            if is_started {
                return Ok((program, deadline));
            }
            if let (Some(shell), Some(kept)) = (&program.shell, self.remote.kept()) {
                kept.ended(shell);
            }
            program.close().await;
            self.filter = shell::Filter::new(&self.wrapped.nonce);
        }
    }

    /// Waits until a kept shell has started the command; false if the shell ends instead.
    async fn is_started(&mut self, program: &mut StartedProgram) -> Result<bool> {
        while program.shell.is_some() && self.filter.stamp().is_none() {
            match program.events.recv().await {
                Some(CommandEvent::Output(stream, bytes)) => self.forward(stream, &bytes).await,
                Some(CommandEvent::Lost(error)) => return Err(error),
                Some(CommandEvent::Exited(exit)) => {
                    if let (Some(kept), Exit::Code(NOT_FOUND)) = (self.remote.kept(), exit) {
                        kept.give_up();
                    }
                    return Ok(false);
                }
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Forwards the command's output in the next chunk of a stream.
    async fn forward(&mut self, stream: Stream, bytes: &[u8]) {
        let bytes = match stream {
            Stream::Stdout => self.filter.stdout(bytes),
            Stream::Stderr => self.filter.stderr(bytes),
        };
        if let group @ Some(_) = self.filter.group() {
            self.group.send_replace(group);
        }
        if !bytes.is_empty() {
            // If the receiver is gone, `follow` notices that and kills the command.
            let _ = self.events.send(CommandEvent::Output(stream, bytes)).await;
        }
    }

    async fn follow(
        mut self,
        mut program: StartedProgram,
        deadline: Deadline,
        signals: mpsc::UnboundedReceiver<SignalRequest>,
    ) {
        let events = self.events.clone();
        let (tell_killed, was_killed) = oneshot::channel();
        // Not a part of this future: a command may end before the program that signals it.
        tokio::spawn(self.remote.clone().forward_signals(
            self.wrapped.clone(),
            self.group.subscribe(),
            Arc::clone(&self.is_signalled),
            signals,
            tell_killed,
        ));
        let last = tokio::select! {
            last = self.read(&mut program) => last,
            Ok(killed) = was_killed => {
                confirmed(killed, CommandEvent::Exited(Exit::Signal("KILL".to_owned())))
            }
            error = passed(deadline) => confirmed(self.kill().await, CommandEvent::Lost(error)),
            () = events.closed() => {
                // What survives is found by the sweep of the lease.
                let _ = self.kill().await;
                return;
            }
        };
        self.left_nothing
            .store(self.filter.left_nothing(), Ordering::Relaxed);
        let left = self.keep(program);
        let _ = events.send(last).await;
        if let Some(program) = left {
            program.close().await;
        }
    }

    /// Keeps the shell for the next command; returns a program that serves no other.
    fn keep(&self, mut program: StartedProgram) -> Option<StartedProgram> {
        if let (Some(kept), Some(shell)) = (self.remote.kept(), program.shell.take()) {
            // The group of the next command has the same number.
            self.group.send_replace(None);
            if !self.is_signalled.load(Ordering::SeqCst)
                && let (Some(stamp), Some(_)) = (self.filter.stamp(), self.filter.exit())
                && let Some(shell) = kept.served(shell, stamp)
            {
                self.remote.keep(program, shell);
                return None;
            }
        }
        Some(program)
    }

    /// Kills the command, unless it is a signal for another one.
    async fn kill(&self) -> Result<()> {
        if self.purpose == Purpose::Signal {
            return Ok(());
        }
        let group = *self.group.borrow();
        self.remote.signal(&self.wrapped, group, "KILL").await
    }

    fn overdue(&self) -> Deadline {
        let text = format!("`{}` did not answer in time", self.remote.instance);
        Some((self.expires?, Error::infra(text)))
    }

    /// Forwards the output and returns the last event of the command.
    async fn read(&mut self, program: &mut StartedProgram) -> CommandEvent {
        let mut exited = None;
        // After the end of the program, a process that still holds the pipes is not waited for.
        let mut late = Box::pin(local::sleep(None));
        loop {
            if let Some(exit) = self.filter.exit() {
                return CommandEvent::Exited(exit);
            }
            let event = tokio::select! {
                event = program.events.recv() => event,
                () = &mut late => {
                    // What survives is found by the sweep of the lease.
                    let _ = self.kill().await;
                    None
                }
            };
            match event {
                Some(CommandEvent::Output(stream, bytes)) => self.forward(stream, &bytes).await,
                Some(CommandEvent::Exited(exit)) => exited = Some(exit),
                Some(lost) => return lost,
                None => return self.ended_without_marker(exited),
            }
            if exited.is_some() {
                late.set(local::sleep(Some(LINGER)));
            }
        }
    }

    /// Returns the last event of a command whose end markers are missing.
    fn ended_without_marker(&self, exited: Option<Exit>) -> CommandEvent {
        let (printer, more) = match self.remote.ssh() {
            Some(_) => ("its login shell", KILLED_OR_CLOSED),
            None => ("it", ""),
        };
        // A signal may arrive before the command has started.
        if self.filter.has_started() || self.is_signalled.load(Ordering::SeqCst) {
            let what = "did not report the exit status of the command";
            return match exited.and_then(|exit| self.shell_killed_by(exit)) {
                Some(signal) => CommandEvent::Exited(Exit::Signal(signal)),
                None => self.remote.lost(&format!("{what}{more}")),
            };
        }
        let noise = self.filter.noise();
        let what = format!("did not run the command; {printer} printed `{noise}`");
        match exited {
            Some(Exit::Code(code @ (0 | 126 | 127))) => {
                let kind = match self.purpose {
                    Purpose::Probe(_) => ErrorKind::Unfit,
                    _ => ErrorKind::Infra,
                };
                let text = format!("`{}` {what} (exit code {code})", self.remote.instance);
                CommandEvent::Lost(Error::new(kind, text).with_hint(NO_SHELL))
            }
            _ => self.remote.lost(&what),
        }
    }

    /// Returns the signal that killed the command's shell on the instance, from the exit status of the program: 128 plus
    /// the number, or the signal itself if a user's program became the shell, or if an SSH server reported it.
    fn shell_killed_by(&self, exit: Exit) -> Option<String> {
        match (exit, &self.remote.exec_program) {
            (Exit::Code(code), _) => process::signal_of_code(code),
            (Exit::Signal(_), ExecProgram::Container(..)) => None,
            (Exit::Signal(signal), _) => Some(signal),
        }
    }
}

/// Waits until a deadline has passed.
async fn passed(deadline: Deadline) -> Error {
    match deadline {
        Some((at, error)) => {
            time::sleep_until(at.into()).await;
            error
        }
        None => std::future::pending().await,
    }
}

/// Returns the last event of a command that was killed.
fn confirmed(killed: Result<()>, last: CommandEvent) -> CommandEvent {
    match (killed, last) {
        (Ok(()), last) => last,
        (Err(_), CommandEvent::Lost(error)) => {
            let text = format!("{error} (not confirmed by the instance)");
            CommandEvent::Lost(Error::new(error.kind(), text))
        }
        (Err(cause), _) => CommandEvent::Lost(cause),
    }
}
