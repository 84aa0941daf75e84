//! A crate that knows nothing of `cargo target-test`, and whose tests it multiplies all the same.
//!
//! ```text
//! cargo target-test -p untouched --playbook lab.toml
//! ```
//!
//! Since no test of the crate carries `#[target_test]`, each of its tests runs on every target, and
//! finds the target in its environment.

pub mod address;
pub mod query;
