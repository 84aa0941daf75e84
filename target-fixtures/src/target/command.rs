//! A command on a target: how it is prepared, and what came of it.
//!
//! Owns the builder, the output and how a failed command is told. Must not know connections.

use std::{collections::BTreeMap, io::Write, time::Duration};

use super::{Result, Target};
use crate::{
    client::{Call, unexpected},
    error::{ErrorKind, TargetError},
    wire::{self, Exit, Reply, Request, Stream},
};

/// How many lines, and at most how many bytes, of each stream an error shows.
const TAIL: (usize, usize) = (20, 4000);

/// A command to run on a [`Target`]; made by [`Target::command`].
#[derive(Clone)]
#[must_use = "it runs when `run` is called"]
pub struct Command<'a> {
    target: &'a Target,
    command: wire::Command,
    stdin: Option<Vec<u8>>,
    allow_failure: bool,
    stream: bool,
}

impl<'a> Command<'a> {
    pub(super) fn new(target: &'a Target, line: String) -> Self {
        let command = wire::Command {
            line,
            env: BTreeMap::new(),
            directory: None,
            timeout: None,
        };
        Self {
            target,
            command,
            stdin: None,
            allow_failure: false,
            stream: false,
        }
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.command.env.insert(name.into(), value.into());
        self
    }

    /// Runs in this folder of the instance instead of the login's.
    pub fn current_dir(mut self, directory: impl Into<String>) -> Self {
        self.command.directory = Some(directory.into());
        self
    }

    /// Kills the command's process group after this time.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.command.timeout = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Gives it these bytes as standard input; without, it reads nothing.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Takes any exit code, or the end by a signal, as an [`Output`] instead of an error.
    pub fn allow_failure(mut self) -> Self {
        self.allow_failure = true;
        self
    }

    /// Also prints the command's output as it comes, as the test's own.
    pub fn stream(mut self) -> Self {
        self.stream = true;
        self
    }

    /// Runs it to its end. All output is kept in memory.
    ///
    /// # Errors
    /// [`ErrorKind::Exit`] unless it exits with 0 (or [`allow_failure`](Self::allow_failure)),
    /// [`ErrorKind::Timeout`] after [`timeout`](Self::timeout), [`ErrorKind::Infra`] when the instance is lost.
    /// Each shows the last lines of what was printed until then.
    pub fn run(self) -> Result<Output> {
        let mut output = [Vec::new(), Vec::new()];
        let mut printed = [0, 0];
        let mut stdin = self.stdin.as_deref();
        let instance = self.target.instance().to_owned();
        let request = Request::Exec {
            instance,
            command: self.command.clone(),
            stdin: stdin.is_some(),
        };
        let mut piece = |stream: Stream, piece: &[u8]| {
            let index = usize::from(stream == Stream::Stderr);
            output[index].extend_from_slice(piece);
            if self.stream {
                printed[index] += print(stream, &output[index][printed[index]..]);
            }
            Ok(())
        };
        let upload = stdin.as_mut().map(|bytes| bytes as _);
        let reply = self.target.client.call(Call {
            request,
            upload,
            piece: &mut piece,
        });
        let [stdout, stderr] = output;
        match reply {
            Ok(Reply::Exited { exit, millis }) => {
                let duration = Duration::from_millis(millis);
                self.judge(Output {
                    stdout: text(&stdout),
                    stdout_bytes: stdout,
                    stderr: text(&stderr),
                    stderr_bytes: stderr,
                    exit,
                    duration,
                })
            }
            Ok(other) => Err(unexpected(other)),
            Err(error) => Err(error.with_more(&tails(&text(&stdout), &text(&stderr)))),
        }
    }

    fn judge(&self, output: Output) -> Result<Output> {
        if self.allow_failure || output.exit.success() {
            return Ok(output);
        }
        let what = format!(
            "run `{}` on `{}`: {}",
            self.command.line,
            self.target.instance(),
            output.exit
        );
        Err(TargetError::new(ErrorKind::Exit, what)
            .with_more(&tails(&output.stdout, &output.stderr)))
    }
}

/// What came of a command.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Output {
    /// Standard output; what is no UTF-8 is replaced by `U+FFFD`.
    pub stdout: String,
    /// Standard output as it came.
    pub stdout_bytes: Vec<u8>,
    /// Standard error; what is no UTF-8 is replaced by `U+FFFD`.
    pub stderr: String,
    /// Standard error as it came.
    pub stderr_bytes: Vec<u8>,
    /// How it ended.
    pub exit: Exit,
    /// How long it ran.
    pub duration: Duration,
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Prints what is complete, so that no character is torn; how many bytes that was.
fn print(stream: Stream, bytes: &[u8]) -> usize {
    let end = match std::str::from_utf8(bytes) {
        // No error length: the end of the piece is the start of a character.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    };
    let text = String::from_utf8_lossy(&bytes[..end]);
    match stream {
        Stream::Stdout => print!("{text}"),
        Stream::Stderr => eprint!("{text}"),
    }
    let _ = std::io::stdout().flush();
    end
}

/// The last lines of both streams, each under a title; nothing where nothing was printed.
fn tails(stdout: &str, stderr: &str) -> String {
    let mut tails = String::new();
    for (title, text) in [("stdout", stdout), ("stderr", stderr)] {
        let text = text.trim_end();
        let (lines, bytes) = TAIL;
        let shown = text
            .rmatch_indices('\n')
            .nth(lines - 1)
            .map_or(text, |(at, _)| &text[at + 1..]);
        let least = shown.len().saturating_sub(bytes);
        let start = (least..)
            .find(|at| shown.is_char_boundary(*at))
            .unwrap_or(least);
        let shown = &shown[start..];
        if !shown.is_empty() {
            let left_out = if shown.len() < text.len() {
                ", the end of it"
            } else {
                ""
            };
            tails.push_str(&format!("\n--- {title}{left_out}\n{shown}"));
        }
    }
    tails
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_show_the_end_of_what_was_printed() {
        assert_eq!(tails("", "\n"), "");
        assert_eq!(tails("a\nb\n", "c"), "\n--- stdout\na\nb\n--- stderr\nc");
        let lines: String = (0..30).map(|n| format!("{n}\n")).collect();
        let tail = tails(&lines, "");
        assert!(
            tail.starts_with("\n--- stdout, the end of it\n10\n11\n"),
            "{tail}"
        );
        let long = "ü".repeat(4001);
        assert!(tails("", &long).chars().count() < 2100);
    }
}
