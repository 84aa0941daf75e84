//! Moves the verb to the front of the command line, from any position before the options end.
//!
//! Must not know the meaning of verbs.

use std::{ffi::OsString, sync::OnceLock};

use clap::Command;

use super::nextest_options::{OPTIONS, OptionValue};

/// The word after `cargo` of our own program.
pub(super) const OURS: &str = "target-test";

static SUBCOMMAND: OnceLock<&'static str> = OnceLock::new();

/// Sets the word after `cargo` of another program, once and before anything is parsed.
pub fn set_subcommand(name: &'static str) {
    // A second name would be a second program in this process.
    let _ = SUBCOMMAND.set(name);
}

/// The word after `cargo`, which Cargo passes on as the first argument.
pub fn subcommand() -> &'static str {
    SUBCOMMAND.get().unwrap_or(&OURS)
}

/// Brings the words into the one order that clap reads: verb, then everything else. Cargo's own
/// word ([`subcommand`]) is dropped, and `run` is added where no verb stands.
pub(super) fn verb_first(command: &Command, mut words: Vec<OsString>) -> Vec<OsString> {
    if words.get(1).is_some_and(|word| word == subcommand()) {
        words.remove(1);
    }
    let options_end = words
        .iter()
        .position(|word| word == "--")
        .unwrap_or(words.len());
    let asks = |word: &OsString| {
        ["-h", "--help", "-V", "--version"]
            .iter()
            .any(|ask| word == ask)
    };
    let first = first_word(command, &words[..options_end]);
    let verb = first.filter(|&at| command.find_subcommand(&words[at]).is_some());
    match verb {
        Some(at) => words[1..=at].rotate_right(1),
        None if words[..options_end].iter().any(asks) => {}
        None => words.insert(1.min(words.len()), "run".into()),
    }
    words
}

/// Returns the index of the first word that is neither an option nor the value of an option.
fn first_word(command: &Command, words: &[OsString]) -> Option<usize> {
    let mut at = 1;
    while let Some(word) = words.get(at) {
        let word = word.to_string_lossy();
        if !word.starts_with('-') || word.len() == 1 {
            return Some(at);
        }
        at += if takes_next_word(command, &word) {
            2
        } else {
            1
        };
    }
    None
}

/// True if the option (`--set`, `-p`, but not `--set=x` or `-pfoo`) takes the next word as its value.
fn takes_next_word(command: &Command, word: &str) -> bool {
    let mut arguments = command.get_arguments().filter(|arg| {
        arg.get_action().takes_values() && !arg.is_require_equals_set() && !arg.is_positional()
    });
    match word.strip_prefix("--") {
        Some(long) => arguments.any(|arg| {
            arg.get_long() == Some(long)
                || arg.get_all_aliases().is_some_and(|all| all.contains(&long))
        }),
        // Of `-rp` only the last letter can take a value from the next word.
        None => {
            let last = word.chars().last();
            let flags = |arg: &clap::Arg| arg.get_short() == last;
            let before = &word[1..word.len() - last.map_or(0, char::len_utf8)];
            let valued = |short: char| {
                OPTIONS
                    .iter()
                    .any(|o| o.short == Some(short) && matches!(o.value, OptionValue::One(_)))
            };
            !before.chars().any(valued) && arguments.any(flags)
        }
    }
}
