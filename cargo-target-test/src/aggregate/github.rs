//! The looks of a run in GitHub Actions: annotations at the lines that failed, and the summary of the step.
//!
//! Changes nothing else: a run in a CI does what it does anywhere.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use regex::{Captures, Regex};

use super::{Aggregator, results::FLAKY};
use crate::{
    case::verdict::{CaseCounts, Verdict},
    error::Result,
    run_event::{Attempt, AttemptResult, RunEvent, RunEventKind, TargetTime},
    secret::redacted,
    ui,
};

/// The maximum number of annotations: GitHub shows no more of a job.
const ANNOTATIONS: usize = 50;
/// The maximum number of cases in a list of the summary.
const LISTED: usize = 100;
/// The maximum number of letters of a message.
const MESSAGE: usize = 500;

/// The message of a panic: the file, line and column, and the text.
static PANIC: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let pattern = r"(?m)panicked at ([^\r\n]+):(\d+):(\d+):\r?\n((?:[^\r\n]+(?:\r?\n)?)*)";
    Regex::new(pattern).ok()
});

/// The end of an error that a test returned: the file, line and column.
static RETURNED: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?m)^ *at ([^\r\n]+):(\d+):(\d+)\r?$").ok());

/// Prints annotations, and writes the summary of the step.
#[derive(Debug)]
pub struct Github {
    /// The file of the step's summary.
    summary: Option<PathBuf>,
    /// The folder of the repository: annotations name files below it.
    repository: Option<PathBuf>,
    /// The run's folder.
    folder: PathBuf,
    workspace: PathBuf,
    /// The last attempts, by binary, case and iteration.
    cases: BTreeMap<(String, String, Option<u32>), LastAttempt>,
    targets: Vec<TargetTime>,
    counts: Option<CaseCounts>,
}

/// The last attempt of a case that did not pass at once.
#[derive(Debug)]
struct LastAttempt {
    verdict: Verdict,
    number: u32,
    place: Option<Place>,
    message: String,
}

/// True for the cases of a list.
type IsListed = fn(&LastAttempt) -> bool;

/// The place of a panic, or of an error that a test returned.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    file: String,
    line: String,
    column: String,
}

impl Github {
    /// Returns the aggregator if this process runs in GitHub Actions.
    pub fn here(folder: &Path) -> Option<Self> {
        let is_github = std::env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true");
        let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
        is_github.then(|| {
            let (summary, repository) = (path("GITHUB_STEP_SUMMARY"), path("GITHUB_WORKSPACE"));
            Self::new(folder, summary, repository)
        })
    }

    fn new(folder: &Path, summary: Option<PathBuf>, repository: Option<PathBuf>) -> Self {
        Self {
            summary,
            repository,
            folder: folder.to_owned(),
            workspace: PathBuf::new(),
            cases: BTreeMap::new(),
            targets: Vec::new(),
            counts: None,
        }
    }

    fn ended(&mut self, attempt: &Attempt, result: &AttemptResult) {
        let (place, message) = panic(result);
        let place = place.or_else(|| returned(result));
        let message = message.filter(|_| result.verdict == Verdict::Fail);
        let message = message.or_else(|| result.reason()).unwrap_or_default();
        self.note(attempt, &result.verdict, place, &message);
    }

    /// Notes the last verdict of a case.
    fn note(&mut self, attempt: &Attempt, verdict: &Verdict, place: Option<Place>, message: &str) {
        let case = &attempt.case;
        let key = (
            case.binary_id.to_string(),
            case.name.clone(),
            attempt.stress_index,
        );
        let known = self.cases.get(&key);
        if known.is_some_and(|known| known.number > attempt.number) {
            return;
        }
        if verdict.is_final() && attempt.number == 1 {
            self.cases.remove(&key);
            return;
        }
        let last = LastAttempt {
            verdict: verdict.clone(),
            number: attempt.number,
            place,
            message: message.chars().take(MESSAGE).collect(),
        };
        self.cases.insert(key, last);
    }

