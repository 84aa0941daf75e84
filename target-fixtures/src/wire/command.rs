//! A command as it travels, and how it ended.
//!
//! Owns those parts of messages. Must not know how it is run.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// Which output stream a piece belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output, or a file's content.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// With this exit code, 0-255.
    Code(i32),
    /// By this signal: `KILL`.
    Signal(String),
}

impl Exit {
    /// Whether it is exit code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        *self == Self::Code(0)
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
pub struct Command {
    /// The command line, for `/bin/sh`; empty where a program is run without one.
    pub line: String,
    /// The line's `"$1"`, `"$2"`, ..., or the program and its arguments; each arrives as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// Environment variables added to the login's.
    pub env: BTreeMap<String, String>,
    /// The folder to run in; the login's where there is none.
    pub directory: Option<String>,
    /// Milliseconds after which the command's process group is killed.
    pub timeout: Option<u64>,
    /// Whether it runs as root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sudo: Option<Sudo>,
}

/// That a command runs as root.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sudo {
    /// What `sudo` is told where it asks; where there is none, it must not ask.
    pub password: Option<Password>,
}

/// A text that no message shows.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Command {
    /// The command as people write it.
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
