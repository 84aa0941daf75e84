//! The options that select targets and cases and order the run.

use std::ffi::OsStr;

use clap::{
    Arg, Args, Command, ValueEnum,
    builder::{PossibleValue, StringValueParser, TypedValueParser},
};

use target_fixtures::metadata::ProcessPlace;

use crate::plan::Prefer;

/// Selection of targets and cases, in addition to nextest's own selection.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Choosing options")]
pub struct ChoosingArgs {
    /// Run only on these targets: names, or patterns such as `debian*`
    #[arg(long, value_name = "TARGETS", value_delimiter = ',')]
    pub on: Vec<String>,
    /// Run only cases that match an expression, such as `area = xdp and not tag = slow`
    ///
    /// Applies in addition to the playbook's criteria. Fields: name, area, category, priority, tag, owner, feature,
    /// platform, target. Operators: `=`, `!=`, for priorities also `<`, `<=`, `>`, `>=`; `and`, `or`, `not` and
    /// parentheses. `name = smoke` matches a part of the name, `name = /^net::/` a regular expression. If given more
    /// than once, all expressions must match.
    #[arg(long, value_name = "EXPRESSION")]
    pub criteria: Vec<String>,
    /// Run these scenarios of the playbook
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub scenario: Vec<String>,
    /// Place of test processes, whatever tests and playbook say: a value below, or a role of an environment
    ///
    /// In an environment, `target` is the machine whose role the test or the playbook names for this, else the first.
    #[arg(long, value_name = "WHERE", value_parser = PlaceParser, hide_short_help = true)]
    pub runs_on: Option<ProcessPlace>,
    /// Run the orchestration with this name, and no other test (can be repeated)
    #[arg(long, value_name = "NAME", visible_alias = "test-orch")]
    pub run_orch: Vec<String>,
    /// Run only the cases that failed, or that were infra, in an earlier run
    #[arg(long, value_name = "WHICH", value_enum)]
    pub rerun_cases: Option<RerunArg>,
    /// With --rerun-cases: the run in the history, by its id or the beginning of it [default: the newest]
    #[arg(
        long,
        value_name = "RUN",
        requires = "rerun_cases",
        hide_short_help = true
    )]
    pub of: Option<String>,
    /// Target of tests that run on any one target (`any = true`)
    #[arg(long, value_name = "HOW", value_enum, hide_short_help = true)]
    pub prefer: Option<Prefer>,
    /// Order in which cases start
    #[arg(long, value_name = "HOW", value_enum, hide_short_help = true)]
    pub order: Option<OrderArg>,
    /// Seed of `--order random`, to repeat an order
    #[arg(long, value_name = "NUMBER", hide_short_help = true)]
    pub seed: Option<u64>,
    /// Apply a named set of options: dev, debug, ci, demo, or a mode of the playbook
    #[arg(long, value_name = "NAME")]
    pub mode: Option<String>,
    /// Print the options of the mode and exit
    #[arg(long, requires = "mode", hide_short_help = true)]
    pub explain: bool,
}

impl ChoosingArgs {
    /// Takes the options that are not set from `others`. The criteria of both apply.
    pub fn go_before(&mut self, others: Self) {
        let or = |own: &mut Vec<String>, other| {
            if own.is_empty() {
                *own = other;
            }
        };
        or(&mut self.on, others.on);
        or(&mut self.scenario, others.scenario);
        or(&mut self.run_orch, others.run_orch);
        self.criteria.splice(0..0, others.criteria);
        self.runs_on = self.runs_on.take().or(others.runs_on);
        self.rerun_cases = self.rerun_cases.or(others.rerun_cases);
        self.of = self.of.take().or(others.of);
        self.prefer = self.prefer.or(others.prefer);
        self.order = self.order.or(others.order);
        self.seed = self.seed.or(others.seed);
    }
}

/// The cases of an earlier run that run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RerunArg {
    /// Cases that failed or crashed
    Failed,
    /// Cases that got no usable instance
    Infra,
}

/// Parses the place of test processes. Roles depend on the playbook, and are not among the possible values.
#[derive(Clone)]
struct PlaceParser;

impl TypedValueParser for PlaceParser {
    type Value = ProcessPlace;

    fn parse_ref(
        &self,
        command: &Command,
        option: Option<&Arg>,
        value: &OsStr,
    ) -> Result<ProcessPlace, clap::Error> {
        let text = StringValueParser::new().parse_ref(command, option, value)?;
        Ok(text.into())
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = [
            PossibleValue::new("host").help("This host"),
            PossibleValue::new("target").help("The instance that the test leases"),
        ];
        Some(Box::new(values.into_iter()))
    }
}

/// The order in which cases start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OrderArg {
    /// By priority, then grouped by requirements, then longest first (default)
    Planned,
    /// Random; prints the seed
    Random,
}
