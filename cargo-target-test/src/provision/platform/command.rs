//! Platform `command`: the user's own programs create and delete the machines.
//!
//! Owns the protocol between the tool and those programs.
//!
//! Each program starts in the playbook's folder, in a session of its own, with one JSON object on its standard input:
//!
//! ```json
//! {"action": "deploy", "instance": "alpha-0", "target": "alpha", "index": 0, "label": "tt-1f3a9c",
//!  "unique": "tt-1f3a9c-12", "params": {}, "data": null, "owner": "ann@lab/widget", "born": 1700000000,
//!  "expires": 1700043200, "pool": "/home/ann/.local/state/cargo-target-test"}
//! ```
//!
//! `label` has up to 29 characters, and `unique` starts with it: a resource whose name has a shorter limit carries it as a
//! tag. References to secrets in `params` are replaced by their values. `deploy` prints one JSON object: `host`, and
//! optionally `port`, `user`, `password` (or a reference to it), `identity` (a private key file, or the key), `data` (an object, for tests and for `delete`; secrets are removed from it) and
//! `transport` (`"ssh"`, the default, or `"local"` for commands on this machine). Standard error is shown to the user.
//! Exit code 0 is success.
//!
//! Three more programs make a transport of any protocol. They start in the same folder, with the same object in the
//! environment variable `TARGET_TEST_REQUEST` (its `data` is `deploy`'s answer). `exec` gets one more argument, a line
//! for the instance's POSIX shell, and its standard streams are that shell's. Marks in the streams tell how the line
//! ended; the program's exit code is ignored, except if the line did not run: 0, 126 or 127 for 5 seconds means that the
//! instance has no POSIX shell, and the deploy fails; until the instance is up, `exec` exits with any other code. Commands,
//! files, facts and questions all need that shell, `/bin/sh`; a busybox one is enough. An array is enough: `exec = ["ssh", "-T", "box"]`, or
//! `["lxc-attach", "-n", "box", "--", "/bin/sh", "-c"]`. Files travel as such lines too, unless there are `put` (two
//! more arguments: a path and octal permissions; the content is its standard input) and `get` (one more argument: a
//! path; the content is its standard output). Their exit code 0 is success.
//!
//! `list` finds everything that carries the label, for `gc`: it prints a JSON array of objects with `unique`, and
//! optionally `what` (a description) and `data` (for `delete`). For `gc --owner`, `label` is empty and `owner` is the owner
//! to search for, maybe with a `*` at its end. Then an object also has `owner`, `expires` and `pool`, as `deploy` got
//! them; objects of other owners are ignored. `renew` gets a later `expires`, to write it on an instance.
//!
//! `deploy` and `delete` are idempotent: after an interruption they are called again with the same `unique`, which no
//! other instance ever has. `delete` is also called when `deploy` never answered (`data` is `null`) or created
//! nothing; that there is nothing to delete is a success. Processes of an interrupted `deploy` are killed before;
//! `delete` waits 20 s for those that cannot be killed, such as `sudo`, and fails if they still work.
//!
//! The platform's version is raised only when the protocol changes so that earlier instances cannot be used or
//! deleted. Changed programs are the playbook's concern: a number in `params` is part of the definition.

// Must not know how machines are made.

mod answer;
mod login;
mod program;
mod script;

use std::{collections::BTreeMap, num::NonZeroU16, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::{Map, Value};

use self::{
    answer::{AnswerTransport, DeployAnswer, Listed, request},
    program::Program,
    script::{Script, end_interrupted, is_interrupted},
};
use super::{
    Deployed, Found, Platform, Provenance, SpecOf,
    values::{self, Env, Limit},
};
use crate::{
    connect::{ProgramReach, Reach, SshReach},
    error::{Error, Result},
    secret::{self, Lookup, Text},
    ui,
};

/// Platform `command`.
#[derive(Debug)]
pub struct CommandPlatform;

type CommandSpec = SpecOf<CommandPlatform>;

/// Parameters of platform `command`: programs of your own create and delete the machines.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CommandParameters {
    /// The program that creates an instance: a path relative to the playbook (a name without `/` is
    /// looked up in PATH), or an array of it and its arguments.
    deploy: Program,
    /// The program that deletes an instance, also one that does not exist (any more).
    delete: Program,
    /// The program that restarts an instance.
    restart: Option<Program>,
    /// The program that runs a line in an instance's POSIX shell (`/bin/sh`), instead of SSH. Until the instance is up, it
    /// exits with another code than 0, 126 and 127.
    exec: Option<Program>,
    /// The program that writes a file of an instance; without it `exec` does.
    put: Option<Program>,
    /// The program that prints a file of an instance; without it `exec` does.
    get: Option<Program>,
    /// The program that lists everything that carries the pool's label, or that an owner has.
    list: Option<Program>,
    /// The program that writes a later expiry on an instance.
    renew: Option<Program>,
    /// Any values for the programs. A reference in it, such as `{ env = "LAB_TOKEN" }`, is replaced by its value on
    /// their standard input.
    #[serde(default, deserialize_with = "params")]
    params: Map<String, Value>,
    /// Environment variables of the programs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    env: Env,
    /// The time limit for `deploy` and `restart`.
    #[serde(default = "timeout")]
    timeout: Limit,
    /// The time limit for `delete`.
    #[serde(default = "delete_timeout")]
    delete_timeout: Limit,
    /// The login name, unless `deploy` answers one.
    #[serde(default, deserialize_with = "values::user")]
    user: Option<String>,
    /// The SSH port, unless `deploy` answers one.
    port: Option<NonZeroU16>,
    /// The private key file, relative to the playbook.
    identity: Option<PathBuf>,
    /// The file with the machines' host keys, relative to the playbook; without it a machine's key is
    /// recorded at the first connection.
    known_hosts: Option<PathBuf>,
}

