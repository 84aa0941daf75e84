//! The keys of a target about the time around a test: the artifacts that are collected after it.
//!
//! Must not know how they are collected.

use schemars::JsonSchema;
use serde::Serialize;
use target_fixtures::metadata::{Artifact, CollectWhen};
use toml::Spanned;

use super::{
    diagnostic::{Problem, Problems},
    schema::Common,
};

/// The actions around each test on a target. They are not part of the definition of its instances.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AroundTests {
    /// The artifacts that are collected after a test.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub collect: Vec<Artifact>,
    /// The attempts whose artifacts are collected. Default: failure.
    #[serde(skip_serializing_if = "is_failure")]
    pub collect_when: CollectWhen,
}

fn is_failure(when: &CollectWhen) -> bool {
    *when == CollectWhen::Failure
}

/// Takes the keys of this file out of the common keys and checks them.
pub(super) fn check(common: &mut Common, problems: &mut Problems<'_>) -> AroundTests {
    let collect = common.collect.take().unwrap_or_default();
    AroundTests {
        collect: collect
            .into_iter()
            .filter_map(|artifact| check_artifact(artifact, problems))
            .collect(),
        collect_when: common.collect_when.take().unwrap_or_default(),
    }
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

/// The schema of [`CollectWhen`].
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum CollectWhenSchema {
    Failure,
    Always,
}
