//! Finds the runner that the user configured for tests: in `--config`, then in the environment and Cargo's files.

use std::{ffi::OsStr, path::Path};

use crate::{
    bounded,
    error::{Error, Result},
};

/// Returns the user's runner for a triple, as program and arguments; empty if there is none.
///
/// # Errors
/// Fails if Cargo's configuration cannot be read.
pub(super) fn users_runner<'a>(
    triple: &str,
    configs: impl Iterator<Item = &'a OsStr>,
) -> Result<Vec<String>> {
    if let Some(words) = configs.filter_map(|config| given(triple, config)).last() {
        return Ok(words);
    }
    let wrong = |error: cargo_config2::Error| {
        Error::build("failed to read Cargo's configuration").with_source(error)
    };
    let config = cargo_config2::Config::load().map_err(wrong)?;
    let Some(runner) = config.runner(triple).map_err(wrong)? else {
        return Ok(Vec::new());
    };
    let words = std::iter::once(runner.path.into_os_string()).chain(runner.args);
    Ok(words
        .map(|word| word.to_string_lossy().into_owned())
        .collect())
}

/// Reads the runner from a value of `--config`: `KEY=VALUE` or a file.
fn given(triple: &str, config: &OsStr) -> Option<Vec<String>> {
    let table: toml::Table = match config.to_str()?.parse() {
        Ok(table) => table,
        Err(_) => bounded::read_to_string(Path::new(config))
            .ok()?
            .parse()
            .ok()?,
    };
    match table.get("target")?.get(triple)?.get("runner")? {
        toml::Value::String(line) => Some(line.split_whitespace().map(str::to_owned).collect()),
        toml::Value::Array(words) => Some(
            words
                .iter()
                .filter_map(|word| word.as_str().map(str::to_owned))
                .collect(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_a_value_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        std::fs::write(&file, "[target.x-y]\nrunner = ['q', 'a b']\n").unwrap();
        for (config, words) in [
            (
                OsStr::new("target.x-y.runner='q -v'"),
                Some(vec!["q", "-v"]),
            ),
            (file.as_os_str(), Some(vec!["q", "a b"])),
            (OsStr::new("target.other.runner='q'"), None),
            (OsStr::new("build.jobs=1"), None),
            (OsStr::new("no/such/file"), None),
        ] {
            let words = words.map(|words| words.into_iter().map(str::to_owned).collect());
            assert_eq!(given("x-y", config), words, "{config:?}");
        }
    }
}
