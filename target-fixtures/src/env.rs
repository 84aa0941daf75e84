//! The names of the environment variables that `cargo target-test` and tests share.

// Must not read them: each reader does, and reports invalid values.

/// The path of the playbook, like `--playbook`.
pub const PLAYBOOK: &str = "TARGET_TEST_PLAYBOOK";
/// The folder of the pool, like `--pool`.
pub const POOL: &str = "TARGET_TEST_POOL";
/// The time limit of tests that declare none, like `--timeout`.
pub const TIMEOUT: &str = "TARGET_TEST_TIMEOUT";
/// For tests started without `cargo target-test`: the target or instance to run on.
pub const TARGET: &str = "TARGET_TEST_TARGET";
/// For tests started without `cargo target-test`: `1` keeps the instances when the broker exits.
pub const KEEP: &str = "TARGET_TEST_KEEP";
/// Without a parent: the tool to start as the broker. Without it, the `tool` of `[workspace.metadata.target-test]`, else
/// `cargo-target-test`.
pub const TOOL: &str = "TARGET_TEST_TOOL";

/// In a broker without a parent: the folder of the pool that it serves.
pub const SERVES: &str = "TARGET_TEST_SERVES";

/// Set for a case: the socket of the broker. On a target: the folder of the named pipes that lead to it.
pub const BROKER: &str = "TARGET_TEST_BROKER";
/// Set for a case, and for its processes on instances: the lease.
pub const LEASE: &str = "TARGET_TEST_LEASE";
/// Set for a case: the lease, by a name that `ssh` may pass on: many servers accept `LC_*`.
pub const SSH_LEASE: &str = "LC_TARGET_TEST_LEASE";
/// Set for a case: the test that holds the lease (`hello::smoke`, without the target). A test started by this test does
/// not use the lease.
pub const LEASED_TEST: &str = "TARGET_TEST_LEASED_TEST";
/// Set for a test on the host: its attempt, under which it records metrics.
pub const ATTEMPT: &str = "TARGET_TEST_ATTEMPT";
/// Set for a case and for a test on the host: the file name of the test binary, since binaries of two crates can contain tests with the same name.
pub const LEASED_BINARY: &str = "TARGET_TEST_LEASED_BINARY";
/// Set to `1` for a process of a test binary that tears down a fixture instead of running a test. The fixture is
/// described on standard input.
pub const TEAR_DOWN: &str = "TARGET_TEST_TEAR_DOWN";
/// Set to `1` for a process of a test binary that checks the arguments of an orchestration's events instead of running it.
/// The plan is on standard input.
pub const CHECK_EVENTS: &str = "TARGET_TEST_CHECK_EVENTS";
/// Set to `1` for a case whose instances are kept for examination if the case fails. Its fixtures are kept too, until
/// the broker tears them down.
pub const STAYS: &str = "TARGET_TEST_STAYS";
/// Set for a case: the name of the target.
pub const NAME: &str = "TARGET_TEST_NAME";
/// Set for a case: the names of the instances, separated by spaces.
pub const INSTANCE: &str = "TARGET_TEST_INSTANCE";
/// Set for a case: the host of the (first) instance.
pub const HOST: &str = "TARGET_TEST_HOST";
/// Set for a case: the SSH port of the (first) instance, if any.
pub const PORT: &str = "TARGET_TEST_PORT";
/// Set for a case: the login name on the (first) instance, if known.
pub const USER: &str = "TARGET_TEST_USER";
/// Set for a case: the name of the platform.
pub const PLATFORM: &str = "TARGET_TEST_PLATFORM";
/// Set for a case: the parameters of the target, a JSON object.
pub const PARAMS: &str = "TARGET_TEST_PARAMS";
/// Set for a case of a variant: the variant's name.
pub const VARIANT: &str = "TARGET_TEST_VARIANT";
/// Set for a case of a variant: the variant's parameters, a JSON object.
pub const VARIANT_PARAMS: &str = "TARGET_TEST_VARIANT_PARAMS";
/// Set for a case: a configuration file for `ssh -F` that contains the instances of the lease as hosts.
pub const SSH_CONFIG: &str = "TARGET_TEST_SSH_CONFIG";

/// For the tests of this project, in debug builds only: the failpoint at which the process exits.
pub const FAULT: &str = "TARGET_TEST_FAULT";
