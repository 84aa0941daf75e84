//! Settings of the user's own nextest configuration that a run must know or replace: filtersets, the JUnit report, fail-fast
//! and time limits.
//!
//! Must not validate the file: nextest does, with better messages.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use toml_edit::{DocumentMut, Item, Value};

use super::ToolConfig;
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
    text: String,
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
            text,
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

    /// True if the profile limits the time of the whole run.
    pub fn has_global_timeout(&self) -> bool {
        self.setting(&["global-timeout"]).is_some()
    }

    /// Returns the text of the configuration with another file for the profile's JUnit report, if one is given, and without
    /// limits for the tests of `config` that end by themselves; `None` if the user's file needs no change.
    pub fn replacement(&self, junit: Option<&Path>, config: &ToolConfig) -> Option<String> {
        let mut document: DocumentMut = self.text.parse().ok()?;
        let profiles = document.get_mut("profile")?.as_table_like_mut()?;
        let mut is_changed = junit.is_some_and(|file| {
            let profile = profiles
                .entry(&self.profile)
                .or_insert_with(toml_edit::table);
            set_junit(profile, file).is_some()
        });
        let limits = config.limits();
        if !limits.is_empty() {
            for (_, profile) in profiles.iter_mut() {
                is_changed |= put_first(profile, &limits).is_some();
                let profile = profile.as_table_like_mut();
                is_changed |= profile.is_some_and(|of| of.remove("global-timeout").is_some());
            }
        }
        is_changed.then(|| document.to_string())
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

/// Sets the file of a profile's JUnit report. `None` if the profile is invalid, which nextest reports.
fn set_junit(profile: &mut Item, file: &Path) -> Option<()> {
    let junit = profile.as_table_like_mut()?.entry("junit");
    let junit = junit.or_insert_with(toml_edit::table).as_table_like_mut()?;
    junit.insert("path", toml_edit::value(file.to_string_lossy().as_ref()));
    Some(())
}

/// Puts overrides before those of a profile, if one of these limits the time of tests. `None` if none does.
fn put_first(profile: &mut Item, limits: &[serde_json::Value]) -> Option<()> {
    let item = profile.get_mut("overrides")?;
    let mut overrides = item.clone().into_value().ok()?;
    let list = overrides.as_array_mut()?;
    let limits_time = |one: &Value| {
        let table = one.as_inline_table();
        table.is_some_and(|table| table.contains_key("slow-timeout"))
    };
    if !list.iter().any(limits_time) {
        return None;
    }
    for (at, limit) in limits.iter().enumerate() {
        let limit = toml::Value::try_from(limit).ok()?.to_string();
        list.insert(at, limit.parse::<Value>().ok()?);
    }
    *item = Item::Value(overrides);
    Some(())
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
    use std::{collections::BTreeSet, time::Duration};

    use super::*;
    use crate::execute::nextest::config::DeclaredSetting;

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
        let changed = config(text, "ci").replacement(Some(part), &ToolConfig::default());
        let changed = config(&changed.expect("a replacement"), "ci");
        assert_eq!(changed.junit().as_deref(), Some(part));
        assert!(changed.setting(&["retries"]).is_some());
    }

    #[test]
    fn limits_of_the_users_are_for_other_tests() {
        let config_of = |declared: &[DeclaredSetting]| ToolConfig {
            declared: declared
                .iter()
                .map(|setting| {
                    let tests = BTreeSet::from(["soak".to_owned()]);
                    ((*setting, "hello".to_owned()), tests)
                })
                .collect(),
            ..ToolConfig::default()
        };
        let soak = config_of(&[DeclaredSetting::EndsItself(Duration::from_secs(90))]);
        let other = config_of(&[DeclaredSetting::Retries(1)]);
        let text = "experimental = ['setup-scripts']\n\n[profile.default]\nglobal-timeout = '1h'\n\n\
                    [[profile.default.overrides]]\nfilter = 'all()'\nslow-timeout = '1s'\n\n\
                    [profile.ci]\noverrides = [{ filter = 'all()', slow-timeout = '2s' }]\n\n\
                    [[profile.night.overrides]]\nfilter = 'all()'\nretries = 2\n\n\
                    [scripts.setup.second]\ncommand = 'b'\n\n[scripts.setup.first]\ncommand = 'a'\n";
        let users = config(text, "ci");
        assert!(users.has_global_timeout());
        assert_eq!(users.replacement(None, &other), None);
        let changed = users.replacement(None, &soak).expect("a replacement");
        assert!(!changed.contains("global-timeout"), "{changed}");
        // nextest runs scripts in the order of the file.
        assert!(
            changed.find("setup.second") < changed.find("setup.first"),
            "{changed}"
        );
        let table: toml::Table = changed.parse().expect(&changed);
        for (profile, periods) in [
            ("default", &["1d", "1s"][..]),
            ("ci", &["1d", "2s"]),
            ("night", &["-"]),
        ] {
            let overrides = table["profile"][profile]["overrides"]
                .as_array()
                .expect("overrides");
            let period = |one: &toml::Value| {
                let limit = one.get("slow-timeout")?;
                limit
                    .get("period")
                    .unwrap_or(limit)
                    .as_str()
                    .map(str::to_owned)
            };
            let found: Vec<_> = overrides
                .iter()
                .map(|one| period(one).unwrap_or("-".to_owned()))
                .collect();
            assert_eq!(found, periods, "{profile}");
        }
        for text in [
            "",
            "profile = 3",
            "[profile.default]\noverrides = 3\nslow-timeout = '1s'\n",
            "not TOML",
        ] {
            assert_eq!(config(text, "ci").replacement(None, &soak), None, "{text}");
        }
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
