//! The engine of `cargo target-test`, as a library for other test tools.
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
//! | [`inventory`] | nextest's list of tests | [`Inventory`](inventory::Inventory): tests and their declarations |
//! | [`plan`] | playbook and inventory | [`Plan`](plan::Plan): cases, and a reason for each excluded pair; no I/O |
//! | [`connect`] | an address ([`Reach`](connect::Reach)) | a [`Transport`](connect::Transport): commands and files |
//! | [`provision`] | targets that cases need | instances, recorded in a [`Pool`](provision::pool::Pool) |
//! | [`execute`] | cases and instances | outcomes; one nextest run, a [`Broker`](execute::broker::Broker) that leases instances |
//! | [`aggregate`] | outcomes | the summary and the exit code |
//! | [`commands`] | a parsed command line ([`cli`]) | one verb, built from the modules above |
//!
//! # Building blocks
//!
//! - [`Platform`](provision::platform::Platform): a way of creating instances. Adding a platform takes one file and one
//!   line in [`platform::all`](provision::platform::all).
//! - [`Provisioner`](provision::Provisioner): deploys, leases and deletes instances of a pool, which other processes
//!   may use at the same time.
//! - [`Transport`](connect::Transport): runs commands on an instance over any protocol.
//!   [`connect`](connect::connect) needs neither a pool nor a provisioner, so it also works with existing machines:
//!
//! ```
//! use cargo_target_test::{connect::{self, Event}, connect::Reach};
//! use target_fixtures::wire::{Command, Exit};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let here = Reach::Local { directory: std::env::temp_dir(), env: Default::default(), inherit: None, user: None };
//! let machine = connect::connect("here", &here);
//! let command = Command { line: "uname -s; exit 3".to_owned(), ..Command::default() };
//! let mut running = machine.exec(&command, "my-lease", None);
//! while let Some(event) = running.events.recv().await {
//!     match event {
//!         Event::Output(_, bytes) => assert!(!bytes.is_empty()),
//!         Event::Exited(exit) => assert_eq!(exit, Exit::Code(3)),
//!         Event::Lost(error) => return Err(error),
//!     }
//! }
//! # Ok(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Executor, aggregator and orchestrator are not traits yet; see [`execute::session`], [`aggregate`] and
//! [`commands::run`]. Before 1.0 the library may change in any release. The flags, exit codes and JSON output of the
//! command are stable.

pub mod aggregate;
pub mod case;
pub mod cli;
pub mod commands;
pub mod connect;
pub mod error;
pub mod execute;
pub mod failpoint;
pub mod inventory;
pub mod plan;
pub mod playbook;
pub mod process;
pub mod provision;
pub mod run;
pub mod run_event;
pub mod secret;
pub mod ui;

pub use error::{Error, ErrorKind, Result};
