//! Reading and merging nextest's reports.

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
    let part = |(case, failures, time)| {
        let part = folder.path().join(case);
        fs_err::write(&part, report(case, failures, time)).expect("a part");
        part
    };
    let parts: Vec<_> = [("x", 1, "0.5"), ("y", 0, "1.25")].map(part).into();
    let read = NextestReport::read(&parts, SystemTime::UNIX_EPOCH).expect("reports");
    let Report {
        tests,
        failures,
        errors,
        time,
        test_suites,
        ..
    } = read.expect("reports").0;
    assert_eq!((tests, failures, errors), (6, 1, 0));
    assert_eq!(time.map(|time| time.as_millis()), Some(1250));
    let cases = |suite: &TestSuite| {
        let cases = suite.test_cases.iter();
        let names: Vec<_> = cases.map(|case| case.name.as_str().to_owned()).collect();
        let (name, names) = (suite.name.as_str(), names.join(" "));
        format!("{name} {} {}: {names}", suite.tests, suite.failures)
    };
    let suites: Vec<_> = test_suites.iter().map(cases).collect();
    assert_eq!(
        suites,
        [
            "same 4 1: x good y good",
            "only-x 1 0: alone",
            "only-y 1 0: alone"
        ]
    );
}

/// The report of a killed nextest is missing or old: without it the whole is unknown.
#[test]
fn reports_are_read_all_or_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let [good, bad, none] = ["good", "bad", "none"].map(|name| folder.path().join(name));
    fs_err::write(&good, report("x", 1, "0.5")).expect("a part");
    fs_err::write(&bad, "<html>").expect("a part");
    let read = |parts: &[&PathBuf], since| {
        let parts: Vec<_> = parts.iter().map(|part| (*part).clone()).collect();
        NextestReport::read(&parts, since)
    };
    let (old, later) = (
        SystemTime::UNIX_EPOCH,
        SystemTime::now() + std::time::Duration::from_secs(60),
    );
    assert!(read(&[&good], old).expect("a report").is_some());
    assert!(read(&[&good, &none], old).expect("no error").is_none());
    assert!(read(&[&good], later).expect("no error").is_none());
    let error = read(&[&good, &bad], old).expect_err("no report");
    assert!(error.to_string().contains("bad`"), "{error}");
}

/// The report that the user asks nextest for keeps its outputs; those that are only read are shortened.
#[test]
fn outputs_are_whole_where_they_are_written_again() {
    let folder = tempfile::tempdir().expect("a folder");
    // Without a line break at the end, which the reader of XML removes.
    let (file, output) = (folder.path().join("x"), "a line\n".repeat(20_000) + "end");
    let text = report("x", 1, "0.5").replace("one\ntwo", &output);
    fs_err::write(&file, text).expect("a part");
    let files = [file];
    let output_of = |report: Result<Option<NextestReport>>| {
        let report = report.expect("no error").expect("a report");
        let case = &report.0.test_suites[0].test_cases[0];
        case.system_out.as_ref().expect("an output").to_string()
    };
    let whole = NextestReport::read_whole(&files, SystemTime::UNIX_EPOCH);
    assert_eq!(output_of(whole), output);
    let read = output_of(NextestReport::read(&files, SystemTime::UNIX_EPOCH));
    let end = end_of_shortened(&read).expect("shortened");
    assert!(output.ends_with(end) && end.starts_with("a line\n"));
    assert!((TAIL - 10..=TAIL).contains(&end.len()), "{}", end.len());
}
