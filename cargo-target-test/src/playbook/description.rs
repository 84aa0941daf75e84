//! Descriptions of orchestrations: read from JSON with comments or from TOML, and checked.
//!
//! Must not know tests: the events that exist are passed in.

mod json;
mod places;
mod schema;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, json};
use target_fixtures::wire::{InvalidEvent, OrchestrationPlan, PlannedEvent};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

pub use self::schema::description_schema;
use self::{places::Places, schema::Argument};
use super::{
    OrchestrationSettings,
    diagnostic::{Problem, Problems},
    limit::Limit,
    reading::read,
    source::{Sources, plain},
};
use crate::{
    bounded,
    error::{Error, Result},
};

/// The time that running events and each tear-down event have to end, if a description does not say it.
const GRACE: Duration = Duration::from_secs(30);
/// The shortest interval of an event, in seconds.
const SHORTEST: f64 = 0.001;

/// The description of one orchestration.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    title = "A description of an orchestration of `cargo target-test`",
    extend("oneOf" = [{ "required": ["total_hours"] }, { "required": ["duration"] }])
)]
pub struct Description {
    /// The name of the orchestration, of its test and of the file.
    test_name: String,
    /// The time from the start to the kill switch, in hours. Either this or `duration` is needed.
    #[schemars(extend("exclusiveMinimum" = 0))]
    total_hours: Option<f64>,
    /// The time from the start to the kill switch: `"90s"`.
    duration: Option<Limit>,
    /// The time that running events have to end after the kill switch, and each tear-down event. Default: `"30s"`.
    grace: Option<Limit>,
    /// The effect of a reported error.
    #[serde(default)]
    fail: FailMode,
    /// Fixtures that are set up although no event takes them.
    #[serde(default)]
    unref_setup_fixtures: Vec<String>,
    /// The events.
    #[schemars(length(min = 1))]
    events: Vec<DescribedEvent>,
}

/// The effect of a reported error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FailMode {
    /// The orchestration goes on, and fails at its end.
    #[default]
    End,
    /// The orchestration ends at once.
    Fast,
}

/// An event of a description.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("not" = { "required": ["interval_sec", "interval"] }))]
pub struct DescribedEvent {
    /// The name of the function with `#[target_event]`.
    name: String,
    /// The time between two runs, in seconds. Without it and `interval`, the event runs at the start and in the tear-down
    /// only.
    #[schemars(extend("minimum" = SHORTEST))]
    interval_sec: Option<f64>,
    /// The time between two runs: `"5m"`.
    interval: Option<Limit>,
    /// True if the event runs at the start. Otherwise its first run is after one interval.
    #[serde(default = "yes")]
    at_startup: bool,
    /// True if the event runs once more after the end.
    #[serde(default)]
    at_teardown: bool,
    /// The arguments that the event takes by value.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Argument>")]
    params: BTreeMap<String, toml::Value>,
}

fn yes() -> bool {
    true
}

/// The descriptions of a playbook's folders.
pub struct Descriptions {
    sources: Sources,
    files: Vec<DescriptionFile>,
    /// Files that look like descriptions, but of another format.
    foreign: Vec<PathBuf>,
}

/// A description with the positions in its file.
struct DescriptionFile {
    description: Description,
    places: Places,
}

/// The events and fixtures of a test binary.
#[derive(Clone, Debug, Default)]
pub struct KnownEvents {
    /// The parameters that each event takes by value, by the event's name.
    pub events: BTreeMap<String, Vec<String>>,
    /// The names and paths of the fixtures.
    pub fixtures: Vec<String>,
}

impl Descriptions {
    /// Reads all descriptions.
    ///
    /// # Errors
    /// [`ErrorKind::Playbook`](crate::ErrorKind::Playbook) with every problem in the files.
    pub fn read(settings: &OrchestrationSettings) -> Result<Self> {
        let (mut files, mut foreign) = (Vec::new(), Vec::new());
        for folder in &settings.folders {
            let (read, others): (Vec<_>, Vec<_>) = files_of(folder)?
                .into_iter()
                .partition(|path| is_description(path));
            files.extend(read);
            foreign.extend(others.into_iter().filter(|path| is_foreign(path)));
        }
        Self::of_files(files, foreign)
    }

