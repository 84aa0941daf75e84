//! Tests of reading descriptions. `tests/descriptions/bad-*` are wrong ones; the error of each is in the file `.stderr`
//! beside it, which `TARGET_TEST_BLESS=1` rewrites.

use super::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/descriptions")
}

fn known() -> KnownEvents {
    let params = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    KnownEvents {
        events: BTreeMap::from([
            ("play".to_owned(), params(&["video_path", "count"])),
            ("collect".to_owned(), params(&[])),
        ]),
        fixtures: vec!["device".to_owned(), "hello::device".to_owned()],
    }
}

/// Reads one text as a file of this name.
fn read_text(file: &str, text: &str) -> Result<Descriptions> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(file);
    std::fs::write(&path, text).expect("a description");
    Descriptions::of_files(vec![path], Vec::new())
}

fn plan_of(file: &str, text: &str) -> OrchestrationPlan {
    let descriptions = read_text(file, text).unwrap_or_else(|error| panic!("{error}"));
    let name = descriptions.names().next().expect("a name").to_owned();
    descriptions
        .check(&name, &known())
        .unwrap_or_else(|error| panic!("{error}"));
    let settings = OrchestrationSettings::default();
    descriptions.plan(&name, &settings, 1.0).expect("a plan")
}

#[test]
fn events_that_never_run_are_named() {
    let text = |event: &str| {
        format!(
            "test_name = \"soak\"\nduration = \"5m\"\nevents = [{{ name = \"play\", {event} }}]\n"
        )
    };
    for (event, runs) in [
        ("interval = \"299s\", at_startup = false", true),
        ("interval = \"5m\", at_startup = false", false),
        ("interval_sec = 7200, at_startup = false", false),
        (
            "interval = \"5m\", at_startup = false, at_teardown = true",
            true,
        ),
        ("interval = \"5m\"", true),
    ] {
        let read = read_text("soak.toml", &text(event)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.never_run().is_empty(), runs, "{event}");
    }
    let read = read_text(
        "soak.toml",
        &text("interval_sec = 7200, at_startup = false"),
    );
    let warning =
        "event `play` of orchestration `soak` never runs: its interval is 2h, and the duration 5m";
    assert_eq!(
        read.map(|read| read.never_run()).unwrap_or_default(),
        [warning]
    );
}

#[test]
fn every_key_is_read_and_both_formats_are_equal() {
    let json = plan_of(
        "full.json",
        r#"{
            "test_name": "full", // a comment
            "total_hours": 1.5,
            "grace": "10s",
            "fail": "fast",
            "unref_setup_fixtures": ["device"],
            "events": [
                { "name": "play", "interval_sec": 300, "at_startup": false, "at_teardown": true,
                  "params": { "video_path": "/clip \"1\"", "count": 3 } },
                { "name": "collect", "interval": "5m" },
            ],
        }"#,
    );
    let toml = plan_of(
        "full.toml",
        r#"
            test_name = "full"
            duration = "90m"
            grace = "10s"
            fail = "fast"
            unref_setup_fixtures = ["hello::device"]

            [[events]]
            name = "play"
            interval = "5m"
            at_startup = false
            at_teardown = true
            params = { video_path = '/clip "1"', count = 3 }

            [[events]]
            name = "collect"
            interval_sec = 300
        "#,
    );
    assert_eq!(json.duration, Duration::from_secs(5400));
    assert_eq!(
        (json.grace, json.fails_fast),
        (Duration::from_secs(10), true)
    );
    assert_eq!(json.setup_fixtures, ["device"]);
    let [play, collect] = json.events.as_slice() else {
        panic!("two events");
    };
    assert_eq!(play.interval, Some(Duration::from_secs(300)));
    assert!(!play.at_startup && play.at_teardown);
    assert_eq!(
        serde_json::json!(play.params),
        serde_json::json!({ "count": 3, "video_path": "/clip \"1\"" })
    );
    assert!(collect.at_startup && !collect.at_teardown && collect.params.is_empty());
    assert_eq!(
        toml,
        OrchestrationPlan {
            setup_fixtures: toml.setup_fixtures.clone(),
            ..json
        }
    );
}

