//! Platform `local`: processes of this machine.
//!
//! Each instance has a working folder. The end of a lease kills the remaining processes of the lease, so a dirty
//! instance needs no new deploy; background processes end with the instance.
//!
//! Commands inherit few environment variables: those for finding programs and for the user's language, but no secrets
//! and no variables of a running build. They start in an empty folder of the instance, which is also their `TMPDIR`.

mod folder;

use std::{io, thread};

use serde::{Deserialize, Serialize};

use super::{
    Deployed, Ownership, Platform, SpecOf,
    values::{self, Env, EnvName},
};
use crate::{
    connect::{LocalReach, LocalUser, Reach},
    error::{Error, Result},
    process::{self, LeftProcess},
    secret::{Bound, Lookup},
};

/// Platform `local`.
#[derive(Debug)]
pub struct LocalPlatform;

type LocalSpec = SpecOf<LocalPlatform>;

/// The variable that marks every process of an instance with its unique name.
const MARK: &str = "TARGET_TEST_LOCAL";
/// Environment variables that every command inherits.
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
pub struct LocalParameters {
    /// Environment variables for every command.
    env: Env,
    /// Names of more environment variables that commands inherit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inherit_env: Vec<EnvName>,
    /// The user that commands run as; only root can have another one than itself.
    #[serde(deserialize_with = "values::user")]
    user: Option<String>,
}

impl Platform for LocalPlatform {
    type Parameters = LocalParameters;

    fn name(&self) -> &'static str {
        "local"
    }

    fn count(&self, _: &LocalParameters) -> Option<u32> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Some(u32::try_from(cores).unwrap_or(u32::MAX))
    }

    fn ownership(&self) -> Ownership {
        Ownership::Ephemeral
    }

    fn shares_kernel(&self) -> bool {
        true
    }

    fn check(&self, spec: &SpecOf<Self>) -> Result<()> {
        match &spec.parameters.user {
            Some(name) => account(spec, name).map(drop),
            None => Ok(()),
        }
    }

    fn secrets(&self, spec: &SpecOf<Self>) -> Result<Vec<Lookup>> {
        let env = spec.bound_env(&spec.parameters.env);
        Ok(values::lookups(env.into_values()))
    }

    fn deploy(&self, spec: &SpecOf<Self>, _: &dyn Fn(&str)) -> Result<Deployed> {
        // An earlier call may have been interrupted.
        self.delete(spec, None)?;
        let parameters = &spec.parameters;
        let mut env = spec.bound_env(&parameters.env);
        env.insert(MARK.to_owned(), spec.unique.clone().into());
        let mut user = None;
        let directory = match &parameters.user {
            Some(name) => {
                let account = account(spec, name)?;
                let made = folder::create(&spec.scratch, account.user);
                for (key, value) in [("USER", name), ("LOGNAME", name), ("HOME", &account.home)] {
                    env.entry(key.to_owned())
                        .or_insert_with(|| value.clone().into());
                }
                user = Some(account.user);
                made
            }
            None => fs_err::create_dir_all(&spec.scratch).map(|()| spec.scratch.clone()),
        };
        let directory = directory.map_err(|error| infra(spec, "deploy", error))?;
        env.entry("TMPDIR".to_owned())
            .or_insert_with(|| Bound::Plain(directory.to_string_lossy().into_owned()));
        let more = parameters.inherit_env.iter().map(|name| name.0.clone());
        let inherited = INHERITED.iter().map(|name| (*name).to_owned());
        let reach = Reach::Local(LocalReach {
            directory,
            env,
            inherit: Some(inherited.chain(more).collect()),
            user,
        });
        let ourselves = || std::env::var("USER").ok().filter(|user| !user.is_empty());
        Ok(Deployed {
            user: parameters.user.clone().or_else(ourselves),
            ..Deployed::new("localhost", reach)
        })
    }

    fn delete(&self, spec: &SpecOf<Self>, _: Option<&Deployed>) -> Result<()> {
        if let left @ [_, ..] = process::kill_marked(MARK, &spec.unique).as_slice() {
            let (left, instance) = (LeftProcess::list(left), &spec.instance);
            return Err(Error::infra(format!(
                "failed to kill {left} of `{instance}`"
            )));
        }
        folder::remove(&spec.scratch).map_err(|error| infra(spec, "delete", error))
    }
}

/// A user's ids and home folder.
struct Account {
    user: LocalUser,
    home: String,
}

fn account(spec: &LocalSpec, name: &str) -> Result<Account> {
    let wrong = |why: String| {
        let target = &spec.target;
        values::wrong(format!("`user` of target `{target}`: {why}"))
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
        _ => Err(wrong(format!("user `{name}` not found"))),
    }
}

fn infra(spec: &LocalSpec, verb: &str, error: io::Error) -> Error {
    Error::infra(format!("cannot {verb} `{}`", spec.instance)).with_source(error)
}

#[cfg(test)]
mod tests;
