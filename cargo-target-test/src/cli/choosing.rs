//! The options that say which tests run where, and when.
//!
//! Owns their names and what clap checks of them. Must not know what they choose.

use clap::{Args, ValueEnum};

/// What is run where, beside nextest's own selection.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Choosing options")]
pub struct ChoosingArgs {
    /// Only these targets: names, or patterns such as `debian*`
    #[arg(long, value_name = "TARGETS", value_delimiter = ',')]
    pub on: Vec<String>,
    /// Only cases for which this holds, beside the playbook's criteria: `area = xdp and not tag = slow`
    ///
    /// Fields: name, area, category, priority, tag, owner, feature, platform, target. `=` and `!=` compare; priorities
    /// also by `<`, `<=`, `>`, `>=`; `name = smoke` is a part of the name, `name = /^net::/` a regular expression;
    /// `and`, `or`, `not` and parentheses. Given twice, both hold.
    #[arg(long, value_name = "EXPRESSION")]
    pub criteria: Vec<String>,
    /// The targets, recipe and tests that the playbook names so
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub scenario: Vec<String>,
    /// Where tests run that do not care (`any = true`)
    #[arg(long, value_name = "HOW", value_enum, hide_short_help = true)]
    pub prefer: Option<PreferArg>,
    /// Which cases start first
    #[arg(long, value_name = "HOW", value_enum, hide_short_help = true)]
    pub order: Option<OrderArg>,
    /// The seed of `--order random`, to have the same order again
    #[arg(long, value_name = "NUMBER", hide_short_help = true)]
    pub seed: Option<u64>,
    /// Options under one name: dev, debug, ci, demo, or one of the playbook's
    #[arg(long, value_name = "NAME")]
    pub mode: Option<String>,
    /// Print the options that the mode stands for, and run nothing
    #[arg(long, requires = "mode", hide_short_help = true)]
    pub explain: bool,
}

impl ChoosingArgs {
    /// Goes before others: what it does not say is theirs. Of criteria, both hold.
    pub fn go_before(&mut self, others: Self) {
        let or = |own: &mut Vec<String>, other| {
            if own.is_empty() {
                *own = other;
            }
        };
        or(&mut self.on, others.on);
        or(&mut self.scenario, others.scenario);
        self.criteria.splice(0..0, others.criteria);
        self.prefer = self.prefer.or(others.prefer);
        self.order = self.order.or(others.order);
        self.seed = self.seed.or(others.seed);
    }
}

/// Where a test runs that does not care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PreferArg {
    /// On the target of the lowest cost (the default)
    Cheapest,
    /// Where it is likely to end first, by the durations of earlier runs (with `--partition` by the number of cases)
    Fastest,
}

/// Which cases start first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OrderArg {
    /// By priority, then what needs the same together, then the longest first (the default)
    Planned,
    /// By chance; the seed is printed
    Random,
}