    fn of_files(paths: Vec<PathBuf>, foreign: Vec<PathBuf>) -> Result<Self> {
        // The first two bytes are room for the key of a JSON text.
        let mut sources = Sources::new("descriptions".to_owned(), "  ");
        let mut files = Vec::new();
        for path in paths {
            let text = bounded::read_to_string(&path).map_err(|error| {
                let message = format!("failed to read description `{}`", path.display());
                Error::playbook(message).with_source(error)
            })?;
            files.push((sources.add_file(path.display().to_string(), &text), path));
        }
        let mut problems = Problems::new(&sources);
        let mut read: Vec<DescriptionFile> = Vec::new();
        for (number, path) in files {
            let Some(file) = DescriptionFile::read(sources.padded(number), &path, &mut problems)
            else {
                continue;
            };
            let name = &file.description.test_name;
            if let Some(other) = read.iter().find(|one| one.description.test_name == *name) {
                let problem = Problem::new(
                    format!("two descriptions are named `{name}`"),
                    file.places.of("test_name"),
                );
                problems.add(problem.second(other.places.of("test_name"), "the other one"));
            }
            read.push(file);
        }
        problems.check()?;
        Ok(Self {
            sources,
            files: read,
            foreign,
        })
    }

    /// A note about each file of the folders that is no description, but looks like one.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        let note = |path: &PathBuf| {
            let path = path.display();
            format!("`{path}` is ignored: a description is a file `NAME.json` or `NAME.toml`")
        };
        self.foreign.iter().map(note)
    }

    /// The names of the orchestrations.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files
            .iter()
            .map(|file| file.description.test_name.as_str())
    }

    /// Returns a warning for each event whose first run would be due at the end or later.
    pub fn never_run(&self) -> Vec<String> {
        let events = self.files.iter().flat_map(|file| {
            let events = file.description.events.iter();
            events.map(move |event| (&file.description, event.planned()))
        });
        let warning = |(description, event): (&Description, PlannedEvent)| {
            let (duration, interval) = (description.whole(), event.interval?);
            let runs = event.at_startup || event.at_teardown || interval < duration;
            let [interval, duration] = [interval, duration].map(humantime::format_duration);
            (!runs).then(|| {
                format!(
                    "event `{}` of orchestration `{}` never runs: its interval is {interval}, and the duration {duration}",
                    event.name, description.test_name
                )
            })
        };
        events.filter_map(warning).collect()
    }

    /// Returns the plan of an orchestration; `None` without a description.
    pub fn plan(
        &self,
        name: &str,
        settings: &OrchestrationSettings,
        time_scale: f64,
    ) -> Option<OrchestrationPlan> {
        let description = &self.file(name)?.description;
        Some(OrchestrationPlan {
            name: name.to_owned(),
            set_up_limit: None,
            duration: description.whole(),
            grace: description.grace.map_or(GRACE, |grace| grace.0),
            link_grace: settings.link_grace.0,
            time_scale,
            fails_fast: description.fail == FailMode::Fast,
            setup_fixtures: description.unref_setup_fixtures.clone(),
            events: description
                .events
                .iter()
                .map(DescribedEvent::planned)
                .collect(),
        })
    }

    /// Checks the names in a description: of events, of their parameters, and of fixtures.
    ///
    /// # Errors
    /// [`ErrorKind::Playbook`](crate::ErrorKind::Playbook) with each unknown name, at its place.
    pub fn check(&self, name: &str, known: &KnownEvents) -> Result<()> {
        let mut problems = Problems::new(&self.sources);
        if let Some(file) = self.file(name) {
            file.check(known, &mut problems);
        }
        problems.check()
    }

    /// Refuses the events and arguments that a test binary does not accept.
    ///
    /// # Errors
    /// [`ErrorKind::Playbook`](crate::ErrorKind::Playbook) with each event and argument, at its place.
    pub fn refuse(&self, name: &str, invalid: &[InvalidEvent]) -> Result<()> {
        let mut problems = Problems::new(&self.sources);
        let Some(file) = self.file(name) else {
            return Ok(());
        };
        for InvalidEvent {
            event,
            param,
            reason,
        } in invalid
        {
            let of = &file.description.events[*event].name;
            problems.add(match param {
                Some(param) => {
                    let message = format!("`{param}` of event `{of}`: {reason}");
                    let at = file.places.of(&format!("events.{event}.params.{param}"));
                    Problem::new(message, at)
                }
                None => Problem::new(reason, file.places.of(&format!("events.{event}.name"))),
            });
        }
        problems.check()
    }

    fn file(&self, name: &str) -> Option<&DescriptionFile> {
        self.files
            .iter()
            .find(|file| file.description.test_name == name)
    }
}

