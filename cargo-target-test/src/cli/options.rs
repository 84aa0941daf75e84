//! nextest's options, and which of its calls each of them belongs to.
//!
//! Owns the table, which `tests/cli.rs` holds against the real `cargo nextest run --help`. Must not know
//! what the calls are for: that is `execute/nextest.rs`.

/// One option of `cargo nextest run`.
#[derive(Debug, PartialEq, Eq)]
pub struct NextestOption {
    /// The long name, without dashes. A name of one letter is an option that is only short: `-Z`.
    pub long: &'static str,
    /// The short name.
    pub short: Option<char>,
    /// Further long names.
    pub aliases: &'static [&'static str],
    /// Whether it takes a value.
    pub value: Value,
    /// Which call it goes to.
    pub class: Class,
    /// What it does, in one line.
    pub help: &'static str,
}

/// Whether an option takes a value, and how that is called in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// No value.
    Flag,
    /// No value; given twice it says more.
    Repeated,
    /// Exactly one, as `--x VALUE` or `--x=VALUE`.
    One(&'static str),
    /// One or none, as `--x=VALUE` or `--x`.
    Optional(&'static str),
}

/// Which of nextest's calls an option belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The one call that builds and lists the tests.
    Build,
    /// The call that selects among the cases.
    Selection,
    /// The run.
    Run,
    /// Every call.
    All,
    /// None as it stands: read with [`NextestArgs::value`](super::NextestArgs::value) and handled by name.
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
    /// How it is written: `--package`, `-Z`.
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
            value: { use Value::*; $value },
            class: Class::$class,
            help: $help,
        }),*]
    };
    (@short) => { None };
    (@short $short:literal) => { Some($short) };
}

