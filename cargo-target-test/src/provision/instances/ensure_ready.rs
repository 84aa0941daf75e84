//! Makes one instance ready: gets it from the pool, checks or prepares it, and retries a failed deploy.
//!
//! Must not know who needs the instance.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use super::{Context, ReadyInstance};
use crate::{
    case::reason::DirtyReason,
    connect::LiveConnection,
    error::{Error, ErrorKind, Result, one_line},
    provision::{
        Ensured, Preparer, Wanted,
        platform::FIRST_STATE,
        pool::{InstanceFacts, Record},
        prepare::{self, Preparation, Shell},
        unit,
    },
    run_event::{InstanceTarget, RunEventKind},
    secret::{redacted, redacted_chain},
    sync,
};

/// The pause before the first retry of a deploy; doubled for each further retry.
const PAUSE: Duration = Duration::from_secs(1);
/// The time limit for a kept instance to answer.
const HEALTH: Duration = Duration::from_secs(5);

impl Context {
    /// Gets the instance from the pool; a failed deploy is retried as often as the playbook says. `label` is the text in
    /// the brackets of its cases.
    pub(super) async fn ensure_ready(
        self: &Arc<Self>,
        wanted: &Wanted,
        label: &str,
    ) -> Result<ReadyInstance> {
        let (instance, started) = (wanted.instance(), Instant::now());
        let target = Some(InstanceTarget {
            name: wanted.target.clone(),
            label: label.to_owned(),
            platform: wanted.platform.name().to_owned(),
        });
        self.emit(RunEventKind::DeployStarted {
            instance: instance.clone(),
            target: target.clone(),
        });
        let brought = self.ensure_ready_retrying(wanted, label).await;
        let ready = brought.as_ref().ok();
        if let Some(ready) = ready.filter(|ready| ready.reused) {
            self.emit(RunEventKind::Facts {
                instance: instance.clone(),
                facts: ready.record.facts.clone(),
            });
        }
        let shell = ready.and_then(|ready| shell_line(&ready.record));
        self.emit(RunEventKind::DeployEnded {
            instance,
            took: started.elapsed(),
            reused: ready.is_some_and(|ready| ready.reused),
            target,
            reach: shell.map(|line| redacted(&line).into_owned()),
            error: brought.as_ref().err().map(redacted_chain),
        });
        brought
    }

    async fn ensure_ready_retrying(
        self: &Arc<Self>,
        wanted: &Wanted,
        label: &str,
    ) -> Result<ReadyInstance> {
        let instance = wanted.instance();
        let (context, one) = (Arc::clone(self), wanted.clone());
        let enabled = sync::blocking(move || context.run.refuse_disabled(&one)).await;
        enabled.map_err(|error| self.could_not(&instance, label, &error))?;
        let looked_up = look_up(wanted.clone()).await;
        looked_up.map_err(|error| self.could_not(&instance, label, &error))?;
        let mut pause = PAUSE;
        let mut left = if wanted.platform.ownership().is_created() {
            wanted.lifecycle.retries
        } else {
            0
        };
        loop {
            let error = match self.attempt(wanted).await {
                Ok(ready) => return Ok(ready),
                Err(error) => error,
            };
            if left == 0 || self.is_cancelled() || error.kind() == ErrorKind::Pool {
                return Err(self.could_not(&instance, label, &error));
            }
            let after = humantime::format_duration(pause);
            let why = one_line(&error.chain());
            self.progress(&format!("{instance}: {why}; retrying in {after}"));
            tokio::time::sleep(pause).await;
            (pause, left) = (pause * 2, left - 1);
        }
    }

    fn could_not(&self, instance: &str, label: &str, error: &Error) -> Error {
        let message = format!("{instance} could not be deployed: {}", error.chain());
        let typed = self.run.run().typed_playbook.as_deref();
        let rerun = || {
            format!(
                "fix this, then rerun only this target: `{}`",
                rerun(typed, label)
            )
        };
        let hint = error.hint().map_or_else(rerun, str::to_owned);
        let failed = Error::new(error.kind(), message).with_hint(hint);
        failed.with_crash(error.is_crash())
    }

