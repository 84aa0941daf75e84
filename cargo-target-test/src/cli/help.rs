//! The verb `help`: the help of another verb, or the keys of the playbook.

use std::ffi::OsString;

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, Parser};

use super::{Cli, Global, Verb};

/// The name of [`HelpCommand`].
pub(super) const NAME: &str = "help";
/// The name of [`PlaybookTopic`].
const PLAYBOOK: &str = "playbook";

/// Print the help of a verb, or the keys of the playbook: `help playbook [KEY]`
#[derive(Parser)]
#[command(name = NAME, disable_help_subcommand = true)]
struct HelpCommand {}

/// Print the keys of the playbook
#[derive(Parser)]
#[command(name = PLAYBOOK)]
struct PlaybookTopic {
    /// A key (`memory`, `qemu.memory`) or a table (`pool`, `steps`); without it, all tables
    key: Option<String>,
}

/// A verb, as a topic of `help`.
#[derive(Parser)]
struct VerbTopic {}

impl VerbTopic {
    fn of(verb: &Command) -> Command {
        Self::command()
            .name(verb.get_name().to_owned())
            .hide(verb.is_hide_set())
            .about(verb.get_about().cloned().unwrap_or_default())
            .subcommands(verb.get_subcommands().map(Self::of))
    }
}

/// Adds the verb to the command of all others.
pub(super) fn added(command: Command) -> Command {
    let command = command.disable_help_subcommand(true);
    let help = HelpCommand::command()
        .subcommands(command.get_subcommands().map(VerbTopic::of))
        .subcommand(PlaybookTopic::command());
    command.subcommand(help)
}

/// Returns what `help` asks for. The help of a verb is the output of its `--help`.
pub(super) fn asked(program: OsString, topic: &ArgMatches) -> Result<Cli, clap::Error> {
    if let Some((PLAYBOOK, of)) = topic.subcommand() {
        let PlaybookTopic { key } = PlaybookTopic::from_arg_matches(of)?;
        let (global, verb) = (Global::default(), Verb::HelpPlaybook { key });
        return Ok(Cli { global, verb });
    }
    let verbs = std::iter::successors(topic.subcommand(), |(_, topic)| topic.subcommand());
    let verbs = verbs.map(|(verb, _)| verb.into());
    Cli::parse([program].into_iter().chain(verbs).chain(["--help".into()]))
}
