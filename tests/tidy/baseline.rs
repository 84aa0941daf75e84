//! Counts of what should not be, which may only shrink: a checked-in file has them as they are.
//!
//! Owns the file's form and its comparison. `SNAPSHOTS=overwrite` writes the file anew, unless the sum has grown.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use crate::support::repository;

/// Compares the places of each offence with the counts in a file; each line is a count and a name.
#[track_caller]
pub(super) fn compare(file: &str, found: BTreeMap<String, Vec<String>>) {
    let path = repository().join(file);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let allowed: BTreeMap<&str, usize> = text.lines().map(|line| entry(file, line)).collect();
    let sum: usize = found.values().map(Vec::len).sum();
    let fits = !path.exists() || sum <= allowed.values().sum();
    if fits && std::env::var("SNAPSHOTS").is_ok_and(|wish| wish == "overwrite") {
        let mut text = String::new();
        for (name, places) in &found {
            let _ = writeln!(text, "{} {name}", places.len());
        }
        fs::write(path, text).expect(file);
        return;
    }
    let mut offences = String::new();
    for (name, places) in &found {
        let allowed = allowed.get(name.as_str()).copied().unwrap_or_default();
        if places.len() > allowed {
            let count = places.len();
            let _ = writeln!(
                offences,
                "{name}: {count} of them, at most {allowed} may be:"
            );
            let _ = writeln!(offences, "  {}", places.join("\n  "));
        }
    }
    for (name, allowed) in allowed {
        let count = found.get(name).map_or(0, Vec::len);
        if count < allowed {
            let _ = writeln!(
                offences,
                "{name}: only {count} of {allowed} are left: well done"
            );
        }
    }
    assert!(
        offences.is_empty(),
        "{offences}{file} must say what is; where the sum has not grown, for fewer or for renamed files,\n\
         `SNAPSHOTS=overwrite cargo nextest run tidy` writes it anew"
    );
}

fn entry<'a>(file: &str, line: &'a str) -> (&'a str, usize) {
    let entry = line.split_once(' ');
    let entry = entry.and_then(|(count, name)| Some((name, count.parse().ok()?)));
    entry.unwrap_or_else(|| panic!("{file}: `{line}` is not a count and a name"))
}
