//! The traits of executors, which run one case on one lease, and of launchers. Must not know where cases and leases
//! come from.

use std::{os::unix::process::ExitStatusExt, process::Command, sync::Arc};

use target_fixtures::wire::Exit;

use crate::{
    case::CaseInfo,
    error::Result,
    process::{self, Spawn},
    provision::{BoxFuture, Lease},
    run_event::{AttemptResult, Sink},
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
///     run_event::{AttemptResult, Sink},
/// };
///
/// /// Passes on machines that have a command of the case's name.
/// struct HasCommand;
///
/// impl Executor for HasCommand {
///     fn run<'a>(
///         &'a self,
///         case: &'a Arc<CaseInfo>,
///         lease: &'a Lease,
///         _launcher: &'a dyn Launcher,
///         _sink: &'a Sink,
///     ) -> BoxFuture<'a, AttemptResult> {
///         Box::pin(async move {
///             let line = format!("command -v {}", case.test);
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
/// let result = HasCommand.run(&case, &lease, &LocalLauncher, &Sink::discard()).await;
/// assert!(result.verdict.is_final());
/// lease.end(LeaseEnd::Done).await;
/// # Ok::<(), cargo_target_test::Error>(())
/// # })?;
/// # Ok::<(), cargo_target_test::Error>(())
/// ```
pub trait Executor: Send + Sync {
    /// Runs a case on the machines of a lease. The verdict comes from [`judge`](crate::case::verdict::judge): a lost
    /// machine is infra, never a failure. The caller sets [`AttemptResult::waited`] and [`AttemptResult::instances`],
    /// and ends the lease.
    ///
    /// Dropping the future stops the case.
    fn run<'a>(
        &'a self,
        case: &'a Arc<CaseInfo>,
        lease: &'a Lease,
        launcher: &'a dyn Launcher,
        sink: &'a Sink,
    ) -> BoxFuture<'a, AttemptResult>;
}

/// Starts processes of this host and reports their end.
pub trait Launcher: Send + Sync {
    /// Starts a process and waits for its end. The command sets the process's streams. Dropping the future kills the
    /// process.
    ///
    /// # Errors
    /// If the process cannot be started.
    fn launch(&self, command: Command) -> BoxFuture<'_, Result<Exit>>;
}

/// Starts processes as children of this process.
///
/// ```
/// use cargo_target_test::execute::{Launcher, LocalLauncher};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// let exit = runtime.block_on(LocalLauncher.launch(std::process::Command::new("true")))?;
/// assert!(exit.success());
/// # Ok::<(), cargo_target_test::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalLauncher;

impl Launcher for LocalLauncher {
    fn launch(&self, command: Command) -> BoxFuture<'_, Result<Exit>> {
        Box::pin(async move {
            let mut child = KilledOnDrop(Spawn::new(command).start_async()?);
            let status = child.0.wait().await?;
            Ok(match status.signal() {
                Some(signal) => Exit::Signal(process::signal_name(signal)),
                None => Exit::Code(status.code().unwrap_or_default()),
            })
        })
    }
}

/// A process that is killed if this is dropped before the process ends.
struct KilledOnDrop(tokio::process::Child);

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
            assert_eq!(LocalLauncher.launch(sh(line)).await.unwrap(), exit);
        }
        let missing = process::command("/no/such/program");
        assert!(LocalLauncher.launch(missing).await.is_err());
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
            ended = LocalLauncher.launch(command) => panic!("{ended:?}"),
            open = open => open.unwrap(),
        };
        // Ends when no process has the other end open.
        let read = tokio::task::spawn_blocking(move || open.read_to_end(&mut Vec::new()));
        assert_eq!(read.await.unwrap().unwrap(), 0);
    }
}
