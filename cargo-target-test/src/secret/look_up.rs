//! Looks up secret values in the environment, in files, and with programs.
//!
//! Errors name the reference, never the value. A program runs at most once per process, even if it fails: it may ask
//! the user for a passphrase.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use super::{Lookup, Reference, register};
use crate::{
    bounded,
    error::{Error, ErrorKind, Result},
    process, sync,
};

/// The timeout of a program. The user may have to touch a security key or to type a passphrase.
pub const TIMEOUT: Duration = Duration::from_secs(60);
/// The maximum length of a value, in bytes. A longer value does not fit into an environment variable.
const LONGEST: usize = 64 << 10;
/// The number of bytes at the end of a program's standard error that are shown.
const STDERR_TAIL: usize = 2000;

impl Lookup {
    /// Looks up the value and registers it for redaction.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] if the value is unavailable.
    pub fn value(&self) -> Result<String> {
        let value = match &self.reference {
            Reference::Env(name) => variable(name),
            Reference::File(path) => file(&self.directory.join(path)),
            Reference::Command(words) => once(words, &self.directory),
        };
        let value = value.map_err(|error| self.error(&error))?;
        register(&self.reference.to_string(), &value);
        Ok(value)
    }

    /// Checks that the variable, the file or the program exists, without running the program.
    ///
    /// # Errors
    /// The errors of [`Lookup::value`].
    pub fn check(&self) -> Result<()> {
        let found = match &self.reference {
            Reference::Env(name) => variable(name).map(drop),
            Reference::File(path) => file(&self.directory.join(path)).map(drop),
            Reference::Command(words) => program(words, &self.directory).map(drop),
        };
        found.map_err(|error| self.error(&error))
    }

    fn error(&self, reason: &Error) -> Error {
        Error::infra(format!("{}: {reason}", self.of)).with_hint_of(reason)
    }
}

fn variable(name: &str) -> Result<String> {
    let unavailable = |reason: &str| {
        Error::infra(format!("environment variable `{name}` {reason}")).with_hint(format!(
            "run `export {name}=...` before `cargo target-test`"
        ))
    };
    let value = std::env::var(name).map_err(|error| match error {
        std::env::VarError::NotPresent => unavailable("is not set"),
        std::env::VarError::NotUnicode(_) => unavailable("is not valid UTF-8"),
    })?;
    usable(value).map_err(unavailable)
}

fn file(path: &Path) -> Result<String> {
    let content = bounded::read(path);
    let path = path.display();
    let hint = format!("write the value to `{path}`, or correct `file` in the playbook");
    let unavailable = |reason: String| Error::infra(reason).with_hint(&*hint);
    let content =
        content.map_err(|error| unavailable(format!("failed to read file `{path}`: {error}")))?;
    text(content).map_err(|reason| unavailable(format!("file `{path}` {reason}")))
}

/// Decodes the bytes and removes one trailing line break.
fn text(bytes: Vec<u8>) -> Result<String, &'static str> {
    let mut text = String::from_utf8(bytes).map_err(|_| "is not valid UTF-8")?;
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
        1..=LONGEST => Err("contains a NUL byte"),
        _ => Err("is longer than 64 KiB"),
    }
}

/// The results of the programs that ran, by command line and folder.
type Ran = HashMap<(Vec<String>, PathBuf), Arc<OnceLock<Result<String>>>>;

fn once(words: &[String], directory: &Path) -> Result<String> {
    static RAN: Mutex<Option<Ran>> = Mutex::new(None);
    let mut ran = sync::lock(&RAN);
    let key = (words.to_vec(), directory.to_owned());
    let found = Arc::clone(ran.get_or_insert_default().entry(key).or_default());
    drop(ran);
    found.get_or_init(|| run(words, directory)).clone()
}

fn run(words: &[String], directory: &Path) -> Result<String> {
    let shown = words.join(" ");
    let folder = directory.display();
    let hint = format!("check that `{shown}` prints the value when run in `{folder}`");
    let unavailable = |reason: String| Error::infra(reason).with_hint(&*hint);
    let command = program(words, directory)?;
    let finished = match process::Spawn::new(command)
        .dies_with_parent()
        .script()
        .run(b"", TIMEOUT, &|_| {})
    {
        Ok(finished) => finished,
        Err(error) if error.kind() == ErrorKind::Timeout => {
            let limit = humantime::format_duration(TIMEOUT);
            return Err(unavailable(format!("`{shown}` timed out after {limit}")));
        }
        Err(error) => {
            let reason = format!("failed to run `{shown}`: {}", error.chain());
            return Err(unavailable(reason));
        }
    };
    if !finished.status.success() {
        let how = process::ending(finished.status);
        let stderr = finished.stderr.trim_ascii();
        let tail = String::from_utf8_lossy(&stderr[stderr.len().saturating_sub(STDERR_TAIL)..]);
        let colon = if tail.is_empty() { "" } else { ": " };
        return Err(unavailable(format!("`{shown}` {how}{colon}{tail}")));
    }
    text(finished.stdout).map_err(|reason| unavailable(format!("output of `{shown}` {reason}")))
}

/// Finds the program: relative to the playbook if its name contains a `/`, otherwise in PATH.
fn program(words: &[String], directory: &Path) -> Result<Command> {
    let (name, arguments) = words.split_first().ok_or_else(|| {
        let hint = "add a program to `command` in the playbook";
        Error::infra("`command` is empty").with_hint(hint)
    })?;
    let path = match name.contains('/') {
        true => directory.join(name),
        false => PathBuf::from(name),
    };
    let found = which::which(&path).map_err(|_| {
        let reason = match name.contains('/') {
            true => format!("program not found: `{}`", path.display()),
            false => format!("program `{name}` not found in PATH"),
        };
        let hint = format!("install `{name}`, or correct `command` in the playbook");
        Error::infra(reason).with_hint(hint)
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
    fn one_trailing_line_break_is_removed() {
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
    fn unusable_values_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        let long = "x".repeat(LONGEST + 1);
        for (content, reason) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"a\0b", "contains a NUL byte"),
            (b"\xff", "is not valid UTF-8"),
            (long.as_bytes(), "is longer than 64 KiB"),
        ] {
            fs::write(&file, content).unwrap();
            let error = lookup(Reference::File("f".into()), folder.path())
                .value()
                .unwrap_err();
            let expected = format!(
                "`env.A` of target `alpha`: file `{}` {reason}",
                file.display()
            );
            assert_eq!(error.chain(), expected);
            assert_eq!(error.kind(), ErrorKind::Infra);
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn a_program_runs_once_even_if_it_fails() {
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
            assert!(error.chain().contains("program not found: `"), "{error:?}");
        }
    }
}