    /// Makes one attempt. Recycles an unhealthy kept instance once.
    async fn attempt(self: &Arc<Self>, wanted: &Wanted) -> Result<ReadyInstance> {
        let (started, mut replaced) = (Instant::now(), None);
        loop {
            let ensured = self.ensure(wanted).await?;
            if let Some(reason) = &ensured.recycled {
                let reason = one_line(reason);
                self.progress(&format!("{}: recycled: {reason}", wanted.instance()));
            }
            let health = match ensured.fresh {
                true => Ok(()),
                false => self.check_health(&ensured.record).await,
            };
            match health {
                Ok(()) => {
                    let story = story(&ensured, replaced.as_deref(), started.elapsed());
                    return Ok(ReadyInstance {
                        record: ensured.record,
                        story,
                        reused: !ensured.fresh,
                    });
                }
                Err(error) => {
                    self.mark_dirty(&ensured.record, DirtyReason::Lost(error.chain()))
                        .await;
                    if replaced.is_some() {
                        return Err(error.with_crash(false));
                    }
                    replaced = Some(error.chain());
                }
            }
        }
    }

    /// Fails if a kept instance is not alive or does not answer.
    async fn check_health(&self, record: &Record) -> Result<()> {
        unit::check_networks(record)?;
        for machine in unit::machines(record)? {
            let instance = self.instance(&machine)?;
            instance.check_alive().await?;
            let connection = self.connection(&machine, &instance);
            connection.prove_within(HEALTH).await?;
            let shell = Shell::new(connection.transport(), prepare::mark(&machine));
            self.machines.add(&machine, &shell).await?;
        }
        Ok(())
    }

    async fn ensure(self: &Arc<Self>, wanted: &Wanted) -> Result<Ensured> {
        let (wanted, context) = (wanted.clone(), Arc::clone(self));
        let runtime = Handle::current();
        sync::blocking(move || {
            let deploying = Deploying {
                context: &context,
                wanted: &wanted,
                instance: wanted.instance(),
                runtime,
            };
            let ensured = context.run.ensure(&wanted, &deploying)?;
            context.add_ssh_host(&ensured.record)?;
            Ok(ensured)
        })
        .await
    }
}

/// Looks up the secrets in the instance's parameters, also for a kept instance, so that its output is redacted.
async fn look_up(wanted: Wanted) -> Result<()> {
    sync::blocking(move || {
        for lookup in wanted.platform.secrets(&wanted.spec(""))? {
            lookup.value()?;
        }
        Ok(())
    })
    .await
}

/// A deploy by the pool, on a thread that may block.
struct Deploying<'a> {
    context: &'a Arc<Context>,
    wanted: &'a Wanted,
    instance: String,
    runtime: Handle,
}

impl Preparer for Deploying<'_> {
    fn progress(&self, line: &str) {
        self.context.progress(&format!("{}: {line}", self.instance));
    }

    fn cancelled(&self) -> bool {
        self.context.is_cancelled()
    }

    fn prepare(&self, record: &Record, recycled: Option<&str>) -> Result<InstanceFacts> {
        let started = Instant::now();
        self.context.emit(RunEventKind::PrepareStarted {
            instance: self.instance.clone(),
        });
        let prepared = self.prepare_unit(record, recycled);
        self.context.emit(RunEventKind::PrepareEnded {
            instance: self.instance.clone(),
            took: started.elapsed(),
            error: prepared.as_ref().err().map(redacted_chain),
        });
        if let Ok(facts) = &prepared {
            self.context.emit(RunEventKind::Facts {
                instance: self.instance.clone(),
                facts: facts.clone(),
            });
        }
        prepared
    }
}

