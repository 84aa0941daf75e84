//! The console of an instance: its output, and input to it.

use std::time::Duration;

use regex_lite::RegexBuilder;
use serde::Deserialize;

use super::{Result, Target, output::tail};
use crate::{
    error::{ErrorKind, Placed, TargetError},
    wait::poll,
    wire::{Act, Question},
};

/// The timeout of input to the console.
const TYPED: Duration = Duration::from_secs(30);
/// The maximum number of bytes of output that [`Console::expect`] searches at a time.
const SEARCHED: usize = 1 << 20;

/// The console of an instance, from [`Target::console`].
///
/// Its output is read from the log that the platform keeps; reading it takes nothing from the log or from other readers.
///
/// ```no_run
/// # use target_fixtures::prelude::*;
/// # fn test(target: &Target) -> Result<()> {
/// let mut console = target.console()?;
/// console.send("\n")?;
/// console.expect("login: $", Duration::from_secs(30))?;
/// console.send("root\n")?;
/// console.expect("# ", Duration::from_secs(10))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Console<'a> {
    target: &'a Target,
    /// The position after the output that was read.
    read: u64,
    /// The output that was read, after the last match.
    unmatched: String,
}

/// The broker's answer to [`Question::Console`].
#[derive(Deserialize)]
struct ConsoleOutput {
    text: String,
    end: u64,
}

impl Console<'_> {
    /// Returns the output since the machine was made, at most the last MiB.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] if the broker is lost.
    #[track_caller]
    pub fn text(&self) -> Result<String> {
        let output: ConsoleOutput = self.target.ask(Question::Console { from: None })?;
        Ok(output.text)
    }

    /// Waits for output that matches a regular expression, and returns the match. The search starts after the last match;
    /// for the first call, at the end of the output when [`Target::console`] was called. `^` and `$` match at the start and
    /// the end of a line. Output arrives in pieces: an expression that ends in `.*` may match less than the line.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] after `limit`, with the last lines of the output, [`ErrorKind::Request`] if the regular
    /// expression is invalid.
    #[track_caller]
    pub fn expect(&mut self, pattern: &str, limit: Duration) -> Result<String> {
        let instance = self.target.instance();
        let what = format!("wait for `{pattern}` on the console of `{instance}`");
        let mut regex = RegexBuilder::new(pattern);
        let regex = regex.multi_line(true).crlf(true).build();
        let regex = regex.map_err(|error| {
            let what = format!("{what}: invalid regular expression: {error}");
            TargetError::new(ErrorKind::Request, what)
        });
        let regex = regex.placed()?;
        let found = poll(limit, &mut || {
            self.read_more()?;
            let found = regex.find(&self.unmatched);
            Ok(found.map(|found| (found.as_str().to_owned(), found.end())))
        });
        let found = found.placed()?.ok_or_else(|| {
            let what = format!("{what}: timed out after {limit:?}");
            let last = tail("console", &self.unmatched);
            TargetError::new(ErrorKind::Timeout, what).with_more(&last)
        });
        let (text, end) = found.placed()?;
        self.unmatched.drain(..end);
        Ok(text)
    }

    /// Writes text to the console, as a keyboard would, and returns when the machine has read it. A line ends with `\n`.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if the platform's console takes no input, [`ErrorKind::Timeout`] if the machine does not
    /// read it.
    #[track_caller]
    pub fn send(&mut self, text: impl Into<String>) -> Result<()> {
        self.target.act(Act::Type { text: text.into() }, TYPED)
    }

    fn read_more(&mut self) -> Result<()> {
        let output: ConsoleOutput = self.target.ask(Question::Console {
            from: Some(self.read),
        })?;
        self.read = output.end;
        self.unmatched.push_str(&output.text);
        let surplus = self.unmatched.len().saturating_sub(SEARCHED);
        let surplus = (surplus..).find(|at| self.unmatched.is_char_boundary(*at));
        self.unmatched.drain(..surplus.unwrap_or_default());
        Ok(())
    }
}

impl Target {
    /// The console of the machine. Its output so far is in [`Console::text`]; [`Console::expect`] looks at what comes from
    /// now on.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if the platform has no console.
    #[track_caller]
    pub fn console(&self) -> Result<Console<'_>> {
        let end = Some(u64::MAX);
        let output: ConsoleOutput = self.ask(Question::Console { from: end })?;
        Ok(Console {
            target: self,
            read: output.end,
            unmatched: output.text,
        })
    }
}