/// Returns the files of a folder, by name, without hidden ones: editors leave those for themselves.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error: std::io::Error| {
        let message = format!(
            "failed to read the folder of descriptions `{}`: {}",
            folder.display(),
            plain(&error)
        );
        Error::playbook(message)
            .with_hint("`descriptions` in `[orchestration]` names it, relative to the playbook")
    };
    let entries = std::fs::read_dir(folder).map_err(unreadable)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(unreadable)?;
    let is_hidden = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.as_encoded_bytes().starts_with(b".")
    };
    paths.retain(|path| !is_hidden(path));
    paths.sort();
    Ok(paths)
}

/// True if a path has the extension of a description.
fn is_description(path: &Path) -> bool {
    path.extension()
        .is_some_and(|of| of == "json" || of == "toml")
}

/// True if a path has an extension that people take for one of a description.
fn is_foreign(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    ["json", "json5", "jsonc", "toml", "yaml", "yml"]
        .iter()
        .any(|of| extension == *of)
}

impl DescriptionFile {
    /// Reads a file; `None` if it is too wrong to be checked further.
    fn read(text: &str, path: &Path, problems: &mut Problems<'_>) -> Option<Self> {
        let is_json = path
            .extension()
            .is_some_and(|extension| extension == "json");
        let toml = match is_json {
            true => json::to_toml(text)
                .map_err(|problem| problems.add(*problem))
                .ok()?,
            false => text.to_owned(),
        };
        let (mut document, errors) = DeTable::parse_recoverable(&toml);
        for error in errors.iter().take(1) {
            problems.add(Problem::toml(error, 0..0));
        }
        if !errors.is_empty() {
            return None;
        }
        // A key that is missing is missing at the end.
        let table = match is_json {
            true => {
                let object = document.get_mut().remove(json::KEY)?;
                let end = object.span().end;
                Spanned::new(end - 1..end, object.into_inner())
            }
            false => {
                let end = text.len();
                Spanned::new(end..end, DeValue::Table(document.into_inner()))
            }
        };
        let places = Places::of_document(&table);
        let description = read(table, problems)?;
        let file = Self {
            description,
            places,
        };
        file.check_values(path, problems);
        Some(file)
    }

    /// Checks what the types do not.
    fn check_values(&self, path: &Path, problems: &mut Problems<'_>) {
        let description = &self.description;
        let name = &description.test_name;
        let mut wrong = |place: &str, message: String| {
            problems.add(Problem::new(message, self.places.of(place)));
        };
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        if path.file_stem().is_none_or(|stem| stem != name.as_str()) {
            wrong(
                "test_name",
                format!("`test_name` is `{name}`, but the file is named `{file}`"),
            );
        }
        match (description.total_hours, description.duration) {
            (Some(_), Some(_)) => {
                wrong(
                    "duration",
                    "`duration` cannot be combined with `total_hours`".to_owned(),
                );
            }
            (None, None) => wrong("", "`total_hours` or `duration` is missing".to_owned()),
            (Some(hours), None) if !is_time(hours, 3600.0) => {
                let message = match hours > 0.0 {
                    true => "duration is too long",
                    false => "duration must be greater than zero",
                };
                wrong("total_hours", message.to_owned());
            }
            _ => {}
        }
        if description.events.is_empty() {
            wrong("events", "an orchestration needs events".to_owned());
        }
        for (number, event) in description.events.iter().enumerate() {
            let of = |key: &str| format!("events.{number}.{key}");
            let name = &event.name;
            match (event.interval_sec, event.interval) {
                (Some(_), Some(_)) => {
                    let message = "`interval` cannot be combined with `interval_sec`";
                    wrong(&of("interval"), message.to_owned());
                }
                (Some(seconds), None) if !is_time(seconds, 1.0) || seconds < SHORTEST => {
                    wrong(&of("interval_sec"), wrong_interval(seconds));
                }
                (None, Some(interval)) if interval.0.as_secs_f64() < SHORTEST => {
                    wrong(&of("interval"), wrong_interval(interval.0.as_secs_f64()));
                }
                (None, None) if !event.at_startup && !event.at_teardown => {
                    wrong(
                        &of("name"),
                        format!("event `{name}` never runs: it needs an interval"),
                    );
                }
                _ => {}
            }
        }
    }

