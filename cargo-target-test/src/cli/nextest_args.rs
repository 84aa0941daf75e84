//! nextest's options as given on the command line, and the arguments they become for each call of nextest.
//!
//! Must not run anything.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use super::nextest_options::{Class, NextestOption, OptionValue, find};
use crate::error::{Error, Result};

/// nextest's options and filters, in the order given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NextestArgs {
    /// The filters before `--`: parts of case names.
    pub filters: Vec<String>,
    /// The arguments after `--`: parts of case names, `--skip X`, `--exact`, `--ignored`, `--include-ignored`.
    pub after_dashes: Vec<String>,
    /// The arguments passed to the run unchanged (`--nextest-arg`).
    pub unread: Vec<OsString>,
    pub(super) options: Vec<Given>,
}

/// One occurrence of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) option: &'static NextestOption,
    pub(super) value: Option<OsString>,
}

impl NextestArgs {
    /// The arguments for the call of a class, in the order given; with [`Class::All`], for a call that lists the cases that
    /// a filterset of ours matches. Those of [`Class::Selection`] end with the filters, so no option may be appended.
    pub fn words(&self, class: Class) -> Vec<OsString> {
        let belongs =
            |given: &&Given| given.option.class == class || given.option.class == Class::All;
        let mut words: Vec<_> = self
            .options
            .iter()
            .filter(belongs)
            .map(Given::word)
            .collect();
        match class {
            Class::Selection => words.extend(self.filter_words()),
            Class::Run => words.extend(self.unread.iter().cloned()),
            Class::Build | Class::All | Class::ByName => {}
        }
        words
    }

    /// The options for a `cargo build` that builds as the call of [`Class::Build`] does, without `--target` and `--target-dir`.
    pub fn of_cargo_build(&self) -> Vec<OsString> {
        const OTHERS: &[&str] = &[
            "lib",
            "bin",
            "bins",
            "example",
            "examples",
            "test",
            "tests",
            "bench",
            "benches",
            "all-targets",
            "target",
            "target-dir",
            "unit-graph",
            "timings",
            "cargo-message-format",
            "future-incompat-report",
        ];
        let belongs = |given: &&Given| {
            let long = given.option.long;
            long == "config" || given.option.class == Class::Build && !OTHERS.contains(&long)
        };
        let renamed = |given: &Given| {
            let word = given.word();
            let word = word.to_string_lossy();
            let other = [
                ("--cargo-profile", "--profile"),
                ("--build-jobs", "--jobs"),
                ("--cargo-quiet", "--quiet"),
                ("--cargo-verbose", "--verbose"),
            ];
            let rest = |(ours, cargos)| Some(format!("{cargos}{}", word.strip_prefix(ours)?));
            other.into_iter().find_map(rest).map(OsString::from)
        };
        let given = self.options.iter().filter(belongs);
        given
            .map(|given| renamed(given).unwrap_or_else(|| given.word()))
            .collect()
    }

    /// Adds `--fail-fast`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if `--no-fail-fast` or `--max-fail` is given.
    pub fn fail_fast(&mut self) -> Result<()> {
        if let Some(name) = ["no-fail-fast", "max-fail"]
            .into_iter()
            .find(|name| self.has(name))
        {
            let message = format!("`--{name}` cannot be combined with `--shell-on-failure`");
            return Err(Error::usage(message)
                .with_hint("the shell keeps the instance, and further cases would wait for it"));
        }
        if let (false, Some(option)) = (self.has("fail-fast"), find("fail-fast")) {
            let value = None;
            self.options.push(Given { option, value });
        }
        Ok(())
    }

    /// The number of failures that stops a run, if any; `configured` is the number of the user's configuration.
    pub fn max_fail(&self, configured: Option<u64>) -> Option<u64> {
        let given = self.value("max-fail").map(OsStr::to_string_lossy);
        match given {
            Some(given) => given.split(':').next()?.parse().ok(),
            None if self.has("fail-fast") => Some(1),
            None if self.has("no-fail-fast") => None,
            None => configured,
        }
    }

    /// The arguments for [`Class::Selection`], restricted to a filterset `ours`. It is combined with the given
    /// filtersets by `&`, since nextest takes the union of several filtersets.
    pub fn select_within(&self, ours: &str) -> Vec<OsString> {
        let given: Vec<_> = self
            .filtersets()
            .map(|set| format!("({})", set.to_string_lossy()))
            .collect();
        let whole = match given.is_empty() {
            true => ours.to_owned(),
            false => format!("({}) & ({ours})", given.join(" | ")),
        };
        let mut others = self.clone();
        others
            .options
            .retain(|given| given.option.long != "filterset");
        let mut words = vec![format!("--filterset={whole}").into()];
        words.append(&mut others.words(Class::Selection));
        words
    }

    /// Resolves relative paths in values of options against `folder`.
    pub fn start_paths_at(&mut self, folder: &Path) {
        for given in &mut self.options {
            let (Some(value), OptionValue::One(kind)) = (&mut given.value, given.option.value)
            else {
                continue;
            };
            match (kind, value.to_str().and_then(|text| text.split_once(':'))) {
                // nextest accepts `none` instead of a path.
                ("PATH", _) if value == "none" => {}
                ("PATH" | "DIR", _) => *value = folder.join(&value).into(),
                ("TOOL:PATH", Some((tool, path))) => {
                    *value = format!("{tool}:{}", folder.join(path).display()).into();
                }
                _ => {}
            }
        }
    }

