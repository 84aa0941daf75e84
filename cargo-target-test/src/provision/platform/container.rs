//! Platform `container`: containers of docker or podman.
//!
//! Owns what a container is made of and the engine's calls. Must not know how commands run in one (the transport
//! does).
//!
//! A container is named by its instance's unique name and carries the pool's label. Nothing need run in it: commands
//! come by the engine's `exec`, unless SSH is asked for. It shares its host's kernel, and so `/proc`'s boot id: what a
//! restart changes is the start time of its first process.
//!
//! An imported root file system stays as an image, named by its content, for the next instance.

mod engine;
mod line;
mod parameters;

use std::{collections::BTreeMap, num::NonZeroU16, path::PathBuf};

use rustix::process::Pid;
use serde::de::Error as _;
use serde_json::{Value, json};

use self::{
    engine::Engine,
    parameters::{Parameters, Pull, Transport},
};
use super::{
    Demand, Deployed, Found, Order, Platform, only_first,
    parameters::{self as common, path, wrong},
};
use crate::{
    connect::{Reach, SshReach},
    error::{Error, ErrorKind, Result},
    process,
    secret::Lookup,
};

/// Has the pool's label as its value.
const LABEL: &str = "cargo-target-test";
/// Has the instance's unique name as its value.
const UNIQUE: &str = "cargo-target-test.unique";

/// The images of remembered states; their tags are the instances' unique names.
const STATES: &str = "localhost/cargo-target-test-state";

/// Platform `container`.
#[derive(Debug)]
pub struct Container;

