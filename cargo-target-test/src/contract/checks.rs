//! The checks, each for any platform.

use std::{fs, path::Path, time::Duration};

use super::{Contract, Subject};
use crate::{
    connect::own_command,
    failpoint,
    provision::{platform::DynPlatform, pool::Record},
};

impl<S: Subject> Contract<S> {
    /// Checks commands, files, folders, ports and limits on fresh instances, and that nothing is left after the run.
    pub fn serves(&self) {
        let place = self.place();
        let names = [
            "quick",
            "files",
            "commands",
            "folders_and_ports",
            "time_is_limited",
            "are_distinct",
        ];
        let run = place.run(&names).code(0);
        for name in names {
            assert_eq!(
                run.lines_with(&["PASS", &format!("{name}[it]")]),
                1,
                "{run}"
            );
        }
        place.assert_nothing("after a run");
    }

    /// Checks that the delete of a partly created or missing instance succeeds.
    pub fn deletes_what_is_half_made_or_gone(&self) {
        let place = self.place();
        // The tool dies after `deploy` returned, before the answer is durable.
        let died = place
            .tool(&["quick"])
            .env("TARGET_TEST_FAULT", "platform-deployed")
            .run();
        died.killed("half made");
        place.assert_something("half made");
        place.run(&["--delete-targets"]).code(0);
        place.assert_nothing("half made");

        // Deleted without the tool.
        place
            .run(&["quick", "--keep-targets"])
            .code(0)
            .says("Kept it-0");
        place.assert_something("kept");
        self.subject.remove_behind_our_back(&place.pool());
        let said = match self.subject.machines_stay() {
            true => "released it-0: the machine stays",
            false => "deleted it-0",
        };
        place.run(&["--delete-targets"]).code(0).says(said);
        place.assert_nothing("gone behind our back");
        place
            .run(&["--delete-targets"])
            .code(0)
            .says("nothing to delete");
    }

    /// Checks that a kept instance serves the next run, and that a missing one is replaced.
    pub fn keeps_and_replaces(&self) {
        let place = self.place();
        place.run(&["quick", "--keep-targets"]).code(0);
        let first = place.only();
        assert!(
            first.facts.contains_key("cores") && first.facts.contains_key("boot-id"),
            "{first:?}"
        );
        let shown = place.run(&["targets", "--json"]).code(0);
        shown.says("\"state\": \"ready\"").says(&first.id);
        place.run(&["quick", "--keep-targets"]).code(0);
        assert_eq!(
            place.only().id,
            first.id,
            "a kept instance serves the next run"
        );
        if self.subject.remove_behind_our_back(&place.pool()) {
            let run = place
                .run(&["quick", "--success-output", "immediate", "--keep-targets"])
                .code(0);
            run.says("the previous instance was recycled");
            assert_ne!(place.only().id, first.id);
        }
        place.run(&["quick"]).code(0);
        place.assert_nothing("after a run that keeps nothing");
    }

    /// Checks that the next call leaves nothing after the tool dies between any two durable steps of a deploy, a
    /// preparation or a delete.
    pub fn survives_a_death_at_every_point(&self) {
        let others = ["pool-", "lease-", "record-dirty", "machine-"];
        let points = failpoint::POINTS
            .iter()
            .filter(|point| !others.iter().any(|of| point.starts_with(of)));
        for (number, point) in points.enumerate() {
            let place = self.place();
            let died = place.tool(&["quick"]).env("TARGET_TEST_FAULT", point).run();
            died.killed(&format!("`{point}` was never met"));
            // Deployed once more only if that is fast.
            if number % 2 == 0 || !self.subject.is_slow() {
                place.run(&["--delete-targets"]).code(0);
                place.assert_nothing(&format!("deleted after a death at `{point}`"));
            }
            if number % 2 == 1 || !self.subject.is_slow() {
                place.run(&["quick"]).code(0);
                place.assert_nothing(&format!("after a death at `{point}` and another run"));
            }
        }
    }

    /// Checks that a restart is visible from inside, or that the platform says it cannot restart.
    pub fn restarts(&self) {
        let place = self.place();
        place.run(&["quick", "--keep-targets"]).code(0);
        let record = place.only();
        let platforms = self.subject.platforms();
        let platform = platforms.get(&record.platform).expect("the platform");
        let deployed = record.deployed.as_ref().expect("a deployed instance");
        let Some(line) = self.subject.boot_id() else {
            match platform.restart(&record.spec, deployed) {
                Ok(()) => assert!(self.subject.may_restart(), "a restart that cannot be seen"),
                Err(error) => assert!(error.chain().contains("restart"), "{error}"),
            }
            place.run(&["quick"]).code(0);
            place.assert_nothing("after a restart");
            return;
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let mut before = None;
        // On a busy host the first answer of a machine can take longer than one attempt.
        place.eventually("an answer before the restart", || {
            before = runtime.block_on(ask(&**platform, &record, line));
            before.is_some()
        });
        platform.restart(&record.spec, deployed).expect("a restart");
        place.eventually("the restarted instance's answer", || {
            let after = runtime.block_on(ask(&**platform, &record, line));
            after.is_some() && after != before
        });
        platform
            .check_alive(&record.spec, deployed)
            .expect("it lives");
        place.run(&["quick"]).code(0);
        place.assert_nothing("after a restart");
    }

    /// Checks that two tools with separate pools work at the same time.
    pub fn shares_the_host_with_another_tool(&self) {
        let places = [self.place(), self.place()];
        let runs = places
            .each_ref()
            .map(|place| place.tool(&["quick", "are_distinct"]).start());
        for run in runs {
            run.join().expect("a run").code(0);
        }
        for place in &places {
            place.assert_nothing("after two runs at once");
        }
    }

    /// Checks that an error in the playbook is shown with its position before the build.
    pub fn names_a_wrong_parameter(&self) {
        let place = self.place();
        let (playbook, caret) = self.subject.wrong_playbook(&place.path(""));
        place.write("target-test.toml", &playbook);
        place.run(&["check"]).code(78).says(&caret).says("^");
        place.run(&["quick"]).code(78).says(&caret);
        place.assert_nothing("after a wrong playbook");
    }

    /// Checks that a secret of the tool's environment reaches an instance only if the playbook names it, and never a
    /// file or the output.
    pub fn shows_no_secret(&self) {
        const SECRET: &str = "geheim-7f3a91c4";
        let place = self.place();
        let seen = match self.subject.passes_secret() {
            Some(true) => SECRET,
            Some(false) => "none",
            None => "*",
        };
        let run = place
            .tool(&["sees_the_secret", "--keep-targets", "-v"])
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
        place.run(&["--delete-targets"]).code(0);
        place.assert_nothing("after a secret");
    }
}

/// The output of a command over a new connection; `None` if the instance does not answer.
async fn ask(platform: &dyn DynPlatform, record: &Record, line: &str) -> Option<String> {
    let transport = platform.connect(&record.spec, record.deployed.as_ref()?);
    transport.knock(Duration::from_secs(1)).await.ok()?;
    let command = own_command(line.to_owned(), Some(Duration::from_secs(5)));
    let running = transport.exec(&command, "", None);
    let said = running.finished().await.ok()?.stdout;
    (!said.is_empty()).then(|| String::from_utf8_lossy(&said).into_owned())
}

/// The command lines of all processes of this host, with their names.
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
