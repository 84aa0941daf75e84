//! Bounds the memory of texts: when the texts of all attempts exceed a budget, each is shortened.
//!
//! Attempts that passed have a budget of their own: they cost others nothing.

use super::CaseAttempt;
use crate::case::verdict::CaseResult;

/// The maximum length of one output or console, in bytes.
pub(super) const MOST: usize = 32 << 10;
/// The maximum length of a command, in bytes.
const COMMAND: usize = 1 << 10;
/// The budget of attempts that passed or were skipped, in bytes.
const QUIET: usize = 5 << 20;
/// The budget of all others.
const OTHERS: usize = 7 << 20;
/// The number of commands, results or pieces of output after which an attempt that has not ended is weighed.
const ROUND: usize = 256;
/// The fixed part of the weight of a command, result or measurement: its other fields.
const ITEM: usize = 64;

/// The budgets, and the levels of shortening that they require.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    quiet: Budget,
    others: Budget,
}

#[derive(Debug, Default)]
struct Budget {
    used: usize,
    /// Each level halves the limits.
    level: u32,
}

/// The limits of one attempt.
struct TextLimits {
    /// The length of a text, in bytes.
    text: usize,
    /// The number of commands and measurements.
    items: usize,
}

impl Budgets {
    /// Shortens the attempt to the present limits and counts what it adds; `Some` if its budget is exceeded: true for
    /// the budget of quiet attempts.
    pub(super) fn exceeded_by(&mut self, attempt: &mut CaseAttempt) -> Option<bool> {
        let quiet = is_quiet(attempt);
        let (budget, limit) = match quiet {
            true => (&mut self.quiet, QUIET),
            false => (&mut self.others, OTHERS),
        };
        shorten(attempt, &limits(budget.level, quiet));
        // An attempt may be weighed several times: the sum is an upper bound, which `shorten` corrects.
        budget.used += weight(attempt);
        (budget.used > limit).then_some(quiet)
    }

    /// True if an attempt that got its `count`th text must be weighed before its end.
    pub(super) fn is_due(count: usize) -> bool {
        count.is_multiple_of(ROUND)
    }

    /// Computes what a budget holds, and halves its limits until that fits.
    pub(super) fn shorten<'a>(
        &mut self,
        quiet: bool,
        attempts: impl Iterator<Item = &'a mut CaseAttempt>,
    ) {
        let mut attempts: Vec<_> = attempts.filter(|one| is_quiet(one) == quiet).collect();
        let (budget, limit) = match quiet {
            true => (&mut self.quiet, QUIET),
            false => (&mut self.others, OTHERS),
        };
        loop {
            budget.used = attempts.iter().map(|one| weight(one)).sum();
            // Half of the budget is free afterwards, so that this is done rarely.
            if budget.used <= limit / 2 || budget.level > 16 {
                return;
            }
            budget.level += 1;
            let limits = limits(budget.level, quiet);
            attempts.iter_mut().for_each(|one| shorten(one, &limits));
        }
    }
}

fn is_quiet(attempt: &CaseAttempt) -> bool {
    let quiet = attempt.result() <= CaseResult::Expected;
    quiet && attempt.findings.is_empty()
}

fn limits(level: u32, quiet: bool) -> TextLimits {
    let (text, items) = match quiet {
        true => (8 << 10, 100),
        false => (MOST, 1000),
    };
    TextLimits {
        text: text >> level.min(20),
        items: items >> level.min(20),
    }
}

fn weight(attempt: &CaseAttempt) -> usize {
    let outputs = [&attempt.stdout, &attempt.stderr].into_iter().flatten();
    let outputs = outputs.map(|output| output.tail.len());
    let commands = attempt.commands.iter();
    let commands = commands.map(|one| one.command.len() + ITEM);
    let consoles = attempt.consoles.iter().map(|console| console.text.len());
    let results = attempt.sub_results.iter();
    let results = results.map(|one| one.message.as_ref().map_or(0, String::len) + ITEM);
    let measurements = attempt.measurements.len() * ITEM;
    let reason = attempt.reason.as_ref().map_or(0, String::len);
    let texts = outputs.chain(commands).chain(consoles).chain(results);
    texts.sum::<usize>() + measurements + reason
}

fn shorten(attempt: &mut CaseAttempt, limits: &TextLimits) {
    for output in [&mut attempt.stdout, &mut attempt.stderr] {
        let tail = output.iter_mut().map(|output| &mut output.tail);
        tail.for_each(|tail| keep_end(tail, limits.text));
    }
    for console in &mut attempt.consoles {
        keep_end(&mut console.text, limits.text);
    }
    for result in attempt.sub_results.iter_mut() {
        let message = result.message.iter_mut();
        message.for_each(|text| keep_end(text, limits.text));
    }
    if let Some(reason) = &mut attempt.reason {
        keep_beginning(reason, limits.text.max(COMMAND));
    }
    let commands = &mut attempt.commands;
    let more = commands.len().saturating_sub(limits.items);
    attempt.more_commands += more;
    commands.truncate(limits.items);
    attempt.measurements.truncate(limits.items);
}

/// Returns the beginning of a command, at a boundary of characters.
pub(super) fn beginning(text: &str) -> &str {
    &text[..boundary(text, COMMAND)]
}

/// Returns the end of a text, at a boundary of characters.
pub(super) fn end(text: &str, most: usize) -> &str {
    let from = text.len().saturating_sub(most);
    let mut boundaries = from..text.len();
    &text[boundaries
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len())..]
}

/// Shortens a text to its end.
pub(super) fn keep_end(text: &mut String, most: usize) {
    if text.len() > most {
        *text = end(text, most).to_owned();
    }
}

fn keep_beginning(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(boundary(text, most));
    }
}

/// Returns the last boundary of characters up to `most`.
fn boundary(text: &str, most: usize) -> usize {
    let mut boundaries = (0..=most.min(text.len())).rev();
    boundaries
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}