impl Platform for Container {
    fn name(&self) -> &'static str {
        "container"
    }

    fn parameters(&self, table: toml::de::ValueDeserializer<'_>) -> Result<Value, toml::de::Error> {
        let value = common::normalised::<Parameters>(table)?;
        let parameters: Parameters =
            serde_json::from_value(value.clone()).map_err(toml::de::Error::custom)?;
        match parameters.problem() {
            Some(problem) => Err(toml::de::Error::custom(problem)),
            None => Ok(value),
        }
    }

    fn capabilities(&self, parameters: &Value) -> BTreeMap<String, String> {
        common::sizes(parameters)
    }

    fn schema(&self) -> schemars::Schema {
        schemars::schema_for!(Parameters)
    }

    fn makes_machines(&self) -> bool {
        true
    }

    fn check(&self, order: &Order) -> Result<()> {
        let parameters: Parameters = common::of(order)?;
        common::check_file(order, "rootfs", parameters.rootfs.as_deref())?;
        common::check_file(order, "identity", parameters.identity.as_deref())?;
        for mount in &parameters.mounts {
            let host = path(
                &order.directory,
                mount.split(':').next().unwrap_or_default().as_ref(),
            );
            if !host.exists() {
                let (target, host) = (&order.target, host.display());
                return Err(wrong(format!(
                    "`mounts` of target `{target}`: there is no `{host}`"
                )));
            }
        }
        Ok(())
    }

    fn secrets(&self, order: &Order) -> Result<Vec<Lookup>> {
        let parameters: Parameters = common::of(order)?;
        let env = common::bound_env(order, &parameters.env);
        Ok(common::lookups(env.into_values()))
    }

    fn demand(&self, order: &Order) -> Result<Demand> {
        let parameters: Parameters = common::of(order)?;
        Ok(Demand {
            memory: parameters.memory.map_or(0, |size| size.0),
            ..Demand::default()
        })
    }

    fn deploy(&self, order: &Order, progress: &dyn Fn(&str)) -> Result<Deployed> {
        let parameters: Parameters = common::of(order)?;
        let engine = Engine::choose(parameters.engine.as_deref())?;
        // Of an earlier call that was interrupted.
        remove(&engine, order)?;
        let image = image(&engine, order, &parameters, progress)?;
        start(&engine, order, parameters, &image)
    }

    fn can_restore(&self) -> bool {
        true
    }

    /// The state is an image of its own.
    fn snapshot(&self, order: &Order, deployed: &Deployed, name: &str) -> Result<()> {
        only_first(self, order, name)?;
        let label = format!("LABEL {LABEL}={}", order.label);
        let commit = ["commit", "--change", &label, &order.unique, &state(order)];
        engine_of(deployed)?.run(commit).map(drop)
    }

    /// A new container of that image.
    fn restore(&self, order: &Order, deployed: &Deployed, name: &str) -> Result<Deployed> {
        only_first(self, order, name)?;
        let mut parameters: Parameters = common::of(order)?;
        let (engine, state) = (engine_of(deployed)?, state(order));
        if !engine.has_image(&state) {
            let message = format!("no state of `{}` is remembered", order.instance);
            return Err(Error::new(ErrorKind::Infra, message));
        }
        remove(&engine, order)?;
        parameters.pull = Pull::Never;
        start(&engine, order, parameters, &state)
    }

    fn delete(&self, order: &Order, _deployed: Option<&Deployed>) -> Result<()> {
        let parameters: Parameters = common::of(order)?;
        let engine = Engine::choose(parameters.engine.as_deref())?;
        remove(&engine, order)?;
        match engine.has_image(&state(order)) {
            true => engine.run(["rmi", "--force", &state(order)]).map(drop),
            false => Ok(()),
        }
    }

    fn restart(&self, order: &Order, deployed: &Deployed) -> Result<()> {
        let engine = engine_of(deployed)?;
        engine
            .run(["restart", "--time", "1", &order.unique])
            .map(drop)
    }

    fn check_alive(&self, order: &Order, deployed: &Deployed) -> Result<()> {
        let number = |key: &str| deployed.data.get(key).and_then(Value::as_u64);
        let pid = number("pid").and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if pid.is_some_and(|pid| process::start_time(pid) == number("started")) {
            return Ok(());
        }
        // It was restarted, or has ended.
        main_process(&engine_of(deployed)?, order).map(drop)
    }

    fn find(&self, label: &str, like: Option<&Order>) -> Result<Vec<Found>> {
        let engines = match like {
            None => Engine::all(),
            Some(order) => {
                let parameters: Parameters = common::of(order)?;
                vec![Engine::choose(parameters.engine.as_deref())?]
            }
        };
        let mut found = Vec::new();
        for engine in engines {
            let filter = format!("label={LABEL}={label}");
            let names =
                engine.run(["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"])?;
            let images = engine.run([
                "images",
                "--filter",
                &filter,
                "--format",
                "{{.Repository}}:{{.Tag}}",
            ])?;
            let states = images
                .lines()
                .filter_map(|image| image.strip_prefix(STATES)?.strip_prefix(':'));
            let one = |what: &str, unique: &str| Found {
                unique: unique.to_owned(),
                what: format!("{what} `{unique}` of {}", engine.0),
                parameters: json!({ "engine": engine.0, "image": "-" }),
                deployed: None,
            };
            found.extend(names.lines().map(|name| one("container", name)));
            // A container of the same name takes its state along when it is deleted.
            let alone = states.filter(|state| !names.lines().any(|name| name == *state));
            found.extend(alone.map(|state| one("the remembered state of container", state)));
        }
        Ok(found)
    }
}

/// The image that an instance's state is remembered in.
fn state(order: &Order) -> String {
    format!("{STATES}:{}", order.unique)
}

/// Starts the container.
fn start(engine: &Engine, order: &Order, parameters: Parameters, image: &str) -> Result<Deployed> {
    let arguments = line::arguments(order, &parameters, image);
    let arguments = arguments.iter().map(String::as_str);
    let env = common::values(&common::bound_env(order, &parameters.env))?;
    engine.within(START, arguments, |command| command.envs(env))?;
    let pid = main_process(engine, order)?;
    let reach = match parameters.transport {
        Transport::Exec => Reach::Container {
            engine: engine.0.clone(),
            container: order.unique.clone(),
            user: parameters.user.clone(),
        },
        Transport::Ssh => Reach::Ssh(ssh(engine, order, &parameters)?),
    };
    let port = match &reach {
        Reach::Ssh(reach) => reach.port,
        _ => None,
    };
    let started = Pid::from_raw(pid).and_then(process::start_time);
    Ok(Deployed {
        host: if port.is_some() {
            "127.0.0.1"
        } else {
            &order.unique
        }
        .to_owned(),
        port,
        user: parameters.user,
        data: json!({ "engine": engine.0, "container": order.unique, "pid": pid, "started": started }),
        reach,
    })
}

