//! Runs cases on instances through nextest.

pub mod broker;
mod check_events;
pub mod clean_up;
mod executor;
mod health;
mod host_process;
pub mod nextest;
mod on_target;
pub mod programs;
pub mod run_folder;
pub mod runner;
mod shell_executor;

use std::path::{Path, PathBuf};

pub use check_events::invalid_events;
pub use executor::{Executor, Launch, Launcher, LocalLauncher, ProcessEnd};
pub use host_process::HostProcess;
pub use on_target::{OnTarget, TestPackage, TestPackages};
pub use shell_executor::ShellTests;

/// Returns the path of one part of an attempt's output: `stdout`, `stderr`, `log` or `artifacts`.
pub(crate) fn output_file(output: &Path, stream: &str) -> PathBuf {
    let mut path = output.as_os_str().to_owned();
    path.push(".");
    path.push(stream);
    path.into()
}

/// Returns a text as part of a path: at most 120 letters, without those that a shell or a path treats specially.
pub(crate) fn plain_name(text: &str) -> String {
    let plain = |letter: char| match letter {
        letter if letter.is_ascii_alphanumeric() => letter,
        '.' | '_' | '-' | '[' | ']' | '#' => letter,
        _ => '-',
    };
    text.chars().map(plain).take(120).collect()
}