    /// Returns the annotations, as lines for the log.
    fn annotations(&self) -> Vec<String> {
        let failed = self
            .cases
            .iter()
            .filter(|(_, last)| !last.verdict.is_final());
        let annotation = |((_, name, _), last): (&(_, String, _), &LastAttempt)| {
            let kind = if last.verdict.is_infra() {
                "warning"
            } else {
                "error"
            };
            let mut line = format!("::{kind} ");
            if let Some(place) = &last.place {
                let file = property(&self.file(&place.file));
                let (row, column) = (&place.line, &place.column);
                let _ = write!(line, "file={file},line={row},col={column},");
            }
            let _ = write!(line, "title={}::{}", property(name), data(&last.message));
            line
        };
        failed.take(ANNOTATIONS).map(annotation).collect()
    }

    /// Returns the path of a source file in the repository.
    fn file(&self, file: &str) -> String {
        let path = self.workspace.join(file);
        let repository = self.repository.as_deref();
        let inside = repository.and_then(|repository| path.strip_prefix(repository).ok());
        inside.map_or_else(|| file.to_owned(), |path| path.display().to_string())
    }

    /// Returns the summary of the step, as Markdown.
    fn markdown(&self) -> String {
        let mut text = "## cargo target-test\n\n".to_owned();
        if let Some(counts) = &self.counts {
            let _ = writeln!(text, "{counts}\n");
        }
        if !self.targets.is_empty() {
            text.push_str("| target | passed | skipped | failed as expected | failed | infra |\n");
            text.push_str("|---|--:|--:|--:|--:|--:|\n");
        }
        for TargetTime { target, cases, .. } in &self.targets {
            let (name, counts) = (code(target), cases);
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {} | {} | {} |",
                counts.passed, counts.skipped, counts.expected, counts.failed, counts.infra
            );
        }
        let lists: [(&str, IsListed); 3] = [
            ("Failed", |last| last.verdict.is_failure()),
            ("Infra", |last| last.verdict.is_infra()),
            ("Flaky", |last| {
                last.verdict == Verdict::Pass && last.number > 1
            }),
        ];
        for (title, is_listed) in lists {
            let listed: Vec<_> = self
                .cases
                .iter()
                .filter(|(_, last)| is_listed(last))
                .collect();
            if listed.is_empty() {
                continue;
            }
            let _ = writeln!(text, "\n### {title}\n");
            for ((binary, name, _), last) in listed.iter().take(LISTED) {
                let _ = write!(text, "- {} {}", code(binary), code(name));
                if let Some(place) = &last.place {
                    let place = format!("{}:{}", self.file(&place.file), place.line);
                    let _ = write!(text, " at {}", code(&place));
                }
                match last.message.is_empty() {
                    true => text.push('\n'),
                    false => {
                        let _ = writeln!(text, ": {}", code(&last.message));
                    }
                }
            }
            if let more @ 1.. = listed.len().saturating_sub(LISTED) {
                let _ = writeln!(text, "- and {more} more");
            }
        }
        let _ = writeln!(
            text,
            "\nReports: {}",
            code(&self.folder.display().to_string())
        );
        text
    }
}

