//! Runs commands as processes of this machine.
//!
//! Must not start processes itself: `process` does.

use std::{
    os::{
        fd::AsFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use target_fixtures::{
    env,
    wire::{Exit, ShellCommand, Stream},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    process::Child,
    sync::{mpsc, watch},
    time,
};

use super::{
    CommandEvent, CommandStdin, ProbeAnswer, Running, RunningEnd, SignalRequest, Transport,
    TransportFuture, shell, timed_out,
};
use crate::{
    connect::{LocalReach, LocalUser},
    error::{Error, Result},
    process::{self, LeftProcess, Remains, SessionLog},
    sync,
};

/// The size of a read, in bytes.
const CHUNK: usize = 128 << 10;

pub(super) struct LocalTransport {
    pub(super) instance: String,
    pub(super) reach: LocalReach,
    /// Lists the sessions of the commands.
    pub(super) sessions: Option<SessionLog>,
}

impl LocalTransport {
    fn start(
        &self,
        command: &ShellCommand,
        lease: &str,
        stdin: bool,
    ) -> Result<(Child, ProcessGroup)> {
        shell::check(command, lease)?;
        let mut process = process::command("/bin/sh");
        as_instance(&mut process, &self.reach)?;
        process
            .arg("-c")
            .arg(shell::line(command, lease)?)
            .envs(&command.env);
        process.env(env::LEASE, lease);
        if lease.is_empty() {
            process.env_remove(env::LEASE);
        }
        let mut directory = self.reach.directory.clone();
        if let Some(other) = &command.directory {
            directory.push(other);
            if !directory.is_dir() {
                let text = format!("folder not found: `{}`", directory.display());
                return Err(Error::usage(text));
            }
        }
        process.current_dir(directory);
        // Commands of this tool have no lease.
        let log = self.sessions.as_ref().filter(|_| !lease.is_empty());
        start_logged(process, stdin, log.map(|log| (log, lease)))
    }
}

/// Sets the environment and the user of a process: the instance's variables, the inherited variables (`None` inherits
/// all), and the instance's user.
///
/// # Errors
/// If a secret is unavailable.
pub(super) fn as_instance(process: &mut std::process::Command, reach: &LocalReach) -> Result<()> {
    if let Some(inherit) = &reach.inherit {
        let seen = inherit
            .iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)));
        process.env_clear().envs(seen);
    }
    if let Some(LocalUser { uid, gid }) = reach.user {
        process.uid(uid).gid(gid);
    }
    for (name, bound) in &reach.env {
        process.env(name, bound.value()?);
    }
    Ok(())
}

/// Starts a process that leads a new process group; without `stdin`, it reads `/dev/null`.
pub(super) fn start(command: std::process::Command, stdin: bool) -> Result<(Child, ProcessGroup)> {
    start_logged(command, stdin, None)
}

