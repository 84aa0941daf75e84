//! Converts the table of nextest's options to clap arguments, and clap's matches to [`NextestArgs`].
//!
//! Must not know which call an option goes to.

use std::ffi::OsString;

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches,
    builder::{Resettable, ValueParser},
};

use super::{
    nextest_args::{Given, NextestArgs},
    nextest_options::{Class, NextestOption, OPTIONS, OptionValue, find},
};

/// Parses a factor for the time of orchestrations.
pub(super) fn time_scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (0.001..=1e6).contains(&factor) => Ok(factor),
        _ => Err("expected a number from 0.001 to 1000000".to_owned()),
    }
}

impl Args for NextestArgs {
    fn augment_args(command: Command) -> Command {
        command
            .args(OPTIONS.iter().map(argument))
            .arg(
                Arg::new("nextest-arg")
                    .long("nextest-arg")
                    .value_name("ARG")
                    .help("Pass an argument to `cargo nextest run` unchanged (can be repeated)")
                    .help_heading(Class::Run.heading())
                    .hide_short_help(true)
                    .allow_hyphen_values(true)
                    .value_parser(ValueParser::os_string())
                    .action(ArgAction::Append),
            )
            .arg(
                Arg::new("filters")
                    .help_heading(Resettable::Reset)
                    .value_name("FILTERS")
                    .help("Run cases whose name contains one of these: `smoke`, `smoke[alpha]`, `[alpha]`")
                    .num_args(0..)
                    .action(ArgAction::Append),
            )
            .arg(
                Arg::new("after-dashes")
                    .help_heading(Resettable::Reset)
                    .value_name("FILTERS_AND_ARGS")
                    .help("Filters, and libtest's --skip X, --exact, --ignored, --include-ignored, --no-capture")
                    .num_args(0..)
                    .last(true)
                    .allow_hyphen_values(true)
                    .action(ArgAction::Append),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The clap argument of an option.
fn argument(option: &'static NextestOption) -> Arg {
    let arg = Arg::new(option.long)
        .help(option.help)
        .help_heading(option.class.heading())
        .hide_short_help(true)
        .visible_aliases(option.aliases.iter().copied());
    let arg = if option.long.len() == 1 {
        arg.short(option.long.chars().next())
    } else {
        arg.long(option.long).short(option.short)
    };
    match option.value {
        OptionValue::Flag => arg.action(ArgAction::SetTrue),
        OptionValue::Repeated => arg.action(ArgAction::Count),
        OptionValue::One(name) => arg
            .value_name(name)
            .action(ArgAction::Append)
            .allow_negative_numbers(true)
            .value_parser(ValueParser::os_string()),
        OptionValue::Optional(name) => arg
            .value_name(name)
            .action(ArgAction::Append)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("")
            .value_parser(ValueParser::os_string()),
    }
}

impl FromArgMatches for NextestArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut options: Vec<_> = OPTIONS
            .iter()
            .flat_map(|option| given(option, matches))
            .collect();
        options.sort_by_key(|(position, _)| *position);
        let mut args = Self {
            filters: values(matches, "filters"),
            unread: values(matches, "nextest-arg"),
            options: options.into_iter().map(|(_, given)| given).collect(),
            ..Self::default()
        };
        args.take_after_dashes(values(matches, "after-dashes"));
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl NextestArgs {
    /// Stores the arguments after `--`. `--no-capture` is an option of the run even there.
    fn take_after_dashes(&mut self, words: Vec<String>) {
        let mut skipped = false;
        for word in words {
            let capture = matches!(word.as_str(), "--nocapture" | "--no-capture") && !skipped;
            skipped = word == "--skip" && !skipped;
            if let (true, Some(option)) = (capture, find("no-capture")) {
                self.options.push(Given {
                    option,
                    value: None,
                });
            } else {
                self.after_dashes.push(word);
            }
        }
    }
}

/// Returns the occurrences of an option, with their positions on the command line.
fn given(option: &'static NextestOption, matches: &ArgMatches) -> Vec<(usize, Given)> {
    let flags = match option.value {
        OptionValue::Flag => Some(matches.get_flag(option.long).into()),
        OptionValue::Repeated => Some(matches.get_count(option.long)),
        OptionValue::One(_) | OptionValue::Optional(_) => None,
    };
    if let Some(count) = flags {
        let position = matches.index_of(option.long).unwrap_or_default();
        let flag = Given {
            option,
            value: None,
        };
        return vec![(position, flag); count.into()];
    }
    let mut positions = matches.indices_of(option.long).into_iter().flatten();
    let mut next = || positions.next().unwrap_or_default();
    let optional = matches!(option.value, OptionValue::Optional(_));
    values::<OsString>(matches, option.long)
        .into_iter()
        .map(|value| {
            let value = Some(value).filter(|value| !(optional && value.is_empty()));
            (next(), Given { option, value })
        })
        .collect()
}

fn values<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, id: &str) -> Vec<T> {
    matches
        .get_many(id)
        .into_iter()
        .flatten()
        .cloned()
        .collect()
}
