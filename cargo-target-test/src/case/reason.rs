//! Reasons for an excluded pair, a skipped test and a dirty instance.
//!
//! The only place that renders them as text. Code never parses the text.

use std::{fmt, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The reason that a test does not run on a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ExclusionReason {
    /// The test declares a `skip` that applies; the text.
    Declared(String),
    /// The test requires roles, and the playbook has no environment.
    Roles,
    /// The test requires roles that the target or environment lacks.
    MissingRoles {
        /// The missing roles.
        missing: Vec<String>,
        /// The target's name.
        target: String,
        /// The roles that it has; empty if it is a target of single machines.
        has: Vec<String>,
    },
    /// The test process is to run on a role of several machines.
    SeveralMachines {
        /// The role.
        role: String,
        /// The environment's name.
        target: String,
        /// The names of the machines.
        machines: Vec<String>,
    },
    /// The test does not name roles, and the target is an environment.
    Environment {
        /// The environment's name.
        target: String,
    },
    /// Another test of the binary has the name that the case would have.
    NameTaken {
        /// The name.
        name: String,
    },
    /// The test runs on any one target, and a different target was chosen.
    OtherTarget {
        /// The label of the chosen target.
        chosen: String,
    },
    /// The target has too few instances.
    Instances {
        /// The number that the test needs.
        needed: u32,
        /// The target's name.
        target: String,
        /// The number that the target has.
        available: u32,
    },
    /// The target lacks a feature.
    Feature {
        /// The feature.
        feature: String,
        /// The target's name.
        target: String,
    },
    /// The test is for another platform.
    Platform {
        /// The platform that the test requires.
        wanted: String,
        /// The target's name.
        target: String,
        /// The target's platform.
        platform: String,
    },
    /// The test requires other targets; the patterns of their names.
    Targets(Vec<String>),
    /// The test requires other targets, none of which exists.
    UnknownTargets {
        /// The patterns of their names.
        patterns: Vec<String>,
        /// The name of a target that is similar to a pattern.
        meant: String,
    },
    /// The target does not offer a capability that the test requires.
    Requirement {
        /// `memory >= 8 GiB`.
        needed: String,
        /// The rest of the sentence: `` `debian` offers 2 GiB ``.
        found: String,
    },
    /// The test needs a machine that no test has used, and the target's machines exist already.
    NotFresh {
        /// The target's name.
        target: String,
        /// The target's platform.
        platform: String,
    },
    /// No machine can meet the requirement.
    Impossible {
        /// `cores > 8, < 2`.
        needed: String,
        /// The reason that no machine can meet it.
        why: String,
    },
    /// The requirement is invalid; the parser's message.
    Unreadable(String),
    /// A rule of the playbook excludes the case; the rule.
    ExcludedBy(String),
    /// No rule of the playbook includes the case.
    NotIncluded,
    /// `--criteria` does not hold for the case.
    Criteria,
}

impl ExclusionReason {
    /// True if the test cannot run there or declares a skip; false if the user did not select it.
    pub fn is_unfit(&self) -> bool {
        !matches!(
            self,
            Self::OtherTarget { .. } | Self::ExcludedBy(_) | Self::NotIncluded | Self::Criteria
        )
    }
}

impl fmt::Display for ExclusionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declared(text) => write!(f, "skip: {text}"),
            Self::Roles => f.write_str("needs roles, and the playbook has no environment"),
            Self::MissingRoles {
                missing,
                target,
                has,
            } => {
                let (s, missing) = (plural(missing.len()), missing.join("`, `"));
                write!(f, "needs role{s} `{missing}`, `{target}` ")?;
                match &has[..] {
                    [] => f.write_str("is not an environment"),
                    has => write!(f, "has `{}`", has.join("`, `")),
                }
            }
            Self::SeveralMachines {
                role,
                target,
                machines,
            } => write!(
                f,
                "needs one machine to run on, role `{role}` of `{target}` has `{}`",
                machines.join("`, `")
            ),
            Self::Environment { target } => {
                write!(f, "names no roles, and `{target}` is an environment")
            }
            Self::NameTaken { name } => {
                write!(f, "another test of the binary is itself named `{name}`")
            }
            Self::OtherTarget { chosen } => {
                write!(f, "runs on any one target; `{chosen}` was chosen")
            }
            Self::Instances {
                needed,
                target,
                available,
            } => write!(f, "needs {needed} instances, `{target}` has {available}"),
            Self::Feature { feature, target } => {
                write!(f, "needs feature `{feature}`, which `{target}` lacks")
            }
            Self::Platform {
                wanted,
                target,
                platform,
            } => write!(
                f,
                "only on platform `{wanted}`, `{target}` is on `{platform}`"
            ),
            Self::Targets(patterns) => write!(f, "only on `{}`", patterns.join("`, `")),
            Self::UnknownTargets { patterns, meant } => write!(
                f,
                "only on `{}`; did you mean `{meant}`?",
                patterns.join("`, `")
            ),
            Self::Requirement { needed, found } => write!(f, "needs {needed}, {found}"),
            Self::NotFresh { target, platform } => write!(
                f,
                "needs a fresh machine, which target `{target}` (platform `{platform}`) cannot make unless `on-dirty` is `reboot` or `clean`"
            ),
            Self::Impossible { needed, why } => write!(f, "needs {needed}: {why}"),
            Self::Unreadable(message) => f.write_str(message),
            Self::ExcludedBy(rule) => write!(f, "excluded by criteria `{rule}`"),
            Self::NotIncluded => f.write_str("no criteria include the case"),
            Self::Criteria => f.write_str("excluded by `--criteria`"),
        }
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The reason that a test or one of its cases is skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SkipReason {
    /// The test skipped itself at run time; the text.
    Test(String),
    /// The plan excludes the test.
    Plan(ExclusionReason),
    /// No instance meets the needs of the case.
    Instances(String),
    /// nextest ended a deploy entry, whose deploy goes on; the time that the entry waited.
    EntryEnded(Duration),
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(ExclusionReason::Declared(text))
            | Self::Test(text)
            | Self::Instances(text) => f.write_str(text),
            Self::EntryEnded(waited) => {
                let waited = waited.as_secs_f32();
                write!(
                    f,
                    "nextest ended this entry after {waited:.1} s; the deploy goes on"
                )
            }
            Self::Plan(reason) => reason.fmt(f),
        }
    }
}

