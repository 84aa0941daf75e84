//! A program of the playbook: `"./deploy.sh"`, `["python3", "deploy.py", "--fast"]`.
//!
//! Owns how it is written, found and, when it cannot start, what is wrong with it. Must not know what
//! it is told or answers.

use std::{
    borrow::Cow,
    fmt, io,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de};

use super::super::{Order, parameters};
use crate::{error::Result, process};

/// A program and its arguments, never empty.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Program(Vec<String>);

impl Program {
    /// The program ready to start, in the playbook's folder.
    ///
    /// # Errors
    /// Why it could not start, the parameter `key` named.
    pub(super) fn command(&self, key: &str, order: &Order) -> Result<std::process::Command> {
        let path = self.find(&order.directory).map_err(|problem| {
            let message = format!("`{key}` of target `{}`: {}", order.target, problem.message);
            match problem.hint {
                Some(hint) => parameters::wrong(message).with_hint(hint),
                None => parameters::wrong(message),
            }
        })?;
        let mut command = process::command(path);
        command.args(&self.0[1..]).current_dir(&order.directory);
        Ok(command)
    }

    /// The program's path and its arguments.
    ///
    /// # Errors
    /// As [`Program::command`].
    pub(super) fn words(&self, key: &str, order: &Order) -> Result<Vec<String>> {
        let command = self.command(key, order)?;
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        Ok(words
            .map(|word| word.to_string_lossy().into_owned())
            .collect())
    }

    fn find(&self, directory: &Path) -> Result<PathBuf, Problem> {
        let written = &self.0[0];
        if !directory.is_dir() {
            return Err(Problem {
                message: format!("its folder `{}` does not exist", directory.display()),
                hint: None,
            });
        }
        if !written.contains('/') {
            return which::which(written).map_err(|_| Problem {
                message: format!("there is no `{written}` in PATH"),
                hint: match directory.join(written).exists() {
                    true => Some(format!(
                        "for the file beside the playbook write `./{written}`"
                    )),
                    false => no_line(written),
                },
            });
        }
        let path = parameters::path(directory, Path::new(written));
        check(&path).map_err(|problem| Problem {
            hint: problem.hint.or_else(|| no_line(written)),
            ..problem
        })?;
        // A relative path would be looked for from the folder the program starts in.
        std::path::absolute(&path).map_err(|error| Problem {
            message: format!("`{}`: {error}", path.display()),
            hint: None,
        })
    }
}

/// The program as it was written, for messages.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

struct Problem {
    message: String,
    hint: Option<String>,
}

/// Looks for what the kernel would refuse, since its own words for it mislead ("no such file" for a
/// missing interpreter).
fn check(path: &Path) -> Result<(), Problem> {
    let shown = path.display();
    let problem = |message: String, hint: Option<String>| Err(Problem { message, hint });
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return problem(format!("there is no file `{shown}`"), None);
        }
        Err(error) => return problem(format!("`{shown}`: {error}"), None),
    };
    if metadata.is_dir() {
        return problem(format!("`{shown}` is a folder"), None);
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        let hint = format!("chmod +x {shown}");
        return problem(format!("`{shown}` is not executable"), Some(hint));
    }
    let mut start = Vec::new();
    let read = fs_err::File::open(path).and_then(|file| file.take(256).read_to_end(&mut start));
    if read.is_err() {
        // Executable and not readable: the kernel is the judge.
        return Ok(());
    }
    match interpreter(&start) {
        Start::Script(name) if !Path::new(&*name).exists() => problem(
            format!("`{shown}` wants the interpreter `{name}`, which does not exist"),
            Some(format!("correct its first line, `#!{name}`")),
        ),
        Start::Text => problem(
            format!("`{shown}` does not say which program runs it"),
            Some("put `#!/bin/sh` or the like on its first line".to_owned()),
        ),
        Start::Script(_) | Start::Other => Ok(()),
    }
}

