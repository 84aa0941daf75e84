//! Platform `container`: containers of docker or podman.
//!
//! A container has its instance's unique name and carries the pool's label. It needs no server: commands run by the
//! engine's `exec`, unless the playbook selects SSH. It shares the kernel and the boot id of its host: a restart
//! changes the start time of its first process.
//!
//! An imported root file system stays as an image, named by its content and the pool's label, for the next instance.

// Must not know how commands run in a container (the transport does).

mod engine;
mod line;
mod network;
mod parameters;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU16,
    process::Command,
};

use rustix::process::Pid;
use serde_json::{Value, json};
use target_fixtures::wire::FaultKind;

pub(in crate::provision) use self::engine::Engine;
use self::parameters::{ContainerParameters, ContainerTransport, PullPolicy};
use super::{
    Attach, Deployed, FIRST_STATE, Footprint, Found, NetworkKind, Platform, SpecOf, cannot,
    values::{self, wrong},
};
use crate::{
    connect::{ContainerReach, Reach, SshReach},
    error::{Error, Result},
    process::{self, LeftProcess},
    secret::{self, Lookup},
};

/// The label whose value is the pool's label.
const LABEL: &str = "cargo-target-test";
/// The label whose value is the instance's unique name.
const UNIQUE: &str = "cargo-target-test.unique";

/// The label whose value is the container's provenance, as JSON.
const PROVENANCE: &str = "cargo-target-test.provenance";

/// The maximum number of lines of a container's output in a report.
const LINES: u32 = 100_000;

/// The name of the images of snapshots; the tag is the instance's unique name.
const STATES: &str = "localhost/cargo-target-test-state";

/// Platform `container`.
#[derive(Debug)]
pub struct ContainerPlatform;

type ContainerSpec = SpecOf<ContainerPlatform>;

impl Platform for ContainerPlatform {
    type Parameters = ContainerParameters;

