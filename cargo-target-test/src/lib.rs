//! The engine of `cargo target-test`, as a library for other test tools. Users of the command read the [book].
//!
//! The command is this library with a command line. `commands::run` shows a complete run in one function; each of its
//! steps can be used separately.
//!
//! Data flows one way, and a module uses only the modules above it in this table:
//!
//! | module | input | output |
//! |---|---|---|
//! | [`case`] | | [`CaseInfo`](case::CaseInfo), reasons, verdicts and exit codes; no I/O |
//! | [`run_event`] | | [`RunEvent`](run_event::RunEvent): the events of a run, as data; no I/O |
//! | [`playbook`] | a TOML file | [`Playbook`](playbook::Playbook): the resolved targets |
//! | `inventory` | nextest's list of tests | tests and their declarations |
//! | [`plan`] | playbook and inventory | [`Plan`](plan::Plan): cases, and a reason for each excluded pair; no I/O |
//! | [`connect`] | an address ([`Reach`](connect::Reach)) | a [`Transport`](connect::Transport): commands and files |
//! | [`provision`] | a [`Request`](provision::Request) for machines | a [`Lease`](provision::Lease) of them, from a [`Pool`](provision::pool::Pool) on disk |
//! | [`execute`] | cases and leases | results of attempts, and run events |
//! | [`aggregate`] | run events | the summary, JUnit, the feed, and the counts that the exit code is made from |
//! | [`orchestrate`] | cases, a provisioner, an executor | a [`RunResult`](orchestrate::RunResult), and the events of the run |
//! | `run`, `commands` | a command line (`cli`) | all of the above, in one run |
//! | [`tool`] | platforms | a program with a command line, [`Tool`] |
//!
//! # Building blocks
//!
//! - [`Provisioner`](provision::Provisioner): answers one call,
//!   [`acquire`](provision::Provisioner::acquire). [`PoolProvisioner`](provision::PoolProvisioner) deploys what is
//!   missing and shares a pool with all other processes of the machine; [`Existing`](provision::Existing) leases what is
//!   in the pool; [`Wrapped`](provision::Wrapped) leases machines that you already have.
//! - [`Machine`](provision::Machine): runs commands, copies files, reboots; [`Machine::wrap`](provision::Machine::wrap)
//!   needs no pool and no playbook.
//! - [`Platform`](provision::platform::Platform): a way of creating instances. [`Tool::platform`] adds one to a
//!   program of your own, [`Tool::aggregator`] a report; `examples/platform` is a crate to copy.
//! - [`Transport`](connect::Transport): runs commands on an instance, whatever the protocol.
//!
//! ```
//! use cargo_target_test::{
//!     connect::Reach,
//!     provision::{LeaseEnd, Machine, Provisioner, Request, Wrapped},
//! };
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let here = Reach::local(std::env::temp_dir());
//! let provisioner = Wrapped::new([Machine::wrap("here", &here)]);
//! let lease = provisioner.acquire(Request::one("here")).await?;
//! let ended = lease.machines()[0].run("uname -s").await?;
//! assert!(!ended.success("uname")?.stdout.is_empty());
//! lease.end(LeaseEnd::Done).await;
//! # Ok::<(), cargo_target_test::Error>(())
//! # })?;
//! # Ok::<(), cargo_target_test::Error>(())
//! ```
//!
//! - [`Executor`](execute::Executor): runs one case on one lease. [`ShellTests`](execute::ShellTests) runs command lines
//!   and the files of folders, [`OnTarget`](execute::OnTarget) test binaries.
//! - [`Aggregator`](aggregate::Aggregator): consumes the [`RunEvent`](run_event::RunEvent)s of a run as they happen.
//! - [`Orchestrator`](orchestrate::Orchestrator): runs many cases. [`Pull`](orchestrate::Pull) gives the next case to
//!   whatever machine is free.
//!
//! `examples/adhoc` is a script made of all of these. Before 1.0 the library may change with the command; its command line,
//! exit codes and JSON output are kept stable.

pub mod aggregate;
#[cfg(any(doc, doctest))]
pub mod book;
mod bounded;
pub mod case;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod commands;
pub mod connect;
#[cfg(feature = "contract")]
pub mod contract;
mod digest;
pub mod error;
pub mod execute;
#[doc(hidden)]
pub mod failpoint;
#[doc(hidden)]
pub mod inventory;
pub mod orchestrate;
pub mod plan;
pub mod playbook;
#[doc(hidden)]
pub mod process;
pub mod provision;
#[doc(hidden)]
pub mod run;
pub mod run_event;
#[doc(hidden)]
pub mod secret;
pub(crate) mod sync;
pub mod tool;
#[doc(hidden)]
pub mod ui;

pub use error::{Error, ErrorKind, Result};
pub use tool::Tool;
/// The crates whose traits a platform's parameters implement, in the versions that this crate uses.
pub use {schemars, serde, serde_json};