fn start_logged(
    mut command: std::process::Command,
    stdin: bool,
    log: Option<(&SessionLog, &str)>,
) -> Result<(Child, ProcessGroup)> {
    command.stdin(if stdin { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut spawn = process::Spawn::new(command).own_session();
    if let Some((log, tag)) = log {
        spawn = spawn.session_in(log, tag)?;
    }
    let child = spawn.start_async()?;
    let group = ProcessGroup {
        leader: child.id().and_then(|id| Pid::from_raw(id as i32)),
        log: log.map(|(log, _)| log.clone()),
    };
    Ok((child, group))
}

/// Runs a program of this host as a command: its exit status is the exit status of the command.
pub(super) fn run(command: std::process::Command, stdin: Option<CommandStdin>) -> Running {
    running(start(command, stdin.is_some()), stdin, None)
}

fn running(
    started: Result<(Child, ProcessGroup)>,
    stdin: Option<CommandStdin>,
    timeout: Option<Duration>,
) -> Running {
    match started {
        Ok((child, group)) => {
            let (running, ends) = Running::new();
            let late = timeout.map(|timeout| (timeout, timed_out(timeout)));
            tokio::spawn(follow(child, group, stdin, ends, late));
            running
        }
        Err(error) => Running::lost(error),
    }
}

impl Transport for LocalTransport {
    fn exec(&self, command: &ShellCommand, lease: &str, stdin: Option<CommandStdin>) -> Running {
        let started = self.start(command, lease, stdin.is_some());
        running(started, stdin, command.timeout.map(Duration::from_millis))
    }

    fn probe(&self, _: Duration) -> TransportFuture<ProbeAnswer> {
        let started = Instant::now();
        let answer = self.reach.directory.metadata().map(|_| ProbeAnswer {
            took: started.elapsed(),
            ..ProbeAnswer::default()
        });
        let instance = format!(
            "`{}`: failed to open `{}`",
            self.instance,
            self.reach.directory.display()
        );
        Box::pin(
            async move { answer.map_err(|error| crate::Error::infra(instance).with_source(error)) },
        )
    }

    fn sweep(&self, lease: &str, timeout: Duration) -> TransportFuture<()> {
        let (instance, lease) = (self.instance.clone(), lease.to_owned());
        let log = self.sessions.clone();
        Box::pin(sync::blocking(move || {
            let remains = Remains::of((env::LEASE, &lease), log.as_ref());
            match remains.kill(timeout, &|_| {}).as_slice() {
                [] => Ok(()),
                left => Err(Error::infra(format!(
                    "`{instance}`: failed to kill {}",
                    LeftProcess::list(left)
                ))),
            }
        }))
    }
}

/// A process group that is killed on drop, unless its leader has exited.
pub(super) struct ProcessGroup {
    leader: Option<Pid>,
    log: Option<SessionLog>,
}

impl ProcessGroup {
    /// Keeps the background processes of a command that exited by itself.
    fn exited(&mut self) {
        if let (Some(pid), Some(log)) = (self.leader.take(), &self.log) {
            log.end(pid.as_raw_nonzero().get().cast_unsigned());
        }
    }

    /// Leaves the group, which ends by itself with its input.
    pub(super) fn leave(mut self) {
        self.leader = None;
    }

    fn signal(&self, name: &str) -> Result<()> {
        let number = process::signal_number(name).and_then(Signal::from_named_raw);
        let signal = number.ok_or_else(|| Error::usage(format!("unknown signal `{name}`")))?;
        let pid = self
            .leader
            .ok_or_else(|| Error::usage("the command has already ended"))?;
        rustix::process::kill_process_group(pid, signal)
            .map_err(|error| Error::usage(error.to_string()))
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(pid) = self.leader {
            process::kill_group(pid);
        }
    }
}

async fn follow(
    mut child: Child,
    mut group: ProcessGroup,
    stdin: Option<CommandStdin>,
    RunningEnd {
        events, signals, ..
    }: RunningEnd,
    late: Option<(Duration, crate::Error)>,
) {
    let (ended, watch) = watch::channel(false);
    let feed = feed(child.stdin.take(), stdin);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let stdout = pump(stdout, Stream::Stdout, events.clone(), watch.clone());
    let stderr = pump(stderr, Stream::Stderr, events.clone(), watch);
    let pumps = [tokio::spawn(stdout), tokio::spawn(stderr)];
    let (timeout, error) = late.unzip();
    let end = tokio::select! {
        status = wait(&mut child, feed, &group, signals) => status.ok(),
        () = sleep(timeout) => None,
        () = events.closed() => return,
    };
    if end.is_some() {
        group.exited();
    }
    drop(group);
    let _ = ended.send(true);
    for pump in pumps {
        let _ = pump.await;
    }
    let last = match (end, error) {
        (Some(status), _) => CommandEvent::Exited(exit(status)),
        (None, Some(error)) => CommandEvent::Lost(error),
        (None, None) => CommandEvent::Lost(std::io::Error::other("exit status unknown").into()),
    };
    let _ = events.send(last).await;
}

/// Waits until the child exits, while writing its input and forwarding signals.
async fn wait(
    child: &mut Child,
    feed: impl Future<Output = ()>,
    group: &ProcessGroup,
    mut signals: mpsc::UnboundedReceiver<SignalRequest>,
) -> std::io::Result<ExitStatus> {
    tokio::pin!(feed);
    let mut fed = false;
    loop {
        tokio::select! {
            Some(request) = signals.recv() => {
                let sent = group.signal(&request.name);
                request.answer(sent);
            }
            status = child.wait() => return status,
            () = &mut feed, if !fed => fed = true,
        }
    }
}

pub(super) async fn sleep(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

pub(super) async fn feed(pipe: Option<impl AsyncWrite + Unpin>, content: Option<CommandStdin>) {
    let (Some(mut pipe), Some(mut content)) = (pipe, content) else {
        return;
    };
    while let Some(bytes) = content.recv().await {
        // A program may exit without reading its input.
        if pipe.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Forwards a stream until its end. Once the child has exited, only the bytes in the pipe are forwarded, because a
/// background process may keep the pipe open.
pub(super) async fn pump(
    pipe: Option<impl AsyncRead + AsFd + Unpin>,
    stream: Stream,
    events: mpsc::Sender<CommandEvent>,
    mut ended: watch::Receiver<bool>,
) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; CHUNK];
    let output = |bytes: &[u8]| CommandEvent::Output(stream, bytes.to_vec());
    loop {
        let read = tokio::select! {
            read = pipe.read(&mut buffer) => read.unwrap_or(0),
            _ = ended.wait_for(|ended| *ended) => break,
        };
        if read == 0 || events.send(output(&buffer[..read])).await.is_err() {
            return;
        }
    }
    // The child's last output is at most the capacity of the pipe.
    let mut left = 1 << 20;
    while left > 0 {
        let Ok(read @ 1..) = rustix::io::read(&pipe, &mut buffer) else {
            return;
        };
        left = usize::saturating_sub(left, read);
        if events.send(output(&buffer[..read])).await.is_err() {
            return;
        }
    }
}

pub(super) fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(number)) => Exit::Signal(process::signal_name(number)),
        (None, None) => Exit::Code(255),
    }
}
