//! The checks, each for any platform.

use std::{fs, path::Path, sync::Arc, time::Duration};

use cargo_target_test::{
    connect::{self, Event},
    failpoint,
    provision::{
        platform::Platforms,
        pool::{Pool, Record},
    },
};
use target_fixtures::wire::{Command, Stream};

use super::{Subject, author::Place};
use crate::support::eventually;

/// Nothing exists any more, as seen from outside.
#[track_caller]
fn assert_nothing(subject: &impl Subject, place: &Place, why: &str) {
    let mut left = Vec::new();
    eventually(&format!("the end of everything {why}"), || {
        left = subject.exists(&place.pool());
        left.is_empty()
    });
    assert_eq!(
        place.left_in_pool(),
        Vec::<std::path::PathBuf>::new(),
        "{why}"
    );
}

/// What exists has to be there.
#[track_caller]
fn assert_something(subject: &impl Subject, place: &Place, why: &str) {
    if subject.makes_machines() {
        assert!(!subject.exists(&place.pool()).is_empty(), "nothing {why}");
    }
}

pub(super) fn serves(subject: &impl Subject) {
    let place = Place::new(subject);
    let names = [
        "quick",
        "files",
        "commands",
        "folders_and_ports",
        "time_is_limited",
        "are_distinct",
    ];
    let run = place.run(subject, &names).code(0);
    for name in names {
        assert_eq!(
            run.lines_with(&["PASS", &format!("{name}[it]")]),
            1,
            "{run:?}"
        );
    }
    assert_nothing(subject, &place, "after a run");
}

pub(super) fn deletes_what_is_half_made_or_gone(subject: &impl Subject) {
    let place = Place::new(subject);
    // Half made: the platform was asked, and nobody heard its answer.
    let died = place
        .tool(subject, &["quick"])
        .env("TARGET_TEST_FAULT", "platform-deployed")
        .run();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&died.status),
        Some(9),
        "{died:?}"
    );
    assert_something(subject, &place, "half made");
    place.run(subject, &["--delete-targets"]).code(0);
    assert_nothing(subject, &place, "half made");

    // Gone behind our back.
    place
        .run(subject, &["quick", "--keep-targets"])
        .code(0)
        .says("kept: it-0");
    assert_something(subject, &place, "kept");
    subject.remove_behind_our_back(&place.pool());
    let said = match subject.machines_stay() {
        true => "released it-0: the machine stays",
        false => "deleted it-0",
    };
    place.run(subject, &["--delete-targets"]).code(0).says(said);
    assert_nothing(subject, &place, "gone behind our back");
    place
        .run(subject, &["--delete-targets"])
        .code(0)
        .says("nothing to delete");
}

pub(super) fn keeps_and_replaces(subject: &impl Subject) {
    let place = Place::new(subject);
    place.run(subject, &["quick", "--keep-targets"]).code(0);
    let first = only(&place);
    assert!(
        first.facts.contains_key("cores") && first.facts.contains_key("boot-id"),
        "{first:?}"
    );
    let shown = place.run(subject, &["targets", "--json"]).code(0);
    shown.says("\"state\": \"ready\"").says(&first.id);
    place.run(subject, &["quick", "--keep-targets"]).code(0);
    assert_eq!(
        only(&place).id,
        first.id,
        "a kept instance serves the next run"
    );
    if subject.remove_behind_our_back(&place.pool()) {
        let run = place
            .run(
                subject,
                &["quick", "--success-output", "immediate", "--keep-targets"],
            )
            .code(0);
        run.says("the one before was recycled");
        assert_ne!(only(&place).id, first.id);
    }
    place.run(subject, &["quick"]).code(0);
    assert_nothing(subject, &place, "after a run that keeps nothing");
}

/// The one record.
#[track_caller]
fn only(place: &Place) -> Record {
    let state = Pool::open(&place.pool())
        .expect("the pool")
        .state()
        .expect("its state");
    let records: Vec<_> = state.records.values().collect();
    let [record] = records.as_slice() else {
        panic!("{records:?}");
    };
    Record::clone(record)
}

/// Between every two durable steps of deploying, preparing and deleting.
pub(super) fn survives_a_death_at_every_point(subject: &impl Subject) {
    let of_leases = ["pool-", "lease-", "record-dirty"];
    let points = failpoint::POINTS
        .iter()
        .filter(|point| !of_leases.iter().any(|of| point.starts_with(of)));
    for (number, point) in points.enumerate() {
        let place = Place::new(subject);
        let died = place
            .tool(subject, &["quick"])
            .env("TARGET_TEST_FAULT", point)
            .run();
        let signal = std::os::unix::process::ExitStatusExt::signal(&died.status);
        assert_eq!(signal, Some(9), "`{point}` was never met: {died:?}");
        // A machine is made once more only where that is cheap.
        if number % 2 == 0 || !subject.is_slow() {
            place.run(subject, &["--delete-targets"]).code(0);
            assert_nothing(
                subject,
                &place,
                &format!("deleted after a death at `{point}`"),
            );
        }
        if number % 2 == 1 || !subject.is_slow() {
            place.run(subject, &["quick"]).code(0);
            assert_nothing(
                subject,
                &place,
                &format!("after a death at `{point}` and another run"),
            );
        }
    }
}