    /// Adds the options of `others`, except those that are given here, or whose opposite is.
    pub fn go_before(&mut self, others: Self) {
        const OPPOSITES: &[&[&str]] = &[
            &["fail-fast", "no-fail-fast", "max-fail"],
            &["show-progress", "hide-progress-bar"],
            &["no-capture", "test-threads"],
        ];
        let same = |a: &str, b: &str| {
            let opposites = OPPOSITES
                .iter()
                .any(|all| all.contains(&a) && all.contains(&b));
            a == b || opposites
        };
        let mut options = others.options;
        options.retain(|other| {
            let mut own = self.options.iter();
            !own.any(|own| same(own.option.long, other.option.long))
        });
        self.options.splice(0..0, options);
        self.filters.splice(0..0, others.filters);
        self.after_dashes.splice(0..0, others.after_dashes);
        self.unread.splice(0..0, others.unread);
    }

    /// The last value of an option, by its long name: `value("debugger")`.
    pub fn value(&self, long: &str) -> Option<&OsStr> {
        self.given(long)
            .next_back()
            .and_then(|given| given.value.as_deref())
    }

    /// True if an option was given, by its long name.
    pub fn has(&self, long: &str) -> bool {
        self.given(long).next().is_some()
    }

    /// True if the command line allows nextest to draw a progress bar when standard error is a terminal.
    pub fn draws_bar(&self) -> bool {
        const WITHOUT: &[&str] = &["no-capture", "hide-progress-bar", "debugger", "tracer"];
        let shown = self.value("show-progress");
        !WITHOUT.iter().any(|option| self.has(option))
            && !shown.is_some_and(|how| how == "none" || how == "counter")
    }

    /// The names after `--` that must match exactly (`-- --exact NAME`).
    pub fn exact_names(&self) -> Vec<&str> {
        let (mut names, mut exact) = (Vec::new(), false);
        let mut words = self.after_dashes.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--exact" => exact = true,
                "--skip" => drop(words.next()),
                word if word.starts_with("--") => {}
                word => names.push(word),
            }
        }
        if exact { names } else { Vec::new() }
    }

    /// True if cases are selected only by [`filters`](Self::filters), by a partition, or both, and this is the first
    /// shard of the partition, if any. Only that shard reports skipped tests.
    pub fn means_by_words(&self) -> bool {
        const NO_NAMES: &[&str] = &["run-ignored", "partition"];
        let selects = |given: &Given| {
            given.option.class == Class::Selection && !NO_NAMES.contains(&given.option.long)
        };
        let shard = self.value("partition").map(OsStr::to_string_lossy);
        let first = shard.as_ref().is_none_or(|shard| shard.contains(":1/"));
        first
            && (shard.is_some() || !self.filters.is_empty())
            && self.after_dashes.is_empty()
            && !self.options.iter().any(selects)
    }

    /// The values of `--config`.
    pub fn configs(&self) -> impl Iterator<Item = &OsStr> {
        self.given("config")
            .filter_map(|given| given.value.as_deref())
    }

    /// The filtersets given with `-E`.
    pub fn filtersets(&self) -> impl Iterator<Item = &OsStr> {
        self.given("filterset")
            .filter_map(|given| given.value.as_deref())
    }

    /// Rejects options that a run over cases does not support.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage), naming the option.
    pub fn refuse_unsupported(&self) -> Result<()> {
        const OURS: &[&str] = &[
            "cargo-metadata",
            "binaries-metadata",
            "target-dir-remap",
            "build-dir-remap",
        ];
        if let Some(name) = OURS.iter().find(|name| self.has(name)) {
            let message =
                format!("`--{name}` is not supported: `cargo target-test` sets it itself");
            return Err(Error::usage(message));
        }
        const ARCHIVE: &[&str] = &[
            "archive-file",
            "archive-format",
            "extract-to",
            "extract-overwrite",
            "persist-extract-tempdir",
            "workspace-remap",
        ];
        if let Some(name) = ARCHIVE.iter().find(|name| self.has(name)) {
            let message =
                format!("`--{name}` is not supported: `cargo target-test` builds the tests itself");
            return Err(Error::usage(message).with_hint(
                "run it in a checkout; use `--partition` to split cases between hosts",
            ));
        }
        if self.has("rerun") {
            let message =
                "`--rerun` is not supported: nextest cannot select cases by a recorded run";
            return Err(Error::usage(message)
                .with_hint("name the cases: `-- --exact 'smoke[alpha]' 'other[beta]'`"));
        }
        let json = |format: &OsStr| format.to_string_lossy().starts_with("json");
        if self.has("unit-graph") || self.value("cargo-message-format").is_some_and(json) {
            let message =
                "JSON output of Cargo is not supported: it would mix with nextest's list of tests";
            return Err(Error::usage(message)
                .with_hint("use `cargo test --no-run` with this option instead"));
        }
        Ok(())
    }

    fn given(&self, long: &str) -> impl DoubleEndedIterator<Item = &Given> {
        debug_assert!(find(long).is_some(), "`{long}` is not in OPTIONS");
        self.options
            .iter()
            .filter(move |given| given.option.long == long)
    }

    fn filter_words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = self.filters.iter().map(Into::into).collect();
        if !self.after_dashes.is_empty() {
            words.push("--".into());
            words.extend(self.after_dashes.iter().map(OsString::from));
        }
        words
    }
}

impl Given {
    /// The option and its value as one argument, so that a value that starts with `-` is not read as an option.
    fn word(&self) -> OsString {
        let mut word = OsString::from(self.option.flag());
        if let Some(value) = &self.value {
            word.push(if word.len() == 2 { "" } else { "=" });
            word.push(value);
        }
        word
    }
}

#[cfg(test)]
mod tests;
