//! The command line: its verbs and flags. Doc comments of arguments are the `--help` texts.
//!
//! Must not execute anything: `main` dispatches to `commands`.

mod arguments;
mod choosing;
mod help;
mod history;
mod interactive;
mod nextest_args;
pub mod nextest_options;
mod words;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use clap::{
    Arg, ArgAction, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    builder::{Resettable, StyledStr},
    error::{ContextKind, ContextValue, ErrorKind},
};
use clap_complete::Shell;
use target_fixtures::env;

use crate::aggregate::summary::SummaryLevel;
pub use choosing::{ChoosingArgs, OrderArg, RerunArg};
pub use history::{FlakyArgs, HistoryArgs, HistoryVerb, ReproArgs, SlowArgs};
pub use nextest_args::NextestArgs;
pub use nextest_options::Class;
use words::OURS;
pub use words::{set_subcommand, subcommand};

use crate::aggregate::feed::FeedTo;

pub use interactive::{
    CpArgs, DownArgs, ExecArgs, InstanceArgs, LeaseArgs, LogsArgs, ShellArgs, Side, TargetsArgs,
    UpArgs, UpTarget,
};

/// Run Cargo's tests on real targets
///
/// Runs every test on every target in the playbook that fits the test. Targets are leased from a pool that all
/// processes on this machine share. nextest runs all cases as one ordinary run. The default verb is `run`; a first
/// word that is not a verb is a filter.
#[derive(Debug, Parser)]
#[command(name = "cargo-target-test", bin_name = "cargo target-test", version)]
#[command(after_help = SHORT_AFTER, after_long_help = LONG_AFTER)]
#[command(
    subcommand_help_heading = "Verbs",
    subcommand_precedence_over_arg = true
)]
#[command(override_usage = USAGE)]
struct CommandLine {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// The parsed command line.
#[derive(Debug)]
pub struct Cli {
    /// Options of all verbs.
    pub global: Global,
    /// The verb with its options.
    pub verb: Verb,
}

/// Options of all verbs.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Path to the playbook, which describes the targets
    ///
    /// Defaults to the first of `target-test.toml` in the current folder or above it, but below the root of the
    /// workspace; `playbook` in `[workspace.metadata.target-test]`; `.config/target-test.toml` and `target-test.toml` in
    /// the root. Without any of these, there is one target named `local`.
    #[arg(long, value_name = "FILE", global = true, env = env::PLAYBOOK, hide_env_values = true)]
    pub playbook: Option<PathBuf>,
    /// Override a value in the playbook: `targets.debian.memory=2GiB` (can be repeated)
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    pub set: Vec<String>,
    /// Folder of the pool, the record of all instances
    ///
    /// Defaults to `$XDG_STATE_HOME/cargo-target-test`, one per user. It is state, not a cache.
    #[arg(long, value_name = "DIR", global = true, env = env::POOL, hide_env_values = true)]
    pub pool: Option<PathBuf>,
    /// Use verbose output; prints every nextest command
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

impl Global {
    /// The playbook that the command line names; `None` if `TARGET_TEST_PLAYBOOK` names it, or nothing.
    pub fn typed_playbook(&self) -> Option<&Path> {
        let by_variable = std::env::var_os(env::PLAYBOOK).map(PathBuf::from);
        let typed = self.playbook.as_ref();
        typed
            .filter(|_| self.playbook != by_variable)
            .map(PathBuf::as_path)
    }
}

/// A verb with its options.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the tests on the targets (the default verb)
    #[command(after_help = SHORT_AFTER, after_long_help = LONG_AFTER)]
    Run(Box<RunArgs>),
    /// Write a first playbook and a first test into a package
    ///
    /// Also adds the dev-dependency on `target-fixtures`. What exists is kept.
    Init(InitArgs),
    /// List the cases, and the reason for each excluded test
    ///
    /// Accepts the options of `run`; executes nothing.
    List(Box<ListArgs>),
    /// Check the playbook and print all resolved values, including defaults
    Check(CheckArgs),
    /// Print the JSON Schema of the playbook, for editors
    Schema(SchemaArgs),
    /// Print the completion script of a shell
    ///
    /// For the command `cargo-target-test`, and in zsh for `cargo target-test` too. For example, in `~/.bashrc`: `source
    /// <(cargo target-test completions bash)`.
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Deploy instances and keep them, without a test
    ///
    /// Existing ones that fit the playbook are used. `shell`, `exec` and `cp` work on them. Runs use them and leave them
    /// there. `down` or `--delete-targets` deletes them.
    ///
    /// Exit code 69 if an instance could not be deployed; the others stay.
    Up(UpArgs),
    /// Delete instances by name
    ///
    /// Exit code 0 if none of them is left, 69 if a delete failed or a running process holds one.
    Down(DownArgs),
    /// List existing instances: host, state, holder, age
    Targets(TargetsArgs),
    /// Open a shell on an instance
    ///
    /// Leases the instance; waits if it is leased by another process. Sets the same TARGET_TEST_* variables as for a
    /// test. Without a terminal, reads commands from standard input.
    ///
    /// The exit code is that of the shell, or 69 if the instance cannot be reached.
    Shell(ShellArgs),
    /// Run a command on an instance
    ///
    /// Standard input, output and error are passed through unchanged.
    ///
    /// The exit code is that of the command (128 + n for signal n), 69 if the instance cannot be reached, or 124 after
    /// --timeout.
    Exec(ExecArgs),
    /// Copy a file or folder to or from an instance
    ///
    /// Preserves permissions.
    ///
    /// Exit code 69 if the instance cannot be reached.
    Cp(CpArgs),
    /// Print the console output of an instance
    Logs(LogsArgs),
    /// Make the reports of a run again, from its feed
    ///
    /// Also of a run that was killed; its reports are marked as incomplete. Writes `report.html` and `junit.xml` in the
    /// run's folder, or only the files of --html and --junit.
    Report(ReportArgs),
    /// Print the results of earlier runs
    ///
    /// Of all cases whose names contain TEST, newest first. Sub-results are included if they did not pass, or if TEST
    /// contains a `/`. Every run is recorded, in `history.sqlite` in the pool; `[history] path` in the playbook and
    /// TARGET_TEST_HISTORY choose another file.
    History(HistoryArgs),
    /// Print the cases that pass and fail without a change
    ///
    /// A case, or a sub-result of a case, is flaky on a target if it passed and failed with the same test binary or the
    /// same commit, in one run or in several.
    Flaky(FlakyArgs),
    /// Print the slowest cases, by the median of their last 10 passes
    Slow(SlowArgs),
    /// Print the command that runs a case of an earlier run again
    ///
    /// Above it, in lines that start with `#`: commit, playbook, compiler, seed, test binary, and the facts of the
    /// instances. Warns of what differs now.
    Repro(ReproArgs),
    /// Lease an instance in the background
    ///
    /// The lease continues after the terminal is closed, and expires by wall-clock time even if this machine sleeps.
    /// `shell`, `exec` and `cp` of the same user use the lease without waiting. Processes they left running are killed
    /// when the lease ends.
    Lease(LeaseArgs),
    /// End a lease started by `lease`
    Release(InstanceArgs),
    /// Correct the pool's records
    Pool(PoolArgs),
    /// Delete resources with the pool's label that no instance uses
    ///
    /// Finds processes, containers and the resources that the `list` programs of a playbook report.
    ///
    /// Exit code 0 if nothing remains, 69 if something could not be deleted or listed.
    Gc(GcArgs),
    /// Serve test processes that are started without `cargo target-test`
    #[command(hide = true)]
    Broker(BrokerArgs),
    /// Prints the reference of the playbook: `help playbook [KEY]`.
    #[command(skip)]
    HelpPlaybook {
        /// The key or table; `None` for all.
        key: Option<String>,
    },
}

