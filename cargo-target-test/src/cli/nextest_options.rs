//! The table of nextest's options, with the call each belongs to.
//!
//! `tests/cli.rs` compares the table with `cargo nextest run --help`. `execute/nextest.rs` makes the calls.

/// One option of `cargo nextest run`.
#[derive(Debug, PartialEq, Eq)]
pub struct NextestOption {
    /// The long name without dashes, or a single letter if the option has no long name: `-Z`.
    pub long: &'static str,
    /// The short name.
    pub short: Option<char>,
    /// Aliases of the long name.
    pub aliases: &'static [&'static str],
    /// The number of values.
    pub value: OptionValue,
    /// The call that the option is passed to.
    pub class: Class,
    /// The help text, one line.
    pub help: &'static str,
}

/// The number of values of an option, with the name of the value in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// No value.
    Flag,
    /// No value; the option may be repeated.
    Repeated,
    /// Exactly one value: `--x VALUE` or `--x=VALUE`.
    One(&'static str),
    /// At most one value: `--x=VALUE` or `--x`.
    Optional(&'static str),
}

/// The call of nextest that an option belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The call that builds and lists the tests.
    Build,
    /// The call that selects cases.
    Selection,
    /// The run.
    Run,
    /// All calls.
    All,
    /// No call: the option is read by name, with [`NextestArgs::value`](super::NextestArgs::value).
    ByName,
}

impl Class {
    /// The heading of the class in the help.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::Build => "Build options (nextest's)",
            Self::Selection => "Selection options (nextest's)",
            Self::Run | Self::ByName => "Run and output options (nextest's)",
            Self::All => "Configuration options (nextest's)",
        }
    }
}

impl NextestOption {
    /// The option as typed: `--package`, `-Z`.
    pub fn flag(&self) -> String {
        let dashes = if self.long.len() == 1 { "-" } else { "--" };
        format!("{dashes}{}", self.long)
    }
}

/// Finds an option by its long name.
pub fn find(long: &str) -> Option<&'static NextestOption> {
    OPTIONS.iter().find(|option| option.long == long)
}

macro_rules! table {
    ($($class:ident $long:literal $(| $alias:literal)* $($short:literal)? : $value:expr, $help:literal;)*) => {
        &[$(NextestOption {
            long: $long,
            short: table!(@short $($short)?),
            aliases: &[$($alias),*],
            value: { use OptionValue::*; $value },
            class: Class::$class,
            help: $help,
        }),*]
    };
    (@short) => { None };
    (@short $short:literal) => { Some($short) };
}

