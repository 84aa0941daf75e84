//! Every environment variable of the pair, in one place.
//!
//! Owns the names. Must not read them: each reader does, where it can say what a bad value is.

/// The playbook to use; like `--playbook`.
pub const PLAYBOOK: &str = "TARGET_TEST_PLAYBOOK";
/// The pool's folder; like `--pool`.
pub const POOL: &str = "TARGET_TEST_POOL";
/// Without a parent: the target (or instance) that tests run on.
pub const TARGET: &str = "TARGET_TEST_TARGET";
/// Without a parent: `1` keeps the instances when the broker goes.
pub const KEEP: &str = "TARGET_TEST_KEEP";
/// Without a parent: the tool to start as the broker. Without it, the `tool` of `[workspace.metadata.target-test]`, else
/// `cargo-target-test`.
pub const TOOL: &str = "TARGET_TEST_TOOL";

/// In a broker without a parent: the folder of the pool that it serves.
pub const SERVES: &str = "TARGET_TEST_SERVES";

/// In a case: the broker's socket.
pub const BROKER: &str = "TARGET_TEST_BROKER";
/// In a case, and in everything it starts anywhere: the lease.
pub const LEASE: &str = "TARGET_TEST_LEASE";
/// In a case: the test that the lease is for (`hello::smoke`, without its target), so that a test started
/// by that test is not taken for it.
pub const LEASED_TEST: &str = "TARGET_TEST_LEASED_TEST";
/// In a case: the test binary's file name, since binaries of two crates may have tests of one name.
pub const LEASED_BINARY: &str = "TARGET_TEST_LEASED_BINARY";
/// In a process of a test binary that is to tear a fixture down instead of running its test: `1`. What, comes by standard
/// input.
pub const TEAR_DOWN: &str = "TARGET_TEST_TEAR_DOWN";
/// In a case whose instances stay when it fails, for somebody to look at: `1`. Then its fixtures stay too, until the
/// broker tears them down.
pub const STAYS: &str = "TARGET_TEST_STAYS";
/// In a case: the target's name.
pub const NAME: &str = "TARGET_TEST_NAME";
/// In a case: the instance's name; several are separated by spaces.
pub const INSTANCE: &str = "TARGET_TEST_INSTANCE";
/// In a case: the (first) instance's host.
pub const HOST: &str = "TARGET_TEST_HOST";
/// In a case: the (first) instance's SSH port, where it has one.
pub const PORT: &str = "TARGET_TEST_PORT";
/// In a case: the (first) instance's login name, where it is known.
pub const USER: &str = "TARGET_TEST_USER";
/// In a case: the platform's name.
pub const PLATFORM: &str = "TARGET_TEST_PLATFORM";
/// In a case: the target's parameters, a JSON object.
pub const PARAMS: &str = "TARGET_TEST_PARAMS";
/// In a case: a file for `ssh -F`, in which every instance of the lease is a host.
pub const SSH_CONFIG: &str = "TARGET_TEST_SSH_CONFIG";

/// For this project's tests, in debug builds only: the fault point to die at.
pub const FAULT: &str = "TARGET_TEST_FAULT";
