//! The smallest crate whose tests run on a target: see `tests/hello.rs`.
//!
//! ```text
//! cargo target-test -p hello                        # on the default target, this machine
//! cargo target-test -p hello --playbook lab.toml    # on the targets of a playbook
//! cargo test -p hello                               # works too
//! ```

/// The file that the test installs on a machine.
pub const MOTD: &str = include_str!("../motd");