    fn name(&self) -> &'static str {
        "container"
    }

    fn shares_kernel(&self) -> bool {
        true
    }

    fn validate(&self, parameters: &ContainerParameters) -> Result<(), String> {
        parameters.validate().map_err(str::to_owned)
    }

    fn capabilities(&self, parameters: &ContainerParameters) -> BTreeMap<String, String> {
        values::sizes(parameters)
    }

    fn check(&self, spec: &SpecOf<Self>) -> Result<()> {
        spec.check_file("rootfs", spec.parameters.rootfs.as_deref())?;
        spec.check_file("identity", spec.parameters.identity.as_deref())?;
        spec.check_shares(&spec.parameters.share)?;
        for mount in &spec.parameters.mounts {
            let host = spec.path(mount.split(':').next().unwrap_or_default().as_ref());
            if !host.exists() {
                let (target, host) = (&spec.target, host.display());
                return Err(wrong(format!(
                    "`mounts` of target `{target}`: file or folder not found: `{host}`"
                ))
                .with_key("mounts"));
            }
        }
        let engine = spec.parameters.engine.as_deref().unwrap_or_default();
        if engine.contains('/') && which::which(engine).is_err() {
            let target = &spec.target;
            let message = format!("`engine` of target `{target}`: program not found: `{engine}`");
            return Err(wrong(message).with_key("engine"));
        }
        Ok(())
    }

    fn check_delete(&self, spec: &SpecOf<Self>) -> Result<()> {
        Engine::choose(spec.parameters.engine.as_deref()).map(drop)
    }

    fn secrets(&self, spec: &SpecOf<Self>) -> Result<Vec<Lookup>> {
        let env = spec.bound_env(&spec.parameters.env);
        Ok(values::lookups(env.into_values()))
    }

    fn footprint(&self, parameters: &ContainerParameters) -> Footprint {
        Footprint {
            memory: parameters.memory.map_or(0, |size| size.0),
            ..Footprint::default()
        }
    }

    fn deploy(&self, spec: &SpecOf<Self>, progress: &dyn Fn(&str)) -> Result<Deployed> {
        let engine = Engine::choose(spec.parameters.engine.as_deref())?;
        // An earlier call may have been interrupted.
        remove(&engine, spec)?;
        let image = image(&engine, spec, progress)?;
        engine.deploying(START, start(&engine, spec, &image)?)?;
        join_networks(&engine, spec)?;
        let deployed = started(&engine, spec);
        // A container that ended at once is as a machine that does not boot.
        deployed.map_err(|error| error.with_crash(engine.main_process(spec).is_err()))
    }

    fn network_kind(&self) -> Option<NetworkKind> {
        Some(NetworkKind::Container)
    }

    fn can_restore(&self, _: &ContainerParameters) -> bool {
        true
    }

    fn digests(&self, spec: &SpecOf<Self>) -> BTreeMap<String, String> {
        let parameters = &spec.parameters;
        let mut digests = values::digests(spec, [("rootfs", parameters.rootfs.as_deref())]);
        if let (Some(image), Ok(engine)) = (
            &parameters.image,
            Engine::choose(parameters.engine.as_deref()),
        ) {
            digests.extend(engine.image_id(image).map(|id| ("image".to_owned(), id)));
        }
        digests
    }

    /// Commits the container to an image.
    fn snapshot(&self, spec: &SpecOf<Self>, deployed: &Deployed, name: &str) -> Result<()> {
        only_first(self, spec, name)?;
        let label = format!("LABEL {LABEL}={}", spec.label);
        let commit = ["commit", "--change", &label, &spec.unique, &state(spec)];
        engine_of(deployed)?.run(commit).map(drop)
    }

    /// Replaces the container by one of the committed image.
    fn restore(&self, spec: &SpecOf<Self>, deployed: &Deployed, name: &str) -> Result<Deployed> {
        only_first(self, spec, name)?;
        let (engine, state) = (engine_of(deployed)?, state(spec));
        if !engine.has_image(&state) {
            let message = format!("snapshot of `{}` not found", spec.instance);
            return Err(Error::infra(message));
        }
        remove(&engine, spec)?;
        let mut spec = spec.clone();
        spec.parameters.pull = PullPolicy::Never;
        engine.within(START, start(&engine, &spec, &state)?)?;
        join_networks(&engine, &spec)?;
        started(&engine, &spec)
    }

    fn delete(&self, spec: &SpecOf<Self>, _: Option<&Deployed>) -> Result<()> {
        let engine = Engine::choose(spec.parameters.engine.as_deref())?;
        remove(&engine, spec)?;
        match engine.has_image(&state(spec)) {
            true => engine.run(["rmi", "--force", &state(spec)]).map(drop),
            false => Ok(()),
        }
    }

    fn restart(&self, spec: &SpecOf<Self>, deployed: &Deployed) -> Result<()> {
        let engine = engine_of(deployed)?;
        engine
            .run(["restart", "--time", "1", &spec.unique])
            .map(drop)
    }

    fn faults(&self) -> &'static [FaultKind] {
        &[
            FaultKind::Pause,
            FaultKind::Disk,
            FaultKind::Memory,
            FaultKind::LinkCut,
        ]
    }

    fn pause(&self, spec: &SpecOf<Self>, deployed: &Deployed, paused: bool) -> Result<()> {
        let command = if paused { "pause" } else { "unpause" };
        engine_of(deployed)?.run([command, &spec.unique]).map(drop)
    }

    fn check_alive(&self, spec: &SpecOf<Self>, deployed: &Deployed) -> Result<()> {
        let number = |key: &str| deployed.data.get(key).and_then(Value::as_u64);
        let pid = number("pid").and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if pid.is_some_and(|pid| process::start_time(pid) == number("started")) {
            return Ok(());
        }
        // The container was restarted or has ended.
        engine_of(deployed)?.main_process(spec).map(drop)
    }

    fn output(&self, spec: &SpecOf<Self>) -> Result<Option<String>> {
        if line::has_default_command(&spec.parameters) {
            return Ok(None);
        }
        let engine = Engine::choose(spec.parameters.engine.as_deref())?;
        engine.output(&spec.unique, LINES).map(Some)
    }

    /// A restart may change the address, so the engine is asked.
    fn address(&self, spec: &SpecOf<Self>, deployed: &Deployed) -> Result<Option<IpAddr>> {
        if spec.parameters.network.as_deref() == Some("host") {
            return Ok(Some(Ipv4Addr::LOCALHOST.into()));
        }
        let address = engine_of(deployed)?.address(&spec.unique)?;
        if address.is_none() && spec.parameters.transport == ContainerTransport::Exec {
            let message = format!("the container of `{}` has no address", spec.instance);
            let hint = "set `network` to a network of the engine: `podman network create NAME`";
            return Err(Error::usage(message).with_hint(hint));
        }
        Ok(address)
    }

    /// Removes the imported images.
    fn clean_up(&self, label: &str, like: Option<&SpecOf<Self>>) -> Result<()> {
        let engines = engines(like)?;
        let mut engines = engines.iter();
        engines.try_for_each(|engine| engine.remove_imported(label))
    }

    fn find(&self, label: &str, like: Option<&SpecOf<Self>>) -> Result<Vec<Found>> {
        let filter = format!("{LABEL}={label}");
        let each = engines(like)?;
        let each = each.iter().map(|engine| labelled(engine, &filter));
        Ok(each.collect::<Result<Vec<_>>>()?.concat())
    }

    fn find_owned(&self, owner: &str, like: Option<&SpecOf<Self>>) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for engine in engines(like)? {
            for mut one in labelled(&engine, LABEL)? {
                one.provenance = engine.provenance(&one.unique);
                found.extend(one.provenance.is_of(owner).then_some(one));
            }
        }
        Ok(found)
    }
}