impl Aggregator for Github {
    fn ingest(&mut self, event: &RunEvent) -> Result<()> {
        match &event.kind {
            RunEventKind::RunStarted { workspace, .. } => self.workspace.clone_from(workspace),
            RunEventKind::AttemptEnded { attempt, result } => self.ended(attempt, result),
            RunEventKind::Overruled {
                attempt,
                verdict,
                reason,
            } => self.note(attempt, verdict, None, reason),
            RunEventKind::FlakyFailed { attempt } => {
                self.note(attempt, &Verdict::Fail, None, FLAKY);
            }
            RunEventKind::TargetUsed(target) => self.targets.push(target.clone()),
            RunEventKind::CasesCounted(counts) => self.counts = Some(counts.clone()),
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.annotations()
            .iter()
            .for_each(|line| ui::plain(&format!("{line}\n")));
        if let Some(summary) = &self.summary {
            let mut options = fs_err::OpenOptions::new();
            let mut file = options.append(true).create(true).open(summary)?;
            file.write_all(redacted(&self.markdown()).as_bytes())?;
        }
        Ok(())
    }
}

/// Returns the place and the message of the last panic in an output, if it is known.
fn panic(result: &AttemptResult) -> (Option<Place>, Option<String>) {
    let outputs = [&result.stderr, &result.stdout].into_iter().flatten();
    let found = outputs.filter_map(|output| PANIC.as_ref()?.captures_iter(&output.tail).last());
    let Some(found) = found.into_iter().next() else {
        return (None, None);
    };
    (
        Some(Place::of(&found)),
        Some(found[4].trim_end().to_owned()),
    )
}

/// Returns the place of the error that a test returned, if it is known.
fn returned(result: &AttemptResult) -> Option<Place> {
    let message = result.message.as_deref()?;
    let places = RETURNED.as_ref()?.captures_iter(message);
    places.last().map(|found| Place::of(&found))
}

impl Place {
    /// The place in the first three groups.
    fn of(found: &Captures<'_>) -> Self {
        let [file, line, column] = [1, 2, 3].map(|group| found[group].to_owned());
        Self { file, line, column }
    }
}

/// Escapes the data of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// Escapes a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Formats a text as code, in a line or a table.
fn code(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let text = words.join(" ").replace('`', "'").replace('|', "\\|");
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{case::CaseInfo, run_event::OutputFile};

    fn ended(name: &str, number: u32, verdict: Verdict, stderr: &str) -> RunEventKind {
        let mut attempt = Attempt::first(&Arc::new(CaseInfo::on_host("hello", name)));
        attempt.number = number;
        let output = OutputFile {
            path: PathBuf::new(),
            length: 0,
            tail: stderr.to_owned(),
        };
        let result = AttemptResult {
            stderr: Some(output),
            ..AttemptResult::new(verdict)
        };
        RunEventKind::AttemptEnded {
            attempt,
            result: Box::new(result),
        }
    }

    #[test]
    fn failures_are_annotated_at_their_lines_and_listed() {
        let panic = "thread 'main' panicked at tests/net.rs:12:5:\n100%: left | right\nnote: run with x\n\nmore";
        let folder = tempfile::tempdir().expect("a folder");
        let summary = folder.path().join("summary.md");
        std::fs::write(&summary, "before\n").expect("written");
        let repository = Some(PathBuf::from("/repo"));
        let mut github = Github::new(folder.path(), Some(summary.clone()), repository);
        github.workspace = "/repo/rust".into();
        let infra = Verdict::Infra("a-0 is gone:\nno route".to_owned());
        let mut returned = ended("returned", 1, Verdict::Fail, "");
        if let RunEventKind::AttemptEnded { result, .. } = &mut returned {
            let message = "no link:\n  at tests/inner.rs:1:2\n  at tests/net.rs:7:9";
            result.message = Some(message.to_owned());
        }
        for kind in [
            returned,
            ended("passes", 1, Verdict::Pass, panic),
            ended("net::fails, twice", 1, infra.clone(), ""),
            ended("net::fails, twice", 2, Verdict::Fail, panic),
            ended("flaky", 1, Verdict::Fail, panic),
            ended("flaky", 2, Verdict::Pass, ""),
            ended("lost", 1, infra, ""),
        ] {
            let event = RunEvent::new(0, Duration::ZERO, Duration::ZERO, kind);
            github.ingest(&event).expect("ingested");
        }
        assert_eq!(
            github.annotations(),
            [
                "::warning title=lost::a-0 is gone:%0Ano route",
                "::error file=rust/tests/net.rs,line=12,col=5,title=net%3A%3Afails%2C twice::100%25: left | right%0Anote: \
                 run with x",
                "::error file=rust/tests/net.rs,line=7,col=9,title=returned::no link:%0A  at tests/inner.rs:1:2%0A  at \
                 tests/net.rs:7:9",
            ]
        );
        github.finish().expect("written");
        let text = std::fs::read_to_string(summary).expect("a summary");
        for line in [
            "before",
            "### Failed",
            "- `hello` `net::fails, twice` at `rust/tests/net.rs:12`: `100%: left \\| right note: run with x`",
            "### Infra",
            "- `hello` `lost`: `a-0 is gone: no route`",
            "### Flaky",
            "- `hello` `flaky`",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(!text.contains("passes"), "{text}");
    }
}