fn timeout() -> Limit {
    Limit(Duration::from_secs(10 * 60))
}

fn delete_timeout() -> Limit {
    Limit(Duration::from_secs(5 * 60))
}

impl Platform for CommandPlatform {
    type Parameters = CommandParameters;

    fn name(&self) -> &'static str {
        "command"
    }

    fn validate(&self, parameters: &CommandParameters) -> Result<(), String> {
        let files = parameters.put.is_some() || parameters.get.is_some();
        match files && parameters.exec.is_none() {
            true => Err("`put` and `get` require `exec`".to_owned()),
            false => Ok(()),
        }
    }

    fn check(&self, spec: &SpecOf<Self>) -> Result<()> {
        spec.parameters.deploy.command("deploy", spec)?;
        spec.parameters.delete.command("delete", spec)?;
        for (key, program) in [
            ("restart", &spec.parameters.restart),
            ("exec", &spec.parameters.exec),
            ("put", &spec.parameters.put),
            ("get", &spec.parameters.get),
            ("list", &spec.parameters.list),
            ("renew", &spec.parameters.renew),
        ] {
            if let Some(program) = program {
                program.command(key, spec)?;
            }
        }
        spec.check_file("identity", spec.parameters.identity.as_deref())
    }

    fn check_delete(&self, spec: &SpecOf<Self>) -> Result<()> {
        spec.parameters.delete.command("delete", spec).map(drop)
    }

    fn secrets(&self, spec: &SpecOf<Self>) -> Result<Vec<Lookup>> {
        let bind = |key: &str, text: &Text| spec.bound(key, text);
        let params = secret::in_json("params", &spec.parameters.params, &bind);
        let env = spec.bound_env(&spec.parameters.env);
        Ok(values::lookups(params.into_iter().chain(env.into_values())))
    }

    fn deploy(&self, spec: &SpecOf<Self>, progress: &dyn Fn(&str)) -> Result<Deployed> {
        end_interrupted("deploy", spec, progress)?;
        // A new machine has a new host key.
        let _ = fs_err::remove_file(recorded_keys(spec));
        let script = Script::new("deploy", &spec.parameters.deploy, spec);
        let finished = script.run(None, progress)?;
        let answer = DeployAnswer::read(&finished.stdout).map_err(|problem| {
            script.failed(&problem, "").with_hint(
                "print one JSON object with `host` to standard output, and all else to standard error (`>&2`)",
            )
        })?;
        script.answered(&finished);
        if finished.held {
            progress(&format!(
                "warning: `{}` left a process that holds its output and dies when it writes there: \
                 redirect that, `>log 2>&1`",
                spec.parameters.deploy
            ));
        }
        deployed(answer, spec)
    }

    fn delete(&self, spec: &SpecOf<Self>, deployed: Option<&Deployed>) -> Result<()> {
        if deployed.is_none() {
            end_interrupted("deploy", spec, &ui::live)?;
        }
        if is_interrupted("restart", spec) {
            end_interrupted("restart", spec, &ui::live)?;
        }
        end_interrupted("delete", spec, &ui::live)?;
        let data = deployed.map(|deployed| &deployed.data);
        Script::new("delete", &spec.parameters.delete, spec).call(data)
    }

    fn restart(&self, spec: &SpecOf<Self>, deployed: &Deployed) -> Result<()> {
        let Some(program) = &spec.parameters.restart else {
            let message = format!("target `{}` has no `restart`", spec.target);
            return Err(Error::infra(message));
        };
        Script::new("restart", program, spec).call(Some(&deployed.data))
    }

    fn find(&self, label: &str, like: Option<&SpecOf<Self>>) -> Result<Vec<Found>> {
        list(label, "", like)
    }

    fn find_owned(&self, owner: &str, like: Option<&SpecOf<Self>>) -> Result<Vec<Found>> {
        let mut found = list("", owner, like)?;
        found.retain(|one| one.provenance.is_of(owner));
        Ok(found)
    }

    fn renew(&self, spec: &SpecOf<Self>, deployed: Option<&Deployed>) -> Result<()> {
        let Some(program) = &spec.parameters.renew else {
            return Ok(());
        };
        Script::new("renew", program, spec).call(deployed.map(|deployed| &deployed.data))
    }
}