/// Options of `run`.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Target options")]
pub struct RunArgs {
    /// Keep the instances running for the next run: all, or those on which a case failed
    #[arg(long, value_name = "WHICH", num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    pub keep_targets: Option<KeepTargets>,
    /// Delete the instances of this workspace (with --all: of all workspaces) and exit
    ///
    /// Requires neither a playbook nor a build.
    ///
    /// Exit code 0 if no instance is left, 69 if a delete failed or a running process holds an instance.
    #[arg(long, conflicts_with_all = ["keep_targets", "filters", "after-dashes"])]
    pub delete_targets: bool,
    /// With --delete-targets: also delete instances held by a running process
    #[arg(long, requires = "delete_targets", conflicts_with_all = ["keep_targets", "filters", "after-dashes"])]
    pub force: bool,
    /// Stop at the first failure and open a shell on its instance, before fixtures are torn down
    #[arg(long, hide_short_help = true)]
    pub shell_on_failure: bool,
    /// Split the cases into N nextest runs that share one pool
    ///
    /// Each run is `--partition slice:k/N`. Output lines are prefixed with the number of their run, JUnit reports
    /// (`--junit`) are merged, and the worst exit code is returned.
    #[arg(long, value_name = "N", hide_short_help = true, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub partitions: Option<u16>,
    /// Exit with this code instead of 69 if no test failed but a target could not be had: 125 for `git bisect run`
    #[arg(long, value_name = "CODE", hide_short_help = true, conflicts_with = "delete_targets", value_parser = clap::value_parser!(u8).range(1..))]
    pub infra_exit_code: Option<u8>,
    /// Kill a test after this time, counted from its lease, unless the test declares another: `90s`, `5m`
    ///
    /// Applies to tests on targets. Defaults to `timeout` in `[defaults]` of the playbook.
    #[arg(long, value_name = "TIME", env = env::TIMEOUT, hide_env_values = true, value_parser = interactive::time)]
    pub timeout: Option<Duration>,
    /// Check all descriptions of orchestrations against the events of the tests, and exit
    #[arg(long, hide_short_help = true, conflicts_with = "delete_targets")]
    pub load_orch: bool,
    /// Let the time of orchestrations pass faster: with 60, an hour takes a minute
    #[arg(long, value_name = "FACTOR", hide_short_help = true, value_parser = arguments::time_scale)]
    pub time_scale: Option<f64>,
    /// Print the N slowest cases, with the times of set-up, test and tear-down
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub durations: Option<usize>,
    /// With --durations: only cases that took at least this time
    #[arg(long, value_name = "TIME", hide_short_help = true, requires = "durations", value_parser = humantime::parse_duration)]
    pub durations_min: Option<Duration>,
    /// The lines to print in addition to nextest's
    #[arg(long, value_name = "LEVEL", hide_short_help = true)]
    pub summary: Option<SummaryLevel>,
    /// Also write the JUnit report to this file, with the output of all tests
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write the run events as JSON lines, live: to a file, to standard output (`-`), or to the clients of a socket
    /// (`unix:PATH`)
    #[arg(long, value_name = "FILE|-|unix:PATH", hide_short_help = true)]
    pub feed: Option<FeedTo>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub tests: TestArgs,
}

