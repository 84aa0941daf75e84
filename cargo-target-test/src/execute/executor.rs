//! The traits of executors, which run one case on one lease, and of launchers. Must not know where cases and leases
//! come from.

use std::{
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use target_fixtures::wire::Exit;

use super::output_file;
use crate::{
    case::verdict::Evidence,
    error::{Error, Result},
    process::{self, Spawn},
    provision::{BoxFuture, Lease, Lost},
    run_event::{Attempt, AttemptResult, Sink},
};

/// Runs cases. Called within a tokio runtime.
///
/// ```
/// use std::sync::Arc;
///
/// use cargo_target_test::{
///     case::{CaseInfo, RunsOn, verdict::{Evidence, judge}},
///     connect::Reach,
///     execute::{Executor, Launcher, LocalLauncher},
///     provision::{BoxFuture, Lease, LeaseEnd, Machine, Provisioner, Request, Wrapped},
///     run_event::{Attempt, AttemptResult, Sink},
/// };
///
/// /// Passes on machines that have a command of the case's name.
/// struct HasCommand;
///
/// impl Executor for HasCommand {
///     fn run<'a>(
///         &'a self,
///         attempt: &'a Attempt,
///         lease: &'a Lease,
///         _launcher: &'a dyn Launcher,
///         _sink: &'a Sink,
///     ) -> BoxFuture<'a, AttemptResult> {
///         Box::pin(async move {
///             let line = format!("command -v {}", attempt.case.test);
///             let ended = lease.machines()[0].run(&line).await;
///             let lost = ended.as_ref().err().map(|error| error.chain());
///             let exit = ended.ok().map(|output| output.exit);
///             AttemptResult::new(judge(&Evidence {
///                 exit: exit.as_ref(),
///                 started: true,
///                 lost: lost.as_deref(),
///                 ..Evidence::default()
///             }))
///         })
///     }
/// }
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// let machines = Wrapped::new([Machine::wrap("here", &Reach::local("/"))]);
/// let lease = machines.acquire(Request::one("here")).await?;
/// let case = Arc::new(CaseInfo::new("tools", "sh", RunsOn::Any, None, None));
/// let attempt = Attempt::first(&case);
/// let result = HasCommand.run(&attempt, &lease, &LocalLauncher, &Sink::discard()).await;
/// assert!(result.verdict.is_final());
/// lease.end(LeaseEnd::Done).await;
/// # Ok::<(), cargo_target_test::Error>(())
/// # })?;
/// # Ok::<(), cargo_target_test::Error>(())
/// ```
pub trait Executor: Send + Sync {
    /// Runs an attempt of a case on the machines of a lease. The verdict comes from
    /// [`judge`](crate::case::verdict::judge): a lost machine is infra, never a failure. The caller sets
    /// [`AttemptResult::waited`] and [`AttemptResult::instances`], and ends the lease.
    ///
    /// Dropping the future stops the case.
    fn run<'a>(
        &'a self,
        attempt: &'a Attempt,
        lease: &'a Lease,
        launcher: &'a dyn Launcher,
        sink: &'a Sink,
    ) -> BoxFuture<'a, AttemptResult>;
}

/// Starts processes of this host and reports their end.
pub trait Launcher: Send + Sync {
    /// Starts a process and waits for its end. Dropping the future kills it.
    ///
    /// # Errors
    /// If the process cannot be started.
    fn launch(&self, launch: Launch) -> BoxFuture<'_, Result<ProcessEnd>>;

    /// Completes when no process is wanted any more; an executor that prepares one stops. By default never.
    fn abandoned(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// A process to start.
#[derive(Debug)]
pub struct Launch {
    /// The program, its arguments and the variables to add to its environment.
    pub command: Command,
    /// The time limit, after which the process is killed.
    pub limit: Option<Duration>,
    /// The time that the process has to end by itself when its lease tells it to, instead of by signals.
    pub stops_within: Option<Duration>,
    /// The time limit of the set-up of such a process; its `limit` counts when it is set up.
    pub set_up_limit: Option<Duration>,
    /// The files that keep the output: this path with `.stdout` and `.stderr` added. `None`: the command sets its
    /// streams.
    pub output: Option<PathBuf>,
    /// The lease that the process uses. The process is killed soon after a machine of the lease is lost.
    pub lease: Option<(String, Lost)>,
}

impl From<Command> for Launch {
    fn from(command: Command) -> Self {
        Self {
            command,
            limit: None,
            stops_within: None,
            set_up_limit: None,
            output: None,
            lease: None,
        }
    }
}

/// The end of a process. The default stands for a process that was never started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessEnd {
    /// The exit code or signal; `None` if it is unknown, because the parent of the process was killed.
    pub exit: Option<Exit>,
    /// The lifetime of the process.
    pub took: Duration,
    /// True if there was a process.
    pub started: bool,
    /// True if the time limit ended the process.
    pub timed_out: bool,
    /// True if nextest or a user ended the process.
    pub interrupted: bool,
}

impl ProcessEnd {
    /// True if the process ended with exit code 0 within its time limit.
    pub fn succeeded(&self) -> bool {
        self.exit.as_ref().is_some_and(Exit::success) && !self.timed_out
    }