    fn check(&self, known: &KnownEvents, problems: &mut Problems<'_>) {
        let events: Vec<_> = known.events.keys().map(String::as_str).collect();
        let fixtures: Vec<_> = known.fixtures.iter().map(String::as_str).collect();
        for (number, fixture) in self.description.unref_setup_fixtures.iter().enumerate() {
            if !fixtures.contains(&fixture.as_str()) {
                let at = self.places.of(&format!("unref_setup_fixtures.{number}"));
                let names: Vec<_> = fixtures
                    .iter()
                    .copied()
                    .filter(|one| !one.contains("::"))
                    .collect();
                problems.add(Problem::unknown("fixture", fixture, at, &names));
            }
        }
        for (number, event) in self.description.events.iter().enumerate() {
            let Some(params) = known.events.get(&event.name) else {
                let at = self.places.of(&format!("events.{number}.name"));
                problems.add(Problem::unknown("event", &event.name, at, &events));
                continue;
            };
            let params: Vec<_> = params.iter().map(String::as_str).collect();
            for name in event
                .params
                .keys()
                .filter(|name| !params.contains(&name.as_str()))
            {
                let at = self.places.key(&format!("events.{number}.params.{name}"));
                problems.add(Problem::unknown("parameter", name, at, &params));
            }
        }
    }
}

/// Returns the message about an interval that is not possible.
fn wrong_interval(seconds: f64) -> String {
    let why = match seconds {
        ..=0.0 => "must be greater than zero",
        ..SHORTEST => "must be at least 1 ms",
        _ => "is too long",
    };
    format!("interval {why}")
}

/// True if a number of such units is a time greater than zero.
fn is_time(number: f64, seconds: f64) -> bool {
    number > 0.0 && Duration::try_from_secs_f64(number * seconds).is_ok()
}

impl Description {
    /// The time from the start to the kill switch.
    fn whole(&self) -> Duration {
        let hours = self.total_hours.unwrap_or_default();
        let hours = Duration::try_from_secs_f64(hours * 3600.0).unwrap_or_default();
        self.duration.map_or(hours, |duration| duration.0)
    }
}

impl DescribedEvent {
    fn planned(&self) -> PlannedEvent {
        let seconds = self
            .interval_sec
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let params = self.params.iter();
        let params = params.map(|(name, value)| (name.clone(), json!(value)));
        PlannedEvent {
            name: self.name.clone(),
            interval: self.interval.map(|interval| interval.0).or(seconds),
            at_startup: self.at_startup,
            at_teardown: self.at_teardown,
            params: params.collect::<Map<_, _>>(),
        }
    }
}

/// The message for an orchestration without a description.
pub(crate) fn without_description(name: &str, settings: &OrchestrationSettings) -> String {
    match settings.folders.is_empty() {
        true => "orchestrations need the folder of their descriptions: add `[orchestration]` with \
               `descriptions = \"descriptions\"` to the playbook"
            .to_owned(),
        false => format!(
            "orchestration `{name}` has no description: add `{name}.json` to the folder `descriptions` of `[orchestration]`"
        ),
    }
}

#[cfg(test)]
mod tests;