/// The instances that a run keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeepTargets {
    /// All instances
    All,
    /// Instances on which a case failed
    Failed,
}

/// Options of `schema`.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct SchemaArgs {
    /// Print the JSON Schema of a line of the feed
    #[arg(long)]
    pub feed: bool,
    /// Print the JSON Schema of a description of an orchestration
    #[arg(long, conflicts_with = "feed")]
    pub orchestration: bool,
}

/// Options of `init`.
#[derive(Clone, Debug, Default, Args)]
pub struct InitArgs {
    /// The platform of the target in the playbook
    #[arg(long, value_name = "PLATFORM", default_value = "local")]
    pub platform: InitPlatform,
}

/// A platform that `init` has a playbook for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum InitPlatform {
    /// Folders of this machine.
    #[default]
    Local,
    /// Containers of podman or docker.
    Container,
    /// Virtual machines.
    Qemu,
    /// Machines that exist, over SSH.
    Ssh,
    /// Whatever two programs create and delete.
    Command,
}

/// Options of `list`: its own, and those of `run` that select tests.
#[derive(Clone, Debug, Default, Args)]
pub struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Count tests and cases by metadata: all keys, or one such as `area`
    #[arg(long, value_name = "KEY", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub stats: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub tests: TestArgs,
}