/// The engine of a target, or all engines.
fn engines(like: Option<&ContainerSpec>) -> Result<Vec<Engine>> {
    Ok(match like {
        None => Engine::all(),
        Some(spec) => vec![Engine::choose(spec.parameters.engine.as_deref())?],
    })
}

/// Finds the containers, and the snapshots without a container, with a label.
fn labelled(engine: &Engine, label: &str) -> Result<Vec<Found>> {
    let filter = format!("label={label}");
    let names = engine.run(["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"])?;
    let format = "{{.Repository}}:{{.Tag}}";
    let images = engine.run(["images", "--filter", &filter, "--format", format])?;
    let states = images
        .lines()
        .filter_map(|image| image.strip_prefix(STATES)?.strip_prefix(':'));
    let one = |what: &str, unique: &str| Found {
        parameters: json!({ "engine": engine.0, "image": "-" }),
        ..Found::new(unique, format!("{what} `{unique}` of {}", engine.0))
    };
    let mut found: Vec<_> = names.lines().map(|name| one("container", name)).collect();
    // A snapshot of a container is deleted with the container.
    let alone = states.filter(|state| !names.lines().any(|name| name == *state));
    found.extend(alone.map(|state| one("the snapshot of container", state)));
    Ok(found)
}

/// Refuses snapshots after the first one: a restore replaces the container while the commands of a test run in it.
fn only_first(platform: &ContainerPlatform, spec: &ContainerSpec, name: &str) -> Result<()> {
    let other = || {
        let what = "save more than the first snapshot of";
        cannot(platform.name(), what, spec)
    };
    (name == FIRST_STATE).then_some(()).ok_or_else(other)
}

/// The image with the instance's snapshot.
fn state(spec: &ContainerSpec) -> String {
    format!("{STATES}:{}", spec.unique)
}

/// Returns the command that starts the container.
fn start(engine: &Engine, spec: &ContainerSpec, image: &str) -> Result<Command> {
    let mut command = engine.command(line::arguments(spec, image));
    command.envs(secret::values(&spec.bound_env(&spec.parameters.env))?);
    Ok(command)
}

/// Connects the container to the networks of its environment, beside the one that it was started with.
fn join_networks(engine: &Engine, spec: &ContainerSpec) -> Result<()> {
    for nic in &spec.nics {
        // A container has no link to a switch: the playbook is checked.
        if let Attach::Network(network) = &nic.attach {
            engine.join(network, &spec.unique, (nic.ip(), &nic.mac))?;
        }
    }
    Ok(())
}

