//! The command line: every verb and every flag. Doc comments are the help.
//!
//! Owns what may be written and what it means. Must not act on it: `main` dispatches, `commands` act.

mod arguments;
mod choosing;
mod nextest_args;
pub mod options;
mod people;
mod words;

use std::{ffi::OsString, path::PathBuf};

use clap::{
    ArgAction, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};
use target_fixtures::env;

pub use choosing::{ChoosingArgs, OrderArg, PreferArg};
pub use nextest_args::{Call, NextestArgs};
use options::Class;
use words::OURS;
pub use words::{set_subcommand, subcommand};

pub use people::{
    CpArgs, ExecArgs, InstanceArgs, LeaseArgs, LogsArgs, ShellArgs, Side, TargetsArgs,
};

/// Run Cargo's tests on real targets
///
/// Every test that Cargo lists is run on every target that the playbook names and that fits it. Targets
/// are leased from a pool that all processes of this machine share; nextest runs the result as one
/// ordinary run. Without a verb, `run` is meant; a first word that is no verb is a filter.
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

/// The command line, parsed.
#[derive(Debug)]
pub struct Cli {
    /// What every verb takes.
    pub global: Global,
    /// What to do.
    pub verb: Verb,
}

/// What every verb takes.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The playbook: which targets there are
    ///
    /// Without it: `playbook` in `[workspace.metadata.target-test]`, `.config/target-test.toml`, or
    /// `target-test.toml` of the workspace; with none of these, one target named `local`.
    #[arg(long, value_name = "FILE", global = true, env = env::PLAYBOOK, hide_env_values = true)]
    pub playbook: Option<PathBuf>,
    /// Override a value of the playbook: `targets.debian.memory=2GiB` (repeat for more)
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    pub set: Vec<String>,
    /// The folder that keeps account of all instances
    ///
    /// Default: `$XDG_STATE_HOME/cargo-target-test`, one for each user. It is state, not cache.
    #[arg(long, value_name = "DIR", global = true, env = env::POOL, hide_env_values = true)]
    pub pool: Option<PathBuf>,
    /// Say more; every nextest command is printed
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the tests on the targets (the default verb)
    #[command(after_help = SHORT_AFTER, after_long_help = LONG_AFTER)]
    Run(Box<RunArgs>),
    /// Show the cases, and for each test that is left out, why
    ///
    /// Takes the options of `run`, so that its command line can be tried here first.
    List(Box<ListArgs>),
    /// Check the playbook and print it resolved: every value, defaults included
    Check(CheckArgs),
    /// Print the JSON Schema of the playbook, for editors
    Schema,
    /// Show the instances that exist: host, state, holder, age
    Targets(TargetsArgs),
    /// Open a shell on an instance
    ///
    /// It leases the instance, and waits for whoever holds it. TARGET_TEST_NAME, _INSTANCE, _HOST and the like are set as
    /// for a test. Without a terminal it reads commands from standard input. The exit code is the shell's; 69 when the
    /// instance cannot be reached.
    Shell(ShellArgs),
    /// Run a command on an instance
    ///
    /// Standard input, output and error are passed on byte for byte, and so is the exit code (128 + n for signal n); 69
    /// when the instance cannot be reached, 124 after --timeout.
    Exec(ExecArgs),
    /// Copy a file or a folder to an instance, or from one
    ///
    /// Modes are kept. Exit code 69 when the instance cannot be reached.
    Cp(CpArgs),
    /// Print what an instance says on its console
    Logs(LogsArgs),
    /// Hold an instance for yourself, in the background
    ///
    /// The lease ends by the clock on the wall, whether or not this machine sleeps, and lives on when the terminal is
    /// closed. Meanwhile `shell`, `exec` and `cp` of the same user go through without waiting. What they left running is
    /// killed when it ends.
    Lease(LeaseArgs),
    /// End a lease that was made by `lease`
    Release(InstanceArgs),
    /// Delete what carries the pool's label and no record names
    ///
    /// Everything that is made carries it: processes, containers, and what a playbook's `list` programs find. Exit
    /// code 0 when nothing remains, 69 when something could not be deleted or looked at.
    Gc(GcArgs),
    /// Serve test processes that were started without `cargo target-test`
    #[command(hide = true)]
    Broker(BrokerArgs),
}

/// Options of `run`.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// Leave the instances up: the next run starts warm
    #[arg(long, help_heading = "Target options")]
    pub keep_targets: bool,
    /// Delete what earlier runs of this workspace left (with --all: everything), and run nothing
    ///
    /// Needs neither a playbook nor a build. Exit code 0 when nothing is left, 69 when a delete failed or a
    /// living process holds an instance.
    #[arg(long, help_heading = "Target options", conflicts_with_all = ["keep_targets", "filters", "after-dashes"])]
    pub delete_targets: bool,
    /// With --delete-targets: also instances that a living process holds
    #[arg(long, help_heading = "Target options", requires = "delete_targets", conflicts_with_all = ["keep_targets", "filters", "after-dashes"])]
    pub force: bool,
    /// Stop at the first failure and open a shell on the failed case's instance, as the test left it: its fixtures are torn down after
    #[arg(long, help_heading = "Target options", hide_short_help = true)]
    pub shell_on_failure: bool,
    /// So many runs side by side on one pool, each with its part of the cases
    ///
    /// Each is `--partition slice:k/N`; their lines are numbered, their JUnit reports (`--junit`) put together, and the worst
    /// exit code counts.
    #[arg(long, value_name = "N", help_heading = "Target options", hide_short_help = true, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub partitions: Option<u16>,
    /// Write a JUnit report to this file, with all output in it
    #[arg(long, value_name = "FILE", help_heading = "Target options")]
    pub junit: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub tests: TestArgs,
}

