//! Recipes: the steps that prepare an instance before its first test.
//!
//! Owns what a step can be and how it is written. Must not run any.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{limit::Limit, wait::Wait};

/// How long a step's command may take where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// A recipe.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Recipe {
    /// Its name in the playbook.
    #[schemars(skip)]
    pub name: String,
    /// The folder that relative paths in its steps start from: that of its file.
    #[serde(skip)]
    #[schemars(skip)]
    pub directory: PathBuf,
    /// What is done, in this order.
    #[schemars(length(min = 1))]
    pub steps: Vec<Step>,
}

/// One step of a recipe; paths on this host are as written, relative to the playbook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Step {
    /// A command; it has to end with exit code 0.
    Run {
        /// For the instance's shell.
        command: String,
        /// Whether as root.
        as_root: bool,
        /// How long it may take.
        timeout: Duration,
    },
    /// A file, or what is in a folder, put to the instance.
    Put {
        /// On this host.
        from: PathBuf,
        /// The absolute path on the instance.
        to: String,
        /// A file's permission bits, where they are not those it has here.
        mode: Option<u32>,
    },
    /// A file of this host that is run on the instance, and removed from there.
    Script {
        /// On this host.
        file: PathBuf,
        /// Its arguments.
        args: Vec<String>,
        /// Whether as root.
        as_root: bool,
        /// How long it may take.
        timeout: Duration,
    },
    /// A reboot, until it answers again.
    Reboot,
    /// A wait.
    Wait(Wait),
}

impl schemars::JsonSchema for Step {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Step".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Written::json_schema(generator)
    }
}

/// A step as written: one of `run`, `sudo`, `put`, `script`, `reboot`, `wait`.
#[derive(Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Written {
    /// A command for the instance's shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    /// A command as root: by `sudo` without a password, unless the login is root's.
    #[serde(skip_serializing_if = "Option::is_none")]
    sudo: Option<String>,
    /// A file or folder beside the playbook, put to the path `to`.
    #[serde(skip_serializing_if = "Option::is_none")]
    put: Option<PathBuf>,
    /// The absolute path on the instance: a file's own, the folder for what is in a folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// The file's permission bits, octal: `0640`.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    /// A script beside the playbook, which is run on the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<PathBuf>,
    /// The script's arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<String>,
    /// Whether the script runs as root.
    #[serde(skip_serializing_if = "Option::is_none")]
    as_root: Option<bool>,
    /// Reboots the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    reboot: Option<bool>,
    /// Waits for something.
    #[serde(skip_serializing_if = "Option::is_none")]
    wait: Option<Wait>,
    /// How long a command or script may take; 10 minutes where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<Limit>,
}

impl TryFrom<Written> for Step {
    type Error = String;

    fn try_from(mut written: Written) -> Result<Self, String> {
        let timeout = written.timeout.take().map(|limit| limit.0);
        let or_default = timeout.unwrap_or(TIMEOUT);
        let verb = match written.verbs().as_slice() {
            [verb] => *verb,
            [] => return Err(NO_VERB.to_owned()),
            [one, two, ..] => {
                return Err(format!(
                    "a step does one thing, not both `{one}` and `{two}`"
                ));
            }
        };
        written.only(verb, timeout.is_some())?;
        Ok(match written {
            Written {
                run: Some(line), ..
            } => command(line, false, or_default),
            Written {
                sudo: Some(line), ..
            } => command(line, true, or_default),
            Written {
                script: Some(file),
                args,
                as_root,
                ..
            } => Self::Script {
                file,
                args,
                as_root: as_root.unwrap_or(false),
                timeout: or_default,
            },
            Written {
                put: Some(from),
                to,
                mode,
                ..
            } => put(from, to, mode)?,
            Written {
                wait: Some(wait), ..
            } => Self::Wait(wait),
            Written {
                reboot: Some(true), ..
            } => Self::Reboot,
            _ => return Err("`reboot` is `true`, or the step is left out".to_owned()),
        })
    }
}

fn command(command: String, as_root: bool, timeout: Duration) -> Step {
    Step::Run {
        command,
        as_root,
        timeout,
    }
}

const NO_VERB: &str =
    "a step says what to do by one of `run`, `sudo`, `put`, `script`, `reboot`, `wait`";

fn put(from: PathBuf, to: Option<String>, mode: Option<String>) -> Result<Step, String> {
    let to = to.ok_or("`put` needs `to`, the path on the instance")?;
    if !to.starts_with('/') {
        return Err(format!("`to` must be an absolute path, not `{to}`"));
    }
    let bits = |text: String| {
        let bits = u32::from_str_radix(&text, 8).ok();
        bits.filter(|bits| *bits <= 0o7777).ok_or(format!(
            "`mode` must be octal, such as \"0644\", not \"{text}\""
        ))
    };
    let mode = mode.map(bits).transpose()?;
    Ok(Step::Put { from, to, mode })
}

