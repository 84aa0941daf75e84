//! The engine of `cargo target-test`, for people who write their own.
//!
//! Owns the list of rooms. The command is this library with a command line: `commands::run` is the whole
//! story in one function, and every step of it can be taken alone.
//!
//! Data flows one way, and a room uses only the rooms before it:
//!
//! | room | takes | gives |
//! |---|---|---|
//! | [`case`] | | [`CaseInfo`](case::CaseInfo), reasons, verdicts and exit codes; no I/O |
//! | [`run_event`] | | [`RunEvent`](run_event::RunEvent): what happens in a run, as data; no I/O |
//! | [`playbook`] | a TOML file | [`Playbook`](playbook::Playbook): targets as they are meant |
//! | [`inventory`] | nextest's list of tests | [`Inventory`](inventory::Inventory): tests and what they declare |
//! | [`plan`] | both | [`Plan`](plan::Plan): cases, and for each pair left out its reason; no I/O |
//! | [`connect`] | an address ([`Reach`](connect::Reach)) | a [`Transport`](connect::Transport): commands and files |
//! | [`provision`] | targets that cases need | instances, with their account in a [`Pool`](provision::pool::Pool) |
//! | [`execute`] | cases and instances | run events; one nextest run, a [`Broker`](execute::broker::Broker) that lends instances |
//! | [`aggregate`] | run events | the summary, JUnit, the feed, what the exit code is made from |
//! | [`commands`] | a parsed command line ([`cli`]) | all of the above, strung together |
//!
//! # Building blocks
//!
//! - [`Platform`](provision::platform::Platform): a way of making instances. One file and one line in
//!   [`platform::all`](provision::platform::all) add one.
//! - [`Provisioner`](provision::Provisioner): gets, keeps and deletes instances in a pool, together with all
//!   other processes that use the pool.
//! - [`Transport`](connect::Transport): runs commands on an instance, whatever the protocol.
//!   [`connect`](connect::connect) wants no pool and no provisioner, so a machine that you already
//!   have will do:
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
//! - [`Aggregator`](aggregate::Aggregator): consumes the [`RunEvent`](run_event::RunEvent)s of a run as they happen.
//!
//! Executor and orchestrator are no traits yet: they are [`execute::session`] and [`commands::run`]. Before 1.0 the library
//! changes with the command, whose words, exit codes and JSON are what is kept stable.

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
pub mod run_event;
pub mod secret;
pub mod ui;

pub use error::{Error, ErrorKind, Result};
