//! nextest's options as given on our command line.
//!
//! Owns how they are written again, in the order given, for each of nextest's calls. Must not run anything.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use super::options::{Class, NextestOption, Value, find};
use crate::error::{Error, ErrorKind, Result};

/// nextest's options and filters, as given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NextestArgs {
    /// The words before `--`: parts of case names.
    pub filters: Vec<String>,
    /// The words after `--`: parts of case names, `--skip X`, `--exact`, `--ignored`, `--include-ignored`.
    pub after_dashes: Vec<String>,
    /// Words that go to the run unread (`--nextest-arg`).
    pub unread: Vec<OsString>,
    pub(super) options: Vec<Given>,
}

/// One option as given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) option: &'static NextestOption,
    pub(super) value: Option<OsString>,
}

/// nextest's three calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Builds, and lists the tests.
    Build,
    /// Lists the cases that are selected.
    Select,
    /// Runs them.
    Run,
}

impl NextestArgs {
    /// The words for one of nextest's calls, in the order given. Those of [`Call::Select`] end with the
    /// filters, so nothing may follow them.
    pub fn words(&self, call: Call) -> Vec<OsString> {
        let class = match call {
            Call::Build => Class::Build,
            Call::Select => Class::Selection,
            Call::Run => Class::Run,
        };
        let belongs =
            |given: &&Given| given.option.class == class || given.option.class == Class::All;
        let mut words: Vec<_> = self
            .options
            .iter()
            .filter(belongs)
            .map(Given::word)
            .collect();
        match call {
            Call::Build => {}
            Call::Select => words.extend(self.filter_words()),
            Call::Run => words.extend(self.unread.iter().cloned()),
        }
        words
    }

    /// Has the run stop at the first failure.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] where it is to go on after failures.
    pub fn fail_fast(&mut self) -> Result<()> {
        if let Some(name) = ["no-fail-fast", "max-fail"]
            .into_iter()
            .find(|name| self.has(name))
        {
            let message = format!("`--{name}` and `--shell-on-failure` exclude each other");
            return Err(Error::new(ErrorKind::Usage, message).with_hint(
                "the instance stays with the failed case, and others would wait for it",
            ));
        }
        if let (false, Some(option)) = (self.has("fail-fast"), find("fail-fast")) {
            let value = None;
            self.options.push(Given { option, value });
        }
        Ok(())
    }

    /// The words for [`Call::Select`], for what a filterset of ours leaves: nextest would take what any of several
    /// filtersets has.
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
        words.append(&mut others.words(Call::Select));
        words
    }

    /// Has relative paths start at this folder.
    pub fn start_paths_at(&mut self, folder: &Path) {
        for given in &mut self.options {
            let (Some(value), Value::One(kind)) = (&mut given.value, given.option.value) else {
                continue;
            };
            match (kind, value.to_str().and_then(|text| text.split_once(':'))) {
                // nextest's word for no file.
                ("PATH", _) if value == "none" => {}
                ("PATH" | "DIR", _) => *value = folder.join(&value).into(),
                ("TOOL:PATH", Some((tool, path))) => {
                    *value = format!("{tool}:{}", folder.join(path).display()).into();
                }
                _ => {}
            }
        }
    }

    /// Goes before others: an option that is given, or its opposite, takes the place of theirs.
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

    /// Whether an option was given, by its long name.
    pub fn has(&self, long: &str) -> bool {
        self.given(long).next().is_some()
    }

    /// Whether nextest draws a progress bar if standard error is a terminal, as far as the command line tells.
    pub fn draws_bar(&self) -> bool {
        const WITHOUT: &[&str] = &["no-capture", "hide-progress-bar", "debugger", "tracer"];
        let shown = self.value("show-progress");
        !WITHOUT.iter().any(|option| self.has(option))
            && !shown.is_some_and(|how| how == "none" || how == "counter")
    }

    /// Every test name pattern that must match exactly, from `-- --exact NAME`.
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

    /// Whether nothing but [`filters`](Self::filters) says which tests are meant, of which there may be shards: then
    /// the first one has to tell of those that none of them has.
    pub fn means_by_words(&self) -> bool {
        const NO_NAMES: &[&str] = &["run-ignored", "partition"];
        let says = |given: &Given| {
            given.option.class == Class::Selection && !NO_NAMES.contains(&given.option.long)
        };
        let shard = self.value("partition").map(OsStr::to_string_lossy);
        let first = shard.as_ref().is_none_or(|shard| shard.contains(":1/"));
        first
            && (shard.is_some() || !self.filters.is_empty())
            && self.after_dashes.is_empty()
            && !self.options.iter().any(says)
    }

    /// Every value or file given with `--config`.
    pub fn configs(&self) -> impl Iterator<Item = &OsStr> {
        self.given("config")
            .filter_map(|given| given.value.as_deref())
    }

    /// Every filterset given with `-E`.
    pub fn filtersets(&self) -> impl Iterator<Item = &OsStr> {
        self.given("filterset")
            .filter_map(|given| given.value.as_deref())
    }

    /// Refuses what a run over cases cannot honour.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`], naming the option.
    pub fn refuse_unsupported(&self) -> Result<()> {
        const OURS: &[&str] = &[
            "cargo-metadata",
            "binaries-metadata",
            "target-dir-remap",
            "build-dir-remap",
        ];
        if let Some(name) = OURS.iter().find(|name| self.has(name)) {
            let message = format!(
                "`--{name}` cannot be given: `cargo target-test` gives it to nextest itself"
            );
            return Err(Error::new(ErrorKind::Usage, message));
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
            let message = format!("`--{name}` is not supported: tests are built where they run");
            return Err(Error::new(ErrorKind::Usage, message)
                .with_hint("run it in a checkout; `--partition` shares the cases among hosts"));
        }
        if self.has("rerun") {
            let message =
                "`--rerun` is not supported: nextest cannot choose among cases by a recorded run";
            return Err(Error::new(ErrorKind::Usage, message)
                .with_hint("name the cases: `-- --exact 'smoke[alpha]' 'other[beta]'`"));
        }
        let json = |format: &OsStr| format.to_string_lossy().starts_with("json");
        if self.has("unit-graph") || self.value("cargo-message-format").is_some_and(json) {
            let message = "Cargo's JSON output would be mixed with nextest's list of tests";
            return Err(Error::new(ErrorKind::Usage, message)
                .with_hint("run `cargo test --no-run` with that option instead"));
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
    /// The option as one word, so that a value that starts with `-` stays one.
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