/// Options that select tests, and all options of nextest.
#[derive(Clone, Debug, Default, Args)]
pub struct TestArgs {
    /// Run all tests on the targets, including those without `#[target_test]` (like `select = "all"`)
    ///
    /// By default, if any test has the attribute, tests without it run once, on the host.
    #[arg(long, help_heading = "Target options")]
    pub all_tests: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub choosing: ChoosingArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub nextest: NextestArgs,
}

/// Options of `check`.
#[derive(Clone, Debug, Default, Args)]
pub struct CheckArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Also build the tests, and check their metadata against the playbook
    #[arg(long)]
    pub tests: bool,
}

/// Options of `gc`.
#[derive(Clone, Debug, Default, Args)]
pub struct GcArgs {
    /// Print what would be deleted, without deleting it
    #[arg(long)]
    pub dry_run: bool,
    /// Delete what this owner created and no living process uses, of all pools, also of lost ones
    ///
    /// Lists it first and asks. A `*` at the end stands for any text: `github/acme/widget/*`.
    #[arg(long, value_name = "OWNER")]
    pub owner: Option<String>,
    /// With --owner: only what expired more than an hour ago
    #[arg(long, requires = "owner")]
    pub expired: bool,
    /// With --owner: do not ask
    #[arg(long, requires = "owner")]
    pub yes: bool,
}

/// Options of `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// The run: its id or the beginning of it, `latest`, or the path of its folder
    #[arg(value_name = "RUN", default_value = "latest")]
    pub run: String,
    /// Print the cases that fail, pass again or are slower in run B, compared with run A
    ///
    /// Both runs are in the history: ids or the beginning of them, or `latest`.
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["run", "html", "junit"])]
    pub compare: Vec<String>,
    /// With --compare: print JSON
    #[arg(long, requires = "compare")]
    pub json: bool,
    /// Write the HTML report to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the JUnit report to this file
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// Options of `pool`.
#[derive(Clone, Debug, Args)]
pub struct PoolArgs {
    /// The correction.
    #[command(subcommand)]
    pub verb: PoolVerb,
}

/// A correction of the pool.
#[derive(Clone, Debug, Subcommand)]
pub enum PoolVerb {
    /// Drop the record of an instance that cannot be deleted, and print what must be removed by hand
    ///
    /// Asks first. The instance itself is not touched.
    Forget(ForgetArgs),
    /// Keep an instance or host from serving, for a while or until it is enabled
    ///
    /// Running tests are not ended. If no instance of a target is left, its cases are infra at once, with the reason.
    Disable(DisableArgs),
    /// Let a disabled instance or host serve again
    Enable(EnableArgs),
}

/// Options of `pool disable`.
#[derive(Clone, Debug, Args)]
pub struct DisableArgs {
    /// Instance name, or the host as the playbook or `targets` shows it
    #[arg(value_name = "INSTANCE|HOST")]
    pub name: String,
    /// The reason, shown to everybody whose cases find no instance
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// The end: a duration (`2h`, `3d`) or a date and time in UTC (`2026-12-24`, `2026-12-24 18:00:00`)
    #[arg(long, value_name = "TIME", value_parser = until)]
    pub until: Option<SystemTime>,
}