#[test]
fn defaults_are_those_of_the_book() {
    let text = r#"{ "test_name": "short", "duration": "90s", "events": [{ "name": "play" }] }"#;
    let plan = plan_of("short.json", text);
    assert_eq!(
        (plan.grace, plan.link_grace),
        (GRACE, Duration::from_secs(60))
    );
    assert!(!plan.fails_fast && plan.setup_fixtures.is_empty());
    let [event] = plan.events.as_slice() else {
        panic!("one event");
    };
    assert_eq!(
        (event.interval, event.at_startup, event.at_teardown),
        (None, true, false)
    );
}

#[test]
fn wrong_descriptions_have_golden_errors() {
    let mut paths = files_of(&folder()).expect("descriptions");
    paths.retain(|path| is_description(path));
    assert!(paths.len() >= 13);
    for path in paths {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let read = Descriptions::of_files(vec![path.clone()], Vec::new());
        let error = read
            .and_then(|read| read.check(&name, &known()))
            .expect_err(&name);
        let shown = error
            .to_string()
            .replace(&format!("{}/", folder().display()), "");
        let golden = path.with_extension("stderr");
        if std::env::var_os("TARGET_TEST_BLESS").is_some() {
            std::fs::write(&golden, format!("{shown}\n")).expect("written");
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(
            format!("{shown}\n"),
            expected,
            "TARGET_TEST_BLESS=1 accepts it"
        );
    }
}

#[test]
fn a_byte_order_mark_is_not_content() {
    let json = "\u{feff}{ \"test_name\": \"one\", \"duration\": \"1s\", \"events\": [{ \"name\": \"play\" }] }";
    let toml = "\u{feff}test_name = \"one\"\nduration = \"1s\"\nevents = [{ name = \"play\" }]\n";
    assert_eq!(plan_of("one.json", json), plan_of("one.toml", toml));
}

#[test]
fn files_of_other_formats_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let names = [
        "README.md",
        "a.yaml",
        "b.json5",
        "c.JSON",
        "notes",
        ".x.json",
        ".y.yml",
    ];
    for name in names {
        std::fs::write(folder.path().join(name), "").expect("a file");
    }
    // The lock of an editor.
    std::os::unix::fs::symlink("nowhere", folder.path().join(".#soak.json")).expect("a link");
    let settings = OrchestrationSettings {
        folders: vec![folder.path().to_owned()],
        ..OrchestrationSettings::default()
    };
    let read = Descriptions::read(&settings).unwrap_or_else(|error| panic!("{error}"));
    let notes: Vec<_> = read.notes().collect();
    assert_eq!(notes.len(), 3, "{notes:?}");
    for (note, name) in notes.iter().zip(["a.yaml", "b.json5", "c.JSON"]) {
        assert!(note.contains(&format!("/{name}` is ignored")), "{note}");
    }
}

#[test]
fn a_refused_argument_is_shown_at_its_place() {
    let text = "{\n \"test_name\": \"one\", \"duration\": \"1s\",\n \"events\": [{ \"name\": \"play\", \"params\": { \"count\": \"x\" } }]\n}";
    let read = read_text("one.json", text).unwrap_or_else(|error| panic!("{error}"));
    let invalid = |param: Option<&str>, reason: &str| InvalidEvent {
        event: 0,
        param: param.map(ToOwned::to_owned),
        reason: reason.to_owned(),
    };
    let all = [
        invalid(
            None,
            "several events are named `play`: tests/a.rs:3, src/lib.rs:9",
        ),
        invalid(Some("count"), "invalid type: string \"x\", expected u32"),
        invalid(Some("video_path"), "missing"),
    ];
    let error = read.refuse("one", &all).expect_err("refused").to_string();
    assert!(
        error.contains("`count` of event `play`: invalid type") && error.contains("one.json:3:"),
        "{error}"
    );
    assert!(
        error.contains("`video_path` of event `play`: missing"),
        "{error}"
    );
    assert!(
        error.starts_with("several events are named `play`: ") && error.contains("one.json:3:23"),
        "{error}"
    );
    read.refuse("one", &[]).expect("valid");
}

#[test]
fn the_schema_has_the_keys_of_a_description() {
    let schema = description_schema();
    for key in [
        "test_name",
        "total_hours",
        "duration",
        "grace",
        "fail",
        "unref_setup_fixtures",
        "events",
    ] {
        assert!(schema["properties"][key].is_object(), "{key}: {schema:#}");
    }
    assert_eq!(
        schema["required"],
        serde_json::json!(["test_name", "events"])
    );
    let text = schema.to_string();
    assert!(!text.contains("null"), "the reader refuses it: {text}");
}
