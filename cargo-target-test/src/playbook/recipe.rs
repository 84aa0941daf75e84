//! Recipes: the steps that prepare an instance before its first test. Must not run them.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize, Serializer};

use super::{env::Env, limit::Limit, wait::Wait};

/// The default timeout of a command or script.
const TIMEOUT: Limit = Limit(Duration::from_secs(10 * 60));

/// Steps that prepare an instance.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Recipe {
    /// The name in the playbook.
    #[schemars(skip)]
    pub name: String,
    /// The base of relative paths in the steps: the folder of the recipe's file.
    #[serde(skip)]
    #[schemars(skip)]
    pub directory: PathBuf,
    /// Environment variables of the steps' commands and scripts: `{ VERSION = "1.2" }`, for `install $VERSION`. A target
    /// sets other values in `recipe-env`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: Env,
    /// The steps, run in this order.
    #[schemars(length(min = 1))]
    pub steps: Vec<Step>,
    /// The position of each step in the playbook's texts.
    #[serde(skip)]
    #[schemars(skip)]
    pub(crate) places: Vec<Range<usize>>,
}

/// A step of a recipe: in the playbook, exactly one of `run`, `sudo`, `put`, `script`, `reboot` and `wait`. Paths on this
/// host are as written, relative to the playbook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "StepTable", untagged, rename_all_fields = "kebab-case")]
#[schemars(with = "StepTable")]
pub enum Step {
    /// Runs a command, which must exit with code 0.
    Run {
        /// The command line for the instance's shell.
        #[serde(rename = "run")]
        command: String,
        /// The maximum run time.
        timeout: Limit,
    },
    /// Runs a command as root, which must exit with code 0.
    Sudo {
        /// The command line for the instance's shell.
        #[serde(rename = "sudo")]
        command: String,
        /// The maximum run time.
        timeout: Limit,
    },
    /// Copies a file, or the content of a folder, to the instance.
    Put {
        /// The path on this host.
        #[serde(rename = "put")]
        from: PathBuf,
        /// The absolute path on the instance.
        to: String,
        /// The permission bits of the file; `None` keeps those of the file on this host.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "octal")]
        mode: Option<u32>,
        /// Patterns of files and folders in the folder that are not copied.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        exclude: Vec<String>,
    },
    /// Copies a file of this host to the instance, runs it and removes the copy.
    Script {
        /// The path on this host.
        #[serde(rename = "script")]
        file: PathBuf,
        /// The arguments of the script.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        args: Vec<String>,
        /// True to run as root.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        as_root: bool,
        /// The maximum run time.
        timeout: Limit,
    },
    /// Reboots the instance and waits until it is reachable again.
    #[serde(serialize_with = "reboot")]
    Reboot,
    /// Waits for a condition.
    Wait {
        /// The condition.
        wait: Wait,
    },
}

fn octal<S: Serializer>(mode: &Option<u32>, to: S) -> Result<S::Ok, S::Error> {
    mode.map(|mode| format!("{mode:04o}")).serialize(to)
}

fn reboot<S: Serializer>(to: S) -> Result<S::Ok, S::Error> {
    BTreeMap::from([("reboot", true)]).serialize(to)
}

/// A step in the playbook: exactly one of `run`, `sudo`, `put`, `script`, `reboot` and `wait`.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(rename = "Step")]
struct StepTable {
    /// Runs a command in the instance's shell.
    run: Option<String>,
    /// Runs a command as root, through `sudo` unless the login user is root. `sudo` gets the target's `password`, if any.
    sudo: Option<String>,
    /// Copies a file, or the content of a folder, to the path `to`. Relative to the playbook's folder.
    put: Option<PathBuf>,
    /// The absolute destination path of `put`: the file, or the folder that receives a folder's content.
    to: Option<String>,
    /// The permission bits of the copied file, in octal: `0640`. Without `mode`, a new file gets those of the local one, and
    /// an existing file keeps its own.
    mode: Option<String>,
    /// Files and folders in the folder of `put` that are not copied: patterns in which `*` matches any text. A pattern
    /// without `/` is for names at any depth (`*.o`, `.git`), another one for paths from the folder (`target/debug`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    exclude: Vec<String>,
    /// Copies a script to the instance and runs it. Relative to the playbook's folder.
    script: Option<PathBuf>,
    /// The arguments of the script.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    args: Vec<String>,
    /// Runs the script as root.
    as_root: Option<bool>,
    /// Reboots the instance and waits until it is reachable again.
    reboot: Option<bool>,
    /// Waits for a condition.
    wait: Option<Wait>,
    /// The maximum run time of a command or script. Default: 10 minutes.
    timeout: Option<Limit>,
}

impl TryFrom<StepTable> for Step {
    type Error = String;

