//! The library for tests run by `cargo target-test`: the attribute [`target_test`](macro@target_test) and the type
//! [`Target`].
//!
//! ```toml
//! [dev-dependencies]
//! target-fixtures = "0.1"
//! ```
//!
//! ```no_run
//! use target_fixtures::prelude::*;
//!
//! /// The machine is reachable and runs our kernel.
//! #[target_test(area = "deploy", priority = 0, memory = ">= 1 GiB", timeout = "30s")]
//! fn smoke(target: &Target) -> Result<()> {
//!     target.ping()?;
//!     let kernel = target.run("uname -r")?.stdout;
//!     assert!(kernel.starts_with("6."));
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! `cargo target-test` runs the test on every target of the playbook that fits, each time with exclusive use of the
//! leased instance. The test is an ordinary `#[test]` too: `cargo test`, `cargo nextest run` and the run button of an
//! editor run it on the first target that fits, or on the target named by `TARGET_TEST_TARGET`. In this case the
//! installed `cargo-target-test` provides the instance in the background.
//!
//! # Forms of a test
//!
//! | parameter | the test runs |
//! |---|---|
//! | `target: &Target` | on one instance |
//! | `client: &Target, server: &Target` | on as many instances of one target, in this order; the log names them: `server = ubuntu-1` |
//! | `targets: &[Target]` | on `count = n` instances of one target |
//! | `env: &Environment` | on an environment that has the `roles`: `env["gateway"]` is one machine |
//! | `target: &Qemu`, or another type of [`platform`] | on one instance of that platform, with its platform-specific methods |
//! | `db: &Db` | with the value of a [fixture](#fixtures) that has the parameter's name |
//! | none | on one instance, described by [environment variables](crate::env); only under `cargo target-test` |
//!
//! A test returns any type that an ordinary test can return: nothing, [`Result`], `anyhow::Result`, an `ExitCode`. A
//! [`Target`] can be used from many threads at once. With the feature `tokio`, a test can be an `async fn`.
//! `#[ignore]`, `#[should_panic]` and other attributes work as usual. With `#[rstest]` or `#[test_case]`,
//! `#[target_test]` comes first:
//!
//! ```ignore
//! #[target_test(area = "net")]
//! #[rstest]
//! #[case(1500)]
//! #[case(9000)]
//! fn frames(target: &Target, db: &Db, #[case] mtu: u32) -> Result<()> { ... }
//! ```
//!
//! There, `db: &Db` is a [fixture](#fixtures) as everywhere. `#[rstest]` provides what is taken by value, and what it marks
//! or lists: `#[case]`, `#[values]`, `#[from]`, `#[with]`, `#[files]`, `#[future]`. Its own `#[once]` fixtures, which are
//! references, need `#[from(db)] db: &Db`.
//!
//! # Arguments
//!
//! All arguments are optional. They are checked at compile time.
//!
//! | argument | meaning |
//! |---|---|
//! | `platform = "ssh"` | only targets of this platform |
//! | `targets = ["debian*"]` | only targets whose name matches one of these patterns |
//! | `category = "functional"` | `functional`, `performance`, `stress`, `community`, `longhaul`, or a category of the playbook |
//! | `area = "net"` | the area under test |
//! | `priority = 0` | 0 (most important) to 4 |
//! | `tags = ["slow"]` | tags |
//! | `owner = "net team"` | the owner of the test |
//! | `programs = ["kvd"]` | programs of the workspace that the test [starts](Target::program_of) on its targets |
//! | `features = ["nested-virt"]` | features that the target must have |
//! | `memory`, `cores`, `disk`, `nics`, `gpu`, `arch`, `os`, `kernel` `= ">= 2"` | [requirements](requirement) on the target's capabilities: `">= 2, < 8"`, `"x86_64 \| aarch64"` |
//! | `requires("cpu.model" = "~ .*EPYC")` | requirements on any other capability |
//! | `reuse = false` | the instance is recycled after the test |
//! | `reuse = "snapshot"` | the instance is restored to its state before its first test; recycled if the platform cannot restore quickly |
//! | `any = true` | runs on one of the targets that fit, chosen by `--prefer` |
//! | `fresh = true` | the test starts on an instance that no test has used |
//! | `retry_on = "fresh"` | a retry runs on an instance that no test has used |
//! | `runs_on = "target"` | the test process [runs on the target](#tests-that-run-on-the-target); with `roles`, also `runs_on = "gateway"` |
//! | `count = 2` | the number of instances of one target that the test needs |
//! | `roles = ["gateway", "tester1"]` | the machines of an [`Environment`] that the test needs |
//! | `timeout = "30s"` | the maximum run time, counted from the lease |
//! | `retries = 2` | the number of retries by nextest |
//! | `collect = ["/var/log/app", command("journalctl -b")]` | files and output that are [collected](#artifacts) after a failure |
//! | `collect_when = "always"` | collects after a pass too |
//! | `skip("reason")` | skips the test; also `skip = "reason"` |
//! | `expect_fail("reason")` | the test is expected to fail |
//!
//! `skip` and `expect_fail` accept conditions and can be repeated: `skip("no IPv6", platform = "azure")`. The
//! conditions are `platform`, `target` and `feature`; all given conditions must hold. `expect_fail("bug 7", error =
//! "timed out")` expects only failures whose message contains the text; any other failure counts. The doc comment is recorded with
//! the arguments. [`target_defaults!`] sets default arguments for all tests of a module and of its submodules:
//!
//! ```no_run
//! mod net {
//!     use target_fixtures::prelude::*;
//!
//!     target_defaults! { area = "net", nics = ">= 2" }
//!
//!     #[target_test]
//!     fn links(target: &Target) -> Result<()> {
//!         let links = target.command("ip -br link").current_dir("/").timeout(std::time::Duration::from_secs(5));
//!         assert!(links.run()?.stdout.lines().count() >= 2);
//!         Ok(())
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! # Commands
//!
//! [`run`](Target::run) takes a command line for the instance's shell. [`program`](Target::program) and
//! [`command`](Target::command) take arguments that are passed on unchanged. [`program_of`](Target::program_of)
//! runs a binary of the workspace. Commands and their output are shown in the
//! test's log as they run. [`spawn`](Command::spawn) runs a command in the background:
//!
//! ```
//! # use std::time::Duration;
//! # target_fixtures::__private::example(|target| {
//! let name = "it's a file";
//! target.program("touch").arg(name).run()?;
//! let found = target.command("ls -l \"$1\" | wc -l").arg(name).env("LC_ALL", "C").run()?;
//! assert_eq!(found.stdout.trim(), "1");
//!
//! let failing = target.command("exit 3").allow_failure().run()?;
//! assert_eq!(failing.exit, target_fixtures::Exit::Code(3));
//!
//! let mut server = target.command("echo up; while read -r line; do echo \"got $line\"; done").spawn()?;
//! server.wait_for_line("up", Duration::from_secs(5))?;
//! server.write("hello\n")?;
//! assert_eq!(server.wait_for_line("got", Duration::from_secs(5))?, "got hello");
//! server.kill()?;
//!
//! let said = target.command("printf 'name? '; read -r n; echo \"hello $n\"").answer("name?", "ada").run()?;
//! assert!(said.stdout.ends_with("hello ada\n"));
//! # Ok(()) });
//! ```
//!
//! [`parallel`] runs commands side by side, and kills the others if one fails. The module [`net`] has servers, clients, pings and
//! sniffers for tests of a network.
//!
//! # Files
//!
//! [`put`](Target::put) and [`get`](Target::get) copy files and folders, and transfer only content that has changed.
//! [`write`](Target::write), [`cat`](Target::cat) and [`read`](Target::read) write and read the content of a file.
//! [`exists`](Target::exists), [`metadata`](Target::metadata), [`read_dir`](Target::read_dir),
//! [`create_dir_all`](Target::create_dir_all), [`remove_file`](Target::remove_file) and others are named as in [`std::fs`].
//!
//! ```
//! # target_fixtures::__private::example(|target| {
//! let folder = target.temp_dir()?; // removed when dropped
//! let there = folder.path();
//! target.write(folder.join("app.conf"), "level = 3\n")?;
//! let here = std::env::temp_dir().join(format!("example-{}", std::process::id()));
//! target.get(there, &here)?;
//! assert_eq!(std::fs::read_to_string(here.join("app.conf"))?, "level = 3\n");
//! std::fs::write(here.join("app.conf"), "level = 4\n")?;
//! target.put(&here, there)?;
//! assert_eq!(target.cat(format!("{there}/app.conf"))?, "level = 4");
//! # std::fs::remove_dir_all(here)?;
//! # Ok(()) });
//! ```
//!
//! # The machine
//!
//! ```
//! # use std::time::Duration;
//! # target_fixtures::__private::example(|target| {
//! target.ping()?;
//! let facts = target.facts()?;
//! println!("{} on {}, up for {:?}", facts.kernel, facts.arch, facts.uptime);
//! assert_eq!(target.user_named("root")?.map(|root| root.uid), Some(0));
//! assert!(target.file("/etc/passwd")?.is_some_and(|file| file.size > 0));
//! target.wait_for_command("test -e /etc/passwd", Duration::from_secs(5))?;
//! # Ok(()) });
//! ```
//!
//! [`wait_until`] waits for a value of any kind, [`retry`] repeats a function that may fail, and
//! [`service`](Target::service) starts, stops and looks at a service.
//!
//! [`install`](Target::install), [`reboot`](Target::reboot), [`restart`](Target::restart) and
//! [`console`](Target::console), which reads and writes a serial console, work on platforms that support them. [`forward`](Target::forward) and
//! [`forward_back`](Target::forward_back) forward TCP ports, [`forward_socket`](Target::forward_socket) Unix sockets, and [`reach_from`](Target::reach_from) leads from one instance
//! to another.
//!
//! A machine that panics, reboots or shuts down under a test fails the test, with verdict `crash`, unless it did so in
//! `reboot`, `restart`, or in [`expect_crash`](Target::expect_crash), for tests that crash their machine on purpose.
//!
//! # Fixtures
//!
//! A fixture is a function that creates a value for tests. A test requests the value by a parameter with the fixture's
//! name; a fixture can request other fixtures. The `scope` is the lifetime of the value: one for each `"test"` (the
//! default), one for each `"instance"`, or one for the `"run"`, shared by all test processes. `tear_down` names the
//! function that ends the value.
//!
//! ```no_run
//! use serde::{Deserialize, Serialize};
//! use target_fixtures::prelude::*;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Db {
//!     port: u16,
//! }
//!
//! /// A database, started once on each instance.
//! #[target_fixture(scope = "instance", tear_down = stop)]
//! fn db(target: &Target) -> Result<Db> {
//!     target.sudo("systemctl start postgresql")?;
//!     target.wait_for_port(5432, std::time::Duration::from_secs(30))?;
//!     Ok(Db { port: 5432 })
//! }
//!
//! fn stop(target: &Target, _db: &Db) -> Result<()> {
//!     target.sudo("systemctl stop postgresql")?;
//!     Ok(())
//! }
//!
//! /// A table for one test, dropped afterwards even if the test fails.
//! #[target_fixture(tear_down = drop_table)]
//! fn table(target: &Target, db: &Db) -> Result<String> {
//!     target.run(format!("psql -p {} -c 'create table t (n int)'", db.port))?;
//!     Ok("t".to_owned())
//! }
//!
//! fn drop_table(target: &Target, table: &str) -> Result<()> {
//!     target.run(format!("psql -c 'drop table {table}'"))?;
//!     Ok(())
//! }
//!
//! #[target_test]
//! fn inserts(target: &Target, table: &str) -> Result<()> {
//!     target.run(format!("psql -c 'insert into {table} values (1)'"))?;
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! Fixtures are torn down in reverse order, also after a panic. If a test is killed or times out, or if tests share a
//! value, the broker stores the value and has it torn down in another process of the same test binary. Such a value
//! must implement `Serialize` and `Deserialize` of the crate `serde`, a dependency of your tests.
//!
//! - A fixture of the run takes no target, and its tear-down gets only the value.
//! - A fixture of an instance is torn down when no further test needs the instance, or before the instance is recycled.
//! - A tear-down that fails makes the instance dirty: no other test gets it.
//! - The time of fixtures is reported separately from the time of the test, but counts towards its `timeout`.
//! - A failed set-up fails the tests that need the fixture, and is not retried. A set-up that [skips](fn@skip) skips
//!   them.
//! - If a test has several instances, its fixtures use the first. The fixture of a test with `roles` can take `env: &Environment`
//!   instead, as its tear-down then does; one `"instance"` is then the environment.
//! - A run is the lifetime of one broker: the parts of `--partitions N` share it, and each shard of `--partition` has its own. Without
//!   `cargo target-test`, the run ends 10 s after the last test.
//!
//! # Tests that run on the target
//!
//! With `runs_on = "target"`, the test process runs on the target itself (on the first, if it leases several): `std` works on
//! that machine, and a `Target` works as on the host. `put`, `get`, forwarded ports, a reboot of the machine of the test, and
//! fixtures of an instance or a run are errors there. The book of `cargo-target-test` has all about it. Under plain `cargo test`
//! such a test runs on the host.
//!
//! ```no_run
//! use target_fixtures::prelude::*;
//!
//! #[target_test(runs_on = "target")]
//! fn is_on_its_target(target: &Target) -> Result<()> {
//!     std::fs::write("/tmp/by-std", "one")?;
//!     assert_eq!(target.cat("/tmp/by-std")?, "one");
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! # Artifacts
//!
//! `collect` names files, folders and commands of the instances; a target of the playbook can have the same key. After
//! an attempt that failed, `cargo target-test` copies them into a folder of its own below `target/target-test/RUN/output`,
//! which the failure's output names, together with the end of the console on platforms that have one. At most 64 MiB and
//! 25 s are spent per instance. `collected.txt` in the folder says what was taken and what could not be taken.
//!
//! ```no_run
//! use target_fixtures::prelude::*;
//!
//! #[target_test(collect = ["/var/log/app", command("journalctl -b -u app")])]
//! fn restarts(target: &Target) -> Result<()> {
//!     target.service("app").restart()?;
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! # Subtests
//!
//! [`subtest`] gives a part of a test a result of its own, and goes on after a failure; [`tap`] does so for each result of a
//! program that writes TAP or KTAP. The test fails at its end if a subtest failed. Reports show every subtest, and count
//! the test once.
//!
//! ```
//! use target_fixtures::prelude::*;
//!
//! #[target_test]
//! fn tools(target: &Target) -> Result<()> {
//!     for tool in ["sh", "ls", "tail"] {
//!         subtest(tool, || {
//!             target.command("command -v \"$1\"").arg(tool).run()?;
//!             Ok(())
//!         });
//!     }
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! # Metrics
//!
//! [`metric`](Target::metric) records a number that the test measured. The result can be compared with the median of
//! the last ten runs that passed this test on this target:
//!
//! ```no_run
//! # use target_fixtures::prelude::*;
//! #[target_test]
//! fn boots_fast(target: &Target) -> Result<()> {
//!     let seconds = target.run("cut -d ' ' -f 1 /proc/uptime")?.stdout.trim().parse()?;
//!     target.metric("boot", seconds, "s")?.at_most_within(0.10)?;
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! [`previous`](Target::previous) and [`previous_durations`](Target::previous_durations) return what earlier runs
//! recorded. [`metric()`](metric()), [`previous()`](previous()) and [`previous_durations()`](previous_durations()) do
//! without a target.
//!
//! # Errors and skips
//!
//! `?` converts any error. The methods of [`Target`] return a [`TargetError`] with a [`kind`](TargetError::kind). A
//! command that does not exit with 0 is an error, which shows the last lines of its output. A failed test shows where
//! in the test the error came up; helpers of tests that return `anyhow::Result` best return `Result<T, TargetError>`. A test skips itself by
//! returning [`skip`](fn@skip):
//!
//! ```no_run
//! # use target_fixtures::prelude::*;
//! #[target_test]
//! fn nested(target: &Target) -> Result<()> {
//!     if !target.has_feature("nested-virt") {
//!         return Err(skip("needs nested virtualisation"));
//!     }
//!     let probe = target.command("systemd-detect-virt").allow_failure().run()?;
//!     assert_eq!(probe.stdout.trim(), "kvm");
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! [`skip!`](macro@skip) skips the test from any function, and [`expect_fail`] marks the test as expected to fail at
//! run time.
//!
//! An instance that is unavailable or lost is an error of kind [`Infra`](ErrorKind::Infra). `cargo target-test` counts
//! such a case as `infra`, not as a test failure.