impl Deploying<'_> {
    /// Prepares all machines of a unit at once, and saves a snapshot of each. Returns the facts of the unit.
    fn prepare_unit(&self, unit: &Record, recycled: Option<&str>) -> Result<InstanceFacts> {
        let machines = unit::machines(unit)?;
        let failed = OnceLock::new();
        let prepared = sync::parallel(&machines, |machine| {
            let prepared = self.prepare_machine(machine, recycled, &|| failed.get().is_some());
            prepared.map_err(|error| failed.get_or_init(|| named(machine, error)).clone())
        });
        let prepared = prepared.into_iter().collect::<Result<Vec<_>>>()?;
        if self.wanted.snapshot {
            self.progress("saving a snapshot");
            let saved = sync::parallel(&machines, |machine| {
                let instance = self.context.instance(machine)?;
                let origin = instance.origin()?;
                let platform = &origin.platform;
                platform.snapshot(&origin.spec, &origin.deployed, FIRST_STATE)
            });
            saved.into_iter().collect::<Result<()>>()?;
        }
        Ok(prepared.into_iter().flatten().collect())
    }

    /// Prepares a machine; returns its facts as those of the unit.
    fn prepare_machine(
        &self,
        record: &Record,
        recycled: Option<&str>,
        is_in_vain: &(dyn Fn() -> bool + Sync),
    ) -> Result<InstanceFacts> {
        let instance = self.context.instance(record)?;
        // While the machine boots.
        let origin = instance.origin()?;
        let digests = origin.platform.digests(&origin.spec).into_iter();
        let digests: Vec<_> = digests
            .map(|(key, digest)| (format!("digest.{key}"), digest))
            .collect();
        let preparation = Preparation {
            lifecycle: self.wanted.lifecycle_of(record),
            record,
            instance: &instance,
            progress: &|line| match &record.spec.place {
                Some(place) => self.progress(&format!("{}: {line}", place.machine)),
                None => self.progress(line),
            },
            emit: &|kind| self.context.emit(kind),
            cancelled: &|| self.cancelled() || is_in_vain(),
            machines: &self.context.machines,
        };
        // A step may take any time.
        let prepared = async {
            tokio::select! {
                prepared = preparation.run(recycled) => prepared,
                () = self.context.cancelled() => Err(Error::infra("cancelled")),
            }
        };
        let (transport, mut facts) = self.runtime.block_on(prepared)?;
        let connection = LiveConnection::answered(transport, facts.get("boot-id").cloned());
        self.context.keep_connection(record, connection);
        facts.extend(digests);
        Ok(unit::facts_in_unit(record, facts))
    }
}

/// Returns a line for a shell of this host that opens a shell on the instance, or on the first machine of an environment.
fn shell_line(unit: &Record) -> Option<String> {
    let machines = unit::machines(unit).ok()?;
    let first = machines.first()?;
    match &first.spec.place {
        Some(_) => Some(format!("cargo target-test shell {}", first.name())),
        None => Some(first.deployed.as_ref()?.shell_line()),
    }
}

/// The error of a machine; it names the role in an environment.
fn named(machine: &Record, error: Error) -> Error {
    match &machine.spec.place {
        Some(place) => error.in_role(&place.machine),
        None => error,
    }
}

/// Returns the command that runs the cases of one target.
fn rerun(playbook: Option<&Path>, label: &str) -> String {
    let playbook = playbook.map(|path| path.to_string_lossy().into_owned());
    let quoted = |path: &String| shlex::try_quote(path).map(|path| format!(" --playbook {path}"));
    let playbook = playbook.as_ref().and_then(|path| quoted(path).ok());
    let playbook = playbook.unwrap_or_default();
    match label.split_once('/') {
        None => format!("cargo target-test{playbook} '[{label}]'"),
        Some((scenario, target)) => {
            format!("cargo target-test{playbook} --scenario {scenario} --on {target}")
        }
    }
}

fn story(ensured: &Ensured, replaced: Option<&str>, took: Duration) -> String {
    let name = ensured.record.name();
    let took = took.as_secs_f32();
    let what = if ensured.fresh {
        format!("{name}: deployed in {took:.1} s")
    } else {
        format!("{name}: kept from an earlier run, answers")
    };
    match replaced.or(ensured.recycled.as_deref()) {
        Some(reason) => format!("{what} (the previous instance was recycled: {reason})"),
        None => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rerun_names_the_playbook_of_the_command_line() {
        for (playbook, expected) in [
            (None, "cargo target-test '[beta]'"),
            (
                Some("lab.toml"),
                "cargo target-test --playbook lab.toml '[beta]'",
            ),
            (
                Some("my lab.toml"),
                "cargo target-test --playbook 'my lab.toml' '[beta]'",
            ),
        ] {
            assert_eq!(rerun(playbook.map(Path::new), "beta"), expected);
        }
        assert_eq!(
            rerun(None, "nightly/beta"),
            "cargo target-test --scenario nightly --on beta"
        );
    }
}
