//! Tests of the expansion of `#[target_test]`: each form is run by this binary against a fake broker.
//!
//! The tests to be run are ignored; the other tests start them one by one, as a runner or a person would.

#![forbid(unsafe_code)]
#![deny(warnings, unreachable_pub, unused_qualifications, missing_docs)]

use std::{
    collections::BTreeMap,
    env, fs,
    io::BufReader,
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::{Command, ExitCode, Output},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use target_fixtures::{
    env as name,
    metadata::{
        Artifact, CollectWhen, Condition, Metadata, MetadataRecord, ProcessPlace, RecordKind,
        RetryOn, Reuse,
    },
    prelude::*,
    wire::{self, AcquireRequest, BrokerRequest, Failure, FailureKind, Instance, Reply},
};

mod forms {
    use super::*;

    target_defaults! { area = "net", skip("no route", platform = "local"), memory = ">= 1 GiB" }

    /// Everything "said".
    ///
    ///     indented
    #[target_test(
        platform = "ssh", targets = ["debian*"], category = "functional", area = "deploy", priority = 0,
        tags = ["a", "b"], owner = "me\u{1e}", features = ["gpu"], memory = ">= 1 GiB", cores = "> 1",
        requires(nested_virt = "yes", "cpu.model" = "~ .*EPYC"), reuse = false, any = true,
        fresh = true, collect = ["/var/log/app", command("dmesg")], collect_when = "always",
        retry_on = "fresh", runs_on = "target", programs = ["kvd"], count = 1, timeout = "1h 30m",
        retries = 2, skip = "always", skip("there", target = "lab"), expect_fail("bug 7", feature = "gpu"),
    )]
    #[ignore]
    fn everything(target: &Target) -> Result<()> {
        target.ping()?;
        let number: u32 = " 7".trim().parse()?;
        assert_eq!((number, target.instance()), (7, "alpha-0"));
        Ok(())
    }

    #[target_test(count = 2)]
    #[ignore]
    fn many(targets: &[Target]) -> std::result::Result<(), Box<dyn std::error::Error>> {
        assert_eq!(targets[1].instance(), "alpha-1");
        Err(skip("seen enough"))
    }

    #[target_test]
    #[ignore = "run by a test"]
    #[should_panic(expected = "on purpose")]
    fn panics(_: &Target) {
        panic!("on purpose")
    }

    #[target_test]
    #[test]
    #[ignore]
    fn r#match(target: &Target) -> ExitCode {
        ExitCode::from(u8::from(target.has_feature("none")))
    }

    #[target_test]
    #[ignore]
    fn nothing() {}

    #[target_test]
    #[ignore]
    fn two(client: &Target, server: &Target) -> Result<()> {
        assert_eq!(
            (client.instance(), server.instance()),
            ("alpha-0", "alpha-1")
        );
        let _ = server.run("true");
        Ok(())
    }

    #[target_test]
    #[ignore]
    fn fails(_: &Target) -> Result<()> {
        Err("by itself")?
    }
}

/// This crate's records, from the file itself.
fn records() -> BTreeMap<String, MetadataRecord> {
    let file = fs::read(env::current_exe().unwrap()).unwrap();
    let starts = file
        .windows(9)
        .enumerate()
        .filter(|(_, bytes)| bytes == b"\x1e{\"kind\":");
    let record = |(at, _): (usize, &[u8])| -> Option<MetadataRecord> {
        let rest = &file[at + 1..];
        serde_json::from_slice(&rest[..rest.iter().position(|byte| *byte == b'\n')?]).ok()
    };
    starts
        .filter_map(record)
        .map(|record| (record.path.clone(), record))
        .collect()
}

