//! Getting values: from the environment, from files, from programs.
//!
//! Owns the errors, which name the reference and never a value. A program runs at most once in this process, whatever
//! came of it: it may ask a person for something.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use super::{Lookup, Reference, register};
use crate::{
    error::{Error, ErrorKind, Result},
    process,
};

/// How long a program may take; a person may have to touch a key or to type a passphrase.
const LIMIT: Duration = Duration::from_secs(60);
/// How much of what a program complained of is told, from its end.
const WORDS: usize = 2000;

/// Why there is no value, and what to do.
#[derive(Clone)]
struct Missing {
    why: String,
    hint: String,
}

type Outcome = Result<String, Missing>;

impl Lookup {
    /// The value, looked up now and redacted from now on.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`], the reference and its user named.
    pub fn value(&self) -> Result<String> {
        let value = match &self.reference {
            Reference::Env(name) => variable(name),
            Reference::File(path) => file(&self.directory.join(path)),
            Reference::Command(words) => once(words, &self.directory),
        };
        let value = value.map_err(|missing| self.error(missing))?;
        register(&self.reference.to_string(), &value);
        Ok(value)
    }

    /// Whether there seems to be a value; no program is run for that.
    ///
    /// # Errors
    /// As [`Lookup::value`].
    pub fn check(&self) -> Result<()> {
        let found = match &self.reference {
            Reference::Env(name) => variable(name).map(drop),
            Reference::File(path) => file(&self.directory.join(path)).map(drop),
            Reference::Command(words) => program(words, &self.directory).map(drop),
        };
        found.map_err(|missing| self.error(missing))
    }

    fn error(&self, missing: Missing) -> Error {
        let message = format!("{}: {}", self.of, missing.why);
        Error::new(ErrorKind::Infra, message).with_hint(missing.hint)
    }
}

fn variable(name: &str) -> Outcome {
    let hint = || format!("`export {name}=...` where `cargo target-test` runs");
    let missing = |why: &str| Missing {
        why: format!("the environment variable `{name}` {why}"),
        hint: hint(),
    };
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Err(missing("is empty")),
        Ok(value) => Ok(value),
        Err(std::env::VarError::NotPresent) => Err(missing("is not set")),
        Err(std::env::VarError::NotUnicode(_)) => Err(missing("is no UTF-8")),
    }
}

fn file(path: &Path) -> Outcome {
    let path = path.display();
    let missing = |why: String| Missing {
        why: format!("the file `{path}` {why}"),
        hint: format!("write the value to `{path}`, or correct the playbook's `file`"),
    };
    let content = std::fs::read(path.to_string());
    let content = content.map_err(|error| missing(format!("cannot be read: {error}")))?;
    text(content).map_err(|why| missing(why.to_owned()))
}

/// The text without its last line break.
fn text(bytes: Vec<u8>) -> Result<String, &'static str> {
    let mut text = String::from_utf8(bytes).map_err(|_| "is no UTF-8")?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    match text.is_empty() {
        true => Err("is empty"),
        false if text.contains('\0') => Err("contains NUL"),
        false => Ok(text),
    }
}

/// By the words and the folder.
type Ran = HashMap<(Vec<String>, PathBuf), Arc<OnceLock<Outcome>>>;

fn once(words: &[String], directory: &Path) -> Outcome {
    static RAN: Mutex<Option<Ran>> = Mutex::new(None);
    let mut ran = RAN.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (words.to_vec(), directory.to_owned());
    let outcome = Arc::clone(ran.get_or_insert_default().entry(key).or_default());
    drop(ran);
    outcome.get_or_init(|| run(words, directory)).clone()
}

fn run(words: &[String], directory: &Path) -> Outcome {
    let shown = words.join(" ");
    let missing = |why: String| Missing {
        why: format!("`{shown}` {why}"),
        hint: format!(
            "does `{shown}` print the value, in `{}`?",
            directory.display()
        ),
    };
    let mut command = program(words, directory)?;
    process::dies_with_parent(&mut command);
    let finished = match process::run_script(command, b"", LIMIT, &|_| {}) {
        Ok(finished) => finished,
        Err(error) if error.kind() == ErrorKind::Timeout => {
            let limit = humantime::format_duration(LIMIT);
            return Err(missing(format!("did not end within {limit}")));
        }
        Err(error) => return Err(missing(format!("could not be run: {}", error.chain()))),
    };
    if !finished.status.success() {
        let how = process::ending(finished.status);
        let words = finished.stderr.trim_ascii();
        let words = String::from_utf8_lossy(&words[words.len().saturating_sub(WORDS)..]);
        let colon = if words.is_empty() { "" } else { ": " };
        return Err(missing(format!("{how}{colon}{words}")));
    }
    text(finished.stdout).map_err(|why| missing(format!("printed a value that {why}")))
}

/// The program, found: relative to the playbook, or in PATH where it has no `/`.
fn program(words: &[String], directory: &Path) -> Result<Command, Missing> {
    let (name, arguments) = words.split_first().ok_or_else(|| Missing {
        why: "no program is named".to_owned(),
        hint: "name one in the playbook's `command`".to_owned(),
    })?;
    let path = match name.contains('/') {
        true => directory.join(name),
        false => PathBuf::from(name),
    };
    let found = which::which(&path).map_err(|_| Missing {
        why: format!("there is no program `{}`", path.display()),
        hint: format!("install `{name}`, or correct the playbook's `command`"),
    })?;
    let mut command = process::command(found);
    command.args(arguments).current_dir(directory);
    Ok(command)
}