/// The reason that a case of the run has not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NotRunReason {
    /// nextest stopped after failures.
    FailFast,
    /// A user interrupted the run.
    Interrupted,
    /// A setup script of nextest failed; its name.
    SetupScript(String),
    /// nextest ended for another reason; the message.
    NextestEnded(String),
    /// nextest passed the case without the tool's runner.
    Bypassed,
    /// The run was killed.
    RunKilled,
}

impl fmt::Display for NotRunReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailFast => f.write_str("nextest stopped after a failure (fail-fast)"),
            Self::Interrupted => f.write_str("the run was interrupted"),
            Self::SetupScript(name) => write!(f, "setup script `{name}` failed"),
            Self::NextestEnded(message) => f.write_str(message),
            Self::Bypassed => f.write_str("nextest passed the case without asking for an instance"),
            Self::RunKilled => f.write_str("the run was killed"),
        }
    }
}

/// The reason that an instance must not serve again before it is recycled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DirtyReason {
    /// The process that held the lease died; the holder.
    HolderDied(String),
    /// A test declares `reuse = false`; the case.
    Spent(String),
    /// A test declares `reuse = "snapshot"`, and the instance was not restored.
    NotRestored {
        /// The case.
        case: String,
        /// The error, if a restore was tried.
        error: Option<String>,
    },
    /// A test, or the retry of a test that failed, requires a fresh instance.
    FreshWanted,
    /// The tear-down of a fixture failed; the message.
    Fixture(String),
    /// A health check found something after a test; the finding.
    Unhealthy(String),
    /// The system crashed during a test; the evidence.
    Crashed(String),
    /// The instance does not answer or could not be cleaned after a lease; the message.
    Lost(String),
    /// The deploy or the preparation failed; the message.
    Prepare(String),
    /// The deploying process ended before the instance was ready.
    DeployInterrupted,
    /// Its name now refers to another host.
    HostChanged,
    /// `pool.json` was lost, and the instance was found again.
    PoolLost,
}

impl DirtyReason {
    /// True if something failed; false if the instance was used as declared.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::HolderDied(_)
            | Self::Fixture(_)
            | Self::Unhealthy(_)
            | Self::Crashed(_)
            | Self::Lost(_)
            | Self::Prepare(_) => true,
            Self::NotRestored { error, .. } => error.is_some(),
            Self::Spent(_)
            | Self::FreshWanted
            | Self::DeployInterrupted
            | Self::HostChanged
            | Self::PoolLost => false,
        }
    }
}

impl fmt::Display for DirtyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HolderDied(who) => write!(f, "its holder died ({who})"),
            Self::Spent(case) => write!(f, "`{case}` declares `reuse = false`"),
            Self::NotRestored { case, error } => {
                write!(f, "`{case}` declares `reuse = \"snapshot\"`")?;
                error.iter().try_for_each(|error| write!(f, "; {error}"))
            }
            Self::FreshWanted => f.write_str("a fresh instance is required"),
            Self::Fixture(message)
            | Self::Unhealthy(message)
            | Self::Crashed(message)
            | Self::Lost(message)
            | Self::Prepare(message) => f.write_str(message),
            Self::DeployInterrupted => f.write_str("its deploy was interrupted"),
            Self::HostChanged => f.write_str("its name now refers to another host"),
            Self::PoolLost => f.write_str("`pool.json` was lost"),
        }
    }
}
