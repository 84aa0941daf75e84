//! Runs cases on instances through nextest.

pub mod broker;
pub mod clean_up;
mod executor;
mod host_process;
pub mod nextest;
pub mod programs;
pub mod run_folder;
pub mod runner;
mod shell_executor;

use std::path::{Path, PathBuf};

pub use executor::{Executor, Launch, Launcher, LocalLauncher, ProcessEnd};
pub use host_process::HostProcess;
pub use shell_executor::ShellTests;

/// Returns the file of one stream of an attempt's output: `stdout` or `stderr`.
pub(crate) fn output_file(output: &Path, stream: &str) -> PathBuf {
    let mut path = output.as_os_str().to_owned();
    path.push(".");
    path.push(stream);
    path.into()
}
