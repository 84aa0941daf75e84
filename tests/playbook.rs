//! Playbooks, good and bad, as users see them: every `playbooks/NAME.toml` is checked, and what is
//! printed is in `NAME.stdout` or `NAME.stderr` beside it. `TARGET_TEST_BLESS=1` rewrites those.

use std::path::{Path, PathBuf};

/// Whether the program itself is run; else its library, with platforms of the same shape.
const PROGRAM: bool = true;

/// What a check printed, and its exit code.
struct Checked {
    stdout: String,
    stderr: String,
    code: i32,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/playbooks")
}

#[test]
fn golden_files() {
    let mut wrong = Vec::new();
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() > 20);
    for name in names {
        let checked = check(&format!("{name}.toml"));
        let good = name.starts_with("good");
        assert_eq!(
            checked.code,
            if good { 0 } else { 78 },
            "{name}: {}",
            checked.stderr
        );
        wrong.extend(compare(&format!("{name}.stdout"), &checked.stdout));
        wrong.extend(compare(&format!("{name}.stderr"), &checked.stderr));
    }
    assert!(
        wrong.is_empty(),
        "TARGET_TEST_BLESS=1 accepts these:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_missing_file_is_named() {
    let checked = check("missing.toml");
    assert_eq!(checked.code, 78);
    assert!(checked.stdout.is_empty());
    assert!(checked.stderr.starts_with("error: ") && checked.stderr.contains("`missing.toml`"));
}

/// What differs from the golden file; an absent file means nothing was printed.
fn compare(file: &str, actual: &str) -> Option<String> {
    let path = folder().join(file);
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if expected == actual {
        return None;
    }
    if std::env::var_os("TARGET_TEST_BLESS").is_some() {
        std::fs::write(&path, actual).unwrap();
        return None;
    }
    Some(format!(
        "--- {file}, expected\n{expected}--- {file}, actual\n{actual}"
    ))
}

fn check(file: &str) -> Checked {
    let mut checked = if PROGRAM {
        check_program(file)
    } else {
        library::check(file)
    };
    let root = folder().canonicalize().unwrap();
    for shown in [
        format!("{}/", root.display()),
        format!("{}/", folder().display()),
    ] {
        checked.stdout = checked.stdout.replace(&shown, "[FOLDER]/");
        checked.stderr = checked.stderr.replace(&shown, "");
    }
    checked
}

fn check_program(file: &str) -> Checked {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_cargo-target-test"))
        .args(["target-test", "check", "--playbook", file])
        .current_dir(folder())
        .env_remove("TARGET_TEST_PLAYBOOK")
        .output()
        .unwrap();
    Checked {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap_or(-1),
    }
}

/// The same without the program, until it has its platforms.
mod library {
    use std::{collections::BTreeMap, path::PathBuf, time::Duration};

    use cargo_target_test::{
        commands::check,
        playbook::{self, PlatformSyntax},
    };
    use schemars::JsonSchema;
    use serde::{Deserialize, Deserializer, Serialize};

    use super::Checked;

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Local {}

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct Ssh {
        hosts: Vec<String>,
        user: Option<String>,
        port: Option<u16>,
        identity: Option<PathBuf>,
        known_hosts: Option<PathBuf>,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct Command {
        deploy: Vec<String>,
        delete: Vec<String>,
        restart: Option<Vec<String>>,
        #[serde(default = "ten_minutes", deserialize_with = "duration")]
        timeout: String,
        #[serde(default)]
        params: BTreeMap<String, serde_json::Value>,
    }

    fn ten_minutes() -> String {
        "10m".to_owned()
    }

    fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed: Result<Duration, _> = humantime::parse_duration(&text);
        parsed.map(|_| text).map_err(serde::de::Error::custom)
    }

    fn syntax<T: Serialize + for<'de> Deserialize<'de> + JsonSchema>(
        name: &'static str,
    ) -> PlatformSyntax<'static> {
        PlatformSyntax {
            name,
            version: 1,
            parameters: Box::new(|table| {
                let parameters = T::deserialize(table)?;
                serde_json::to_value(parameters).map_err(serde::de::Error::custom)
            }),
            count: Box::new(|parameters| parameters["hosts"].as_array()?.len().try_into().ok()),
            schema: Box::new(|| schemars::schema_for!(T)),
        }
    }

    pub(super) fn check(file: &str) -> Checked {
        let platforms = [
            syntax::<Local>("local"),
            syntax::<Ssh>("ssh"),
            syntax::<Command>("command"),
        ];
        let path = super::folder().join(file);
        match playbook::load(Some(&path), &[], &platforms) {
            Ok(playbook) => Checked {
                stdout: check::to_text(&playbook) + "\n",
                stderr: String::new(),
                code: 0,
            },
            Err(error) => {
                let hint = error
                    .hint()
                    .map(|hint| format!("hint: {hint}\n"))
                    .unwrap_or_default();
                Checked {
                    stdout: String::new(),
                    stderr: format!("error: {}\n{hint}", error.chain()),
                    code: error.kind().exit_code().into(),
                }
            }
        }
    }
}
