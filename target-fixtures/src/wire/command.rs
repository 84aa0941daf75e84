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

    /// The hint for a program that the shell did not find although it may exist; `output` is the command's output.
    #[must_use]
    pub fn hint(&self, output: &str) -> Option<&'static str> {
        let is_missing = ["not found", "No such file"]
            .iter()
            .any(|text| output.contains(text));
        (*self == Self::Code(127) && is_missing).then_some(
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
