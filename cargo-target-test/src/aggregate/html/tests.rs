//! Pages of synthetic runs, as text; browsers look at pages in the end-to-end tests.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::Value;
use target_fixtures::wire::VerdictKind;

use super::{super::change::LastResult, *};
use crate::{
    case::{CaseInfo, verdict::Verdict},
    run_event::{Attempt, AttemptResult, RunEventKind},
};

/// Earlier runs as a test invents them.
struct Invented(EarlierRun);

impl EarlierRuns for Invented {
    fn previous(&mut self, _: &Results) -> Option<EarlierRun> {
        Some(self.0.clone())
    }

    fn values(&mut self, case: &CaseInfo, metric: &str) -> Vec<f64> {
        assert_eq!((&*case.test, metric), ("failing", "speed"));
        vec![1.0, 2.0]
    }
}

fn events(names: &[(&str, Verdict, u64)]) -> Vec<RunEvent> {
    let kinds = names.iter().map(|(name, verdict, millis)| {
        let attempt = Attempt::first(&Arc::new(CaseInfo::on_host("x", *name)));
        let result = AttemptResult {
            took: Duration::from_millis(*millis),
            ..AttemptResult::new(verdict.clone())
        };
        let result = Box::new(result);
        RunEventKind::AttemptEnded { attempt, result }
    });
    let event = |(kind, seq)| RunEvent::new(seq, Duration::ZERO, Duration::ZERO, kind);
    kinds.zip(0..).map(event).collect()
}

/// Writes the page and returns it.
fn page(mut html: Html, events: &[RunEvent]) -> String {
    for event in events {
        html.ingest(event).expect("an event");
    }
    html.finish().expect("a page");
    std::fs::read_to_string(&html.file).expect("a page")
}

/// The content of a data block.
fn block(page: &str, id: &str) -> Value {
    let start = format!("<script type=\"application/json\" id=\"{id}\">");
    let (_, rest) = page.split_once(&start).expect("a block");
    let (text, _) = rest.split_once("</script>").expect("its end");
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn texts_cannot_leave_their_block() {
    let folder = tempfile::tempdir().expect("a folder");
    let html = Html::new(in_folder(folder.path()), folder.path());
    let name = "</script><script>alert(1)</script><!--";
    let page = page(html, &events(&[(name, Verdict::Fail, 1)]));
    assert_eq!(block(&page, "data")["tests"][0]["name"], name);
    assert_eq!(
        block(&page, "details-0")[0]["attempts"][0]["verdict"],
        "fail"
    );
    assert!(!page.contains("alert(1)</script>"));
    assert!(
        page.contains("content=\"default-src &#x27;none&#x27;")
            || page.contains("content=\"default-src 'none'")
    );
}

#[test]
fn changes_since_the_previous_run_are_told() {
    let earlier = |verdict, millis| LastResult {
        verdict: Some(verdict),
        took: Duration::from_millis(millis),
    };
    let cases = [
        ("failing", VerdictKind::Pass, 10),
        ("fixed", VerdictKind::Crash, 10),
        ("slower", VerdictKind::Pass, 1000),
        ("same", VerdictKind::Fail, 10),
        ("a-little-slower", VerdictKind::Pass, 10),
        ("was-infra", VerdictKind::Infra, 10),
    ];
    let cases = cases.map(|(name, verdict, millis)| {
        (("x".to_owned(), name.to_owned()), earlier(verdict, millis))
    });
    let previous = EarlierRun {
        run: "before".to_owned(),
        started: Duration::from_secs(7),
        is_complete: true,
        cases: HashMap::from(cases),
    };
    let mut events = events(&[
        ("failing", Verdict::Fail, 10),
        ("fixed", Verdict::Pass, 10),
        ("slower", Verdict::Pass, 2000),
        ("same", Verdict::Fail, 10),
        ("a-little-slower", Verdict::Pass, 100),
        ("was-infra", Verdict::Fail, 10),
        ("new", Verdict::Fail, 10),
    ]);
    let attempt = Attempt::first(&Arc::new(CaseInfo::on_host("x", "failing")));
    let measurement = target_fixtures::wire::Measurement {
        name: "speed".to_owned(),
        value: 3.0,
        unit: None,
    };
    let kind = RunEventKind::Record {
        attempt,
        measurement,
    };
    events.push(RunEvent::new(99, Duration::ZERO, Duration::ZERO, kind));
    let folder = tempfile::tempdir().expect("a folder");
    let html = Html::new(in_folder(folder.path()), folder.path());
    let page = page(html.with_earlier(Invented(previous)), &events);
    let data = block(&page, "data");
    let changes = serde_json::json!({
        "run": "before", "started": 7000, "failing": [0, 6], "fixed": [1],
        "slower": [{ "case": 2, "before": 1_000_000 }], "new": 1,
    });
    assert_eq!(data["changes"], changes);
    assert_eq!(
        data["metrics"][0]["values"],
        serde_json::json!([1.0, 2.0, 3.0])
    );
}

#[test]
fn a_page_that_cannot_be_written_is_one_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let mut html = Html::new(file.join("report.html"), folder.path());
    for event in events(&[("t", Verdict::Pass, 1)]) {
        html.ingest(&event).expect("an event");
    }
    let error = html.finish().expect_err("no folder").to_string();
    assert!(
        error.starts_with("failed to write the HTML report"),
        "{error}"
    );
}
