//! The verbs for people who look at a target: which instance, and how.
//!
//! Owns what may be written. Must not know what is in the pool.

use std::{path::PathBuf, time::Duration};

use clap::Args;

/// Which instance.
#[derive(Clone, Debug, Default, Args)]
pub struct InstanceArgs {
    /// An instance (`ubuntu-0`), or a target's name for any free one of it; `targets` shows them
    #[arg(value_name = "INSTANCE")]
    pub instance: String,
    /// Look at the instances of all workspaces, not at those of this one first
    #[arg(long)]
    pub all: bool,
}

/// Options of `shell`.
#[derive(Clone, Debug, Default, Args)]
pub struct ShellArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub on: InstanceArgs,
    /// Do not wait for whoever holds the instance: open a second session beside theirs, without a lease
    #[arg(long)]
    pub now: bool,
}

/// Options of `exec`.
#[derive(Clone, Debug, Default, Args)]
#[command(
    override_usage = "cargo target-test exec [OPTIONS] <INSTANCE> -- <COMMAND>...
       cargo target-test exec [OPTIONS] <INSTANCE> --shell <LINE>"
)]
pub struct ExecArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub on: InstanceArgs,
    /// Do not wait for whoever holds the instance, and take no lease
    #[arg(long)]
    pub now: bool,
    /// Kill the command after this time: `30s`; the exit code is 124 then
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub timeout: Option<Duration>,
    /// A line for the instance's shell, as it is: `'ls /tmp | wc -l'`
    #[arg(long, value_name = "LINE", conflicts_with = "command")]
    pub shell: Option<String>,
    /// The command and its arguments, each a word there too; one word alone is a line for the shell
    #[arg(
        value_name = "COMMAND",
        last = true,
        allow_hyphen_values = true,
        required_unless_present = "shell"
    )]
    pub command: Vec<String>,
}

/// Options of `cp`.
#[derive(Clone, Debug, Default, Args)]
pub struct CpArgs {
    /// What to copy: a path of this machine, or `INSTANCE:/absolute/path`
    #[arg(value_name = "SRC")]
    pub from: String,
    /// Where to: the other of the two; into it, where it is a folder that exists
    #[arg(value_name = "DST")]
    pub to: String,
    /// Look at the instances of all workspaces, not at those of this one first
    #[arg(long)]
    pub all: bool,
    /// Do not wait for whoever holds the instance, and take no lease
    #[arg(long)]
    pub now: bool,
}

/// Options of `logs`.
#[derive(Clone, Debug, Default, Args)]
pub struct LogsArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub on: InstanceArgs,
    /// Go on with what is added, until the instance is gone or Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
}

/// Options of `lease`.
#[derive(Clone, Debug, Default, Args)]
pub struct LeaseArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub on: InstanceArgs,
    /// For how long, by the clock on the wall: `30m`, `2h`
    #[arg(long = "for", value_name = "TIME", value_parser = time, default_value = "1h")]
    pub time: Duration,
    /// Be the process that holds it.
    #[arg(long, hide = true)]
    pub hold: bool,
}

/// Options of `targets`.
#[derive(Clone, Debug, Default, Args)]
pub struct TargetsArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Show them again every second, until Ctrl-C: in place on a terminal, else (with --json: a line each) one after
    /// the other
    #[arg(long)]
    pub watch: bool,
}

/// A time that is more than nothing.
fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text)
        .map_err(|_| "a time is a number and a unit: `90s`, `30m`, `2h`".to_owned())?;
    // Beyond a century is a slip of the keyboard, and would not fit into a date.
    if time.is_zero() || time > Duration::from_secs(100 * 365 * 24 * 60 * 60) {
        return Err("it must be more than nothing, and less than a century".to_owned());
    }
    Ok(time)
}

/// One side of a copy.
#[derive(Clone, Debug, PartialEq)]
pub enum Side {
    /// A path of this machine.
    Here(PathBuf),
    /// A path of an instance.
    There {
        /// The instance's name.
        instance: String,
        /// The path, as written.
        path: String,
    },
}

impl Side {
    /// As `scp` reads it: what stands before a colon, and has no slash, is an instance.
    pub fn read(text: &str) -> Self {
        match text.split_once(':') {
            Some((instance, path)) if !instance.is_empty() && !instance.contains('/') => {
                Self::There {
                    instance: instance.to_owned(),
                    path: path.to_owned(),
                }
            }
            _ => Self::Here(PathBuf::from(text)),
        }
    }
}