    /// Returns the evidence of a test that reported nothing and whose machines are well.
    pub fn evidence(&self) -> Evidence<'_> {
        Evidence {
            exit: self.exit.as_ref(),
            started: self.started,
            timed_out: self.timed_out,
            interrupted: self.interrupted,
            ..Evidence::default()
        }
    }
}

/// Starts processes as children of this process.
///
/// ```
/// use cargo_target_test::execute::{Launcher, LocalLauncher};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// let ended = runtime.block_on(LocalLauncher.launch(std::process::Command::new("true").into()))?;
/// assert!(ended.succeeded());
/// # Ok::<(), cargo_target_test::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalLauncher;

impl Launcher for LocalLauncher {
    fn launch(&self, launch: Launch) -> BoxFuture<'_, Result<ProcessEnd>> {
        Box::pin(async move {
            let Launch {
                mut command,
                limit,
                stops_within: _,
                set_up_limit: _,
                output,
                lease,
            } = launch;
            if let Some(output) = output {
                let file = |stream| {
                    Ok::<_, Error>(
                        fs_err::File::create(output_file(&output, stream))?
                            .into_parts()
                            .0,
                    )
                };
                command.stdout(file("stdout")?).stderr(file("stderr")?);
            }
            let began = Instant::now();
            let mut child = KilledOnDrop(Spawn::new(command).start_async()?);
            let mut timed_out = false;
            let status = tokio::select! {
                status = child.0.wait() => status?,
                () = after(limit) => {
                    timed_out = true;
                    child.end().await?
                }
                () = loss(lease) => child.end().await?,
            };
            Ok(ProcessEnd {
                exit: Some(exit_of(status)),
                took: began.elapsed(),
                started: true,
                timed_out,
                interrupted: false,
            })
        })
    }
}

/// Returns the exit code of a process, or the signal that ended it.
pub(super) fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(process::signal_name(signal.unwrap_or(0))),
    }
}

/// Completes after a time limit; never if there is none.
async fn after(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Completes when a machine of a lease is lost; never without a lease.
async fn loss(lease: Option<(String, Lost)>) {
    match lease {
        Some((_, lost)) => drop(lost.wait().await),
        None => std::future::pending().await,
    }
}

/// A process that is killed if this is dropped before the process ends.
struct KilledOnDrop(tokio::process::Child);

impl KilledOnDrop {
    async fn end(&mut self) -> std::io::Result<ExitStatus> {
        self.0.kill().await?;
        self.0.wait().await
    }
}

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        // Fails if the process has ended.
        let _ = self.0.start_kill();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn sh(line: &str) -> Command {
        let mut command = process::command("sh");
        command.args(["-c", line]);
        command
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_reported() {
        for (line, exit) in [
            ("exit 3", Exit::Code(3)),
            ("kill -KILL $$", Exit::Signal("KILL".to_owned())),
        ] {
            let ended = LocalLauncher.launch(sh(line).into()).await.unwrap();
            assert_eq!(ended.exit, Some(exit));
        }
        let missing = process::command("/no/such/program");
        assert!(LocalLauncher.launch(missing.into()).await.is_err());
    }

    #[tokio::test]
    async fn a_process_that_takes_too_long_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("hangs");
        let launch = Launch {
            limit: Some(Duration::from_millis(100)),
            output: Some(output.clone()),
            ..sh("echo begun; exec sleep 60").into()
        };
        let ended = LocalLauncher.launch(launch).await.unwrap();
        assert_eq!(ended.exit, Some(Exit::Signal("KILL".to_owned())));
        assert!(ended.timed_out && !ended.succeeded());
        let kept = std::fs::read_to_string(output_file(&output, "stdout"));
        assert_eq!(kept.unwrap(), "begun\n");
    }

    #[tokio::test]
    async fn a_process_that_nobody_waits_for_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        let mut command = sh("exec sleep 60 >\"$0\"");
        command.arg(&fifo);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        // Opened once the process has opened the other end.
        let open = tokio::task::spawn_blocking(move || std::fs::File::open(fifo).unwrap());
        let mut open = tokio::select! {
            ended = LocalLauncher.launch(command.into()) => panic!("{ended:?}"),
            open = open => open.unwrap(),
        };
        // Ends when no process has the other end open.
        let read = tokio::task::spawn_blocking(move || open.read_to_end(&mut Vec::new()));
        assert_eq!(read.await.unwrap().unwrap(), 0);
    }
}