/// How long a container may take to start.
const START: std::time::Duration = std::time::Duration::from_secs(120);

/// The image, fetched or imported where that has to be.
fn image(
    engine: &Engine,
    order: &Order,
    parameters: &Parameters,
    progress: &dyn Fn(&str),
) -> Result<String> {
    if let Some(rootfs) = &parameters.rootfs {
        return engine.import(&path(&order.directory, rootfs));
    }
    let image = parameters.image.clone().unwrap_or_default();
    let here = engine.has_image(&image);
    if !here && parameters.pull != Pull::Never {
        progress(&format!("fetches image `{image}`"));
        engine.run(["pull", "--quiet", &image])?;
    } else if !here {
        let message = format!(
            "`{}` has no image `{image}`, and `pull` is \"never\"",
            engine.0
        );
        return Err(Error::new(ErrorKind::Infra, message)
            .with_hint("fetch it, or name a root file system by `rootfs`"));
    }
    Ok(image)
}

/// The number of the container's first process.
///
/// # Errors
/// How it ended, with its last words.
fn main_process(engine: &Engine, order: &Order) -> Result<i32> {
    let name = &order.instance;
    let format = "{{.State.Running}} {{.State.Pid}} {{.State.ExitCode}} {{.State.OOMKilled}}";
    let state = engine
        .run([
            "inspect",
            "--type",
            "container",
            "--format",
            format,
            &order.unique,
        ])
        .map_err(|error| {
            let message = format!("the container of `{name}` is gone");
            Error::new(ErrorKind::Infra, message).with_source(error)
        })?;
    let words: Vec<_> = state.split_whitespace().collect();
    if let ["true", pid, ..] = words.as_slice() {
        return pid.parse().map_err(|_| {
            let message = format!("`{}` tells no process of `{name}`", engine.0);
            Error::new(ErrorKind::Infra, message)
        });
    }
    let why = match words.as_slice() {
        [_, _, _, "true"] => "was killed for its use of memory".to_owned(),
        [_, _, code, ..] => format!("ended with exit code {code}"),
        _ => "does not run".to_owned(),
    };
    let last = engine
        .run(["logs", "--tail", "15", &order.unique])
        .unwrap_or_default();
    let last = if last.is_empty() {
        last
    } else {
        format!("; its last words:\n{last}")
    };
    Err(Error::new(
        ErrorKind::Infra,
        format!("the container of `{name}` {why}{last}"),
    ))
}

fn engine_of(deployed: &Deployed) -> Result<Engine> {
    let engine = deployed.data.get("engine").and_then(Value::as_str);
    engine
        .map(|engine| Engine(engine.to_owned()))
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Infra,
                "nothing is known of the container's engine",
            )
        })
}

fn ssh(engine: &Engine, order: &Order, parameters: &Parameters) -> Result<SshReach> {
    let port = parameters.port.map_or(22, NonZeroU16::get).to_string();
    let published = engine.run(["port", &order.unique, &port])?;
    let port = published
        .lines()
        .find_map(|line| line.rsplit(':').next()?.trim().parse().ok());
    let from = |written: &PathBuf| path(&order.directory, written);
    Ok(SshReach {
        host: "127.0.0.1".to_owned(),
        port,
        user: parameters.user.clone(),
        identity: parameters.identity.as_ref().map(from),
        known_hosts: Some(order.scratch.join("known_hosts")),
        trust_first: true,
        ..SshReach::default()
    })
}

/// Removes the container; that there is none is what we want.
fn remove(engine: &Engine, order: &Order) -> Result<()> {
    if !engine.has(&order.unique)? {
        return Ok(());
    }
    let removed = engine.run(["rm", "--force", "--volumes", &order.unique]);
    match (removed, engine.has(&order.unique)?) {
        (_, false) => Ok(()),
        (Err(error), true) => Err(error),
        (Ok(_), true) => Err(Error::new(
            ErrorKind::Infra,
            format!("the container of `{}` is still there", order.instance),
        )),
    }
}

#[cfg(test)]
mod tests;