/// Options of `pool enable`.
#[derive(Clone, Debug, Args)]
pub struct EnableArgs {
    /// Instance name, or the host as the playbook or `targets` shows it
    #[arg(value_name = "INSTANCE|HOST")]
    pub name: String,
}

/// Parses a time in the future.
fn until(text: &str) -> Result<SystemTime, String> {
    let day = format!("{text} 00:00:00");
    let time = humantime::parse_duration(text)
        .ok()
        .and_then(|after| SystemTime::now().checked_add(after))
        .or_else(|| humantime::parse_rfc3339_weak(text).ok())
        .or_else(|| humantime::parse_rfc3339_weak(&day).ok());
    match time {
        Some(time) if time > SystemTime::now() => Ok(time),
        Some(_) => Err("is not in the future".to_owned()),
        None => Err("expected a duration such as `2h`, or a date such as `2026-12-24`".to_owned()),
    }
}

/// Options of `pool forget`.
#[derive(Clone, Debug, Args)]
pub struct ForgetArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub on: InstanceArgs,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// Options of `broker`.
#[derive(Clone, Debug, Default, Args)]
pub struct BrokerArgs {
    /// Start a broker if none serves the pool, and return when it does
    #[arg(long)]
    pub ensure: bool,
}

impl Verb {
    /// The test options, if the verb has them.
    pub fn tests(&self) -> Option<&TestArgs> {
        match self {
            Self::Run(run) => Some(&run.tests),
            Self::List(list) => Some(&list.tests),
            _ => None,
        }
    }
}

impl RunArgs {
    /// True for `--delete-targets --all`: delete the instances of all workspaces. (nextest's `--all` is about
    /// packages.)
    pub fn delete_all(&self) -> bool {
        self.delete_targets && self.tests.nextest.has("all")
    }
}

impl Cli {
    /// Parses the arguments of a process, starting with the program name.
    ///
    /// # Errors
    /// A usage error, or the output of `--help` and `--version`; both are for clap's `exit` or `render`.
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = command();
        let words = words::verb_first(&command, words.into_iter().collect());
        let verb = words
            .get(1)
            .and_then(|verb| verb.to_str())
            .map(str::to_owned);
        let forwards = matches!(verb.as_deref(), Some("run" | "list"));
        let usage = verb
            .as_deref()
            .and_then(|verb| Some(command.find_subcommand_mut(verb)?.render_usage()));
        let program = words.first().cloned().unwrap_or_default();
        let matches = command
            .try_get_matches_from_mut(words)
            .map_err(|error| with_our_tip(with_usage(error, usage), forwards, verb.as_deref()))?;
        if let Some((help::NAME, topic)) = matches.subcommand() {
            return help::asked(program, topic);
        }
        let line =
            CommandLine::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        Ok(Self {
            global: line.global,
            verb: line.verb.unwrap_or_else(|| Verb::Run(Box::new(line.run))),
        })
    }
}

/// Makes a variable that is set to nothing count as unset.
fn without_empty_variables(command: Command) -> Command {
    let is_empty = |arg: &Arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.is_empty())
    };
    command
        .mut_args(|arg| match is_empty(&arg) {
            true => arg.env(Resettable::Reset),
            false => arg,
        })
        .mut_subcommands(without_empty_variables)
}

/// Replaces the usage in an error. clap's usage lists options that are set by the environment as if they were required.
fn with_usage(mut error: clap::Error, usage: Option<StyledStr>) -> clap::Error {
    if let (Some(_), Some(usage)) = (error.get(ContextKind::Usage), usage) {
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    }
    error
}

