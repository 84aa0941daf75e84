//! A program of the playbook: `"./deploy.sh"`, `["python3", "deploy.py", "--fast"]`.
//!
//! Looks the program up, and finds the reason that it cannot start. Must not know requests or answers.

use std::{
    borrow::Cow,
    fmt, io,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de};

use super::super::{InstanceSpec, values};
use crate::{
    error::{Error, Result},
    process,
};

/// A program and its arguments, never empty.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
#[schemars(inline, description = "", with = "serde_json::Value", extend("oneOf" = [
    { "type": "string", "minLength": 1 },
    { "type": "array", "items": { "type": "string" }, "minItems": 1 },
]))]
pub(super) struct Program(Vec<String>);

impl Program {
    /// Returns the command, which starts in the playbook's folder.
    ///
    /// # Errors
    /// The reason that it could not start, with the name of the parameter, `key`.
    pub(super) fn command<P>(
        &self,
        key: &str,
        spec: &InstanceSpec<P>,
    ) -> Result<std::process::Command> {
        let path = self.find(spec).map_err(|problem| {
            let message = format!("`{key}` of target `{}`: {problem}", spec.target);
            values::wrong(message).with_hint_of(&problem).with_key(key)
        })?;
        let mut command = process::command(path);
        command.args(&self.0[1..]).current_dir(&spec.directory);
        Ok(command)
    }

    /// Returns the program's path and its arguments.
    ///
    /// # Errors
    /// As [`Program::command`].
    pub(super) fn words<P>(&self, key: &str, spec: &InstanceSpec<P>) -> Result<Vec<String>> {
        let command = self.command(key, spec)?;
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        Ok(words
            .map(|word| word.to_string_lossy().into_owned())
            .collect())
    }

    fn find<P>(&self, spec: &InstanceSpec<P>) -> Result<PathBuf> {
        let (written, directory) = (&self.0[0], &spec.directory);
        if !directory.is_dir() {
            let folder = directory.display();
            return Err(values::wrong(format!(
                "its folder `{folder}` does not exist"
            )));
        }
        if !written.contains('/') {
            return which::which(written).map_err(|_| {
                let error = values::wrong(format!("program `{written}` not found in PATH"));
                match directory.join(written).exists() {
                    true => error.with_hint(format!(
                        "for a file beside the playbook, write `./{written}`"
                    )),
                    false => with_separate_words_hint(error, written),
                }
            });
        }
        let path = spec.path(Path::new(written));
        check(&path).map_err(|error| match error.hint() {
            Some(_) => error,
            None => with_separate_words_hint(error, written),
        })?;
        // A relative path would start at the folder that the program starts in.
        std::path::absolute(&path)
            .map_err(|error| values::wrong(format!("`{}`: {error}", path.display())))
    }
}

/// The program as it was written, for messages.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// Finds problems for which the kernel's own error misleads ("no such file" for a missing interpreter).
fn check(path: &Path) -> Result<()> {
    let shown = path.display();
    let metadata = path.metadata().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => values::wrong(format!("file not found: `{shown}`")),
        _ => values::wrong(format!("`{shown}`: {error}")),
    })?;
    if metadata.is_dir() {
        return Err(values::wrong(format!("`{shown}` is a folder")));
    }
    if !metadata.is_file() {
        return Err(values::wrong(format!("`{shown}` is not a file")));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        let error = values::wrong(format!("`{shown}` is not executable"));
        return Err(error.with_hint(format!("chmod +x {shown}")));
    }
    let mut start = Vec::new();
    let read = fs_err::File::open(path).and_then(|file| file.take(256).read_to_end(&mut start));
    if read.is_err() {
        // Executable but not readable: the kernel decides.
        return Ok(());
    }
    match interpreter(&start) {
        ProgramStart::Script(name) if !Path::new(&*name).exists() => {
            let text = format!("interpreter `{name}` of `{shown}` not found");
            Err(values::wrong(text).with_hint(format!("correct its first line, `#!{name}`")))
        }
        ProgramStart::Text => Err(values::wrong(format!("`{shown}` has no `#!` line"))
            .with_hint("add a first line such as `#!/bin/sh`")),
        ProgramStart::Script(_) | ProgramStart::Other => Ok(()),
    }
}

/// Adds the hint for a program that is written as a shell line.
fn with_separate_words_hint(error: Error, written: &str) -> Error {
    let hint = "write the arguments as separate strings, [\"./up\", \"--fast\"], or a line for a shell, [\"sh\", \"-c\", \"...\"]";
    match written.contains(char::is_whitespace) {
        true => error.with_hint(hint),
        false => error,
    }
}

enum ProgramStart<'a> {
    Script(Cow<'a, str>),
    Text,
    Other,
}

fn interpreter(start: &[u8]) -> ProgramStart<'_> {
    let Some(line) = start.strip_prefix(b"#!") else {
        let text = !start.contains(&0) && std::str::from_utf8(start).is_ok();
        return if text {
            ProgramStart::Text
        } else {
            ProgramStart::Other
        };
    };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or(line);
    // `\r` is kept: if the file contains it, it is part of the interpreter's name.
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t'));
    let name = words.find(|word| !word.is_empty()).unwrap_or_default();
    ProgramStart::Script(String::from_utf8_lossy(name))
}

impl<'de> Deserialize<'de> for Program {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ProgramVisitor)
    }
}

struct ProgramVisitor;

impl<'de> de::Visitor<'de> for ProgramVisitor {
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
        return Err(E::custom("the program is empty"));
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err(E::custom("the program contains a NUL byte"));
    }
    Ok(Program(words))
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use serde_json::json;

    use super::{super::super::values::tests::spec, *};

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
        mknodat(CWD, here.join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let spec = spec(here, json!({}));
        let start = |words: &[&str]| {
            Program(words.iter().map(|&word| word.into()).collect()).command("deploy", &spec)
        };
        assert_eq!(
            start(&["./good"]).unwrap().get_program(),
            here.join("./good")
        );
        assert_eq!(start(&["sh", "-c"]).unwrap().get_args().count(), 1);
        let line = "write the arguments as separate strings, [\"./up\", \"--fast\"], or a line for a shell, [\"sh\", \"-c\", \"...\"]";
        for (name, problem, hint) in [
            ("./none", "file not found: `{}`", None),
            ("./good -x", "file not found: `{}`", Some(line)),
            (
                "true && true",
                "program `true && true` not found in PATH",
                Some(line),
            ),
            ("./folder", "`{}` is a folder", None),
            ("./fifo", "`{}` is not a file", None),
            ("./plain", "`{}` is not executable", Some("chmod +x {}")),
            (
                "./lost",
                "interpreter `/no/such/sh` of `{}` not found",
                Some("correct its first line, `#!/no/such/sh`"),
            ),
            (
                "./dos",
                "interpreter `/bin/sh\r` of `{}` not found",
                Some("correct its first line, `#!/bin/sh\r`"),
            ),
            (
                "./bare",
                "`{}` has no `#!` line",
                Some("add a first line such as `#!/bin/sh`"),
            ),
            (
                "good",
                "program `good` not found in PATH",
                Some("for a file beside the playbook, write `./good`"),
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
