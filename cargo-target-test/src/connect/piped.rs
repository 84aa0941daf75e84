//! Runs commands through a program of this host: a container engine or a program of the user.
//!
//! The exit status of a command comes from the markers in its output, not from the program's exit code. Must not start
//! processes itself: `process` does.

use std::{
    os::unix::process::ExitStatusExt,
    time::{Duration, Instant},
};

use target_fixtures::{
    env,
    wire::{Exit, ShellCommand, Stream},
};
use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStderr, ChildStdout},
    sync::mpsc,
    time,
};

use super::{
    CommandEvent, CommandStdin, FileAccess, Running, RunningEnd, Transport, TransportFuture,
    answered, input, local, own_command, shell, swept, timed_out,
};
use crate::{
    connect::ProgramReach,
    error::{Error, Result},
    process,
};

/// The size of a read, in bytes.
const CHUNK: usize = 128 << 10;
/// The timeout of killing a command.
const KILL: Duration = Duration::from_secs(10);
/// The time that the program may take to exit after its command.
const LINGER: Duration = Duration::from_secs(2);

/// The program that runs a line in the instance's shell.
#[derive(Clone)]
pub(super) enum ExecProgram {
    Container {
        engine: String,
        container: String,
        user: Option<String>,
    },
    Programs(ProgramReach),
}

#[derive(Clone)]
pub(super) struct PipedTransport {
    instance: String,
    exec_program: ExecProgram,
}

impl ExecProgram {
    fn command(&self, line: &str) -> Result<std::process::Command> {
        Ok(match self {
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

    fn start(&self, line: &str, lease: &str, stdin: bool) -> Result<(Child, local::ProcessGroup)> {
        let mut command = self.exec_program.command(line)?;
        // Marks the program, so that it is found on this host after its lease was abandoned.
        match lease {
            "" => command.env_remove(env::LEASE),
            lease => command.env(env::LEASE, lease),
        };
        local::start(command, stdin)
    }

    /// Forwards signals to a command; returns after `KILL`.
    async fn forward_signals(
        &self,
        wrapped: &shell::WrappedLine,
        mut signals: mpsc::UnboundedReceiver<String>,
    ) {
        while let Some(name) = signals.recv().await {
            self.signal(wrapped, None, &name).await;
            if name == "KILL" {
                return;
            }
        }
        std::future::pending().await
    }

    /// Sends a signal to a command on the instance.
    async fn signal(&self, wrapped: &shell::WrappedLine, group: Option<u32>, name: &str) {
        let mut command = shell::signal(wrapped, group, name);
        command.timeout = u64::try_from(KILL.as_millis()).ok();
        let stdin = input(&command, None);
        let _ = self.exec(&command, "", stdin).finished().await;
    }

    fn lost(&self, what: &str) -> CommandEvent {
        CommandEvent::Lost(Error::infra(format!("`{}` {what}", self.instance)))
    }
}

impl Transport for PipedTransport {
    fn exec(&self, command: &ShellCommand, lease: &str, stdin: Option<CommandStdin>) -> Running {
        let started = shell::wrap(command, lease, stdin.is_some())
            .and_then(|wrapped| Ok((self.start(&wrapped.line, lease, stdin.is_some())?, wrapped)));
        let ((child, group), wrapped) = match started {
            Ok(started) => started,
            Err(error) => return Running::lost(error),
        };
        let (running, RunningEnd { events, signals }) = Running::new();
        let follower = Follower {
            piped: self.clone(),
            filter: shell::Filter::new(&wrapped.nonce),
            wrapped,
            events,
        };
        let timeout = command.timeout.map(Duration::from_millis);
        tokio::spawn(follower.follow((child, group), stdin, timeout, signals));
        running
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

    fn probe(&self, timeout: Duration) -> TransportFuture<Duration> {
        let (asked, command) = (Instant::now(), own_command(":".to_owned(), Some(timeout)));
        answered(&self.instance, asked, Ok(self.exec(&command, "", None)))
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
    events: mpsc::Sender<CommandEvent>,
}

impl Follower {
    async fn follow(
        mut self,
        (mut child, group): (Child, local::ProcessGroup),
        stdin: Option<CommandStdin>,
        timeout: Option<Duration>,
        signals: mpsc::UnboundedReceiver<String>,
    ) {
        let feed = tokio::spawn(local::feed(child.stdin.take(), stdin));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let events = self.events.clone();
        let (piped, wrapped) = (self.piped.clone(), self.wrapped.clone());
        let killed = piped.forward_signals(&wrapped, signals);
        let last = tokio::select! {
            last = self.read(&mut child, stdout, stderr) => last,
            () = killed => CommandEvent::Exited(Exit::Signal("KILL".to_owned())),
            () = local::sleep(timeout) => {
                self.kill().await;
                CommandEvent::Lost(timed_out(timeout.unwrap_or_default()))
            }
            () = events.closed() => {
                self.kill().await;
                return;
            }
        };
        feed.abort();
        let _ = events.send(last).await;
        // The program has forwarded all output.
        let _ = time::timeout(LINGER, child.wait()).await;
        drop(group);
    }

    async fn kill(&self) {
        let group = self.filter.group();
        self.piped.signal(&self.wrapped, group, "KILL").await;
    }

    /// Returns the signal that killed the command's shell on the instance, from the exit status of the program: 128 plus
    /// the number, or the signal itself if a user's program became the shell.
    async fn shell_killed_by(&self, child: &mut Child) -> Option<String> {
        let status = time::timeout(LINGER, child.wait()).await.ok()?.ok()?;
        let by_code = status.code().and_then(process::signal_of_code);
        match self.piped.exec_program {
            ExecProgram::Container { .. } => by_code,
            ExecProgram::Programs(_) => by_code.or(status.signal().map(process::signal_name)),
        }
    }

    /// Forwards the output and returns the last event of the command.
    async fn read(
        &mut self,
        child: &mut Child,
        stdout: Option<ChildStdout>,
        stderr: Option<ChildStderr>,
    ) -> CommandEvent {
        let (Some(mut stdout), Some(mut stderr)) = (stdout, stderr) else {
            return self.piped.lost("has no output streams");
        };
        let (mut out, mut err) = (vec![0; CHUNK], vec![0; CHUNK]);
        let (mut out_open, mut err_open) = (true, true);
        // After the end of the program, a process that still holds the pipes is not waited for.
        let (mut has_exited, mut late) = (false, Box::pin(local::sleep(None)));
        while out_open || err_open {
            let (stream, bytes) = tokio::select! {
                _ = child.wait(), if !has_exited => {
                    has_exited = true;
                    late.set(local::sleep(Some(LINGER)));
                    continue;
                }
                () = &mut late => {
                    self.kill().await;
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
                    (Stream::Stderr, self.filter.stderr(&err[..read]))
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
                return CommandEvent::Exited(exit);
            }
        }
        match self.filter.has_started() {
            true => match self.shell_killed_by(child).await {
                Some(signal) => CommandEvent::Exited(Exit::Signal(signal)),
                None => self
                    .piped
                    .lost("did not report the exit status of the command"),
            },
            false => {
                let noise = self.filter.noise();
                self.piped
                    .lost(&format!("did not run the command; it printed `{noise}`"))
            }
        }
    }
}