/// All of them, in the order of the help. (`--help` and `--verbose` are our own.)
pub static OPTIONS: &[NextestOption] = table! {
    Build "package" 'p': One("SPEC"), "Only the tests of this package";
    Build "workspace": Flag, "The tests of every package of the workspace";
    Build "exclude": One("SPEC"), "All packages but this one";
    Build "all": Flag, "Same as --workspace (with --delete-targets: everybody's instances)";
    Build "lib": Flag, "Only the library's unit tests";
    Build "bin": One("NAME"), "Only this binary's unit tests";
    Build "bins": Flag, "The unit tests of all binaries";
    Build "example": One("NAME"), "Only this example's tests";
    Build "examples": Flag, "The tests of all examples";
    Build "test": One("NAME"), "Only this integration test binary";
    Build "tests": Flag, "Everything that has `test = true`";
    Build "bench": One("NAME"), "Only this benchmark, as tests";
    Build "benches": Flag, "All benchmarks, as tests";
    Build "all-targets": Flag, "Library, binaries, examples, tests and benchmarks";
    Build "features" 'F': One("FEATURES"), "Crate features to switch on";
    Build "all-features": Flag, "Switch all crate features on";
    Build "no-default-features": Flag, "Leave the default crate feature off";
    Build "build-jobs": One("N"), "Parallel compiler jobs";
    Build "release" 'r': Flag, "Build with optimizations";
    Build "cargo-profile": One("NAME"), "Build with this Cargo profile";
    Build "target": One("TRIPLE"), "Build for this triple";
    Build "target-dir": One("DIR"), "Where build artifacts go";
    Build "unit-graph": Flag, "Cargo's build graph (unstable)";
    Build "timings": Optional("FMTS"), "Cargo's build timings";
    Build "manifest-path": One("PATH"), "The Cargo.toml to use";
    Build "frozen": Flag, "Both --locked and --offline";
    Build "locked": Flag, "Refuse to change Cargo.lock";
    Build "offline": Flag, "Build without the network";
    Build "cargo-message-format": One("FMT"), "How Cargo reports messages";
    Build "cargo-quiet": Repeated, "Less from Cargo; twice: nothing";
    Build "cargo-verbose": Repeated, "More from Cargo; twice: build scripts too";
    Build "ignore-rust-version": Flag, "Ignore packages' rust-version";
    Build "future-incompat-report": Flag, "Report what future compilers will reject";
    Build "Z": One("FLAG"), "Cargo's unstable flags";
    All "config": One("KEY=VALUE"), "Override a value of Cargo's configuration";

    Selection "filterset" | "filter-expr" 'E': One("EXPR"), "nextest's filterset over cases: `test(/^smoke/)`";
    Selection "partition": One("PARTITION"), "One part of the cases: `count:1/2`, `hash:1/2`, `slice:1/2`";
    Selection "run-ignored": One("WHICH"), "Ignored tests: default, only, all";
    Selection "platform-filter": One("PLATFORM"), "Binaries of this build platform: target, host, any";
    Selection "ignore-default-filter": Flag, "Ignore the profile's default filter";

    Run "test-threads" | "jobs" 'j': One("N"), "Cases at a time [default: cores or instances, what is more]";
    Run "retries": One("N"), "Attempts after a failed one";
    Run "flaky-result": One("RESULT"), "What a test that passed on a retry counts as: pass, fail";
    Run "fail-fast" | "ff": Flag, "Stop at the first failure";
    Run "no-fail-fast" | "nff": Flag, "Run on after failures (the default here)";
    Run "max-fail": One("N[:MODE]"), "Stop after so many failures";
    Run "no-tests": One("ACTION"), "When nothing is selected: auto, pass, warn, fail";
    Run "no-capture" | "nocapture": Flag, "One case at a time, its output unchanged";
    Run "failure-output": One("WHEN"), "Output of failed tests: immediate, immediate-final, final, never";
    Run "success-output": One("WHEN"), "Output of passed tests: the same words";
    Run "status-level": One("LEVEL"), "Which results show while running";
    Run "final-status-level": One("LEVEL"), "Which results show at the end";
    Run "no-output-indent": Flag, "Do not indent captured output";
    Run "show-progress": One("HOW"), "Progress: auto, none, bar, counter, only";
    Run "hide-progress-bar": Flag, "Deprecated: --show-progress=none";
    Run "no-input-handler": Flag, "Do not read keys from the terminal";
    Run "max-progress-running": One("N"), "Running tests in the progress bar";

    ByName "no-run": Flag, "Build, plan and stop";
    ByName "debugger": One("DEBUGGER"), "Run one case in a debugger: \"rust-gdb --args\"";
    ByName "tracer": One("TRACER"), "Run one case under a tracer: \"strace -tt\"";
    ByName "rerun" 'R': One("RUN"), "Not taken: a recorded run knows no leases; name the cases";
    Run "stress-count": One("COUNT"), "Run every case so many times";
    Run "stress-duration": One("DURATION"), "Run every case again and again for so long";
    Run "message-format": One("FORMAT"), "Machine-readable results (experimental)";
    Run "message-format-version": One("VERSION"), "Version of these";
    ByName "archive-file": One("PATH"), "Not taken: cargo target-test builds and lists the tests itself";
    ByName "archive-format": One("FORMAT"), "Not taken: belongs to --archive-file";
    ByName "extract-to": One("DIR"), "Not taken: belongs to --archive-file";
    ByName "extract-overwrite": Flag, "Not taken: belongs to --archive-file";
    ByName "persist-extract-tempdir": Flag, "Not taken: belongs to --archive-file";
    ByName "workspace-remap": One("PATH"), "Not taken: belongs to --archive-file";
    ByName "cargo-metadata": One("PATH"), "Not taken: given by cargo target-test itself";
    ByName "binaries-metadata": One("PATH"), "Not taken: given by cargo target-test itself";
    ByName "target-dir-remap": One("PATH"), "Not taken: given by cargo target-test itself";
    ByName "build-dir-remap": One("PATH"), "Not taken: given by cargo target-test itself";

    All "profile" 'P': One("PROFILE"), "nextest's profile";
    All "config-file": One("PATH"), "nextest's configuration [default: .config/nextest.toml]";
    All "tool-config-file": One("TOOL:PATH"), "Configuration of a further tool";
    All "user-config-file": One("PATH"), "nextest's configuration of this user";
    All "override-version-check": Flag, "Ignore the nextest version that the configuration asks for";
    All "color": One("WHEN"), "Colours: auto, always, never";
    All "no-pager": Flag, "No pager";
};
