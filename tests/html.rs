//! The HTML report, as a reader explores it in a real browser; and the verb that makes it again.

/// Texts that try to become markup, script or something else than they are.
mod hostile;
/// Feeds of runs that never took place.
mod synthetic;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use quick_junit::Report;
use rustix::process::Signal;
use serde_json::{Value, json};

use self::synthetic::Synthetic;
use crate::{
    run::{verdicts::alive, world::World},
    support::{Tool, browser::Browser, eventually, here, repository},
};

/// True once a report is drawn.
const READY: &str = "document.documentElement?.dataset.ready === 'true'";

fn browser() -> Option<Browser> {
    here(Browser::start())
}

/// Makes reports of a run's folder, and returns the HTML report.
fn report(folder: &Path, args: &[&str]) -> PathBuf {
    let private = tempfile::tempdir().expect("a folder");
    let folder_text = folder.display().to_string();
    let tool = Tool::new(&repository(), private.path());
    let args = [&["report", folder_text.as_str()], args].concat();
    tool.args(args).run().code(0);
    folder.join("report.html")
}

/// A real run: its report shows each verdict, and everything about a case; mouse and keyboard reach all of it.
#[test]
fn a_run_is_explored() {
    let Some(mut browser) = browser() else { return };
    let world = World::on_machines(
        "[[targets]]\nname = \"good\"\nplatform = \"command\"\n\
         [[targets]]\nname = \"bad\"\nplatform = \"command\"\n",
    );
    let names = [
        "verdict::passes[",
        "fails[good]",
        "skips[good]",
        "flaky[good]",
        "prints[good]",
        "fails_as_known[good]",
        "parts::has_subtests[good]",
    ];
    world.run(&names).code(100);
    let file = world.folder().join("report.html");
    browser.size(1280, 900);
    browser.theme("light");
    browser.open(&file, READY);

    // The summary and the lists.
    let status = browser.text("byId('status').textContent");
    assert!(status.starts_with("Failed"), "{status}");
    for (id, expected) in [
        ("failed", "on purpose"),
        ("infra", "bad-0 could not be deployed"),
        ("flaky", "passed on attempt 3"),
        ("skipped", "no such device"),
        ("slowest", "test "),
        ("timeline", "good-0"),
        ("run", "exit code"),
    ] {
        let text = browser.text(&format!("byId('{id}').textContent"));
        assert!(text.contains(expected), "{id}: {text}");
    }
    let verdicts =
        browser.text("[...byId('verdicts').children].map((one) => one.textContent).join()");
    assert_eq!(
        verdicts,
        "FFailed 2,IInfra 1,~Flaky 1,xFailed as expected 1,–Skipped 1,✓Passed 2"
    );

    // A cell opens what happened: output, commands, and the way back.
    browser.click("#grid [aria-level='1'] .cell.pass");
    let shown = browser.text("byId('detail').textContent");
    for expected in [
        "verdict::passes",
        "on good",
        "Attempt 1: passed",
        "Standard output",
        "test result: ok",
        "Instancegood-0arch",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let link = browser
        .text("decodeURIComponent(document.querySelector('#detail h3 a').getAttribute('href'))");
    assert!(link.starts_with("./output/"), "{link}");
    assert!(
        file.with_file_name(link.trim_start_matches("./")).is_file(),
        "{link}"
    );
    browser.key("Escape");
    browser.until("byId('detail').hidden && document.activeElement.matches('.cell.pass')");

    // Arrows move through the matrix, Enter opens; three attempts are there.
    browser
        .value("matrix.focus = { row: 0, column: 0 }; matrix.draw(true); matrix.focused().focus()");
    let mut found = false;
    for _ in 0..20 {
        let name = browser.text("document.activeElement.textContent");
        if name.contains("verdict::flaky") {
            found = true;
            break;
        }
        browser.key("ArrowDown");
    }
    assert!(found, "the arrows do not reach every test");
    browser.key("ArrowRight");
    browser.key("ArrowRight");
    let cell = browser.text("document.activeElement.getAttribute('aria-label')");
    let column = match cell.contains("flaky") {
        true => cell,
        false => {
            browser.key("ArrowLeft");
            browser.text("document.activeElement.getAttribute('aria-label')")
        }
    };
    assert!(column.starts_with("good: flaky"), "{column}");
    browser.key("Enter");
    let attempts = browser.value("document.querySelectorAll('#detail .attempt').length");
    assert_eq!(attempts, 3);
    browser.key("Escape");

    // Sub-results are rows below their test, which collapse.
    let rows = "document.querySelectorAll('#grid [aria-level=\"2\"]').length";
    assert_eq!(browser.value(rows), 7);
    let text = browser.text("[...document.querySelectorAll('#grid [aria-level=\"2\"] .cell.fail')].map((one) => one.parentNode.textContent).join()");
    assert!(text.contains("outer / panics"), "{text}");
    browser.click("#grid [aria-level='2'] .cell.fail");
    let shown = browser.text("byId('detail').textContent");
    for expected in [
        "2 of 6 subtests failed",
        "Sub-results (7)",
        "Commands on the target (3)",
        "echo no such link >&2; exit 3",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    browser.click("#detail .top button");
    browser.until("byId('detail').hidden");
    browser.click("#grid [aria-expanded] .test");
    browser.until(&format!("{rows} === 0"));

    // Filters: a verdict, words, a target. Escape or a button give everything back.
    browser.click("#verdicts .fail");
    browser.until("byId('shown').textContent === '2 of 8 cases'");
    browser.click("#clear");
    browser.click("#query");
    browser.type_text("target:bad verdict:infra passes");
    browser.until("byId('shown').textContent === '1 of 8 cases'");
    assert_eq!(
        browser.value("document.querySelectorAll('#grid .cell:not(.empty)').length"),
        1
    );
    browser.click("#clear");
    browser.until("byId('shown').textContent === '8 cases'");

    // The timeline: arrows choose an attempt, Enter opens it.
    browser.value("timeline.lanes.find(({ calls }) => calls.length > 1).svg.focus()");
    browser.key("ArrowRight");
    let readout = browser.text("byId('readout').textContent");
    assert!(readout.contains("good-0: test for"), "{readout}");
    browser.key("Enter");
    browser.until("!byId('detail').hidden");
    browser.key("Escape");

    // Every control can be reached by the Tab key.
    let controls = "[...document.querySelectorAll('button, select, input, a[href], summary, [tabindex=\"0\"]')]\
                    .filter((one) => one.checkVisibility()).length";
    let controls = browser.value(controls).as_u64().expect("a number");
    browser.value("document.activeElement.blur(); window.reached = new Set()");
    for _ in 0..controls + 2 {
        browser.key("Tab");
        browser.value("reached.add(document.activeElement); 0");
    }
    let reached = browser.value("reached.size").as_u64().expect("a number");
    assert!(reached >= controls, "{reached} of {controls}");

    // Both themes, and a narrow page.
    let background = "getComputedStyle(document.body).backgroundColor";
    let light = browser.text(background);
    browser.theme("dark");
    let dark = browser.text(background);
    assert_ne!(light, dark);
    browser.size(390, 800);
    assert_eq!(
        browser.value("document.documentElement.scrollWidth <= 390"),
        true
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
    world.is_clean();
}

/// The second run tells what changed since the first, and draws metrics over both.
#[test]
fn changes_and_metrics_come_from_the_history() {
    let Some(mut browser) = browser() else { return };
    let world = World::on_machines("[[targets]]\nname = \"good\"\nplatform = \"command\"\n");
    let names = ["around::fails_once", "results::reports", "verdict::passes"];
    world.run(&names).code(0);
    // A run without these cases.
    world.run(&["verdict::prints"]).code(0);
    world.run(&names).code(100);
    browser.open(&world.folder().join("report.html"), READY);
    let changes = browser.text("byId('changes').textContent");
    let expected = "Newly failing (1)Faround::fails_once on good";
    assert!(
        changes.contains(expected) && !changes.contains("Fixed"),
        "{changes}"
    );
    let failed = browser.text("byId('failed').textContent");
    assert!(failed.contains("newly failing"), "{failed}");
    let metrics = browser.text("byId('metrics').textContent");
    assert!(
        metrics.contains("throughput of results::reports on good9.5 Gbit/s"),
        "{metrics}"
    );
    assert_eq!(
        browser.value("document.querySelectorAll('#metrics circle').length"),
        2
    );
    // The verb knows the history, too.
    let folder = world.folder().display().to_string();
    let made = format!("{folder}/again.html");
    world.run(&["report", &folder, "--html", &made]).code(0);
    let again = fs::read_to_string(&made).expect("a report");
    assert!(!again.contains("\"changes\":null"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// A run that is interrupted has a report, in which the case did not end by itself.
#[test]
fn an_interrupted_run_is_reported() {
    let world = World::on_machines("[[targets]]\nname = \"good\"\nplatform = \"command\"\n");
    let run = world.tool(&["around::waits", "verdict::passes"]).start();
    eventually("the case's start", || !world.read("waiting").is_empty());
    run.signal(Signal::INT);
    run.wait().code(130);
    let file = world.folder().join("report.html");
    assert!(file.exists());
    let Some(mut browser) = browser() else { return };
    browser.open(&file, READY);
    let status = browser.text("byId('status').textContent");
    assert!(status.starts_with("Interrupted"), "{status}");
    let text = browser.text("byId('grid').textContent");
    assert!(text.contains("around::waits"), "{text}");
    let not_run = browser.text("byId('not-run').textContent");
    assert!(not_run.contains("the run was interrupted"), "{not_run}");
    assert!(not_run.contains("verdict::passes on good"), "{not_run}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    world.is_clean();
}

/// A run that is killed has no report of its own: the verb makes it from the feed, whose last line may be cut.
#[test]
fn a_killed_run_is_reported() {
    let world =
        World::on_machines("[[targets]]\nname = \"good\"\nplatform = \"command\"\ncount = 2\n");
    let run = world.tool(&["around::waits", "verdict::fails["]).start();
    eventually("the case's start", || !world.read("waiting").is_empty());
    eventually("the other case's end", || {
        let events = world.events();
        events
            .iter()
            .any(|event| event["event"] == "attempt-ended" && event["result"]["verdict"] == "fail")
    });
    run.signal(Signal::KILL);
    for pid in world.read("pids").lines() {
        eventually("the end of the test", || !alive(pid));
    }
    drop(run);
    let folder = world.folder();
    assert!(!folder.join("report.html").exists());
    let feed = fs::File::options()
        .append(true)
        .open(folder.join("feed.jsonl"));
    write!(feed.expect("the feed"), "{{\"version\":1,\"seq\":9").expect("a line that is cut");

    // By the beginning of its id.
    let id = folder
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let outcome = world.tool(&["report", &id[..id.len() - 2]]).run().code(0);
    let printed: Vec<_> = outcome.stdout.lines().map(PathBuf::from).collect();
    assert_eq!(
        printed,
        [folder.join("report.html"), folder.join("junit.xml")]
    );
    let junit = fs::read_to_string(&printed[1]).expect("a report");
    let junit = Report::deserialize_from_str(&junit).expect("JUnit");
    assert!(
        junit
            .name
            .as_ref()
            .is_some_and(|name| name.as_str().contains("incomplete")),
        "{junit:?}"
    );
    let junit = format!("{junit:?}");
    assert!(
        junit.contains("around::waits[good]") && junit.contains("verdict::fails[good]"),
        "{junit}"
    );
    world
        .tool(&["report", "nothing-like-it"])
        .run()
        .code(2)
        .says("run `nothing-like-it` not found");
    world.run(&["--delete-targets"]).code(0);
    let Some(mut browser) = browser() else { return };
    browser.open(&printed[0], READY);
    let status = browser.text("byId('status').textContent");
    assert!(status.starts_with("Incomplete"), "{status}");
    assert!(status.contains("1 failed, 1 unfinished"), "{status}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Hostile names, labels, outputs, commands and metadata are shown as text, and become nothing else.
#[test]
fn hostile_texts_stay_texts() {
    let Some(mut browser) = browser() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let corpus = hostile::corpus();
    assert_eq!(corpus.len(), 50);
    let mut run = Synthetic::new(corpus.len());
    for (number, text) in corpus.iter().enumerate() {
        run.hostile(number, text);
    }
    run.write(&folder.path().join("feed.jsonl"), 100);
    let file = report(folder.path(), &[]);
    browser.size(1280, 900);
    browser.open(&file, READY);
    // An element that a text made is none of ours, or has an attribute that none of ours has.
    let strange = "[...document.querySelectorAll('*')].filter((one) => \
         !known.has(one.localName) || [...one.attributes].some(({ name, value }) => name.startsWith('on') || name === 'src' || name === 'href' && !/^([#.]|file:)/.test(value)))\
         .map((one) => one.outerHTML.slice(0, 200)).join('\\n')";
    let known = json!([
        "nav", "html", "head", "meta", "title", "style", "body", "noscript", "p", "a", "header",
        "div", "form", "input", "select", "option", "button", "output", "main", "section", "h1",
        "h2", "h3", "aside", "script", "span", "i", "b", "ul", "li", "dl", "dt", "dd", "details",
        "summary", "table", "tr", "th", "td", "code", "pre", "svg", "defs", "pattern", "path",
        "rect", "text", "line", "title", "polyline", "circle",
    ]);
    browser.value(&format!("window.known = new Set({known}); 0"));
    let scripts = browser.value("document.scripts.length");
    for (number, text) in corpus.iter().enumerate() {
        let name = json!(format!("{number}{text}"));
        browser.value(&format!("detail.open([data.cases.findIndex((one) => data.tests[one.test].name === {name})]); document.querySelectorAll('details').forEach((one) => {{ one.open = true; }})"));
        let found = browser.text(strange);
        assert_eq!(found, "", "{:?}", text);
        // The whole output is there, with what is not visible spelled out.
        let shown = browser.text("document.querySelector('#detail pre').textContent");
        let visible = hostile::visible(text);
        assert!(shown.contains(&visible), "{shown:?} without {visible:?}");
        let bad = browser.value("/[\\u0000-\\u0008\\u000b-\\u001f\\u202a-\\u202e\\u2066-\\u2069\\u2028\\ufffe]/.test(document.body.innerText)");
        assert_eq!(bad, false, "{:?}", text);
    }
    assert_eq!(browser.value("document.scripts.length"), scripts);
    assert_eq!(browser.value("window.hostile"), Value::Null);
    assert_eq!(
        browser.value("document.querySelectorAll('iframe, img, object, embed, base, link').length"),
        0
    );
    // Names are searched as text, too.
    browser.value("detail.close(); byId('query').focus(); 0");
    browser.type_text("<script>");
    browser.until("filter.shown.length > 0 && filter.shown.length < data.cases.length");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// 10,000 cases with 100 MB of output: the page is small, opens, and reaches the last row.
#[test]
fn ten_thousand_cases_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut run = Synthetic::new(10_000);
    (0..10_000).for_each(|number| run.case(number));
    run.write(&folder.path().join("feed.jsonl"), 10_000);
    let feed = fs::metadata(folder.path().join("feed.jsonl")).expect("the feed");
    assert!(feed.len() > 100 << 20, "{}", feed.len());
    let file = report(
        folder.path(),
        &[
            "--html",
            &folder.path().join("report.html").display().to_string(),
        ],
    );
    let length = fs::metadata(&file).expect("a report").len();
    assert!(length < 20 << 20, "{length}");
    assert!(!folder.path().join("junit.xml").exists());
    let Some(mut browser) = browser() else { return };
    browser.size(1280, 900);
    let opened = browser.open(&file, READY);
    eprintln!("10,000 cases, {} MB: open after {opened:?}", length >> 20);
    let elements = browser.value("document.querySelectorAll('*').length");
    assert!(
        elements.as_u64().is_some_and(|count| count < 5000),
        "{elements}"
    );
    browser
        .value("matrix.focus = { row: 0, column: 1 }; matrix.draw(true); matrix.focused().focus()");
    let event = json!({ "type": "keyDown", "key": "End", "code": "End", "modifiers": 2 });
    browser.call("Input.dispatchKeyEvent", event);
    browser.until(
        "document.activeElement.closest('.row')?.ariaRowIndex === String(matrix.rows.length + 1)",
    );
    browser.key("Enter");
    browser.until("!byId('detail').hidden");
    let shown = browser.text("byId('detail').textContent");
    assert!(shown.contains("the whole output (9.8 KiB)"), "{shown}");
    browser.key("Escape");
    // A failure has more of its output than a pass.
    let kept = |verdict: &str| {
        format!(
            "detail.read(data.cases.findIndex((one) => one.verdict === '{verdict}')).attempts.at(-1).stdout.text.length"
        )
    };
    let (failed, passed) = (browser.value(&kept("fail")), browser.value(&kept("pass")));
    assert!(failed.as_u64() > passed.as_u64(), "{failed} {passed}");
    browser.click("#query");
    browser.type_text("area:net target:debian tag:slow");
    browser.until("filter.shown.length > 0 && filter.shown.length < 1000");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
