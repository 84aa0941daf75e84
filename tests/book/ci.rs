//! The workflows of the page about CI: each is valid by the schema that its CI publishes, where a package has one.

use std::{fs, path::Path, process::Command};

use crate::support::{here, repository};

/// The headings, the schemas of the files below them, and a change that the schema forbids.
const SCHEMAS: [(&str, &str, [&str; 2]); 5] = [
    (
        "GitHub Actions",
        "vendor.github-workflows",
        ["runs-on:", "run-on:"],
    ),
    (
        "Forgejo Actions",
        "vendor.github-workflows",
        ["runs-on:", "run-on:"],
    ),
    (
        "GitLab",
        "vendor.gitlab-ci",
        ["parallel: 4", "parallel: four"],
    ),
    (
        "Azure Pipelines",
        "vendor.azure-pipelines",
        ["jobs:", "jobz:"],
    ),
    ("Woodpecker", "vendor.woodpecker-ci", ["steps:", "stepps:"]),
];

#[test]
fn workflows_shown_are_valid() {
    let check = repository().join("target/ci/reports/bin/check-jsonschema");
    let found = match check.exists() {
        true => Ok(check),
        false => Err(format!(
            "{} not found: `.ci/setup --tests` makes it",
            check.display()
        )),
    };
    let Some(check) = here(found) else { return };
    let page = fs::read_to_string(repository().join("cargo-target-test/docs/ci.md"));
    let page = page.expect("the page");
    assert_eq!(page.matches("```yaml\n").count(), SCHEMAS.len());
    let folder = tempfile::tempdir().expect("a folder");
    for (heading, schema, [right, wrong]) in SCHEMAS {
        let section = page.split_once(&format!("\n## {heading}\n"));
        let (_, section) = section.unwrap_or_else(|| panic!("no section `{heading}`"));
        let (_, text) = section.split_once("```yaml\n").expect("a workflow");
        let (text, _) = text.split_once("```").expect("the end of the workflow");
        let said = problems(&check, schema, &folder.path().join("file.yml"), text);
        assert_eq!(said, None, "{heading}");
        // The schema finds a mistake.
        assert!(text.contains(right), "{heading}");
        let text = text.replace(right, wrong);
        let said = problems(&check, schema, &folder.path().join("wrong.yml"), &text);
        let said = said.unwrap_or_default();
        assert!(
            said.contains("Schema validation errors"),
            "{heading}: {said}"
        );
    }
}

/// The errors in a file; `None` if it is valid.
fn problems(check: &Path, schema: &str, file: &Path, text: &str) -> Option<String> {
    fs::write(file, text).expect("written");
    let output = Command::new(check)
        // Azure's schema has patterns that are not of the Unicode kind.
        .args(["--regex-variant", "nonunicode", "--builtin-schema", schema])
        .arg(file)
        .output()
        .expect("check-jsonschema");
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said));
    (!output.status.success()).then(|| said.concat())
}
