//! Settings of the user's own nextest configuration that a run must know: filtersets, the JUnit report and fail-fast.
//!
//! Must not validate the file: nextest does, with better messages.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use crate::bounded;

/// The path of nextest's configuration in a workspace.
pub(super) const CONFIG: &str = ".config/nextest.toml";
/// The variable that names a profile.
const PROFILE: &str = "NEXTEST_PROFILE";
/// The profile from which all other profiles inherit.
pub(super) const DEFAULT: &str = "default";

/// The user's configuration, as one profile sees it.
#[derive(Debug)]
pub struct UsersConfig {
    table: toml::Table,
    profile: String,
    workspace: PathBuf,
}

impl UsersConfig {
    /// Reads the configuration of a workspace, or `config_file` instead. `profile` is the value of `--profile`; the
    /// default is from the environment. A file that cannot be read counts as empty.
    pub fn read(workspace: &Path, config_file: Option<&OsStr>, profile: Option<&OsStr>) -> Self {
        let path = config_file.map_or_else(|| workspace.join(CONFIG), PathBuf::from);
        let text = bounded::read_to_string(&path).unwrap_or_default();
        Self {
            table: text.parse().unwrap_or_default(),
            profile: self::profile(profile),
            workspace: workspace.to_owned(),
        }
    }

    /// Returns all filtersets: of default filters, overrides and scripts of any profile.
    pub fn filtersets(&self) -> Vec<String> {
        let profiles = self.table.get("profile").and_then(toml::Value::as_table);
        let mut found = Vec::new();
        for profile in profiles.into_iter().flat_map(toml::Table::values) {
            found.extend(profile.get("default-filter"));
            for list in ["overrides", "scripts"] {
                let rules = profile.get(list).and_then(toml::Value::as_array);
                let rules = rules.into_iter().flatten();
                found.extend(rules.filter_map(|rule| rule.get("filter")));
            }
        }
        let texts = found.iter().filter_map(|value| value.as_str());
        texts.map(str::to_owned).collect()
    }

    /// Returns the file of nextest's JUnit report, if the profile has one.
    pub fn junit(&self) -> Option<PathBuf> {
        let path = self.setting(&["junit", "path"])?.as_str()?;
        let store = self.table.get("store");
        let store = store.and_then(|store| store.get("dir")?.as_str());
        let folder = self.workspace.join(store.unwrap_or("target/nextest"));
        Some(folder.join(&self.profile).join(path))
    }

    /// Returns the number of failures at which the profile stops the run; `None` if it does not.
    pub fn max_fail(&self) -> Option<u64> {
        match self.setting(&["fail-fast"])? {
            toml::Value::Boolean(true) => Some(1),
            setting => u64::try_from(setting.get("max-fail")?.as_integer()?).ok(),
        }
    }

    /// Returns the text of the configuration with another file for the profile's JUnit report.
    pub fn with_junit(&self, file: &Path) -> String {
        let mut table = self.table.clone();
        let mut at = &mut table;
        for key in ["profile", &self.profile, "junit"] {
            let inner = at.entry(key).or_insert_with(|| toml::Table::new().into());
            match inner.as_table_mut() {
                Some(inner) => at = inner,
                // nextest reports the error.
                None => return self.table.to_string(),
            }
        }
        at.insert("path".to_owned(), file.to_string_lossy().as_ref().into());
        table.to_string()
    }

    /// Returns a setting of the profile, or of the first profile that it inherits the setting from.
    fn setting(&self, path: &[&str]) -> Option<&toml::Value> {
        let profiles = self.table.get("profile")?;
        let mut asked = Some(self.profile.as_str());
        // Bounded by the number of profiles, in case of a cycle.
        for _ in 0..=profiles.as_table()?.len() {
            let own = asked.and_then(|name| profiles.get(name));
            let found = own.and_then(|own| path.iter().try_fold(own, |at, key| at.get(key)));
            if found.is_some() {
                return found;
            }
            let parent = own.and_then(|own| own.get("inherits")?.as_str());
            asked = Some(parent.unwrap_or(DEFAULT));
        }
        None
    }
}

/// Returns the profile of a run, from `--profile` or the environment.
pub(super) fn profile(given: Option<&OsStr>) -> String {
    let profile = given.map(OsStr::to_owned);
    let profile = profile.or_else(|| std::env::var_os(PROFILE));
    profile.map_or(DEFAULT.to_owned(), |name| {
        name.to_string_lossy().into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The configuration of these lines, as a profile sees it.
    fn config(text: &str, profile: &str) -> UsersConfig {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nextest.toml");
        std::fs::write(&file, text).unwrap();
        let (file, profile) = (file.as_os_str(), OsStr::new(profile));
        UsersConfig::read(Path::new("/w"), Some(file), Some(profile))
    }

    #[test]
    fn filtersets_are_found_wherever_they_stand() {
        let text = "[profile.default]\ndefault-filter = 'a'\n\
                    [[profile.ci.overrides]]\nfilter = 'b'\nretries = 1\n\
                    [[profile.ci.overrides]]\nplatform = 'cfg(unix)'\n\
                    [[profile.ci.scripts]]\nfilter = 'c'\nsetup = 'x'\n";
        let mut found = config(text, "default").filtersets();
        found.sort();
        assert_eq!(found, ["a", "b", "c"]);
        let none = UsersConfig::read(Path::new("/w"), None, None);
        assert!(none.filtersets().is_empty());
    }

    #[test]
    fn the_report_is_found_where_the_profile_or_its_parent_says() {
        let text = "[profile.default.junit]\npath = 'all.xml'\n[profile.ci.junit]\npath = '/ci.xml'\n\
                    [profile.night]\ninherits = 'ci'\n[profile.day]\nretries = 1\n";
        for (text, profile, expected) in [
            (text, "default", Some("/w/target/nextest/default/all.xml")),
            (text, "ci", Some("/ci.xml")),
            (text, "night", Some("/ci.xml")),
            (text, "day", Some("/w/target/nextest/day/all.xml")),
            ("", "default", None),
            ("[profile.ci]\ninherits = 'ci'\n", "ci", None),
        ] {
            let found = config(text, profile).junit();
            assert_eq!(found.as_deref(), expected.map(Path::new), "{profile}");
        }
        let (text, part) = ("[profile.ci]\nretries = 1\n", Path::new("/part.xml"));
        let changed = config(&config(text, "ci").with_junit(part), "ci");
        assert_eq!(changed.junit().as_deref(), Some(part));
        assert!(changed.setting(&["retries"]).is_some());
    }

    #[test]
    fn a_profile_stops_at_its_own_or_inherited_number_of_failures() {
        let text = "[profile.default]\nfail-fast = true\n[profile.ci]\nfail-fast = false\n\
                    [profile.few]\nfail-fast = { max-fail = 3, terminate = 'wait' }\n\
                    [profile.all]\nfail-fast = { max-fail = 'all' }\n[profile.other]\nretries = 1\n";
        for (profile, expected) in [
            ("default", Some(1)),
            ("ci", None),
            ("few", Some(3)),
            ("all", None),
            ("other", Some(1)),
        ] {
            assert_eq!(config(text, profile).max_fail(), expected, "{profile}");
        }
    }
}
