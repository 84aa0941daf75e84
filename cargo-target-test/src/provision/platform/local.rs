//! Platform `local`: processes of this machine.
//!
//! Owns its parameters and each instance's working folder. What a lease leaves running is swept by
//! whoever ends the lease, so an instance that is dirty needs no new deploy; what a command left running on purpose
//! ends with the instance.
//!
//! Commands see little of this process's environment: what programs need to be found and to speak the user's
//! language, but no secrets, and nothing of a build under way. They start in an empty folder of the instance's own,
//! which is also their `TMPDIR`.

use std::{io, path::PathBuf, thread};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Deployed, Order, Platform,
    parameters::{self, Env, Name},
};
use crate::{
    connect::{LocalUser, Reach},
    error::{Error, ErrorKind, Result},
    process,
    secret::{Bound, Lookup},
};

/// Platform `local`.
#[derive(Debug)]
pub struct Local;

/// In the environment of everything that an instance runs: its unique name.
const MARK: &str = "TARGET_TEST_LOCAL";
/// What of this process's environment every command sees.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "TZ",
    "TERM",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
];

/// Parameters of platform `local`: commands run on this machine.
#[derive(Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Parameters {
    /// Environment variables for every command.
    env: Env,
    /// The names of more environment variables that commands see as they are here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inherit_env: Vec<Name>,
    /// The user that commands run as; only root can have another one than itself.
    #[serde(
        deserialize_with = "parameters::user",
        skip_serializing_if = "Option::is_none"
    )]
    user: Option<String>,
}

impl Platform for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn parameters(&self, table: toml::de::ValueDeserializer<'_>) -> Result<Value, toml::de::Error> {
        parameters::normalised::<Parameters>(table)
    }

    fn schema(&self) -> schemars::Schema {
        schemars::schema_for!(Parameters)
    }

    fn count(&self, _parameters: &Value) -> Option<u32> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Some(u32::try_from(cores).unwrap_or(u32::MAX))
    }

    fn makes_machines(&self) -> bool {
        false
    }

    /// Its folder and processes end with it.
    fn machines_stay(&self) -> bool {
        false
    }

    fn check(&self, order: &Order) -> Result<()> {
        let parameters: Parameters = parameters::of(order)?;
        match &parameters.user {
            Some(name) => account(order, name).map(drop),
            None => Ok(()),
        }
    }

    fn secrets(&self, order: &Order) -> Result<Vec<Lookup>> {
        let parameters: Parameters = parameters::of(order)?;
        let env = parameters::bound_env(order, &parameters.env);
        Ok(parameters::lookups(env.into_values()))
    }

    fn deploy(&self, order: &Order, _progress: &dyn Fn(&str)) -> Result<Deployed> {
        let parameters: Parameters = parameters::of(order)?;
        // Of an earlier call that was interrupted.
        self.delete(order, None)?;
        let mut env = parameters::bound_env(order, &parameters.env);
        env.insert(MARK.to_owned(), order.unique.clone().into());
        let directory = folder(order, &parameters.user);
        fs_err::create_dir_all(&directory).map_err(|error| infra(order, "deploy", error))?;
        env.entry("TMPDIR".to_owned())
            .or_insert_with(|| Bound::Plain(directory.to_string_lossy().into_owned()));
        let mut user = None;
        if let Some(name) = &parameters.user {
            let account = account(order, name)?;
            std::os::unix::fs::chown(&directory, Some(account.user.uid), Some(account.user.gid))
                .map_err(|error| infra(order, "deploy", error))?;
            for (key, value) in [("USER", name), ("LOGNAME", name), ("HOME", &account.home)] {
                env.entry(key.to_owned())
                    .or_insert_with(|| value.clone().into());
            }
            user = Some(account.user);
        }
        let more = parameters.inherit_env.into_iter().map(|name| name.0);
        let inherited = INHERITED.iter().map(|name| (*name).to_owned());
        Ok(Deployed {
            host: "localhost".to_owned(),
            port: None,
            user: parameters
                .user
                .or_else(|| std::env::var("USER").ok().filter(|user| !user.is_empty())),
            data: json!({}),
            reach: Reach::Local {
                directory,
                env,
                inherit: Some(inherited.chain(more).collect()),
                user,
            },
        })
    }

    fn delete(&self, order: &Order, _deployed: Option<&Deployed>) -> Result<()> {
        process::kill_marked(MARK, &order.unique);
        let parameters: Parameters = parameters::of(order)?;
        match fs_err::remove_dir_all(folder(order, &parameters.user)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(infra(order, "delete", error))
            }
            _ => Ok(()),
        }
    }
}

/// Where an instance's commands start: other users cannot get into the pool.
fn folder(order: &Order, user: &Option<String>) -> PathBuf {
    match user {
        Some(_) => std::env::temp_dir().join(format!("target-test-{}", order.unique)),
        None => order.scratch.clone(),
    }
}

/// A user's numbers and home.
struct Account {
    user: LocalUser,
    home: String,
}

fn account(order: &Order, name: &str) -> Result<Account> {
    let wrong = |why: String| {
        let target = &order.target;
        parameters::wrong(format!("`user` of target `{target}`: {why}"))
    };
    if !rustix::process::geteuid().is_root() {
        let hint = format!("run as root, or use platform `ssh` with `user = \"{name}\"`");
        return Err(wrong("only root can run commands as another user".to_owned()).with_hint(hint));
    }
    let mut command = process::command("getent");
    command.args(["passwd", "--", name]);
    let entry = process::Spawn::new(command).output()?.stdout;
    let entry = String::from_utf8_lossy(&entry);
    let fields: Vec<_> = entry.trim().split(':').collect();
    let number = |at: usize| fields.get(at)?.parse().ok();
    match (number(2), number(3), fields.get(5)) {
        (Some(uid), Some(gid), Some(home)) => Ok(Account {
            user: LocalUser { uid, gid },
            home: (*home).to_owned(),
        }),
        _ => Err(wrong(format!("there is no user `{name}`"))),
    }
}

fn infra(order: &Order, verb: &str, error: io::Error) -> Error {
    Error::new(
        ErrorKind::Infra,
        format!("cannot {verb} `{}`", order.instance),
    )
    .with_source(error)
}

#[cfg(test)]
mod tests;
