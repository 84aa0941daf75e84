//! The user's own nextest configuration, as far as we have to understand it: its filtersets.
//!
//! Owns where they stand. Must not judge the file: nextest does, with better words.

use std::path::{Path, PathBuf};

/// Where nextest looks for it in a workspace.
pub(super) const CONFIG: &str = ".config/nextest.toml";

/// Every filterset of the user's configuration: default filters, overrides', scripts'. A file that cannot be
/// read has none.
pub fn users_filtersets(workspace: &Path, config_file: Option<PathBuf>) -> Vec<String> {
    let path = config_file.unwrap_or_else(|| workspace.join(CONFIG));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    let profiles = table.get("profile").and_then(toml::Value::as_table);
    let mut found = Vec::new();
    for profile in profiles.into_iter().flat_map(toml::Table::values) {
        found.extend(profile.get("default-filter"));
        for list in ["overrides", "scripts"] {
            let rules = profile.get(list).and_then(toml::Value::as_array);
            found.extend(
                rules
                    .into_iter()
                    .flatten()
                    .filter_map(|rule| rule.get("filter")),
            );
        }
    }
    found
        .iter()
        .filter_map(|value| value.as_str())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filtersets_are_found_wherever_they_stand() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nextest.toml");
        let text = "[profile.default]\ndefault-filter = 'a'\n\
                    [[profile.ci.overrides]]\nfilter = 'b'\nretries = 1\n\
                    [[profile.ci.overrides]]\nplatform = 'cfg(unix)'\n\
                    [[profile.ci.scripts]]\nfilter = 'c'\nsetup = 'x'\n";
        std::fs::write(&file, text).unwrap();
        let mut found = users_filtersets(folder.path(), Some(file));
        found.sort();
        assert_eq!(found, ["a", "b", "c"]);
        assert!(users_filtersets(folder.path(), None).is_empty());
    }
}
