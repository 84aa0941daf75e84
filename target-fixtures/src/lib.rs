//! What a test of `cargo target-test` depends on: [`target_test`](macro@target_test) and [`Target`].
//!
//! Owns the author's guide and what is public. Must not know how anything is done.
//!
//! ```toml
//! [dev-dependencies]
//! target-fixtures = "0.1"
//! ```
//!
//! ```no_run
//! use target_fixtures::prelude::*;
//!
//! /// The machine answers and runs the kernel we ship.
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
//! `cargo target-test` runs it on every target of the playbook that fits, each time on an instance that
//! it leased for this test alone. It is an ordinary `#[test]` as well: `cargo test`, `cargo nextest run`
//! and the run button of an editor work, on the first target that fits or the one that
//! `TARGET_TEST_TARGET` names; the installed `cargo-target-test` then serves it in the background.
//!
//! # Forms of a test
//!
//! | parameter | the test runs |
//! |---|---|
//! | `target: &Target` | on one instance |
//! | `targets: &[Target]` | on as many instances of one target as `count = n` says |
//! | `target: &Qemu`, or another of [`platform`] | on one instance of that platform, with what only it has |
//! | `db: &Db` | with a [fixture](#fixtures)'s value; the parameter has the fixture's name |
//! | none | on one instance, which it finds in the [environment](crate::env); only under `cargo target-test` |
//!
//! It returns what any test may: nothing, [`Result`], `anyhow::Result`, an `ExitCode`. A [`Target`] can be
//! used from many threads at once. With feature `tokio` a test may be an `async fn`. `#[ignore]`, `#[should_panic]` and other attributes keep working. With
//! `#[rstest]` or `#[test_case]`, `#[target_test]` comes first:
//!
//! ```ignore
//! #[target_test(area = "net")]
//! #[rstest]
//! #[case(1500)]
//! #[case(9000)]
//! fn frames(target: &Target, #[case] mtu: u32) -> Result<()> { ... }
//! ```
//!
//! # Arguments
//!
//! All are optional and checked by the compiler.
//!
//! | argument | meaning |
//! |---|---|
//! | `platform = "ssh"` | only targets of this platform |
//! | `targets = ["debian*"]` | only targets with one of these names |
//! | `category = "functional"` | `functional`, `performance`, `stress`, `community`, `longhaul`, or one of your own |
//! | `area = "net"` | the area under test |
//! | `priority = 0` | 0 (most important) to 4 |
//! | `tags = ["slow"]` | free words |
//! | `owner = "net team"` | who answers for the test |
//! | `features = ["nested-virt"]` | features that the target must have |
//! | `memory`, `cores`, `disk`, `nics`, `gpu`, `arch`, `os`, `kernel` `= ">= 2"` | [requirements](requirement) on the target's capabilities: `">= 2, < 8"`, `"x86_64 \| aarch64"` |
//! | `requires("cpu.model" = "~ EPYC")` | requirements on any other capability |
//! | `reuse = false` | no other test gets the instance afterwards: it is made anew |
//! | `reuse = "snapshot"` | the instance is put back to how it was before its first test, where the platform can do that quickly; else as `false` |
//! | `any = true` | one target is enough, whichever fits: `--prefer` says which |
//! | `retry_on = "fresh"` | after a failed attempt the next one gets an instance that no test has used |
//! | `count = 2` | how many instances of one target the test needs |
//! | `timeout = "30s"` | how long it may take, counted from the lease |
//! | `retries = 2` | how often nextest tries again |
//! | `skip("reason")` | it is not run; also `skip = "reason"` |
//! | `expect_fail("reason")` | it is expected to fail |
//!
//! `skip` and `expect_fail` may be limited, and repeated: `skip("no IPv6", platform = "azure")`; `target = ".."`
//! and `feature = ".."` limit too, and where several are given, all must hold. The doc comment is
//! recorded with the arguments. [`target_defaults!`] gives all tests of a module, and of those below it,
//! arguments that they need not repeat:
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
//! [`run`](Target::run) takes a line for the instance's shell, [`program`](Target::program) and
//! [`command`](Target::command) take arguments that arrive as they are. What is run, and what it prints, is shown in
//! the test's log while it runs. [`spawn`](Command::spawn) runs a command beside the test:
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
//! # Files
//!
//! [`put`](Target::put) and [`get`](Target::get) take files and folders, and send only what is not there already;
//! [`write`](Target::write), [`cat`](Target::cat) and [`read`](Target::read) take contents.
//!
//! ```
//! # target_fixtures::__private::example(|target| {
//! let there = target.run("mktemp -d")?.stdout.trim().to_owned();
//! target.write(format!("{there}/app.conf"), "level = 3\n")?;
//! let here = std::env::temp_dir().join(format!("example-{}", std::process::id()));
//! target.get(&there, &here)?;
//! assert_eq!(std::fs::read_to_string(here.join("app.conf"))?, "level = 3\n");
//! std::fs::write(here.join("app.conf"), "level = 4\n")?;
//! target.put(&here, &there)?;
//! assert_eq!(target.cat(format!("{there}/app.conf"))?, "level = 4\n");
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
//! [`install`](Target::install), [`reboot`](Target::reboot), [`restart`](Target::restart) and
//! [`console`](Target::console) do what they say, where the platform can; [`forward`](Target::forward) and
//! [`forward_back`](Target::forward_back) join TCP ports of both sides.
//!
//! # Fixtures
//!
//! A fixture is a function that makes a value for tests, which name it as a parameter; a fixture may take others. Its
//! `scope` says how often it is made: for each `"test"` (the default), once for each `"instance"`, or once in a
//! `"run"`, whatever process its tests run in. `tear_down` names the function that ends it.
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
//! /// A table of this test's own; gone afterwards, whatever becomes of the test.
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
//! Fixtures are torn down in reverse order, also after a panic. Where a test is killed or runs out of time, and where tests
//! share a value, the broker keeps it and has it torn down in another process of the same test binary: such a
//! value is `Serialize` and `Deserialize` (crate `serde`, a dependency of your tests). One of the run takes no target, and
//! its tear-down gets the value alone; one of an instance ends when no test needs the instance, or it is to be
//! made anew. A tear-down that fails makes the instance dirty: no other test gets it. The time that fixtures take
//! is told apart from the test's, but counts for its `timeout`. A set-up that fails fails the tests that need it, and is tried once;
//! one that [skips](fn@skip) skips them. Of a test on several targets, its fixtures are on the first. A run is what one
//! broker serves: each part of `--partitions` is one, and without `cargo target-test` it lasts until 10 s after the last test.
//!
//! # Errors and skips
//!
//! `?` takes any error. What [`Target`]'s methods return is a [`TargetError`] with a [`kind`](TargetError::kind);
//! a command that does not exit with 0 is one, and shows the last lines it printed. A test skips
//! itself by returning [`skip`](fn@skip):
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
//! [`skip!`](macro@skip) skips from anywhere, and [`expect_fail`] says at run time that a failure is expected.
//!
//! An instance that cannot be had or is lost is an error of kind [`Infra`](ErrorKind::Infra): `cargo target-test`
//! counts it as `infra`, not as a failure of the test.

