//! The executor of test processes on the machines of leases. A process of this host stands for each of them: it starts
//! the test by the broker, passes on its output, and ends as the test ends (see `runner`).

// Must not know how programs are sent (see `connect`).

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use super::{
    Executor, HostProcess, Launcher, broker::BrokerPlace, host_process::BegunAttempt,
    programs::TestBinaries, runner,
};
use crate::{
    case::verdict::Verdict,
    error::{Error, Result},
    playbook::TestSide,
    process,
    provision::{BoxFuture, Lease, Machine, describe},
    run_event::{Attempt, AttemptResult, Sink},
    sync::{self, lock},
};

/// Runs the tests of the workspace's binaries where the target says: on the target (`runs-on = "target"`), or by
/// [`HostProcess`].
pub struct OnTarget {
    host: HostProcess,
    binaries: Arc<TestBinaries>,
    /// The program of the process that stands for a test.
    runner: PathBuf,
    /// The names of this process's environment variables, which are not sent.
    own_variables: String,
    /// The instances and test binaries that are known to fit each other: name and hash.
    fitting: Mutex<BTreeSet<(String, String)>>,
}

impl Executor for OnTarget {
    fn run<'a>(
        &'a self,
        attempt: &'a Attempt,
        lease: &'a Lease,
        launcher: &'a dyn Launcher,
        sink: &'a Sink,
    ) -> BoxFuture<'a, AttemptResult> {
        Box::pin(async move {
            let begun = match self.host.begin(attempt, lease) {
                Ok(begun) => begun,
                Err(verdict) => return AttemptResult::new(verdict),
            };
            let around = begun.case.instance_set.around();
            if around.is_none_or(|around| around.runs_on == TestSide::Host) {
                return self.host.run(attempt, lease, launcher, sink).await;
            }
            let prepared = tokio::select! {
                prepared = self.prepare(&begun) => prepared,
                () = launcher.abandoned() => {
                    Err(Error::infra("interrupted before the test began"))
                }
            };
            match prepared {
                Ok(command) => {
                    // As on the host, nothing that the test starts outlives the test.
                    begun.active.begin();
                    self.host.watch(&begun, command, launcher, sink).await
                }
                Err(error) => AttemptResult::new(Verdict::Infra(error.chain())),
            }
        })
    }
}

impl OnTarget {
    /// Runs the tests that stay on this host by `host`.
    ///
    /// # Errors
    /// Fails if the path of the current executable is unknown.
    pub fn new(host: HostProcess) -> Result<Self> {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        Ok(Self {
            host,
            binaries: Arc::default(),
            runner: runner::program()?,
            own_variables: names.collect::<Vec<_>>().join(" "),
            fitting: Mutex::default(),
        })
    }

    /// Puts the test binary on the machine of the lease, and returns the command of the process that stands for it.
    async fn prepare(&self, begun: &BegunAttempt<'_>) -> Result<Command> {
        let BegunAttempt {
            active,
            binary,
            case,
            ..
        } = begun;
        let machine =
            (active.machines().next()).ok_or_else(|| Error::infra("the lease has no instance"))?;
        let program = self.put(binary, machine).await.map_err(|error| {
            let name = binary.file_name().unwrap_or_default().to_string_lossy();
            let text = format!("test binary `{name}` cannot run on `{}`", machine.name());
            Error::infra(text).with_source(error)
        })?;
        let socket = BrokerPlace::socket_in(&self.host.place.folder);
        let mut command = process::command(&self.runner);
        command.arg(runner::ON_TARGET_VERB).arg(socket);
        command.args([&active.id, machine.name(), &self.own_variables]);
        let test = case.start.without_prefix(Path::new(&program));
        command.arg(test.get_program()).args(test.get_args());
        command.envs(describe::environment(
            active.set.target(),
            &active.instances,
        ));
        Ok(command)
    }

    /// Puts a test binary on a machine that can run it, and returns its absolute path there.
    async fn put(&self, binary: &Path, machine: &Machine) -> Result<String> {
        let (binaries, path) = (Arc::clone(&self.binaries), binary.to_owned());
        let binary = sync::blocking(move || binaries.read(&path)).await?;
        let misfit = |why: String| {
            let triple = binary.static_triple().unwrap_or("a musl triple");
            Error::usage(format!(
                "{why}; `--target {triple}` builds tests that need no library"
            ))
        };
        let pair = (machine.name().to_owned(), binary.hash.clone());
        let is_known = lock(&self.fitting).contains(&pair);
        if !is_known && let Some(why) = binary.misfit(&machine.facts().await?) {
            return Err(misfit(why));
        }
        let transfer = machine.transfer();
        let program = transfer.put_program(&binary.path, &binary.hash).await?;
        if !is_known {
            if binary.needs_glibc() {
                let checked = transfer.check_libraries(&program).await;
                checked.map_err(|error| misfit(error.chain()))?;
            }
            lock(&self.fitting).insert(pair);
        }
        Ok(program)
    }
}
