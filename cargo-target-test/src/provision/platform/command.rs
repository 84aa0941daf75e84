//! Platform `command`: the user's own programs make and delete the machines.
//!
//! Owns what those programs are told, what they may answer, and what is said when they do not. Must not
//! know how machines are made.
//!
//! Each program starts in the playbook's folder, in a session of its own, with one JSON object on its
//! standard input:
//!
//! ```json
//! {"action": "deploy", "instance": "alpha-0", "target": "alpha", "index": 0, "label": "tt-1f3a9c",
//!  "unique": "tt-1f3a9c-12", "params": {}, "data": null}
//! ```
//!
//! In `params` there are values where the playbook has references to secrets. `deploy` prints one JSON object: `host`,
//! and if it likes `port`, `user`, `data` (an object, for tests and for `delete`; no secret stays in it) and `transport` (`"ssh"`, the default, or `"local"` for commands on this machine).
//! What any of them prints to standard error is shown. Exit code 0 is success.
//!
//! Any protocol is a transport by three more programs, started in the same folder with the same object in their
//! environment, as `TARGET_TEST_REQUEST` (its `data` is `deploy`'s answer). `exec` has one more argument, a line for
//! the instance's POSIX shell, and its standard streams are that shell's; how the line ended is told by marks within
//! them, never by the program's exit code. The least is an array: `exec = ["ssh", "-T", "box"]`, or
//! `["lxc-attach", "-n", "box", "--", "/bin/sh", "-c"]`. Files travel as such lines too, unless `put` (two more
//! arguments: a path and octal permissions; the content is its standard input) and `get` (a path; its standard output)
//! know better; their exit code 0 is success.
//!
//! `list` finds what carries the label, for `gc`: it prints a JSON array of objects with `unique`, and if it likes
//! `what` (for people) and `data` (for `delete`).
//!
//! `deploy` and `delete` are idempotent: after an interruption they are called again with the same
//! `unique`, which no other instance ever has. `delete` is also called when `deploy` never answered
//! (`data` is `null` then) or made nothing; that there is nothing to delete is a success. What a
//! `deploy` that was interrupted still runs is killed before.
//!
//! The version goes up only when what the programs are told or answer changes so that instances
//! made before cannot be used or deleted; scripts that changed are the playbook's affair (`params`
//! can carry a number of their own, which is then part of the definition).

mod answer;
mod program;
mod script;

use std::{collections::BTreeMap, num::NonZeroU16, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::{Map, Value};

use self::{
    answer::{Answer, Listed, Request, Transport},
    program::Program,
    script::{Script, kill_interrupted},
};
use super::{
    Deployed, Found, Order, Platform,
    parameters::{self, Env, Limit},
};
use crate::{
    connect::{ProgramReach, Reach, SshReach},
    error::{Error, ErrorKind, Result},
    secret::{self, Lookup, Text},
};

/// Platform `command`.
#[derive(Debug)]
pub struct Command;

/// Parameters of platform `command`: programs of your own make and delete the machines.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Parameters {
    /// The program that makes an instance: a path relative to the playbook (a name without `/` is
    /// looked up in PATH), or an array of it and its arguments.
    deploy: Program,
    /// The program that deletes an instance, also one that does not exist (any more).
    delete: Program,
    /// The program that restarts an instance, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restart: Option<Program>,
    /// The program that runs a line in an instance's shell, where that is not reached by SSH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exec: Option<Program>,
    /// The program that writes a file of an instance; without it `exec` does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    put: Option<Program>,
    /// The program that prints a file of an instance; without it `exec` does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    get: Option<Program>,
    /// The program that lists what carries the pool's label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    list: Option<Program>,
    /// Anything that the programs want to know. A table in it that is a reference, such as `{ env = "LAB_TOKEN" }`, is
    /// the value for them, on their standard input.
    #[serde(default, deserialize_with = "params")]
    params: Map<String, Value>,
    /// Environment variables of the programs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    env: Env,
    /// How long `deploy` (and `restart`) may take.
    #[serde(default = "timeout")]
    timeout: Limit,
    /// How long `delete` may take.
    #[serde(default = "delete_timeout")]
    delete_timeout: Limit,
    /// The login name, where `deploy` answers none.
    #[serde(default, deserialize_with = "parameters::user")]
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// The SSH port, where `deploy` answers none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<NonZeroU16>,
    /// The private key file, relative to the playbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<PathBuf>,
    /// The file with the machines' host keys, relative to the playbook; without it a machine's key is
    /// recorded when it is first reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    known_hosts: Option<PathBuf>,
}

fn timeout() -> Limit {
    Limit(Duration::from_secs(10 * 60))
}

fn delete_timeout() -> Limit {
    Limit(Duration::from_secs(5 * 60))
}