#![forbid(unsafe_code)]

extern crate self as target_fixtures;

mod client;
pub mod env;
mod environment;
mod error;
mod fixture;
mod harness;
mod lease;
pub mod metadata;
mod metric;
pub mod net;
mod network;
pub mod orchestration;
pub mod platform;
pub mod requirement;
mod subtest;
mod target;
mod variant;
mod verdict;
mod wait;
pub mod wire;

/// Sets default arguments for the tests of this module and of its submodules.
///
/// Accepts the arguments of [`target_test`](macro@target_test) except `count` and `roles`. The arguments of a test
/// override the defaults. See the [guide](crate#arguments).
pub use target_fixtures_macros::target_defaults;
/// Turns a function into a test that runs on a target. See the [guide](crate#forms-of-a-test).
pub use target_fixtures_macros::target_test;

/// Turns a function into a fixture. See the [guide](crate#fixtures).
pub use target_fixtures_macros::target_fixture;

/// Turns a function into an event of orchestrations. See [`orchestration`](mod@orchestration).
pub use target_fixtures_macros::target_event;

/// Names the test that runs the orchestration with this name: `orchestration!("my_test", area = "perf");`.
///
/// Accepts the arguments of [`target_test`](macro@target_test) except `timeout`, which follows from the description, and
/// `runs_on`. The test is `#[ignore]`d: `cargo target-test --run-orch my_test` runs it. See
/// [`orchestration`](mod@orchestration).
pub use target_fixtures_macros::orchestration;

