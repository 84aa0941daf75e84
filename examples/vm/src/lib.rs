//! Every test on a machine of its own, which is made for it and deleted after it. See `tests/vm.rs`.
//!
//! ```text
//! examples/vm/build                                                    # a kernel and a user space, in seconds
//! cargo target-test -p vm --playbook examples/vm/target-test.toml
//! ```
