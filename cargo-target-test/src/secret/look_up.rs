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
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The most bytes of a value: what is longer was named by mistake, and fits into no environment.
const LONGEST: usize = 64 << 10;
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
    let value = std::env::var(name).map_err(|error| match error {
        std::env::VarError::NotPresent => missing("is not set"),
        std::env::VarError::NotUnicode(_) => missing("is no UTF-8"),
    })?;
    usable(value).map_err(missing)
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
    usable(text)
}

fn usable(value: String) -> Result<String, &'static str> {
    match value.len() {
        0 => Err("is empty"),
        1..=LONGEST if !value.contains('\0') => Ok(value),
        1..=LONGEST => Err("contains NUL"),
        _ => Err("is longer than 64 KiB"),
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
    let command = program(words, directory)?;
    let finished = match process::Spawn::new(command)
        .dies_with_parent()
        .script()
        .run(b"", PATIENCE, &|_| {})
    {
        Ok(finished) => finished,
        Err(error) if error.kind() == ErrorKind::Timeout => {
            let limit = humantime::format_duration(PATIENCE);
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
    text(finished.stdout).map_err(|why| missing(format!("printed what {why}")))
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

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn lookup(reference: Reference, directory: &Path) -> Lookup {
        Lookup {
            of: "`env.A` of target `alpha`".to_owned(),
            reference,
            directory: directory.to_owned(),
        }
    }

    fn command(words: &[&str]) -> Reference {
        Reference::Command(words.iter().map(|&word| word.to_owned()).collect())
    }

    #[test]
    fn one_line_break_at_the_end_is_none_of_the_value() {
        let folder = tempfile::tempdir().unwrap();
        for (content, value) in [
            ("a\n", "a"),
            ("a\r\n", "a"),
            (" a\nb \n\n", " a\nb \n"),
            ("a", "a"),
        ] {
            fs::write(folder.path().join("f"), content).unwrap();
            let lookup = lookup(Reference::File("f".into()), folder.path());
            assert_eq!(lookup.value().unwrap(), value);
            lookup.check().unwrap();
        }
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        let long = "x".repeat(LONGEST + 1);
        for (content, why) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"a\0b", "contains NUL"),
            (b"\xff", "is no UTF-8"),
            (long.as_bytes(), "is longer than 64 KiB"),
        ] {
            fs::write(&file, content).unwrap();
            let error = lookup(Reference::File("f".into()), folder.path())
                .value()
                .unwrap_err();
            let expected = format!(
                "`env.A` of target `alpha`: the file `{}` {why}",
                file.display()
            );
            assert_eq!(error.chain(), expected);
            assert_eq!(error.kind(), ErrorKind::Infra);
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn a_program_runs_once_whatever_comes_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("tell");
        fs::write(
            &script,
            "#!/bin/sh\necho run >>runs\necho word; echo why >&2\nexit $1\n",
        )
        .unwrap();
        fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
        let (good, bad) = (command(&["./tell", "0"]), command(&["./tell", "3"]));
        lookup(good.clone(), folder.path()).check().unwrap();
        let asking: Vec<_> = std::iter::repeat_n([good, bad], 4).flatten().collect();
        std::thread::scope(|scope| {
            for reference in asking {
                scope.spawn(|| match lookup(reference, folder.path()).value() {
                    Ok(value) => assert_eq!(value, "word"),
                    Err(error) => assert!(
                        error
                            .chain()
                            .ends_with("`./tell 3` exited with code 3: why"),
                        "{error:?}"
                    ),
                });
            }
        });
        assert_eq!(
            fs::read_to_string(folder.path().join("runs")).unwrap(),
            "run\nrun\n"
        );
        let none = lookup(command(&["./none"]), folder.path());
        for error in [none.check().unwrap_err(), none.value().unwrap_err()] {
            assert!(error.chain().contains("there is no program `"), "{error:?}");
        }
    }
}
