//! The arguments of the verbs about earlier runs.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Options of `history`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct HistoryArgs {
    /// Import feeds.
    #[command(subcommand)]
    pub verb: Option<HistoryVerb>,
    /// A part of the names of cases or of their sub-results: `smoke`, `smoke[ubuntu]`, `table[ubuntu]/row 1`; by default
    /// all
    #[arg(value_name = "TEST")]
    pub test: Option<String>,
    /// Print at most N results
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A change of the history.
#[derive(Clone, Debug, Subcommand)]
pub enum HistoryVerb {
    /// Add the runs of feeds that another machine wrote
    ///
    /// A run that the history has is not added again.
    Import {
        /// Files `feed.jsonl`, or folders of runs
        #[arg(value_name = "FEED", required = true)]
        feeds: Vec<PathBuf>,
    },
}

/// Options of `flaky`.
#[derive(Clone, Debug, Args)]
pub struct FlakyArgs {
    /// Look at the last N runs
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub runs: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `slow`.
#[derive(Clone, Debug, Args)]
pub struct SlowArgs {
    /// Look at the last N runs
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub runs: u32,
    /// Print at most N cases
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `repro`.
#[derive(Clone, Debug, Args)]
pub struct ReproArgs {
    /// The run: its id or the beginning of it, or `latest`
    #[arg(value_name = "RUN")]
    pub run: String,
    /// The case's name, or a part of it that no other case of the run has
    #[arg(value_name = "CASE")]
    pub case: String,
}
