//! Runs cases on instances through nextest.

pub mod broker;
pub mod nextest;
pub mod run_folder;
pub mod runner;
pub mod session;

use std::path::{Path, PathBuf};

/// Returns the file of one stream of an attempt's output: `stdout` or `stderr`.
pub(crate) fn output_file(output: &Path, stream: &str) -> PathBuf {
    let mut path = output.as_os_str().to_owned();
    path.push(".");
    path.push(stream);
    path.into()
}