#![forbid(unsafe_code)]

extern crate self as target_fixtures;

mod client;
pub mod env;
mod error;
mod fixture;
mod harness;
mod lease;
pub mod metadata;
pub mod platform;
pub mod requirement;
mod target;
mod verdict;
pub mod wire;

/// Gives the tests of this module, and of the modules below it, defaults.
///
/// Takes the arguments of [`target_test`](macro@target_test) except `count` and `roles`; what a test says
/// itself wins over them. See the [guide](crate#arguments).
pub use target_fixtures_macros::target_defaults;
/// Makes a function a test that runs on a target. See the [guide](crate#forms-of-a-test).
pub use target_fixtures_macros::target_test;

/// Makes a function a fixture. See the [guide](crate#fixtures).
pub use target_fixtures_macros::target_fixture;

pub use self::{
    error::{Error, ErrorKind, Result, TargetError, skip},
    target::{
        Command, Facts, File, FileKind, Forward, Line, Output, Process, ProcessInput, Service,
        Target, User,
    },
    verdict::expect_fail,
    wire::{Exit, Stream},
};

/// What a test file needs: `use target_fixtures::prelude::*;`.
pub mod prelude {
    pub use crate::{Error, Result, Target, skip, target_defaults, target_fixture, target_test};
}

#[doc(hidden)]
pub mod __private {
    //! For generated code alone.
    pub use crate::{
        fixture::{
            Failure, Fixture, Fixtures, Of, Registered, Scope, State, all_typed, load, save, torn,
            typed,
        },
        harness::*,
        verdict::{TestEnd, skip_now},
    };
}