/// The declarations of [`forms::everything`].
fn everything() -> Metadata {
    let condition = |reason: &str| Condition {
        reason: reason.to_owned(),
        ..Condition::default()
    };
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let text = |text: &str| Some(text.to_owned());
    let requirements = [
        ("cores", "> 1"),
        ("cpu.model", "~ .*EPYC"),
        ("memory", ">= 1 GiB"),
        ("nested_virt", "yes"),
    ];
    Metadata {
        doc: text("Everything \"said\".\n\n    indented"),
        platform: text("ssh"),
        targets: texts(&["debian*"]),
        category: text("functional"),
        area: text("deploy"),
        priority: Some(0),
        tags: texts(&["a", "b"]),
        owner: text("me\u{1e}"),
        features: texts(&["gpu"]),
        programs: texts(&["kvd"]),
        requirements: requirements
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        reuse: Some(Reuse::No),
        fresh: Some(true),
        retry_on: Some(RetryOn::Fresh),
        runs_on: Some(ProcessPlace::Target),
        collect: vec![
            Artifact::Path("/var/log/app".to_owned()),
            Artifact::Command {
                command: "dmesg".to_owned(),
            },
        ],
        collect_when: Some(CollectWhen::Always),
        any: Some(true),
        count: Some(1),
        roles: Vec::new(),
        orchestration: None,
        timeout: text("1h 30m"),
        retries: Some(2),
        skip: vec![
            condition("always"),
            Condition {
                target: text("lab"),
                ..condition("there")
            },
        ],
        expect_fail: vec![Condition {
            feature: text("gpu"),
            ..condition("bug 7")
        }],
    }
}

#[test]
fn records_say_what_was_declared() {
    let records = records();
    let names: Vec<_> = records
        .keys()
        .map(|path| path.trim_start_matches("attribute::forms"))
        .collect();
    assert_eq!(
        names,
        [
            "",
            "::everything",
            "::fails",
            "::many",
            "::nothing",
            "::panics",
            "::r#match",
            "::two"
        ]
    );
    let record = &records["attribute::forms::everything"];
    assert_eq!(
        (record.kind, &record.metadata),
        (RecordKind::Test, &everything())
    );
    let defaults = &records["attribute::forms"];
    assert_eq!(
        (defaults.kind, defaults.metadata.area.as_deref()),
        (RecordKind::Module, Some("net"))
    );
    assert_eq!(
        records["attribute::forms::nothing"].metadata,
        Metadata::default()
    );
    assert_eq!(records["attribute::forms::two"].metadata.count, Some(2));
}

/// A broker's play: it leases `alpha-0` and `alpha-1` and tells what it was asked.
struct FakeBroker {
    socket: PathBuf,
    asked: Receiver<BrokerRequest>,
}

impl FakeBroker {
    fn start(test: &str) -> Self {
        let socket = env::temp_dir().join(format!("tf-{}-{test}.sock", std::process::id()));
        let listener = UnixListener::bind(&socket).unwrap();
        let (tell, asked) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(std::result::Result::ok) {
                let tell = tell.clone();
                thread::spawn(move || serve(stream, &tell));
            }
        });
        Self { socket, asked }
    }

    /// Runs a test of [`forms`] under a runner.
    fn leased(&self, test: &str) -> Output {
        let mut command = harness(test);
        command
            .env(name::BROKER, &self.socket)
            .env(name::LEASE, "1");
        command
            .env(name::LEASED_TEST, format!("attribute::forms::{test}"))
            .output()
            .unwrap()
    }

    fn was_asked(&self) -> Vec<BrokerRequest> {
        self.asked
            .try_iter()
            .filter(|request| !matches!(request, BrokerRequest::Hello { .. }))
            .collect()
    }
}

impl Drop for FakeBroker {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}

fn serve(stream: UnixStream, tell: &Sender<BrokerRequest>) {
    let mut reader = BufReader::new(stream);
    while let Ok((request, _)) = wire::read_frame::<BrokerRequest>(&mut reader) {
        let reply = match &request {
            BrokerRequest::Hello { .. } => Reply::Welcome {
                version: String::new(),
            },
            BrokerRequest::Acquire(AcquireRequest { test, .. }) if test.ends_with("panics") => {
                Reply::Refused(Failure {
                    kind: FailureKind::Infra,
                    message: "`alpha-0` could not be deployed: no image".to_owned(),
                    hint: Some("build it".to_owned()),
                })
            }
            BrokerRequest::Attach { .. } | BrokerRequest::Acquire(_) => {
                let named = |name: &str| Instance {
                    name: name.to_owned(),
                    ..Instance::default()
                };
                Reply::Leased {
                    lease: "1".to_owned(),
                    instances: vec![named("alpha-0"), named("alpha-1")],
                    expect_fail: Vec::new(),
                }
            }
            BrokerRequest::Ping { .. } => Reply::Pong { micros: 1 },
            _ => Reply::Done,
        };
        let _ = tell.send(request);
        if wire::write_frame(&mut reader.get_ref(), &reply, &[]).is_err() {
            return;
        }
    }
}

