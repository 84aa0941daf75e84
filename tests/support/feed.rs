//! The folder that a run leaves, and its events.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// The folder of the last run with this playbook; other tests' runs have theirs beside it.
pub(crate) fn folder(playbook: &Path) -> PathBuf {
    let runs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("builds/target-test");
    let playbook = playbook.display().to_string();
    let entries = fs::read_dir(&runs).expect("the folders of runs").flatten();
    let ours = |folder: &PathBuf| {
        let feed = fs::read_to_string(folder.join("feed.jsonl")).unwrap_or_default();
        let first = feed.lines().next();
        first.is_some_and(|line| line.contains(&playbook))
    };
    let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let folders = entries.filter(is_folder).map(|entry| entry.path());
    let folders = folders.filter(ours);
    // A name starts with the time.
    folders.max().expect("the run's folder")
}

/// The events of that run so far, in order.
pub(crate) fn events(playbook: &Path) -> Vec<Value> {
    let feed = fs::read_to_string(folder(playbook).join("feed.jsonl")).expect("the feed");
    let event = |line: &str| serde_json::from_str(line).expect("an event");
    // The last line may still be written.
    let whole = feed.rfind('\n').map_or("", |end| &feed[..end]);
    whole.lines().map(event).collect()
}

/// The events of this kind, in order.
pub(crate) fn of_kind<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
    let is_it = |event: &&Value| event["event"] == kind;
    events.iter().filter(is_it).collect()
}

/// The sub-results of a case, in order, as `path/verdict`.
pub(crate) fn results(events: &[Value], test: &str) -> Vec<String> {
    let of_test = of_kind(events, "sub-result").into_iter();
    let of_test = of_test.filter(|event| event["attempt"]["case"]["test"] == test);
    let line = |event: &Value| {
        let path = event["result"]["path"].as_array().expect("a path").iter();
        let path: Vec<_> = path.filter_map(Value::as_str).collect();
        let verdict = event["result"]["verdict"].as_str().unwrap_or_default();
        format!("{}/{verdict}", path.join("/"))
    };
    of_test.map(line).collect()
}