/// Replaces clap's tip for an unknown option: after `--`, the option would be a filter.
fn with_our_tip(mut error: clap::Error, forwards: bool, verb: Option<&str>) -> clap::Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    error.remove(ContextKind::Suggested);
    if verb == Some("exec") && error.get(ContextKind::SuggestedArg).is_none() {
        let tip = "to run a command with options, write `--` before it: `exec lab-0 -- uname -n`";
        error.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(vec![tip.into()]),
        );
        return error;
    }
    let unknown = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(unknown)) if unknown.starts_with("--") => unknown.clone(),
        _ => return error,
    };
    if forwards && error.get(ContextKind::SuggestedArg).is_none() {
        let tip = format!("to pass it to nextest, use `--nextest-arg={unknown}`");
        error.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(vec![tip.into()]),
        );
    }
    error
}

/// Returns the verb most similar to a word, if one is similar enough: `lst` -> `list`, `tagrest` -> `targets`.
pub fn meant_verb(word: &str) -> Option<String> {
    let command = command();
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let distance = |verb: &Command| strsim::damerau_levenshtein(word, verb.get_name());
    let (distance, verb) = verbs.map(|verb| (distance(verb), verb.get_name())).min()?;
    let most = if word.chars().count() > 4 { 2 } else { 1 };
    (1..=most).contains(&distance).then(|| verb.to_owned())
}

/// Builds the clap command, as the help shows it.
pub fn command() -> Command {
    let mut command = unbuilt_command();
    command.build();
    command
}

/// The clap command, whose subcommands have no full names yet.
pub(crate) fn unbuilt_command() -> Command {
    let mut command = CommandLine::command().mut_subcommand("list", |list| {
        list.mut_args(|arg| {
            let runs = arg.get_help_heading() == Some(Class::Run.heading());
            arg.hide(runs)
        })
    });
    command = help::added(command);
    if subcommand() != OURS {
        command = renamed(command).mut_subcommand("run", with_help);
    }
    without_empty_variables(command)
}

/// The help of another program than `cargo target-test`.
fn renamed(command: Command) -> Command {
    let command = command
        .bin_name(format!("cargo {}", subcommand()))
        .override_usage(in_our_name(USAGE));
    with_help(command)
}

fn with_help(command: Command) -> Command {
    command.after_long_help(in_our_name(LONG_AFTER))
}

fn in_our_name(text: &str) -> String {
    text.replace(OURS, subcommand())
}

const USAGE: &str = "\
cargo target-test [run] [OPTIONS] [FILTERS]... [-- <FILTERS_AND_ARGS>...]
       cargo target-test <VERB> [OPTIONS]";

const SHORT_AFTER: &str =
    "Options of nextest are accepted too. See `--help` for them, for examples and for exit codes.";

const LONG_AFTER: &str = "\
Examples:
  cargo target-test                              every test on every target that fits
  cargo target-test smoke                        cases whose name contains `smoke`
  cargo target-test '[debian]'                   everything on target `debian`
  cargo target-test -- --exact 'smoke[debian]'   one case
  cargo target-test -E 'test(/^net::/)'          a nextest filterset over case names
  cargo target-test --keep-targets               keep the instances for the next run
  cargo target-test --delete-targets             delete everything that earlier runs left
  cargo target-test --partition count:1/4        one of four shards; all share one pool
  git bisect run cargo target-test --infra-exit-code 125 smoke
  cargo target-test --debugger 'rust-gdb --args' 'smoke[debian]'
  cargo target-test list --json                  the cases as JSON
  cargo target-test shell debian-0               a shell on a kept instance
  cargo target-test help playbook memory         the playbook's key `memory`

Exit codes:
  0    every case that ran passed (with --delete-targets: no instance is left)
  2    invalid command line
  4    no case was selected
  69   a target could not be deployed, reached or deleted, and no test failed; see --infra-exit-code
  70   cargo-nextest is missing or too old, or another error
  73   the pool is unusable
  78   invalid playbook
  100  a test failed
  101  the build failed
  130  interrupted
Other exit codes of nextest are passed through.";

#[cfg(test)]
mod tests;
