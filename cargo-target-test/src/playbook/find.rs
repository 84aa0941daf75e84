//! Finds the playbook file of a workspace.
//!
//! Must not read the file or the environment; the caller does.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};

/// The name of a playbook in a folder of a workspace.
const NAME: &str = "target-test.toml";
/// Default locations in the root of a workspace, highest precedence first.
const PLACES: [&str; 2] = [".config/target-test.toml", NAME];

/// Returns the path of the playbook, or `None` if the embedded playbook applies.
///
/// The first of these wins: `explicit` (`--playbook` or `TARGET_TEST_PLAYBOOK`), `target-test.toml` in `folder` or the
/// nearest folder above it that is below the workspace root, `target-test.playbook` in `workspace_metadata` (relative to
/// the workspace root), `.config/target-test.toml` and `target-test.toml` in the workspace root.
///
/// # Errors
/// If an explicitly named file does not exist, or `target-test.playbook` is not a string.
pub fn find(
    explicit: Option<&Path>,
    folder: &Path,
    workspace_root: &Path,
    workspace_metadata: &Value,
) -> Result<Option<PathBuf>> {
    if let Some(path) = explicit {
        return named(
            path.to_owned(),
            "the command line or `TARGET_TEST_PLAYBOOK`",
        )
        .map(Some);
    }
    // Unreadable entries (a folder, a dead link) count too, so that `load` reports them. Skipping them
    // would silently run the tests on other targets.
    let exists = |path: &PathBuf| path.symlink_metadata().is_ok();
    let nearest = folder
        .ancestors()
        .take_while(|folder| *folder != workspace_root && folder.starts_with(workspace_root))
        .map(|folder| folder.join(NAME))
        .find(exists);
    if let Some(path) = nearest {
        return Ok(Some(shown(&path)));
    }
    let manifest = shown(&workspace_root.join("Cargo.toml"));
    match workspace_metadata.pointer("/target-test/playbook") {
        None | Some(Value::Null) => {}
        Some(Value::String(path)) => {
            let path = shown(&workspace_root.join(path));
            return named(path, &format!("`{}`", manifest.display())).map(Some);
        }
        Some(other) => {
            return Err(Error::playbook(format!(
                "`workspace.metadata.target-test.playbook` in `{}` must be a string, not `{other}`",
                manifest.display()
            )));
        }
    }
    let mut places = PLACES.iter().map(|place| workspace_root.join(place));
    Ok(places.find(exists).map(|path| shown(&path)))
}

fn named(path: PathBuf, by: &str) -> Result<PathBuf> {
    match path.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::playbook(
            format!("playbook `{}` does not exist", path.display()),
        )
        .with_hint(format!("the path comes from {by}"))),
        _ => Ok(path),
    }
}

/// Returns the path relative to the current folder if it is below that folder.
pub(crate) fn shown(path: &Path) -> PathBuf {
    let current = std::env::current_dir().ok();
    let relative = current.and_then(|current| path.strip_prefix(&current).ok());
    relative.unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::ErrorKind;

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    #[test]
    fn the_first_place_wins() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let metadata = json!({"target-test": {"playbook": "ci/lab.toml"}});
        assert_eq!(find(None, root, root, &Value::Null).unwrap(), None);
        touch(&root.join("target-test.toml"));
        assert_eq!(
            find(None, root, root, &json!({})).unwrap(),
            Some(root.join("target-test.toml"))
        );
        touch(&root.join(".config/target-test.toml"));
        let config = Some(root.join(".config/target-test.toml"));
        assert_eq!(
            find(None, root, root, &json!({"other": 1})).unwrap(),
            config
        );
        touch(&root.join("ci/lab.toml"));
        assert_eq!(
            find(None, root, root, &metadata).unwrap(),
            Some(root.join("ci/lab.toml"))
        );
        let explicit = root.join("target-test.toml");
        assert_eq!(
            find(Some(&explicit), root, root, &metadata).unwrap(),
            Some(explicit)
        );
    }

    #[test]
    fn the_nearest_below_the_root_wins() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let tests = root.join("crates/net/tests");
        std::fs::create_dir_all(&tests).unwrap();
        let found = || find(None, &tests, root, &json!({})).unwrap();
        touch(&root.join("target-test.toml"));
        assert_eq!(found(), Some(root.join("target-test.toml")));
        touch(&root.join("crates/target-test.toml"));
        assert_eq!(found(), Some(root.join("crates/target-test.toml")));
        touch(&root.join("crates/net/target-test.toml"));
        assert_eq!(found(), Some(root.join("crates/net/target-test.toml")));
        // Below another root, nothing of this one is found.
        let other = tempfile::tempdir().unwrap();
        let elsewhere = find(None, &tests, other.path(), &json!({})).unwrap();
        assert_eq!(elsewhere, None);
    }

    #[test]
    fn what_was_named_must_exist() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        touch(&root.join("target-test.toml"));
        let metadata = json!({"target-test": {"playbook": "missing.toml"}});
        let number = json!({"target-test": {"playbook": 3}});
        for error in [
            find(Some(Path::new("/missing.toml")), root, root, &Value::Null).unwrap_err(),
            find(None, root, root, &metadata).unwrap_err(),
            find(None, root, root, &number).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Playbook, "{error}");
        }
    }

    #[test]
    fn a_folder_or_dead_link_in_a_place_is_found() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("target-test.toml")).unwrap();
        assert!(
            find(None, root.path(), root.path(), &Value::Null)
                .unwrap()
                .is_some()
        );
        std::fs::remove_dir(root.path().join("target-test.toml")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join("target-test.toml")).unwrap();
        assert!(
            find(None, root.path(), root.path(), &Value::Null)
                .unwrap()
                .is_some()
        );
    }
}