pub use self::{
    environment::Environment,
    error::{Error, ErrorKind, Result, TargetError, skip},
    metric::{Metric, PreviousDuration, PreviousMetric, metric, previous, previous_durations},
    network::Network,
    subtest::{subtest, tap},
    target::{
        ActiveFault, Command, Console, Facts, Faults, File, FileKind, Forward, Line, Output,
        Process, ProcessInput, Service, ServiceState, Target, TempDir, User, parallel,
    },
    variant::{Variant, variant},
    verdict::{expect_error, expect_fail},
    wait::{Retry, retry, wait_until},
    wire::{Exit, Stream},
};

/// The common items of a test file: `use target_fixtures::prelude::*;`.
pub mod prelude {
    pub use std::time::Duration;

    pub use crate::{
        Environment, Error, Exit, Result, Retry, Target, TargetError,
        orchestration::{
            KillSwitch, ReportQueue, Reporter, kill_switch, report_queue, result_reporter,
        },
        retry, skip, subtest, target_defaults, target_event, target_fixture, target_test,
        wait_until,
    };
    pub use target_fixtures_macros::orchestration;
}

#[doc(hidden)]
pub mod __private {
    //! Items for generated code only.
    pub use crate::{
        fixture::{
            Fixture, FixtureFailure, FixtureState, Fixtures, Of, Registered, Scope, all_typed,
            load, save, torn, typed,
        },
        harness::*,
        orchestration::{EVENTS, EventParams, FIXTURES, Registration, TargetEvent},
        target::{cause_for, machine_of},
        verdict::{TestEnd, skip_now},
    };
}
