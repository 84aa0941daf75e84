//! The owner of what a run creates: a CI job, or a user and a repository.
//!
//! Must not know how the owner is written on machines: platforms do.

use std::path::Path;

use super::pool::ProcessIdentity;
use crate::{playbook::PoolSettings, process};

/// The variable that overrides the owner.
const OWNER: &str = "TARGET_TEST_OWNER";
/// The variables that identify a CI job, after the name of its CI. The last one is set only by that CI.
const JOBS: [(&str, &[&str]); 4] = [
    (
        "github",
        &["GITHUB_REPOSITORY", "GITHUB_JOB", "GITHUB_RUN_ID"],
    ),
    ("gitlab", &["CI_PROJECT_PATH", "CI_JOB_ID"]),
    (
        "buildkite",
        &["BUILDKITE_PIPELINE_SLUG", "BUILDKITE_JOB_ID"],
    ),
    ("jenkins", &["BUILD_TAG"]),
];

/// Returns the owner of what a run in this workspace creates.
pub(super) fn of(settings: &PoolSettings, workspace: &Path) -> String {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let chosen = variable(OWNER).or_else(|| settings.owner.clone());
    chosen.or_else(|| job(variable)).unwrap_or_else(|| {
        let (user, host) = (process::user(), ProcessIdentity::current().host);
        let repository = workspace.file_name().unwrap_or_default();
        format!("{user}@{host}/{}", repository.display())
    })
}

/// Returns the id of the CI job that this process is part of.
fn job(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    JOBS.iter().find_map(|(ci, names)| {
        variable(names.last()?)?;
        let values = names.iter().filter_map(|name| variable(name));
        Some(values.fold((*ci).to_owned(), |id, value| id + "/" + &value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_owns_what_it_creates() {
        let of = |set: &[(&str, &str)]| {
            job(|name| {
                let found = set.iter().find(|(one, _)| *one == name)?;
                Some(found.1.to_owned())
            })
        };
        let github = [
            ("GITHUB_REPOSITORY", "acme/widget"),
            ("GITHUB_JOB", "test"),
            ("GITHUB_RUN_ID", "77"),
        ];
        assert_eq!(of(&github).as_deref(), Some("github/acme/widget/test/77"));
        assert_eq!(of(&[("CI_JOB_ID", "5")]).as_deref(), Some("gitlab/5"));
        assert_eq!(of(&[("CI_PROJECT_PATH", "x")]), None);
    }

    #[test]
    fn a_person_owns_per_repository() {
        let settings = |owner: Option<&str>| PoolSettings {
            owner: owner.map(str::to_owned),
            ..PoolSettings::default()
        };
        let workspace = Path::new("/home/ann/widget");
        assert_eq!(of(&settings(Some("team")), workspace), "team");
        let owner = of(&settings(None), workspace);
        assert!(owner.contains('/'), "{owner}");
    }
}
