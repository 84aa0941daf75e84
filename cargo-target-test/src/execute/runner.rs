//! nextest's target runner: lists the cases of a binary, and runs one case.
//!
//! Starts once per case, so it parses its arguments by hand and uses no async runtime.

// Must not know the playbook, the plan or the pool: the broker decides what to run.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use target_fixtures::wire::{Exit, ExpectedFailure, Failure, Run, Secret, StartRequest};

use crate::{
    bounded,
    case::verdict::{EXIT_FAILED, EXIT_INFRA, Evidence, Verdict, judge},
    error::{Error, Result},
    execute::nextest::{VARIABLES, stage::listing_file},
    process, secret, ui,
};

mod broker;
mod child;
mod on_target;
mod tees;

use broker::{BrokerClient, Told};
use child::{CaseLimits, CaughtSignals, ChildEnd, OutputHandling};

/// The hidden verb of the runner.
pub const VERB: &str = "runner";
/// The hidden verb before a user's debugger.
pub const DEBUG_VERB: &str = "debug-runner";

/// The hidden verb of the process that stands for a test on a target.
pub const ON_TARGET_VERB: &str = "on-target";
/// All verbs of the runner.
pub const VERBS: [&str; 3] = [VERB, DEBUG_VERB, ON_TARGET_VERB];

/// The suffix of the runner's program name. A separate small program loads in a fraction of the time.
const SUFFIX: &str = "-runner";

/// Returns the program that nextest starts: `target-test-runner` next to `cargo-target-test`, if it exists, else the
/// current executable. Without the prefix `cargo-`, it is not a subcommand in `cargo --list`.
///
/// # Errors
/// Fails if the path of the current executable is unknown.
pub fn program() -> Result<PathBuf> {
    let ourselves = std::env::current_exe()?;
    let name = ourselves.file_name().unwrap_or_default().to_string_lossy();
    let runner = format!("{}{SUFFIX}", name.trim_start_matches("cargo-"));
    let beside = ourselves.with_file_name(runner);
    Ok(if beside.is_file() { beside } else { ourselves })
}

/// The arguments of one call by nextest.
#[derive(Debug, PartialEq)]
struct Call {
    socket: PathBuf,
    listing: PathBuf,
    binary: PathBuf,
    arguments: Vec<OsString>,
    debugger: Vec<OsString>,
}

/// Runs the verb with the arguments after it, and returns the exit code.
pub fn main(verb: &OsStr, arguments: Vec<OsString>) -> u8 {
    process::write_no_core();
    let answer = match verb == ON_TARGET_VERB {
        true => on_target::main(arguments),
        false => Call::parse(verb == DEBUG_VERB, arguments).and_then(|call| {
            match call.arguments.first() {
                Some(first) if first == "--list" => call.list(),
                _ => call.run(),
            }
        }),
    };
    answer.unwrap_or_else(|error| {
        ui::error(&error);
        error.exit_code()
    })
}

impl Call {
    fn parse(debug: bool, mut words: Vec<OsString>) -> Result<Self> {
        let mut debugger = Vec::new();
        if debug {
            // nextest puts `DEBUGGER... PROGRAM runner` before the usual arguments.
            let program = program()?;
            let ourselves = words
                .windows(2)
                .position(|pair| pair[1] == VERB && pair[0] == *program.as_os_str());
            let at = ourselves.ok_or_else(wrong_call)?;
            debugger = words.drain(..at + 2).take(at).collect();
        }
        let mut words = words.into_iter();
        let mut next = || words.next().map(PathBuf::from).ok_or_else(wrong_call);
        let (socket, listing, binary) = (next()?, next()?, next()?);
        Ok(Self {
            socket,
            listing,
            binary,
            arguments: words.collect(),
            debugger,
        })
    }

    fn list(&self) -> Result<u8> {
        let ignored = self.arguments.iter().any(|word| word == "--ignored");
        let file = self.listing.join(listing_file(&self.binary, ignored));
        // A binary without a file has no case in this run.
        let text = bounded::read_list(&file).unwrap_or_default();
        ui::bytes_out(&text);
        Ok(0)
    }