impl Written {
    fn verbs(&self) -> Vec<&'static str> {
        let all = [
            ("run", self.run.is_some()),
            ("sudo", self.sudo.is_some()),
            ("put", self.put.is_some()),
            ("script", self.script.is_some()),
            ("reboot", self.reboot.is_some()),
            ("wait", self.wait.is_some()),
        ];
        all.into_iter()
            .filter(|(_, there)| *there)
            .map(|(verb, _)| verb)
            .collect()
    }

    /// Refuses keys that mean nothing beside this verb.
    fn only(&self, verb: &str, timeout: bool) -> Result<(), String> {
        let keys = [
            ("to", self.to.is_some(), &["put"][..]),
            ("mode", self.mode.is_some(), &["put"]),
            ("args", !self.args.is_empty(), &["script"]),
            ("as-root", self.as_root.is_some(), &["script"]),
            ("timeout", timeout, &["run", "sudo", "script"]),
        ];
        let stray = keys
            .iter()
            .find(|(_, there, verbs)| *there && !verbs.contains(&verb));
        match stray {
            Some((key, ..)) => Err(format!("`{key}` means nothing beside `{verb}`")),
            None => Ok(()),
        }
    }
}

impl From<Step> for Written {
    fn from(step: Step) -> Self {
        let mut written = Self::default();
        match step {
            Step::Run {
                command,
                as_root,
                timeout,
            } => {
                match as_root {
                    true => written.sudo = Some(command),
                    false => written.run = Some(command),
                }
                written.timeout = Some(Limit(timeout));
            }
            Step::Put { from, to, mode } => {
                (written.put, written.to) = (Some(from), Some(to));
                written.mode = mode.map(|mode| format!("{mode:04o}"));
            }
            Step::Script {
                file,
                args,
                as_root,
                timeout,
            } => {
                (written.script, written.args) = (Some(file), args);
                written.as_root = as_root.then_some(true);
                written.timeout = Some(Limit(timeout));
            }
            Step::Reboot => written.reboot = Some(true),
            Step::Wait(wait) => written.wait = Some(wait),
        }
        written
    }
}

impl Step {
    /// The file or folder of this host that it needs, as written.
    pub fn source(&self) -> Option<&Path> {
        match self {
            Self::Put { from: path, .. } | Self::Script { file: path, .. } => Some(path),
            _ => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run {
                command, as_root, ..
            } => {
                let verb = if *as_root { "sudo" } else { "run" };
                let line = command.lines().next().unwrap_or_default();
                let more = if line.len() < command.trim_end().len() {
                    " ..."
                } else {
                    ""
                };
                write!(f, "{verb} `{line}`{more}")
            }
            Self::Put { from, to, .. } => write!(f, "put `{}` to `{to}`", from.display()),
            Self::Script { file, .. } => write!(f, "script `{}`", file.display()),
            Self::Reboot => f.write_str("reboot"),
            Self::Wait(wait) => write!(f, "wait for {wait}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(text: &str) -> Result<Step, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn steps_read_back_as_they_are_written() {
        for text in [
            "run = \"true\"\ntimeout = \"1m\"\n",
            "sudo = \"apt-get update\"\ntimeout = \"10m\"\n",
            "put = \"cfg/\"\nto = \"/etc/app\"\nmode = \"0640\"\n",
            "script = \"a.sh\"\nargs = [\"-v\"]\nas-root = true\ntimeout = \"10m\"\n",
            "reboot = true\n",
        ] {
            let read = step(text).unwrap();
            assert_eq!(toml::to_string(&read).unwrap(), text);
        }
    }

    #[test]
    fn what_no_step_is() {
        for (text, expected) in [
            ("", "a step says what to do by one of"),
            (
                "run = \"a\"\nreboot = true",
                "a step does one thing, not both `run` and `reboot`",
            ),
            ("put = \"a\"", "`put` needs `to`"),
            (
                "put = \"a\"\nto = \"b\"",
                "`to` must be an absolute path, not `b`",
            ),
            (
                "put = \"a\"\nto = \"/b\"\nmode = \"9\"",
                "`mode` must be octal",
            ),
            (
                "run = \"a\"\nto = \"/b\"",
                "`to` means nothing beside `run`",
            ),
            ("reboot = false", "`reboot` is `true`"),
            (
                "reboot = true\ntimeout = \"1s\"",
                "`timeout` means nothing beside `reboot`",
            ),
            ("rum = \"a\"", "unknown field `rum`"),
        ] {
            let error = step(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