/// Options of `list`: those of `run` that choose tests.
#[derive(Clone, Debug, Default, Args)]
pub struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Count tests and cases by what they declare: all keys, or one such as `area`
    #[arg(long, value_name = "KEY", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub stats: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub tests: TestArgs,
}

/// Which tests, and everything that is nextest's.
#[derive(Clone, Debug, Default, Args)]
pub struct TestArgs {
    /// Run every test on the targets, also those without `#[target_test]` (like `select = "all"`)
    ///
    /// Without it they run once, on the host, as soon as one test has the attribute.
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
    /// Also build the tests, and check what they declare against it
    #[arg(long)]
    pub tests: bool,
}

/// Options of `gc`.
#[derive(Clone, Debug, Default, Args)]
pub struct GcArgs {
    /// Only say what would be deleted
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `broker`.
#[derive(Clone, Debug, Default, Args)]
pub struct BrokerArgs {
    /// Return once a broker serves the pool, started now or before
    #[arg(long)]
    pub ensure: bool,
}

impl Verb {
    /// Which tests it is about, if it is about tests.
    pub fn tests(&self) -> Option<&TestArgs> {
        match self {
            Self::Run(run) => Some(&run.tests),
            Self::List(list) => Some(&list.tests),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn tests_mut(&mut self) -> Option<&mut TestArgs> {
        match self {
            Self::Run(run) => Some(&mut run.tests),
            Self::List(list) => Some(&mut list.tests),
            _ => None,
        }
    }
}

impl RunArgs {
    /// With `--delete-targets`: the instances of all workspaces. (nextest has `--all` too, for packages.)
    pub fn delete_all(&self) -> bool {
        self.delete_targets && self.tests.nextest.has("all")
    }
}

impl Cli {
    /// Parses the words of a process, its own name first.
    ///
    /// # Errors
    /// A usage error, or what to print for `--help` and `--version`; clap's `exit` and `render` do the rest.
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = command();
        let words = words::verb_first(&command, words.into_iter().collect());
        let verb = words.get(1).and_then(|verb| verb.to_str());
        let forwards = matches!(verb, Some("run" | "list"));
        let usage = verb.and_then(|verb| Some(command.find_subcommand_mut(verb)?.render_usage()));
        let matches = command
            .try_get_matches_from_mut(words)
            .map_err(|error| with_our_tip(with_usage(error, usage), forwards))?;
        let line =
            CommandLine::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        Ok(Self {
            global: line.global,
            verb: line.verb.unwrap_or_else(|| Verb::Run(Box::new(line.run))),
        })
    }
}

/// clap's own usage for a slip names what the environment gives, as if it had to be typed.
fn with_usage(mut error: clap::Error, usage: Option<StyledStr>) -> clap::Error {
    if let (Some(_), Some(usage)) = (error.get(ContextKind::Usage), usage) {
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    }
    error
}

/// clap's tip for an unknown option, to put it after `--`, would make a filter of it.
fn with_our_tip(mut error: clap::Error, forwards: bool) -> clap::Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    error.remove(ContextKind::Suggested);
    let unknown = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(unknown)) if unknown.starts_with("--") => unknown.clone(),
        _ => return error,
    };
    if forwards && error.get(ContextKind::SuggestedArg).is_none() {
        let tip = format!("`--nextest-arg={unknown}` passes it to nextest as it is");
        error.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(vec![tip.into()]),
        );
    }
    error
}

/// The verb that a word looks like: `lst` is near `list`, `tagrest` is near `targets`.
pub fn meant_verb(word: &str) -> Option<String> {
    let command = command();
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let far = |verb: &Command| strsim::damerau_levenshtein(word, verb.get_name());
    let (far, verb) = verbs.map(|verb| (far(verb), verb.get_name())).min()?;
    let most = if word.chars().count() > 4 { 2 } else { 1 };
    (1..=most).contains(&far).then(|| verb.to_owned())
}

/// The whole command, as the help shows it.
pub fn command() -> Command {
    let mut command = CommandLine::command().mut_subcommand("list", |list| {
        list.mut_args(|arg| {
            let runs = arg.get_help_heading() == Some(Class::Run.heading());
            arg.hide(runs)
        })
    });
    if subcommand() != OURS {
        command = renamed(command).mut_subcommand("run", with_help);
    }
    command.build();
    command
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
    "nextest's own options are taken too; `--help` shows them, examples and exit codes.";

const LONG_AFTER: &str = "\
Examples:
  cargo target-test                              every test on every target that fits
  cargo target-test smoke                        cases whose name contains `smoke`
  cargo target-test '[debian]'                   everything on target `debian`
  cargo target-test -- --exact 'smoke[debian]'   one case
  cargo target-test -E 'test(/^net::/)'          nextest's filtersets, over case names
  cargo target-test --keep-targets               dev loop: the next run starts warm
  cargo target-test --delete-targets             after an interruption: nothing is left behind
  cargo target-test --partition count:1/4        one of four shards; all share one pool
  cargo target-test --debugger 'rust-gdb --args' 'smoke[debian]'
  cargo target-test list --json                  the cases, for programs
  cargo target-test shell debian-0               a shell on an instance that was kept

Exit codes:
  0    every case that ran passed (or, with --delete-targets, nothing is left)
  2    the command line is wrong
  4    no case was selected
  69   a target could not be had, reached or deleted, and no test failed
  70   cargo-nextest is missing or too old, or something else went wrong
  73   the pool cannot be used
  78   the playbook is wrong
  100  a test failed
  101  the build failed
  130  interrupted
nextest's other codes are passed on.";

#[cfg(test)]
mod tests;
