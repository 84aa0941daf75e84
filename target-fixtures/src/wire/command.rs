//! Messages about commands: the command, its output streams and its end.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// The output stream of a piece of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output, or a file's content.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The end of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// The exit code, 0-255.
    Code(i32),
    /// The signal that killed the process: `KILL`.
    Signal(String),
}

impl Exit {
    /// True for exit code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        *self == Self::Code(0)
    }

    /// The hint for a program that the shell did not find: one that is not installed, or, if it was named by its path,
    /// one that may exist all the same; `output` is the command's output.
    #[must_use]
    pub fn hint(&self, output: &str) -> Option<&'static str> {
        const MISSING: [&str; 3] = [": command not found", ": not found", ": No such file"];
        if *self != Self::Code(127) {
            return None;
        }
        // `sh: 1: app: not found`
        let before = |line: &'_ str| {
            let end = MISSING.iter().find_map(|text| line.find(text))?;
            line[..end].rsplit(": ").next().map(str::to_owned)
        };
        let name = output.lines().rev().find_map(before);
        if name.is_some_and(|name| !name.contains('/')) {
            return Some(
                "the program is not installed on the instance, or not in the PATH of its shell: name its path, or install it \
                 in a recipe or with `target.install`",
            );
        }
        let is_missing = ["not found", "No such file"];
        let is_missing = is_missing.iter().any(|text| output.contains(text));
        is_missing.then_some(
            "a program that exists and is not found needs an interpreter or libraries that the instance lacks: \
             start a program of the workspace with `target.program_of(\"name\")`, which builds it statically for such an \
             instance, or link it statically, for example for `x86_64-unknown-linux-musl`",
        )
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// A command for an instance's POSIX shell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShellCommand {
    /// The command line for `/bin/sh`; empty to run a program directly.
    pub line: String,
    /// The arguments `"$1"`, `"$2"`, ... of the command line, or the program and its arguments. All are passed on
    /// unchanged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// Environment variables, in addition to those of the login.
    pub env: BTreeMap<String, String>,
    /// The working folder; `None` for the login's home folder.
    pub directory: Option<String>,
    /// The time in milliseconds after which the command's process group is killed.
    pub timeout: Option<u64>,
    /// Runs the command as root; `None` runs it as the login user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sudo: Option<Sudo>,
    /// Runs the command in a login of its own over SSH, and ends the shells that are kept for other commands.
    #[serde(default)]
    pub fresh_login: bool,
    /// Makes a kept shell find out if the command leaves a process. What it leaves becomes a child of the shell.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub watches_rest: bool,
}

/// Settings to run a command as root.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sudo {
    /// The password for `sudo`; `None` if `sudo` must not ask.
    pub password: Option<Password>,
}

/// A password, hidden in `Debug` output.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl ShellCommand {
    /// The command as typed in a shell, for messages.
    #[must_use]
    pub fn text(&self) -> String {
        let text = match self.line.as_str() {
            "" => self.words.join(" "),
            line => line.to_owned(),
        };
        match &self.sudo {
            Some(_) => format!("sudo {text}"),
            None => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_told_from_one_that_cannot_start() {
        let hint = |output: &str| Exit::Code(127).hint(output).unwrap_or_default();
        for output in [
            "sh: 1: app: not found",
            "bash: line 1: app: command not found",
            "sh: app: not found",
            "env: 'python3': No such file or directory",
            "first\nsh: line 1: app: not found\n",
        ] {
            assert!(hint(output).contains("is not installed"), "{output}");
        }
        for output in [
            "sh: 1: /opt/app: not found",
            "sh: line 1: ./app: No such file or directory",
            "bash: ./app: cannot execute: required file not found",
        ] {
            assert!(hint(output).contains("linux-musl"), "{output}");
        }
        assert_eq!(hint("stopped"), "");
        assert_eq!(Exit::Code(1).hint("sh: app: not found"), None);
    }
}