    fn run(&self) -> Result<u8> {
        let mut words = self.arguments.iter();
        let at = words.position(|word| word == "--exact");
        let (Some(at), Some(name)) = (at, words.next()) else {
            return Err(wrong_call());
        };
        let name = name.to_string_lossy().into_owned();
        let signals = CaughtSignals::catch()?;
        let mut broker = BrokerClient::connect(&self.socket)?;
        match broker.start(self.start(name), &signals)? {
            Told::Run(run) => {
                for Secret { name, value } in &run.secrets {
                    secret::register(name, value);
                }
                let limits = CaseLimits {
                    timeout: run.timeout.map(Duration::from_millis),
                    stops_within: run.stops_within.map(Duration::from_millis),
                    set_up: run.set_up_limit.map(Duration::from_millis),
                };
                // A debugger keeps the terminal.
                let output = match run.lease {
                    None => OutputHandling::Theirs,
                    Some(_) if run.secrets.is_empty() || !self.debugger.is_empty() => {
                        OutputHandling::Kept
                    }
                    Some(_) => OutputHandling::Redacted,
                };
                let command = self.command(at, &run);
                let output = (output, run.output.as_deref());
                let ended = child::run(command, limits, output, &signals, &mut broker)?;
                let verdict = broker.finished(&ended);
                let (verdict, reason) = verdict.unwrap_or_else(|| judge_alone(&ended, &run));
                Ok(conclude(&verdict, reason.as_deref(), &ended, &run))
            }
            Told::Print { text, code } => Ok(print(&text, code)),
            Told::Refused(failure) => {
                infra(&failure);
                Ok(EXIT_INFRA)
            }
        }
    }

    /// Returns the question for the broker, with the position of this attempt in its run.
    fn start(&self, name: String) -> StartRequest {
        let number = |name| std::env::var(name).ok()?.parse().ok();
        let attempt = number("NEXTEST_ATTEMPT").unwrap_or(1);
        StartRequest {
            binary: self.binary.to_string_lossy().into_owned(),
            name,
            attempt,
            attempts: number("NEXTEST_TOTAL_ATTEMPTS").unwrap_or(attempt),
            stress_index: number("NEXTEST_STRESS_CURRENT"),
        }
    }

    /// Returns the command of the real test, with nextest's arguments except the name of the case.
    fn command(&self, at: usize, run: &Run) -> Command {
        let mut words = self.debugger.clone();
        words.extend(run.command.iter().map(OsString::from));
        let name = [at, at + 1];
        let others = self.arguments.iter().enumerate();
        let others = others.filter(|(index, _)| !name.contains(index));
        words.extend(others.map(|(_, argument)| argument.clone()));
        let mut command = process::command(words.remove(0));
        command.args(words).envs(&run.env);
        for (name, value) in VARIABLES {
            if std::env::var_os(name).is_some_and(|given| given == value) {
                command.env_remove(name);
            }
        }
        command
    }
}

/// Returns the verdict of a test whose broker has gone, with the reason if the test failed as expected.
fn judge_alone(ended: &ChildEnd, run: &Run) -> (Verdict, Option<String>) {
    let evidence = Evidence {
        exit: Some(&ended.exit),
        started: true,
        timed_out: ended.timed_out.is_some(),
        interrupted: ended.interrupted,
        expect_fail: &run.expect_fail,
        lost: ended.lost.as_ref().map(|lost| lost.message.as_str()),
        ..Evidence::default()
    };
    let expected = evidence.expected().map(|one| one.reason.clone());
    (judge(&evidence), expected)
}

/// Returns the exit code of a verdict for nextest, and prints notes that explain it. `reason` is that of an expected
/// failure.
fn conclude(verdict: &Verdict, reason: Option<&str>, ended: &ChildEnd, run: &Run) -> u8 {
    for process in ended.remains.killed.values() {
        ui::note(format!("the test left {process} behind: killed"));
    }
    for process in &ended.remains.left {
        ui::note(format!(
            "the test left {process} behind, which could not be killed"
        ));
    }
    match (verdict, &ended.exit, run.expect_fail.as_slice()) {
        (Verdict::Infra(cause), ..) => {
            match &ended.lost {
                Some(lost) => infra(lost),
                None => ui::plain(&format!("\ninfra: {cause}\n")),
            }
            EXIT_INFRA
        }
        (Verdict::Crash(cause), ..) => {
            ui::plain(&format!("\ncrash: {cause}\n"));
            EXIT_FAILED
        }
        (Verdict::Skip(reason), ..) => {
            ui::plain(&format!("skip: {reason}\n"));
            0
        }
        (Verdict::Pass, Exit::Code(0), _) => 0,
        (Verdict::Pass, ..) => {
            ui::note(format!(
                "failed as expected: {}",
                reason.unwrap_or_default()
            ));
            0
        }
        _ if ended.timed_out.is_some() => {
            let limit = humantime::format_duration(ended.timed_out.unwrap_or_default());
            ui::note(format!("timed out after {limit}"));
            EXIT_FAILED
        }
        (_, Exit::Code(0), []) => {
            if let Some(reason) = reason {
                ui::plain(&format!("Error: {reason}\n"));
            }
            EXIT_FAILED
        }
        (_, Exit::Code(0), expected) => {
            let reasons = reasons(expected);
            ui::note(format!("passed, but is expected to fail: {reasons}"));
            EXIT_FAILED
        }
        (_, _, expected) if expected.iter().any(|one| one.error.is_some()) => {
            let reasons = reasons(expected);
            ui::note(format!("failed, but not as expected: {reasons}"));
            exit_of(&ended.exit)
        }
        (_, exit, _) => exit_of(exit),
    }
}