/// Returns the container that was started.
fn started(engine: &Engine, spec: &ContainerSpec) -> Result<Deployed> {
    let pid = engine.main_process(spec)?;
    let reach = match spec.parameters.transport {
        ContainerTransport::Exec => Reach::Container(ContainerReach {
            engine: engine.0.clone(),
            container: spec.unique.clone(),
            user: spec.parameters.user.clone(),
        }),
        ContainerTransport::Ssh => Reach::Ssh(ssh(engine, spec)?),
    };
    let host = match &reach {
        Reach::Ssh(reach) if reach.port.is_some() => "127.0.0.1",
        _ => &spec.unique,
    };
    let started = Pid::from_raw(pid).and_then(process::start_time);
    Ok(Deployed {
        user: spec.parameters.user.clone(),
        data: json!({ "engine": engine.0, "container": spec.unique, "pid": pid, "started": started }),
        ..Deployed::new(host, reach)
    })
}

/// The time limit for the start of a container.
const START: std::time::Duration = std::time::Duration::from_secs(120);

/// Returns the image; fetches or imports it if it is missing.
fn image(engine: &Engine, spec: &ContainerSpec, progress: &dyn Fn(&str)) -> Result<String> {
    if let Some(rootfs) = &spec.parameters.rootfs {
        return engine.import(&spec.path(rootfs), &spec.label);
    }
    let image = spec.parameters.image.clone().unwrap_or_default();
    let here = engine.has_image(&image);
    if !here && spec.parameters.pull != PullPolicy::Never {
        progress(&format!("fetching image `{image}`"));
        engine.deploying(engine::LIMIT, engine.command(["pull", "--quiet", &image]))?;
    } else if !here {
        let message = format!(
            "`{}` has no image `{image}`, and `pull` is \"never\"",
            engine.0
        );
        return Err(Error::infra(message).with_hint("fetch it, or set `rootfs`"));
    }
    Ok(image)
}

fn engine_of(deployed: &Deployed) -> Result<Engine> {
    let engine = deployed.data.get("engine").and_then(Value::as_str);
    engine
        .map(|engine| Engine(engine.to_owned()))
        .ok_or_else(|| Error::infra("the container engine of the instance is unknown"))
}

fn ssh(engine: &Engine, spec: &ContainerSpec) -> Result<SshReach> {
    let parameters = &spec.parameters;
    let port = parameters.port.map_or(22, NonZeroU16::get).to_string();
    let published = engine.run(["port", &spec.unique, &port])?;
    let port = published
        .lines()
        .find_map(|line| line.rsplit(':').next()?.trim().parse().ok());
    Ok(SshReach {
        host: "127.0.0.1".to_owned(),
        port,
        user: parameters.user.clone(),
        identity: (parameters.identity.as_ref()).map(|written| spec.path(written)),
        // A login does not have the container's variables.
        env: spec.bound_env(&parameters.env),
        known_hosts: Some(spec.scratch.join("known_hosts")),
        trust_first: true,
        ..SshReach::default()
    })
}

/// Removes the container, if it exists.
fn remove(engine: &Engine, spec: &ContainerSpec) -> Result<()> {
    remove_container(engine, spec)?;
    // Podman forgets a container whose start was cut short, and leaves its monitor, `conmon`, and what that started.
    let left = process::kill_with_arguments(&["-n", &spec.unique]);
    match left.as_slice() {
        [] => Ok(()),
        left => Err(Error::infra(format!(
            "processes of the container of `{}` still run: {}",
            spec.instance,
            LeftProcess::list(left)
        ))),
    }
}

fn remove_container(engine: &Engine, spec: &ContainerSpec) -> Result<()> {
    if !engine.has(&spec.unique)? {
        return Ok(());
    }
    let removed = engine.run(["rm", "--force", "--volumes", &spec.unique]);
    match (removed, engine.has(&spec.unique)?) {
        (_, false) => Ok(()),
        (Err(error), true) => Err(error),
        (Ok(_), true) => Err(Error::infra(format!(
            "the container of `{}` still exists",
            spec.instance
        ))),
    }
}

#[cfg(test)]
mod tests;