/// All options of nextest, in the order of the help, except `--help` and `--verbose`.
pub static OPTIONS: &[NextestOption] = table! {
    Build "package" 'p': One("SPEC"), "Test only the specified packages";
    Build "workspace": Flag, "Test all packages in the workspace";
    Build "exclude": One("SPEC"), "Exclude packages from the tests";
    Build "all": Flag, "Alias of --workspace (with --delete-targets: the instances of all workspaces)";
    Build "lib": Flag, "Test only this package's library";
    Build "bin": One("NAME"), "Test only the specified binary";
    Build "bins": Flag, "Test all binaries";
    Build "example": One("NAME"), "Test only the specified example";
    Build "examples": Flag, "Test all examples";
    Build "test": One("NAME"), "Test only the specified test target";
    Build "tests": Flag, "Test all targets that have `test = true` set";
    Build "bench": One("NAME"), "Test only the specified bench target";
    Build "benches": Flag, "Test all bench targets";
    Build "all-targets": Flag, "Test all targets: library, binaries, examples, tests and benches";
    Build "features" 'F': One("FEATURES"), "Features of the package to activate";
    Build "all-features": Flag, "Activate all available features";
    Build "no-default-features": Flag, "Do not activate the `default` feature";
    Build "build-jobs": One("N"), "Number of build jobs to run";
    Build "release" 'r': Flag, "Build artifacts in release mode, with optimizations";
    Build "cargo-profile": One("NAME"), "Build artifacts with the specified Cargo profile";
    Build "target": One("TRIPLE"), "Build for the target triple";
    Build "target-dir": One("DIR"), "Directory for all generated artifacts";
    Build "unit-graph": Flag, "Output build graph in JSON (unstable)";
    Build "timings": Optional("FMTS"), "Output information on how long the build takes";
    Build "manifest-path": One("PATH"), "Path to Cargo.toml";
    Build "frozen": Flag, "Require Cargo.lock and cache are up to date";
    Build "locked": Flag, "Require Cargo.lock is up to date";
    Build "offline": Flag, "Run without accessing the network";
    Build "cargo-message-format": One("FMT"), "Format of Cargo's messages";
    Build "cargo-quiet": Repeated, "Print less Cargo output; give twice for none";
    Build "cargo-verbose": Repeated, "Print more Cargo output; give twice to include build scripts";
    Build "ignore-rust-version": Flag, "Ignore `rust-version` specification in packages";
    Build "future-incompat-report": Flag, "Output a future incompatibility report after the build";
    Build "Z": One("FLAG"), "Unstable (nightly-only) flags of Cargo";
    All "config": One("KEY=VALUE"), "Override a configuration value of Cargo";

    Selection "filterset" | "filter-expr" 'E': One("EXPR"), "Select cases by a nextest filterset: `test(/^smoke/)`";
    Selection "partition": One("PARTITION"), "Run one partition of the cases: `count:1/2`, `hash:1/2`, `slice:1/2`";
    Selection "run-ignored": One("WHICH"), "Run ignored tests: default, only, all";
    Selection "platform-filter": One("PLATFORM"), "Filter test binaries by build platform: target, host, any";
    Selection "ignore-default-filter": Flag, "Ignore the default filter of the profile";

    Run "test-threads" | "jobs" 'j': One("N"), "Number of cases to run at a time [default: cores or instances, the larger]";
    Run "retries": One("N"), "Number of retries of a failed case";
    Run "flaky-result": One("RESULT"), "Result of a flaky test, which passed on a retry: pass, fail";
    Run "fail-fast" | "ff": Flag, "Stop at the first failure";
    Run "no-fail-fast" | "nff": Flag, "Run all cases regardless of failure (default)";
    Run "max-fail": One("N[:MODE]"), "Stop after N failures";
    Run "no-tests": One("ACTION"), "Behavior if no case is selected: auto, pass, warn, fail";
    Run "no-capture" | "nocapture": Flag, "Run cases one at a time and pass their output through";
    Run "failure-output": One("WHEN"), "Output of failed tests: immediate, immediate-final, final, never";
    Run "success-output": One("WHEN"), "Output of passed tests: immediate, immediate-final, final, never";
    Run "status-level": One("LEVEL"), "Test statuses to output during the run";
    Run "final-status-level": One("LEVEL"), "Test statuses to output at the end of the run";
    Run "no-output-indent": Flag, "Do not indent captured output";
    Run "show-progress": One("HOW"), "Show progress: auto, none, bar, counter, only";
    Run "hide-progress-bar": Flag, "Deprecated: use --show-progress=none";
    Run "no-input-handler": Flag, "Do not read keys from the terminal";
    Run "max-progress-running": One("N"), "Maximum number of running tests to show in the progress bar";

    ByName "no-run": Flag, "Build and plan, but do not run";
    ByName "debugger": One("DEBUGGER"), "Run one case under a debugger: \"rust-gdb --args\"";
    ByName "tracer": One("TRACER"), "Run one case under a tracer: \"strace -tt\"";
    ByName "rerun" 'R': One("RUN"), "Not supported: name the cases instead";
    Run "stress-count": One("COUNT"), "Run each case N times";
    Run "stress-duration": One("DURATION"), "Repeat each case for this duration";
    Run "message-format": One("FORMAT"), "Format of machine-readable results (experimental)";
    Run "message-format-version": One("VERSION"), "Version of the machine-readable format";
    ByName "archive-file": One("PATH"), "Not supported: cargo target-test builds and lists the tests itself";
    ByName "archive-format": One("FORMAT"), "Not supported: requires --archive-file";
    ByName "extract-to": One("DIR"), "Not supported: requires --archive-file";
    ByName "extract-overwrite": Flag, "Not supported: requires --archive-file";
    ByName "persist-extract-tempdir": Flag, "Not supported: requires --archive-file";
    ByName "workspace-remap": One("PATH"), "Not supported: requires --archive-file";
    ByName "cargo-metadata": One("PATH"), "Not supported: set by cargo target-test itself";
    ByName "binaries-metadata": One("PATH"), "Not supported: set by cargo target-test itself";
    ByName "target-dir-remap": One("PATH"), "Not supported: set by cargo target-test itself";
    ByName "build-dir-remap": One("PATH"), "Not supported: set by cargo target-test itself";

    All "profile" 'P': One("PROFILE"), "The nextest profile to use";
    All "config-file": One("PATH"), "nextest configuration file [default: .config/nextest.toml]";
    All "tool-config-file": One("TOOL:PATH"), "Tool-specific nextest configuration file";
    All "user-config-file": One("PATH"), "nextest configuration file of the user";
    All "override-version-check": Flag, "Ignore the nextest version required by the configuration";
    All "color": One("WHEN"), "Coloring: auto, always, never";
    All "no-pager": Flag, "Do not use a pager";
};