    fn try_from(table: StepTable) -> Result<Self, String> {
        // The keys beside the verb, with the verbs that they apply to.
        let keys = [
            ("to", table.to.is_some(), &["put"][..]),
            ("mode", table.mode.is_some(), &["put"]),
            ("exclude", !table.exclude.is_empty(), &["put"]),
            ("args", !table.args.is_empty(), &["script"]),
            ("as-root", table.as_root.is_some(), &["script"]),
            (
                "timeout",
                table.timeout.is_some(),
                &["run", "sudo", "script"],
            ),
        ];
        let timeout = table.timeout.unwrap_or(TIMEOUT);
        let script = |file| Self::Script {
            file,
            args: table.args,
            as_root: table.as_root.unwrap_or(false),
            timeout,
        };
        let put = |from| put(from, table.to, table.mode, table.exclude);
        let reboot = |yes| match yes {
            true => Ok(Self::Reboot),
            false => Err("`reboot` must be `true`".to_owned()),
        };
        let run = |command| Ok(Self::Run { command, timeout });
        let sudo = |command| Ok(Self::Sudo { command, timeout });
        let steps = [
            ("run", table.run.map(run)),
            ("sudo", table.sudo.map(sudo)),
            ("put", table.put.map(put)),
            ("script", table.script.map(script).map(Ok)),
            ("reboot", table.reboot.map(reboot)),
            ("wait", table.wait.map(|wait| Ok(Self::Wait { wait }))),
        ];
        let steps = steps.into_iter();
        let mut steps = steps.filter_map(|(verb, step)| Some((verb, step?)));
        let (verb, step) = steps.next().ok_or(NO_VERB)?;
        if let Some((other, _)) = steps.next() {
            return Err(format!(
                "`{verb}` cannot be combined with `{other}`: a step has one action"
            ));
        }
        let mut keys = keys.iter();
        match keys.find(|(_, is_set, verbs)| *is_set && !verbs.contains(&verb)) {
            Some((key, ..)) => Err(format!("`{key}` cannot be combined with `{verb}`")),
            None => step,
        }
    }
}

const NO_VERB: &str = "a step must have one of `run`, `sudo`, `put`, `script`, `reboot`, `wait`";

fn put(
    from: PathBuf,
    to: Option<String>,
    mode: Option<String>,
    exclude: Vec<String>,
) -> Result<Step, String> {
    let to = to.ok_or("`put` requires `to`, the path on the instance")?;
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
    if exclude
        .iter()
        .any(|pattern| pattern.trim_matches('/').is_empty())
    {
        return Err("an empty pattern in `exclude` matches nothing".to_owned());
    }
    Ok(Step::Put {
        from,
        to,
        mode,
        exclude,
    })
}

/// A file or folder of this host that a step copies.
#[derive(Clone, Copy, Debug)]
pub struct StepSource<'a> {
    /// The path, as written.
    pub path: &'a Path,
    /// The patterns of what is not copied.
    pub exclude: &'a [String],
}

impl Step {
    /// The file or folder of this host that the step copies.
    pub fn source(&self) -> Option<StepSource<'_>> {
        match self {
            Self::Put { from, exclude, .. } => Some(StepSource {
                path: from,
                exclude,
            }),
            Self::Script { file, .. } => Some(StepSource {
                path: file,
                exclude: &[],
            }),
            _ => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = |command: &str| {
            let line = command.lines().next().unwrap_or_default();
            let is_whole = line.len() == command.trim_end().len();
            format!("`{line}`{}", if is_whole { "" } else { " ..." })
        };
        match self {
            Self::Run { command: line, .. } => write!(f, "run {}", command(line)),
            Self::Sudo { command: line, .. } => write!(f, "sudo {}", command(line)),
            Self::Put { from, to, .. } => write!(f, "put `{}` to `{to}`", from.display()),
            Self::Script { file, .. } => write!(f, "script `{}`", file.display()),
            Self::Reboot => f.write_str("reboot"),
            Self::Wait { wait } => write!(f, "wait for {wait}"),
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
            "put = \"cfg/\"\nto = \"/etc/app\"\nexclude = [\"*.o\"]\n",
            "script = \"a.sh\"\nargs = [\"-v\"]\nas-root = true\ntimeout = \"10m\"\n",
            "reboot = true\n",
        ] {
            let read = step(text).unwrap();
            assert_eq!(toml::to_string(&read).unwrap(), text);
        }
    }

    #[test]
    fn invalid_steps_are_refused() {
        for (text, expected) in [
            ("", "a step must have one of"),
            (
                "run = \"a\"\nreboot = true",
                "`run` cannot be combined with `reboot`: a step has one action",
            ),
            ("put = \"a\"", "`put` requires `to`"),
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
                "`to` cannot be combined with `run`",
            ),
            (
                "put = \"a\"\nto = \"/b\"\nexclude = [\"/\"]",
                "an empty pattern in `exclude`",
            ),
            ("reboot = false", "`reboot` must be `true`"),
            (
                "reboot = true\ntimeout = \"1s\"",
                "`timeout` cannot be combined with `reboot`",
            ),
            ("rum = \"a\"", "unknown field `rum`"),
        ] {
            let error = step(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
