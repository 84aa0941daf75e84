//! Options of the verbs for interactive use of instances.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::Args;

/// The selection of an instance.
#[derive(Clone, Debug, Default, Args)]
pub struct InstanceArgs {
    /// Name of an instance (`ubuntu-0`), or of a target for any free instance; see `targets`
    #[arg(value_name = "INSTANCE")]
    pub instance: String,
    /// Search all workspaces, without preferring this one
    #[arg(long)]
    pub all: bool,
}

/// Options of `shell`.
#[derive(Clone, Debug, Default, Args)]
pub struct ShellArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub on: InstanceArgs,
    /// Do not wait for the holder of the instance: open a second session, without a lease
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
    /// Do not wait for the holder of the instance, and take no lease
    #[arg(long)]
    pub now: bool,
    /// Kill the command after this time (`30s`) and exit with 124
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub timeout: Option<Duration>,
    /// Run a command line in the instance's shell: `'ls /tmp | wc -l'`
    #[arg(long, value_name = "LINE", conflicts_with = "command")]
    pub shell: Option<String>,
    /// The command and its arguments; a single word is a command line for the shell
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
    /// Source: a path on this machine, or `INSTANCE:/absolute/path`
    #[arg(value_name = "SRC")]
    pub from: String,
    /// Destination, the other kind of path; an existing folder receives the copy
    #[arg(value_name = "DST")]
    pub to: String,
    /// Search all workspaces, without preferring this one
    #[arg(long)]
    pub all: bool,
    /// Do not wait for the holder of the instance, and take no lease
    #[arg(long)]
    pub now: bool,
}

/// Options of `logs`.
#[derive(Clone, Debug, Default, Args)]
pub struct LogsArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub on: InstanceArgs,
    /// Follow the output until the instance is deleted or Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
}

/// Options of `up`.
#[derive(Clone, Debug, Default, Args)]
pub struct UpArgs {
    /// Name of a target in the playbook, and how many of its instances shall be ready (default: one)
    #[arg(value_name = "TARGET[=N]", required = true)]
    pub targets: Vec<UpTarget>,
    /// Delete the instances after this wall-clock time: `30m`, `2h`; one in use when it is free
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub time: Option<Duration>,
}

/// A target and the number of its instances: `ubuntu=2`.
#[derive(Clone, Debug, PartialEq)]
pub struct UpTarget {
    /// The target's name.
    pub target: String,
    /// At least 1.
    pub count: u32,
}

impl FromStr for UpTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (target, count) = text.split_once('=').unwrap_or((text, "1"));
        match count.parse() {
            Ok(count @ 1..) => Ok(Self {
                target: target.to_owned(),
                count,
            }),
            _ => Err(format!("`{count}` is not a number of instances")),
        }
    }
}

/// Options of `down`.
#[derive(Clone, Debug, Default, Args)]
pub struct DownArgs {
    /// Names of instances (`ubuntu-0`), or of targets for all their instances; see `targets`
    #[arg(value_name = "INSTANCE", required = true)]
    pub names: Vec<String>,
    /// Search all workspaces, without preferring this one
    #[arg(long)]
    pub all: bool,
    /// Also delete instances that a running process holds
    #[arg(long)]
    pub force: bool,
    /// Run as the background process that deletes at this time, in seconds since 1970.
    #[arg(long, hide = true)]
    pub at: Option<u64>,
}

/// Options of `lease`.
#[derive(Clone, Debug, Default, Args)]
pub struct LeaseArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub on: InstanceArgs,
    /// Duration of the lease, in wall-clock time: `30m`, `2h`
    #[arg(long = "for", value_name = "TIME", value_parser = time, default_value = "1h")]
    pub time: Duration,
    /// Run as the background process that holds the lease.
    #[arg(long, hide = true)]
    pub hold: bool,
}

/// Options of `targets`.
#[derive(Clone, Debug, Default, Args)]
pub struct TargetsArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Refresh every second until Ctrl-C
    ///
    /// Updates in place on a terminal; otherwise appends each list, with --json one per line.
    #[arg(long)]
    pub watch: bool,
}

/// Parses a duration greater than zero.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text)
        .map_err(|_| "expected a number and a unit: `90s`, `30m`, `2h`".to_owned())?;
    // More than a century is a typo, and could overflow a date.
    if time.is_zero() || time > Duration::from_secs(100 * 365 * 24 * 60 * 60) {
        return Err("must be greater than zero and less than a century".to_owned());
    }
    Ok(time)
}

/// One side of a copy.
#[derive(Clone, Debug, PartialEq)]
pub enum Side {
    /// A path on this machine.
    Here(PathBuf),
    /// A path on an instance.
    There {
        /// The instance's name.
        instance: String,
        /// The path, as written.
        path: String,
    },
}

impl Side {
    /// Parses a path like `scp`: text without a slash before a colon is an instance.
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
