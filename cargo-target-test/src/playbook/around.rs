//! The keys of a target about the time around a test: where its process runs, the checks before and after it, and the
//! artifacts that are collected.
//!
//! Must not know how checks are made and artifacts collected.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use target_fixtures::{
    metadata::{Artifact, CollectWhen, ProcessPlace},
    wire::FaultKind,
};
use toml::Spanned;

use super::{
    PlatformSyntax,
    diagnostic::{Problem, Problems},
    nearest::did_you_mean,
    schema::Common,
};

/// The actions around each test on a target. They are not part of the definition of its instances.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AroundTests {
    /// The place of test processes. Default: host.
    #[serde(skip_serializing_if = "is_default")]
    pub runs_on: ProcessPlace,
    /// The artifacts that are collected after a test.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub collect: Vec<Artifact>,
    /// The attempts whose artifacts are collected. Default: failure.
    #[serde(skip_serializing_if = "is_default")]
    pub collect_when: CollectWhen,
    /// The checks of the instances before and after a test.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<HealthCheck>,
    /// The meaning of a finding. Default: fail.
    #[serde(skip_serializing_if = "is_default")]
    pub on_finding: OnFinding,
    /// The faults that a test may cause, beside those that the platform allows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultKind>,
}

/// A check of an instance before and after a test: what is new after the test is a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected `taint`, `oops`, `oom`, `coredump`, `failed-units` or `{ name = \"...\", command = \"...\" }`"
)]
#[schemars(inline)]
pub enum HealthCheck {
    /// A check by name.
    BuiltIn(BuiltInCheck),
    /// A command of the user's.
    Own(OwnCheck),
}

/// A check that is known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum BuiltInCheck {
    /// Taint flags of the kernel.
    Taint,
    /// Oopses, bugs and stalls in the kernel's log.
    Oops,
    /// Processes that the kernel killed for lack of memory.
    Oom,
    /// Core dumps.
    Coredump,
    /// Failed units of systemd.
    FailedUnits,
}

/// A command that checks an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub struct OwnCheck {
    /// The name, for messages.
    pub name: String,
    /// The command line for the instance's shell. A new line of its output is a finding, as is an exit code other than 0.
    pub command: String,
}

/// The meaning of a finding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFinding {
    /// The test fails.
    #[default]
    Fail,
    /// The test keeps its verdict.
    Warn,
}

impl HealthCheck {
    /// The name: `oops`.
    pub fn name(&self) -> &str {
        match self {
            Self::BuiltIn(BuiltInCheck::Taint) => "taint",
            Self::BuiltIn(BuiltInCheck::Oops) => "oops",
            Self::BuiltIn(BuiltInCheck::Oom) => "oom",
            Self::BuiltIn(BuiltInCheck::Coredump) => "coredump",
            Self::BuiltIn(BuiltInCheck::FailedUnits) => "failed-units",
            Self::Own(own) => &own.name,
        }
    }

    /// True if the check asks the kernel.
    fn asks_kernel(&self) -> bool {
        !matches!(
            self,
            Self::Own(_) | Self::BuiltIn(BuiltInCheck::FailedUnits)
        )
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Takes the keys of this file out of the common keys and checks them.
pub(super) fn check(
    common: &mut Common,
    platform: &dyn PlatformSyntax,
    problems: &mut Problems<'_>,
) -> AroundTests {
    let collect = common.collect.take().unwrap_or_default();
    let checks = common.checks.take().unwrap_or_default();
    for check in checks.iter().filter(|one| one.get_ref().asks_kernel()) {
        if platform.shares_kernel() {
            let message = format!(
                "check `{}` needs a kernel of its own",
                check.get_ref().name()
            );
            let label = format!(
                "platform `{}` shares the kernel of this host",
                platform.name()
            );
            problems.add(Problem::new(message, check.span()).label(label));
        }
    }
    AroundTests {
        runs_on: common
            .runs_on
            .take()
            .and_then(|place| check_place(place, problems))
            .unwrap_or_default(),
        collect: collect
            .into_iter()
            .filter_map(|artifact| check_artifact(artifact, problems))
            .collect(),
        collect_when: common.collect_when.take().unwrap_or_default(),
        checks: checks.into_iter().map(Spanned::into_inner).collect(),
        on_finding: common.on_finding.take().unwrap_or_default(),
        faults: common.faults.take().unwrap_or_default(),
    }
}

/// Checks the place of test processes on a target of single machines.
fn check_place(place: Spanned<ProcessPlace>, problems: &mut Problems<'_>) -> Option<ProcessPlace> {
    let ProcessPlace::Role(role) = place.get_ref() else {
        return Some(place.into_inner());
    };
    let message = format!("`runs-on` must be `host` or `target`, not `{role}`");
    let problem = Problem::new(message, place.span()).label("a target has no roles");
    problems.add(problem.or_hint(did_you_mean(role, &["host", "target"])));
    None
}

fn check_artifact(artifact: Spanned<Artifact>, problems: &mut Problems<'_>) -> Option<Artifact> {
    let (message, label) = match artifact.get_ref() {
        Artifact::Path(path) if path.starts_with('/') => return Some(artifact.into_inner()),
        Artifact::Command { command } if !command.trim().is_empty() => {
            return Some(artifact.into_inner());
        }
        Artifact::Path(path) => (
            format!("invalid path `{path}` in `collect`"),
            "must be absolute",
        ),
        Artifact::Command { .. } => (
            "empty command in `collect`".to_owned(),
            "must be a command line",
        ),
    };
    problems.add(Problem::new(message, artifact.span()).label(label));
    None
}

/// The schema of [`Artifact`].
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum ArtifactSchema {
    /// A file, or the files below a folder; the absolute path.
    Path(#[schemars(regex(pattern = "^/"))] String),
    /// The output of a command.
    Output(CommandSchema),
}

/// The output of a command.
#[derive(JsonSchema)]
#[schemars(inline, deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct CommandSchema {
    /// The command line for the instance's shell.
    command: String,
}