/// Calls `list` for a label or an owner.
fn list(label: &str, owner: &str, like: Option<&CommandSpec>) -> Result<Vec<Found>> {
    // Without a playbook, the program is unknown.
    let Some((spec, Some(program))) = like.map(|spec| (spec, &spec.parameters.list)) else {
        return Ok(Vec::new());
    };
    let mut spec = spec.clone();
    spec.label = label.to_owned();
    spec.provenance = Provenance {
        owner: owner.to_owned(),
        ..Provenance::default()
    };
    let script = Script::new("list", program, &spec);
    let finished = script.run(None, &|_| {})?;
    let found = Listed::read(&finished.stdout).map_err(|problem| {
            script.failed(&problem, "").with_hint(
                "print a JSON array of objects with `unique` to standard output, and all else to standard error",
            )
        })?;
    Ok(found
        .into_iter()
        .map(|one| one.found(&program.to_string()))
        .collect())
}

/// The file in which the host key of a machine is recorded at the first connection.
fn recorded_keys(spec: &CommandSpec) -> PathBuf {
    spec.scratch.join("known_hosts")
}

/// The instance that an answer describes. Parameters replace absent keys.
fn deployed(answer: DeployAnswer, spec: &CommandSpec) -> Result<Deployed> {
    let parameters = &spec.parameters;
    let port = answer.port.or(parameters.port).map(NonZeroU16::get);
    let user = answer.user.clone().or_else(|| parameters.user.clone());
    let from = |path: &PathBuf| spec.path(path);
    let is_ssh = answer.transport == AnswerTransport::Ssh && parameters.exec.is_none();
    if !is_ssh && (answer.password.is_some() || answer.identity.is_some()) {
        let message = format!(
            "the answer of `{}` has `password` or `identity`, which are for SSH",
            parameters.deploy
        );
        return Err(Error::infra(message));
    }
    let reach = match answer.transport {
        _ if parameters.exec.is_some() => programs(&answer, spec)?,
        AnswerTransport::Local => Reach::local(&spec.scratch),
        AnswerTransport::Ssh => Reach::Ssh(SshReach {
            host: answer.host.clone(),
            port,
            user: user.clone(),
            identity: match &answer.identity {
                Some(answered) => Some(login::identity(spec, answered)?),
                None => parameters.identity.as_ref().map(from),
            },
            password: (answer.password.as_ref())
                .map(|answered| login::password(spec, answered))
                .transpose()?,
            trust_first: parameters.known_hosts.is_none(),
            known_hosts: Some(match &parameters.known_hosts {
                Some(written) => from(written),
                None => recorded_keys(spec),
            }),
            ..SshReach::default()
        }),
    };
    Ok(Deployed {
        host: answer.host,
        port,
        user,
        data: Value::Object(answer.data),
        reach,
    })
}

/// The programs that run commands and transfer files.
fn programs(answer: &DeployAnswer, spec: &CommandSpec) -> Result<Reach> {
    let parameters = &spec.parameters;
    let words = |key, program: &Option<Program>| {
        let program = program.as_ref().map(|program| program.words(key, spec));
        program.transpose()
    };
    let data = Value::Object(answer.data.clone());
    Ok(Reach::Programs(Box::new(ProgramReach {
        exec: words("exec", &parameters.exec)?.unwrap_or_default(),
        put: words("put", &parameters.put)?,
        get: words("get", &parameters.get)?,
        directory: spec.directory.clone(),
        request: request("exec", spec, &parameters.params, Some(&data)).to_string(),
        env: spec.bound_env(&parameters.env),
    })))
}

/// Reads `params`, any TOML, as JSON; dates become text.
fn params<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Map<String, Value>, D::Error> {
    let table = toml::Table::deserialize(from)?;
    let json = table
        .into_iter()
        .map(|(key, value)| Ok((key, json(value)?)));
    json.collect::<Result<_, &str>>().map_err(D::Error::custom)
}

fn json(value: toml::Value) -> Result<Value, &'static str> {
    Ok(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => serde_json::Number::from_f64(number)
            .ok_or("`inf` and `nan` are not supported: the programs get `params` as JSON")?
            .into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(array) => array.into_iter().map(json).collect::<Result<_, _>>()?,
        toml::Value::Table(table) => Value::Object(
            table
                .into_iter()
                .map(|(key, value)| Ok((key, json(value)?)))
                .collect::<Result<_, &str>>()?,
        ),
    })
}

#[cfg(test)]
mod tests;