fn reasons(expected: &[ExpectedFailure]) -> String {
    let reasons: Vec<_> = expected.iter().map(|one| one.reason.as_str()).collect();
    reasons.join(", ")
}

/// Returns the exit code of a test; ends this process if a signal ended the test.
fn exit_of(exit: &Exit) -> u8 {
    match exit {
        Exit::Code(code) => u8::try_from(*code).unwrap_or(EXIT_FAILED),
        Exit::Signal(name) => child::die_by(name),
    }
}

fn print(text: &str, code: i32) -> u8 {
    ui::plain(text);
    u8::try_from(code).unwrap_or(EXIT_INFRA)
}

fn infra(failure: &Failure) {
    let hint = failure
        .hint
        .as_ref()
        .map_or(String::new(), |hint| format!("\nhint: {hint}"));
    ui::plain(&format!("\ninfra: {}{hint}\n", failure.message));
}

fn wrong_call() -> Error {
    Error::usage("this verb is internal: nextest calls it with a test binary")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::reason::SkipReason;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn a_debugger_stands_before_ourselves() {
        let before = words("gdb --args");
        let after = words("runner /s /l /bin/t --exact x --nocapture");
        let ourselves = program().expect("ourselves").into_os_string();
        let said = [before, vec![ourselves], after].concat();
        let call = Call::parse(true, said).expect("call");
        assert_eq!(call.debugger, words("gdb --args"));
        assert_eq!(call.binary, PathBuf::from("/bin/t"));
        assert_eq!(call.arguments, words("--exact x --nocapture"));
    }

    #[test]
    fn the_brokers_verdict_decides_the_exit_code() {
        let ended = |code| ChildEnd {
            exit: Exit::Code(code),
            timed_out: None,
            interrupted: false,
            lost: None,
            duration: Duration::ZERO,
            remains: child::TestRemains::default(),
        };
        let expects = |reason: &str| Run {
            expect_fail: vec![ExpectedFailure {
                reason: reason.to_owned(),
                error: None,
            }],
            ..Run::default()
        };
        let cause = || "panic".to_owned();
        for (verdict, code, run, expected) in [
            (Verdict::Pass, 0, Run::default(), 0),
            (Verdict::Pass, 101, expects("bug 7"), 0),
            (Verdict::Fail, 101, Run::default(), 101),
            (Verdict::Fail, 0, expects("bug 7"), EXIT_FAILED),
            (Verdict::Infra(cause()), 101, Run::default(), EXIT_INFRA),
            (
                Verdict::Skip(SkipReason::Test(cause())),
                0,
                Run::default(),
                0,
            ),
            (Verdict::Crash(cause()), 0, Run::default(), EXIT_FAILED),
            (Verdict::Crash(cause()), 101, expects("bug 7"), EXIT_FAILED),
        ] {
            let found = conclude(&verdict, None, &ended(code), &run);
            assert_eq!(
                found, expected,
                "{verdict:?} of a test that exits with {code}"
            );
        }
    }

    #[test]
    fn the_real_test_gets_its_own_name() {
        let call =
            Call::parse(false, words("/s /l /bin/t --exact x[a] --nocapture")).expect("call");
        let command = ["/bin/t", "--exact", "x", "--ignored"].map(str::to_owned);
        let run = Run {
            command: command.into(),
            ..Run::default()
        };
        let command = call.command(0, &run);
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(arguments, ["--exact", "x", "--ignored", "--nocapture"]);
    }
}
