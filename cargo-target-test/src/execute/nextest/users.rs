//! Filtersets and the JUnit report of the user's own nextest configuration.
//!
//! Must not validate the file: nextest does, with better messages.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// The path of nextest's configuration in a workspace.
pub(super) const CONFIG: &str = ".config/nextest.toml";
/// The variable that names a profile.
const PROFILE: &str = "NEXTEST_PROFILE";
/// The profile from which all other profiles inherit.
pub(super) const DEFAULT: &str = "default";

/// Returns all filtersets of the user's configuration: of default filters, overrides and scripts. A file that cannot be
/// read counts as empty.
pub fn users_filtersets(workspace: &Path, config_file: Option<PathBuf>) -> Vec<String> {
    let table = read(workspace, config_file);
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

/// Returns the profile of a run, from `--profile` or the environment.
pub fn profile(given: Option<&OsStr>) -> String {
    let profile = given.map(OsStr::to_owned);
    let profile = profile.or_else(|| std::env::var_os(PROFILE));
    profile.map_or(DEFAULT.to_owned(), |name| {
        name.to_string_lossy().into_owned()
    })
}

/// Returns the file of nextest's JUnit report, if the user configured one for this profile.
pub fn users_junit(
    workspace: &Path,
    config_file: Option<PathBuf>,
    profile: &str,
) -> Option<PathBuf> {
    let table = read(workspace, config_file);
    let store = table
        .get("store")
        .and_then(|store| store.get("dir")?.as_str());
    let profiles = table.get("profile")?;
    let mut asked = Some(profile);
    // Bounded by the number of profiles, in case of a cycle.
    for _ in 0..=profiles.as_table()?.len() {
        let own = asked.and_then(|name| profiles.get(name));
        if let Some(path) = own.and_then(|own| own.get("junit")?.get("path")) {
            let folder = workspace.join(store.unwrap_or("target/nextest"));
            return Some(folder.join(profile).join(path.as_str()?));
        }
        let parent = own.and_then(|own| own.get("inherits")?.as_str());
        asked = Some(parent.unwrap_or(DEFAULT));
    }
    None
}

fn read(workspace: &Path, config_file: Option<PathBuf>) -> toml::Table {
    let path = config_file.unwrap_or_else(|| workspace.join(CONFIG));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.parse().unwrap_or_default()
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

    #[test]
    fn the_report_is_found_where_the_profile_or_its_parent_says() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nextest.toml");
        let text = "[profile.default.junit]\npath = 'all.xml'\n[profile.ci.junit]\npath = '/ci.xml'\n\
                    [profile.night]\ninherits = 'ci'\n[profile.day]\nretries = 1\n";
        for (text, profile, expected) in [
            (text, "default", Some("target/nextest/default/all.xml")),
            (text, "ci", Some("/ci.xml")),
            (text, "night", Some("/ci.xml")),
            (text, "day", Some("target/nextest/day/all.xml")),
            ("", "default", None),
            ("[profile.ci]\ninherits = 'ci'\n", "ci", None),
        ] {
            std::fs::write(&file, text).unwrap();
            let found = users_junit(folder.path(), Some(file.clone()), profile);
            assert_eq!(
                found,
                expected.map(|path| folder.path().join(path)),
                "{profile}"
            );
        }
    }
}
