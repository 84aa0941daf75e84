//! The executor of test processes on the machines of leases. For each such test, a process on this host stands in: it
//! starts the test by the broker, passes on its output, and ends as the test ends (see `runner/on_target.rs`).

// Must not know how programs are sent (see `connect`).

mod channel;
mod copies;
mod package;
mod passage;
mod place;
mod placed;
mod profiles;
mod view;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use target_fixtures::{env, metadata::ProcessPlace, wire::Instance};

use self::{
    channel::Channel,
    copies::{CopiedTest, Copies},
    place::Layout,
    placed::beside,
    profiles::Profiles,
};
pub use self::{copies::TestPackages, package::TestPackage};
pub(in crate::execute) use self::{place::TestPlace, placed::PlacedBinary};
use super::{
    Executor, HostProcess, Launcher, broker::BrokerPlace, host_process::BegunAttempt,
    programs::TestBinaries, runner,
};
use crate::{
    case::{reason::SkipReason, verdict::Verdict},
    error::{Error, Result},
    provision::{BoxFuture, Lease, Machine},
    run_event::{Attempt, AttemptResult, Sink},
    sync,
};

/// Runs the tests of the workspace's binaries where the target says: on the target (`runs-on = "target"`), or by
/// [`HostProcess`].
pub struct OnTarget {
    host: HostProcess,
    binaries: Arc<TestBinaries>,
    /// The program of the process that stands for a test.
    runner: PathBuf,
    copies: Copies,
    /// The names of this process's environment variables, which are not sent.
    own_variables: String,
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
            if begun.case.place == ProcessPlace::Host {
                return self.host.run(attempt, lease, launcher, sink).await;
            }
            let prepared = tokio::select! {
                prepared = self.prepare(&begun) => prepared,
                () = launcher.abandoned() => {
                    Err(infra("interrupted before the test began"))
                }
            };
            match prepared {
                Ok(test) => {
                    // From here on, the end of the lease kills what the test started.
                    begun.active.begin();
                    let is_alone = test.channel.is_none();
                    let watch = self.host.watch(&begun, test.command, launcher, sink);
                    let result = match test.channel {
                        Some(mut channel) => {
                            let result = beside(&mut channel, watch).await;
                            channel.close().await;
                            result
                        }
                        None => watch.await,
                    };
                    if result.exit.is_some() && begun.active.has_shared() {
                        // What serves the next tests may go on.
                        begun.active.finish();
                    }
                    if let Some(profiles) = test.profiles {
                        profiles.collect().await;
                    }
                    if is_alone && begun.active.has_left_nothing() {
                        begun.active.finish();
                    }
                    if !matches!(result.verdict, Verdict::Pass | Verdict::Skip(_)) {
                        // Its own program may have been deleted.
                        self.copies.doubt(begun.binary, &test.machine).await;
                    }
                    result
                }
                Err(verdict) => AttemptResult::new(verdict),
            }
        })
    }
}

/// A test that is ready to start on its machine.
struct PreparedTest {
    /// The command of the process that stands for it.
    command: Command,
    /// The channel of a test that needs the broker.
    channel: Option<Channel>,
    /// The profiles, if any are wanted.
    profiles: Option<Profiles>,
    machine: Machine,
}

fn infra(message: &str) -> Verdict {
    Verdict::Infra(message.to_owned())
}

impl OnTarget {
    /// Runs the tests that stay on this host by `host`, and those of `packages` on their machines.
    ///
    /// # Errors
    /// Fails if the path of the current executable is unknown.
    pub fn new(host: HostProcess, packages: TestPackages) -> Result<Self> {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        Ok(Self {
            host,
            binaries: Arc::default(),
            runner: runner::program()?,
            copies: Copies::new(packages),
            own_variables: names.collect::<Vec<_>>().join(" "),
        })
    }

    /// Puts the test on the first machine of the lease, or that of the case's role. The verdict if the test cannot start.
    async fn prepare(&self, begun: &BegunAttempt<'_>) -> Result<PreparedTest, Verdict> {
        let BegunAttempt {
            active,
            binary,
            case,
            ..
        } = begun;
        let is_place = |one: &&Instance| match (&case.place, &one.place) {
            (ProcessPlace::Role(role), Some(place)) => {
                [&place.machine, &place.role].contains(&role)
            }
            _ => true,
        };
        let first = active.instances.iter().find(is_place);
        let machine =
            first.and_then(|first| active.machines().find(|one| one.name() == first.name));
        let machine = machine.ok_or_else(|| infra("the lease has no instance"))?;
        let name = binary.file_name().unwrap_or_default().to_string_lossy();
        let cannot = |error: Error| {
            let text = format!("test binary `{name}` cannot run on `{}`", machine.name());
            Verdict::Infra(Error::infra(text).with_source(error).chain())
        };
        let copied = self.put(binary, machine).await.map_err(cannot)?;
        if let Some(path) = self.copies.missing(&copied, binary).map_err(cannot)? {
            let reason = format!(
                "`{path}` is compiled into the test, and `{}` cannot show files there: it has no mount namespaces, and the \
                 path cannot be made (`--runs-on host` runs the test here)",
                machine.name()
            );
            return Err(Verdict::Skip(SkipReason::Test(reason)));
        }
        let placed = PlacedBinary {
            machine: machine.name().to_owned(),
            cached: copied.cached.clone(),
            place: copied.place,
            view: copied.view,
            runner: self.runner.clone(),
            socket: BrokerPlace::socket_in(&self.host.place.folder),
            own_variables: self.own_variables.clone(),
        };
        let mut command = placed.command(active).map_err(cannot)?;
        let channel = match case.has_attribute {
            true => Some(placed.channel(active, machine).await.map_err(cannot)?),
            false => None,
        };
        active.runs_by(placed);
        if let Some(channel) = &channel {
            command.env(env::BROKER, channel.folder());
            command.envs(BrokerPlace::variables_of_test(&name, &case.full_name));
        }
        // A machine that shares the folders of this host writes to the same files.
        let value =
            std::env::var_os(profiles::VARIABLE).filter(|_| copied.layout != Layout::Shared);
        let profiles = value.map(|value| {
            let there = format!("{}.{}.profiles", copied.cached, active.id);
            let folder = self.copies.folder(binary);
            Profiles::new(Path::new(&value), &folder, machine, there)
        });
        if let Some(profiles) = &profiles {
            command.env(profiles::VARIABLE, profiles.value());
        }
        let test = case.start.without_prefix(binary);
        command.arg(test.get_program()).args(test.get_args());
        command.envs(case.start.variables());
        Ok(PreparedTest {
            command,
            channel,
            profiles,
            machine: machine.clone(),
        })
    }

    /// Puts a test binary and the files of its package on a machine.
    async fn put(&self, binary: &Path, machine: &Machine) -> Result<CopiedTest> {
        let (binaries, path) = (Arc::clone(&self.binaries), binary.to_owned());
        let binary = sync::blocking(move || binaries.read(&path)).await?;
        self.copies.put(&binary, machine).await
    }
}