/// This binary, told to run one test of [`forms`], in an environment without leases.
fn harness(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([
        &format!("forms::{test}"),
        "--exact",
        "--ignored",
        "--nocapture",
    ]);
    for variable in [
        name::BROKER,
        name::LEASE,
        name::LEASED_TEST,
        name::TARGET,
        name::PLAYBOOK,
        name::TOOL,
    ] {
        command.env_remove(variable);
    }
    command
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn every_form_runs_on_the_lease_of_its_runner() {
    let broker = FakeBroker::start("forms");
    for test in ["everything", "panics", "r#match", "nothing"] {
        let output = broker.leased(test);
        assert!(output.status.success(), "{test}: {}", text(&output));
        assert!(
            text(&output).contains("1 passed"),
            "{test}: {}",
            text(&output)
        );
        assert_eq!(
            broker.was_asked()[0],
            BrokerRequest::Attach {
                lease: "1".to_owned()
            }
        );
    }
    let output = broker.leased("two");
    assert!(output.status.success(), "{}", text(&output));
    let shown = "server = alpha-1: $ true";
    assert!(text(&output).contains(shown), "{}", text(&output));
    let output = broker.leased("fails");
    assert!(!output.status.success());
    assert!(
        text(&output).contains("Error: by itself\n"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_skip_passes_and_is_told_to_the_broker() {
    let broker = FakeBroker::start("skip");
    let output = broker.leased("many");
    assert!(output.status.success(), "{}", text(&output));
    let skip = BrokerRequest::Skip {
        reason: "seen enough".to_owned(),
    };
    assert!(broker.was_asked().contains(&skip));
}

#[test]
fn without_a_runner_the_tool_starts_a_broker() {
    let broker = FakeBroker::start("own");
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tool.sh");
    let mut command = harness("everything");
    // The lease of another test, which started this one, is not this one's.
    command
        .env(name::LEASED_TEST, "attribute::forms::other")
        .env(name::BROKER, "/nowhere")
        .env(name::LEASE, "2");
    let output = command
        .env(name::TOOL, tool)
        .env("SOCKET", &broker.socket)
        .env(name::TARGET, "alpha")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let asked = broker.was_asked();
    let BrokerRequest::Acquire(AcquireRequest {
        test,
        target,
        directory,
        binary,
        ..
    }) = &asked[0]
    else {
        panic!("{asked:?}")
    };
    assert_eq!(
        (test.as_str(), target.as_deref()),
        ("attribute::forms::everything", Some("alpha"))
    );
    assert_eq!(directory, env!("CARGO_MANIFEST_DIR"));
    assert_eq!(*binary, env::current_exe().unwrap().to_string_lossy());

    // An instance that cannot be had fails the test, also where a panic is what it should do.
    let output = harness("panics")
        .env(name::TOOL, tool)
        .env("SOCKET", &broker.socket)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let infra = "infra: `alpha-0` could not be deployed: no image\nhint: build it\n";
    assert!(text(&output).contains(infra), "{}", text(&output));
}

#[test]
fn a_missing_tool_is_said_with_how_to_get_it() {
    let output = harness("everything")
        .env("PATH", "/nowhere")
        .env("CARGO_HOME", "/nowhere")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let expected = "infra: no broker: `cargo-target-test` is not installed\nhint: `cargo install cargo-target-test`";
    assert!(text(&output).contains(expected), "{}", text(&output));
    let output = harness("everything")
        .env(name::TOOL, "/bin/false")
        .output()
        .unwrap();
    assert!(
        text(&output).contains("`/bin/false broker --ensure` failed (exit status: 1)"),
        "{}",
        text(&output)
    );
}
