//! Commands through a program of this host that reaches into the instance: a container engine, or a user's own.
//!
//! Owns how such a program is called, and the reading of its streams: the wrapper's marks in them, and not the
//! program's exit code, tell how a command ended. Must not start processes itself (`process` does).

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use target_fixtures::{
    env,
    wire::{Command, Exit, Stream},
};
use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStderr, ChildStdout},
    sync::mpsc,
    time,
};

use super::{
    Answer, Event, FileAccess, Running, RunningEnd, Transport, input, local, own_command, shell,
    timed_out,
};
use crate::{
    connect::ProgramReach,
    error::{Error, ErrorKind, Result},
    process,
};

/// How much is read at once.
const CHUNK: usize = 128 << 10;
/// How long the killing of a command may take.
const KILL: Duration = Duration::from_secs(10);
/// How long the program may outlive its command.
const LINGER: Duration = Duration::from_secs(2);

/// How a line is given to the instance's shell.
#[derive(Clone)]
pub(super) enum Call {
    Container {
        engine: String,
        container: String,
        user: Option<String>,
    },
    Programs(ProgramReach),
}

#[derive(Clone)]
pub(super) struct Piped {
    instance: String,
    call: Call,
}

impl Call {
    fn command(&self, line: &str) -> Result<std::process::Command> {
        Ok(match self {
            Self::Container {
                engine,
                container,
                user,
            } => {
                let mut command = process::command(engine);
                command.args(["exec", "--interactive"]);
                if let Some(user) = user {
                    command.args(["--user", user]);
                }
                command.args([container, "/bin/sh", "-c", line]);
                command
            }
            Self::Programs(reach) => {
                let mut command = program(&reach.exec, reach)?;
                command.arg(line);
                command
            }
        })
    }
}

/// A user's program, in an environment without anything of ours but the request.
fn program(words: &[String], reach: &ProgramReach) -> Result<std::process::Command> {
    let mut words = words.iter();
    let mut command = process::command(words.next().map_or("", String::as_str));
    command.args(words).current_dir(&reach.directory);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TARGET_TEST_") {
            command.env_remove(name);
        }
    }
    command.envs(reach.environment()?);
    Ok(command)
}

impl Piped {
    pub(super) fn new(instance: &str, call: Call) -> Self {
        let instance = instance.to_owned();
        Self { instance, call }
    }

    fn start(&self, line: &str, lease: &str, stdin: bool) -> Result<(Child, local::Group)> {
        let mut command = self.call.command(line)?;
        // What an abandoned lease leaves on this host is found by it.
        match lease {
            "" => command.env_remove(env::LEASE),
            lease => command.env(env::LEASE, lease),
        };
        command.stdin(if stdin { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        local::start(command)
    }

    /// Sends a command signals as they come; done when it is killed.
    async fn pass_on(
        &self,
        wrapped: &shell::Wrapped,
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
    async fn signal(&self, wrapped: &shell::Wrapped, group: Option<u32>, name: &str) {
        let mut command = shell::signal(wrapped, group, name);
        command.timeout = u64::try_from(KILL.as_millis()).ok();
        let stdin = input(&command, None);
        let _ = self.exec(&command, "", stdin).finished().await;
    }

    fn lost(&self, what: &str) -> Event {
        let text = format!("`{}` {what}", self.instance);
        Event::Lost(Error::new(ErrorKind::Infra, text))
    }
}

impl Transport for Piped {
    fn exec(
        &self,
        command: &Command,
        lease: &str,
        stdin: Option<mpsc::Receiver<Vec<u8>>>,
    ) -> Running {
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
        let Call::Programs(reach) = &self.call else {
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

    fn probe(&self, deadline: Duration) -> Answer<Duration> {
        let started = Instant::now();
        let running = self.exec(&own_command(":".to_owned(), Some(deadline)), "", None);
        let what = format!("`{}` does not answer", self.instance);
        Box::pin(async move {
            running.finished().await?.success(&what)?;
            Ok(started.elapsed())
        })
    }

    fn sweep(&self, lease: &str, deadline: Duration) -> Answer<()> {
        let command = own_command(shell::sweep(lease), Some(deadline));
        let running = self.exec(&command, "", None);
        let what = format!("`{}`: cannot kill what `{lease}` left", self.instance);
        Box::pin(async move { running.finished().await?.success(&what).map(drop) })
    }
}

/// Follows one command.
struct Follower {
    piped: Piped,
    wrapped: shell::Wrapped,
    filter: shell::Filter,
    events: mpsc::Sender<Event>,
}

impl Follower {
    async fn follow(
        mut self,
        (mut child, group): (Child, local::Group),
        stdin: Option<mpsc::Receiver<Vec<u8>>>,
        timeout: Option<Duration>,
        signals: mpsc::UnboundedReceiver<String>,
    ) {
        let feed = tokio::spawn(local::feed(child.stdin.take(), stdin));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let events = self.events.clone();
        let (piped, wrapped) = (self.piped.clone(), self.wrapped.clone());
        let killed = piped.pass_on(&wrapped, signals);
        let last = tokio::select! {
            last = self.read(stdout, stderr) => last,
            () = killed => Event::Exited(Exit::Signal("KILL".to_owned())),
            () = local::sleep(timeout) => {
                self.kill().await;
                Event::Lost(timed_out(timeout.unwrap_or_default()))
            }
            () = events.closed() => {
                self.kill().await;
                return;
            }
        };
        feed.abort();
        let _ = events.send(last).await;
        // It has told all it had to.
        let _ = time::timeout(LINGER, child.wait()).await;
        drop(group);
    }

    async fn kill(&self) {
        let group = self.filter.group();
        self.piped.signal(&self.wrapped, group, "KILL").await;
    }

    /// Passes the output on; returns how the command ended.
    async fn read(&mut self, stdout: Option<ChildStdout>, stderr: Option<ChildStderr>) -> Event {
        let (Some(mut stdout), Some(mut stderr)) = (stdout, stderr) else {
            return self.piped.lost("has no streams");
        };
        let (mut out, mut err) = (vec![0; CHUNK], vec![0; CHUNK]);
        let (mut out_open, mut err_open) = (true, true);
        while out_open || err_open {
            let (stream, bytes) = tokio::select! {
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
                    .send(Event::Output(stream, bytes))
                    .await
                    .is_err()
            {
                // Nobody listens; who waits for that kills the command.
                return std::future::pending().await;
            }
            if let Some(code) = self.filter.exit() {
                return Event::Exited(Exit::Code(code));
            }
        }
        match self.filter.started() {
            true => self.piped.lost("did not tell how the command ended"),
            false => {
                let noise = self.filter.noise();
                self.piped
                    .lost(&format!("did not run the command: `{noise}`"))
            }
        }
    }
}