/// For who wrote a line for a shell.
fn no_line(written: &str) -> Option<String> {
    let hint = "arguments are written apart, [\"./up\", \"--fast\"]; a shell takes a line, [\"sh\", \"-c\", \"...\"]";
    written
        .contains(char::is_whitespace)
        .then(|| hint.to_owned())
}

enum Start<'a> {
    Script(Cow<'a, str>),
    Text,
    Other,
}

fn interpreter(start: &[u8]) -> Start<'_> {
    let Some(line) = start.strip_prefix(b"#!") else {
        let text = !start.contains(&0) && std::str::from_utf8(start).is_ok();
        return if text { Start::Text } else { Start::Other };
    };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or(line);
    // `\r` stays: with it in the file, the interpreter's name really ends in it.
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t'));
    let name = words.find(|word| !word.is_empty()).unwrap_or_default();
    Start::Script(String::from_utf8_lossy(name))
}

impl Serialize for Program {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Program {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Program;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a program such as \"./deploy.sh\" or [\"python3\", \"deploy.py\"]")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Program, E> {
        program(vec![text.to_owned()])
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Program, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = seq.next_element()? {
            words.push(word);
        }
        program(words)
    }
}

fn program<E: de::Error>(words: Vec<String>) -> Result<Program, E> {
    if words.first().is_none_or(|first| first.trim().is_empty()) {
        return Err(E::custom("no program is named"));
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err(E::custom("a program cannot be given NUL"));
    }
    Ok(Program(words))
}

impl schemars::JsonSchema for Program {
    fn schema_name() -> Cow<'static, str> {
        "Program".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "oneOf": [
            { "type": "string", "minLength": 1 },
            { "type": "array", "items": { "type": "string" }, "minItems": 1 },
        ] })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::super::parameters::tests::order, *};

    fn file(directory: &Path, name: &str, content: &str, mode: u32) {
        let path = directory.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_cannot_start_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        file(here, "good", "#! /bin/sh -e\n", 0o755);
        file(here, "plain", "#!/bin/sh\n", 0o644);
        file(here, "lost", "#!/no/such/sh -e\n", 0o755);
        file(here, "dos", "#!/bin/sh\r\n", 0o755);
        file(here, "bare", "echo\n", 0o755);
        std::fs::create_dir(here.join("folder")).unwrap();
        let order = order(here, json!({}));
        let start = |words: &[&str]| {
            Program(words.iter().map(|&word| word.into()).collect()).command("deploy", &order)
        };
        assert_eq!(
            start(&["./good"]).unwrap().get_program(),
            here.join("./good")
        );
        assert_eq!(start(&["sh", "-c"]).unwrap().get_args().count(), 1);
        let line = "arguments are written apart, [\"./up\", \"--fast\"]; a shell takes a line, [\"sh\", \"-c\", \"...\"]";
        for (name, problem, hint) in [
            ("./none", "there is no file `{}`", None),
            ("./good -x", "there is no file `{}`", Some(line)),
            (
                "true && true",
                "there is no `true && true` in PATH",
                Some(line),
            ),
            ("./folder", "`{}` is a folder", None),
            ("./plain", "`{}` is not executable", Some("chmod +x {}")),
            (
                "./lost",
                "`{}` wants the interpreter `/no/such/sh`, which does not exist",
                Some("correct its first line, `#!/no/such/sh`"),
            ),
            (
                "./dos",
                "`{}` wants the interpreter `/bin/sh\r`, which does not exist",
                Some("correct its first line, `#!/bin/sh\r`"),
            ),
            (
                "./bare",
                "`{}` does not say which program runs it",
                Some("put `#!/bin/sh` or the like on its first line"),
            ),
            (
                "good",
                "there is no `good` in PATH",
                Some("for the file beside the playbook write `./good`"),
            ),
        ] {
            let path = here.join(name).display().to_string();
            let error = start(&[name]).unwrap_err();
            let expected = format!(
                "`deploy` of target `alpha`: {}",
                problem.replace("{}", &path)
            );
            assert_eq!(error.to_string(), expected);
            assert_eq!(
                error.hint(),
                hint.map(|hint| hint.replace("{}", &path)).as_deref()
            );
        }
    }
}
