//! Every test on every target: two targets of two machines each, reached by SSH. See `tests/matrix.rs`.
//!
//! ```text
//! examples/matrix/up                                                       # four sshd on loopback
//! cargo target-test -p matrix --playbook target/matrix/playbook.toml
//! examples/matrix/up --down
//! ```