pub(super) fn restarts(subject: &impl Subject) {
    let place = Place::new(subject);
    place.run(subject, &["quick", "--keep-targets"]).code(0);
    let record = only(&place);
    let platforms = Platforms::default();
    let platform = platforms.get(&record.platform).expect("the platform");
    let deployed = record.deployed.as_ref().expect("a deployed instance");
    let Some(line) = subject.boot_id() else {
        let error = platform
            .restart(&record.order, deployed)
            .expect_err("no way to restart");
        assert!(error.chain().contains("restart"), "{error}");
        place.run(subject, &["--delete-targets"]).code(0);
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut before = None;
    eventually("the instance's answer", || {
        before = runtime.block_on(ask(&record, line));
        before.is_some()
    });
    platform
        .restart(&record.order, deployed)
        .expect("a restart");
    eventually("the restarted instance's answer", || {
        let after = runtime.block_on(ask(&record, line));
        after.is_some() && after != before
    });
    platform
        .check_alive(&record.order, deployed)
        .expect("it lives");
    place.run(subject, &["quick"]).code(0);
    assert_nothing(subject, &place, "after a restart");
}

/// What a command prints, by a connection of our own; `None` where it does not answer.
async fn ask(record: &Record, line: &str) -> Option<String> {
    let reach = &record.deployed.as_ref()?.reach;
    let transport = connect::connect(record.name(), reach);
    transport.knock(Duration::from_secs(1)).await.ok()?;
    let command = Command {
        line: line.to_owned(),
        timeout: Some(5000),
        ..Command::default()
    };
    let mut running = Arc::clone(&transport).exec(&command, "", None);
    let mut said = Vec::new();
    while let Some(event) = running.events.recv().await {
        match event {
            Event::Output(Stream::Stdout, bytes) => said.extend(bytes),
            Event::Lost(_) => return None,
            _ => {}
        }
    }
    (!said.is_empty()).then(|| String::from_utf8_lossy(&said).into_owned())
}

pub(super) fn shares_the_host_with_another_tool(subject: &impl Subject) {
    let places = [Place::new(subject), Place::new(subject)];
    let runs = places
        .each_ref()
        .map(|place| place.start(subject, &["quick", "are_distinct"]));
    for run in runs {
        run.wait().code(0);
    }
    for place in &places {
        assert_nothing(subject, place, "after two runs at once");
    }
}

pub(super) fn names_a_wrong_parameter(subject: &impl Subject) {
    let place = Place::new(subject);
    let caret = subject.wrong_line();
    place.write("target-test.toml", &subject.wrong_playbook(&place.path("")));
    place
        .run(subject, &["check"])
        .code(78)
        .says(caret)
        .says("^");
    place.run(subject, &["quick"]).code(78).says(caret);
    assert_nothing(subject, &place, "after a wrong playbook");
}

/// A value of the tool's environment reaches an instance only where the playbook names it, and no file or output.
pub(super) fn shows_no_secret(subject: &impl Subject) {
    const SECRET: &str = "geheim-7f3a91c4";
    let place = Place::new(subject);
    let seen = if subject.passes_secret() {
        SECRET
    } else {
        "none"
    };
    let run = place
        .tool(subject, &["sees_the_secret", "--keep-targets", "-v"])
        .env("CONTRACT_SECRET", SECRET)
        .env("CONTRACT_SEEN", seen)
        .run()
        .code(0);
    run.never_says(SECRET);
    for (what, text) in command_lines() {
        assert!(!text.contains(SECRET), "the command line of {what}: {text}");
    }
    for folder in ["pool", "state", "run", "cache", "config"] {
        assert_not_written(&place.path(folder), SECRET);
    }
    place.run(subject, &["--delete-targets"]).code(0);
    assert_nothing(subject, &place, "after a secret");
}

fn command_lines() -> Vec<(String, String)> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let line = |path: std::path::PathBuf| {
        Some((
            path.display().to_string(),
            fs::read_to_string(path.join("cmdline")).ok()?,
        ))
    };
    processes.filter_map(|entry| line(entry.path())).collect()
}

fn assert_not_written(path: &Path, secret: &str) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder").flatten() {
            assert_not_written(&entry.path(), secret);
        }
    } else if let Ok(bytes) = fs::metadata(path).and_then(|data| {
        if data.is_file() {
            fs::read(path)
        } else {
            Ok(Vec::new())
        }
    }) {
        let found = bytes
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!found, "{} has the secret", path.display());
    }
}