impl Platform for Command {
    fn name(&self) -> &'static str {
        "command"
    }

    fn parameters(&self, table: toml::de::ValueDeserializer<'_>) -> Result<Value, toml::de::Error> {
        let value = parameters::normalised::<Parameters>(table)?;
        let has = |key: &str| value.get(key).is_some();
        if (has("put") || has("get")) && !has("exec") {
            return Err(toml::de::Error::custom(
                "`put` and `get` are for targets with `exec`",
            ));
        }
        Ok(value)
    }

    fn schema(&self) -> schemars::Schema {
        schemars::schema_for!(Parameters)
    }

    fn makes_machines(&self) -> bool {
        true
    }

    fn check(&self, order: &Order) -> Result<()> {
        let parameters: Parameters = parameters::of(order)?;
        parameters.deploy.command("deploy", order)?;
        parameters.delete.command("delete", order)?;
        for (key, program) in [
            ("restart", &parameters.restart),
            ("exec", &parameters.exec),
            ("put", &parameters.put),
            ("get", &parameters.get),
            ("list", &parameters.list),
        ] {
            if let Some(program) = program {
                program.command(key, order)?;
            }
        }
        parameters::check_file(order, "identity", parameters.identity.as_deref())
    }

    fn secrets(&self, order: &Order) -> Result<Vec<Lookup>> {
        let parameters: Parameters = parameters::of(order)?;
        let bind = |key: &str, text: &Text| parameters::bound(order, key, text);
        let params = secret::in_json("params", &parameters.params, &bind);
        let env = parameters::bound_env(order, &parameters.env);
        Ok(parameters::lookups(
            params.into_iter().chain(env.into_values()),
        ))
    }

    fn deploy(&self, order: &Order, progress: &dyn Fn(&str)) -> Result<Deployed> {
        let parameters: Parameters = parameters::of(order)?;
        kill_interrupted("deploy", order);
        // A machine made anew has a new host key.
        let _ = fs_err::remove_file(recorded_keys(order));
        let script = parameters.script("deploy", &parameters.deploy, order);
        let finished = script.run(None, progress)?;
        let answer = Answer::read(&finished.stdout).map_err(|problem| {
            script.failed(&problem, "").with_hint(
                "print one JSON object with `host` to standard output, and all else to standard error (`>&2`)",
            )
        })?;
        if finished.held {
            progress(&format!(
                "warning: `{}` left a process that holds its output and dies when it writes there: \
                 redirect that, `>log 2>&1`",
                parameters.deploy
            ));
        }
        deployed(answer, parameters, order)
    }

    fn delete(&self, order: &Order, deployed: Option<&Deployed>) -> Result<()> {
        let parameters: Parameters = parameters::of(order)?;
        if deployed.is_none() {
            kill_interrupted("deploy", order);
        }
        kill_interrupted("delete", order);
        let script = parameters.script("delete", &parameters.delete, order);
        let data = deployed.map(|deployed| &deployed.data);
        script.run(data, &|_| {}).map(drop)
    }

    fn restart(&self, order: &Order, deployed: &Deployed) -> Result<()> {
        let parameters: Parameters = parameters::of(order)?;
        let Some(program) = &parameters.restart else {
            let message = format!("target `{}` has no `restart`", order.target);
            return Err(Error::new(ErrorKind::Infra, message));
        };
        let script = parameters.script("restart", program, order);
        script.run(Some(&deployed.data), &|_| {}).map(drop)
    }

    fn find(&self, label: &str, like: Option<&Order>) -> Result<Vec<Found>> {
        // Only a playbook knows the program.
        let Some(order) = like else {
            return Ok(Vec::new());
        };
        let parameters: Parameters = parameters::of(order)?;
        let Some(program) = &parameters.list else {
            return Ok(Vec::new());
        };
        let order = &Order {
            label: label.to_owned(),
            ..order.clone()
        };
        let script = parameters.script("list", program, order);
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
}

impl Parameters {
    /// A call of one of the programs.
    fn script<'a>(
        &'a self,
        action: &'static str,
        program: &'a Program,
        order: &'a Order,
    ) -> Script<'a> {
        let timeout = match action {
            "delete" => self.delete_timeout,
            _ => self.timeout,
        };
        Script {
            action,
            program,
            order,
            timeout: timeout.0,
            params: &self.params,
            env: &self.env,
        }
    }
}

/// Where the host key of a machine is recorded when it is first reached.
fn recorded_keys(order: &Order) -> PathBuf {
    order.scratch.join("known_hosts")
}

/// What an answer means, the parameters filling in.
fn deployed(answer: Answer, parameters: Parameters, order: &Order) -> Result<Deployed> {
    let port = answer.port.or(parameters.port).map(NonZeroU16::get);
    let user = answer.user.clone().or_else(|| parameters.user.clone());
    let from = |path: PathBuf| parameters::path(&order.directory, &path);
    let reach = match answer.transport {
        _ if parameters.exec.is_some() => programs(&answer, &parameters, order)?,
        Transport::Local => Reach::Local {
            directory: order.scratch.clone(),
            env: BTreeMap::new(),
            inherit: None,
            user: None,
        },
        Transport::Ssh => Reach::Ssh(SshReach {
            host: answer.host.clone(),
            port,
            user: user.clone(),
            identity: parameters.identity.map(from),
            trust_first: parameters.known_hosts.is_none(),
            known_hosts: Some(match parameters.known_hosts {
                Some(written) => from(written),
                None => recorded_keys(order),
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

/// The programs by which an instance is reached.
fn programs(answer: &Answer, parameters: &Parameters, order: &Order) -> Result<Reach> {
    let words = |key, program: &Option<Program>| {
        let program = program.as_ref().map(|program| program.words(key, order));
        program.transpose()
    };
    let data = Value::Object(answer.data.clone());
    let request = Request::new("exec", order, &parameters.params, Some(&data)).json();
    Ok(Reach::Programs(Box::new(ProgramReach {
        exec: words("exec", &parameters.exec)?.unwrap_or_default(),
        put: words("put", &parameters.put)?,
        get: words("get", &parameters.get)?,
        directory: order.directory.clone(),
        request: String::from_utf8_lossy(request.trim_ascii_end()).into_owned(),
        env: parameters::bound_env(order, &parameters.env),
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
            .ok_or("JSON, in which the programs get this, has no `inf` and no `nan`")?
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
