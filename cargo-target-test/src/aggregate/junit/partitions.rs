//! Merges the JUnit reports of several runs.

use std::{fmt::Display, path::Path};

use quick_junit::{Report, TestSuite};

use crate::{
    error::{Error, ErrorKind, Result},
    secret::redacted,
};

/// Merges reports into `file` and removes the parts. A missing part had no cases.
///
/// # Errors
/// Fails if a file cannot be read or written, or is not a report.
pub fn merge<'a>(file: &Path, parts: impl Iterator<Item = &'a Path>) -> Result<()> {
    let parts: Vec<_> = parts.filter(|part| part.exists()).collect();
    let mut whole = None;
    for part in &parts {
        let text = fs_err::read_to_string(part)?;
        let report = Report::deserialize_from_str(&text).map_err(|error| bad(part, &error))?;
        whole = Some(match whole {
            Some(whole) => both(whole, report),
            None => report,
        });
    }
    let Some(whole) = whole else {
        return Ok(());
    };
    let text = whole.to_string().map_err(|error| bad(file, &error))?;
    fs_err::write(file, &*redacted(&text))?;
    Ok(parts.into_iter().try_for_each(fs_err::remove_file)?)
}

fn bad(file: &Path, error: &dyn Display) -> Error {
    let message = format!("the JUnit report `{}`: {error}", file.display());
    Error::new(ErrorKind::Other, message)
}

/// Merges the reports of two parallel runs: adds their counts, but not their times.
fn both(mut one: Report, other: Report) -> Report {
    one.timestamp = one.timestamp.into_iter().chain(other.timestamp).min();
    one.time = one.time.max(other.time);
    one.tests += other.tests;
    one.failures += other.failures;
    one.errors += other.errors;
    one.skipped += other.skipped;
    for suite in other.test_suites {
        let mut suites = one.test_suites.iter_mut();
        match suites.find(|same| same.name == suite.name) {
            Some(same) => extend(same, suite),
            None => one.test_suites.push(suite),
        }
    }
    one
}

/// Merges the suites of a binary that both runs executed.
fn extend(one: &mut TestSuite, other: TestSuite) {
    one.timestamp = one.timestamp.into_iter().chain(other.timestamp).min();
    one.time = one.time.max(other.time);
    one.tests += other.tests;
    one.failures += other.failures;
    one.errors += other.errors;
    one.skipped += other.skipped;
    one.test_cases.extend(other.test_cases);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report in nextest's format: one suite `same` and one suite of the part.
    fn report(case: &str, failures: u32, time: &str) -> String {
        format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="3" failures="{failures}" errors="0" uuid="3286ead8-08a6-4035-8735-af41b4c994e6" timestamp="2026-01-02T03:04:05.678+00:00" time="{time}">
    <testsuite name="same" tests="2" disabled="0" errors="0" failures="{failures}">
        <testcase name="{case}" classname="same" timestamp="2026-01-02T03:04:05.678+00:00" time="0.5">
            <failure type="test failure">a &lt; b &amp; &quot;c&quot;</failure>
            <system-out>one
two</system-out>
        </testcase>
        <testcase name="good" classname="same" time="0.1"/>
    </testsuite>
    <testsuite name="only-{case}" tests="1" disabled="0" errors="0" failures="0">
        <testcase name="alone" classname="only" time="0.1"/>
    </testsuite>
</testsuites>
"#
        )
    }

    #[test]
    fn counts_add_up_times_do_not_and_a_binary_is_one_suite() {
        let folder = tempfile::tempdir().expect("a folder");
        let parts: Vec<_> = [("x", 1, "0.5"), ("y", 0, "1.25")]
            .into_iter()
            .map(|(case, failures, time)| {
                let part = folder.path().join(case);
                fs_err::write(&part, report(case, failures, time)).expect("a part");
                part
            })
            .collect();
        let (file, missing) = (folder.path().join("all.xml"), folder.path().join("none"));
        let all = parts.iter().chain([&missing]).map(|part| part.as_path());
        merge(&file, all).expect("merged");
        assert!(parts.iter().all(|part| !part.exists()));
        let text = fs_err::read_to_string(&file).expect("a report");
        let merged = Report::deserialize_from_str(&text).expect("a report");
        assert_eq!((merged.tests, merged.failures, merged.errors), (6, 1, 0));
        assert_eq!(merged.time.map(|time| time.as_millis()), Some(1250));
        let cases = |suite: &TestSuite| {
            let cases = suite.test_cases.iter();
            let names: Vec<_> = cases.map(|case| case.name.as_str().to_owned()).collect();
            format!(
                "{} {} {}: {}",
                suite.name.as_str(),
                suite.tests,
                suite.failures,
                names.join(" ")
            )
        };
        let suites: Vec<_> = merged.test_suites.iter().map(cases).collect();
        assert_eq!(
            suites,
            [
                "same 4 1: x good y good",
                "only-x 1 0: alone",
                "only-y 1 0: alone"
            ]
        );
        assert!(
            text.contains("a &lt; b &amp; ") && text.contains("one\ntwo"),
            "{text}"
        );
    }

    /// Parts that cannot be merged are kept.
    #[test]
    fn parts_stay_until_the_whole_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let [good, bad] = ["good", "bad"].map(|name| folder.path().join(name));
        fs_err::write(&good, report("x", 1, "0.5")).expect("a part");
        fs_err::write(&bad, "<testsuites").expect("a part");
        let (file, nowhere) = (
            folder.path().join("all.xml"),
            folder.path().join("none/all.xml"),
        );
        merge(&file, [good.as_path(), &bad].into_iter()).expect_err("no report");
        merge(&nowhere, [good.as_path()].into_iter()).expect_err("no folder");
        assert!(good.exists() && bad.exists() && !file.exists());
    }

    #[test]
    fn what_is_no_report_is_named_and_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, part) = (folder.path().join("all.xml"), folder.path().join("part"));
        fs_err::write(&part, "<html>").expect("a part");
        let error = merge(&file, [part.as_path()].into_iter()).expect_err("no report");
        assert!(error.to_string().contains("part`"), "{error}");
        assert!(part.exists() && !file.exists());
    }
}
