//! Prints the playbook's tables about tests for `check`.
//!
//! Must not know what the tables mean.

use std::fmt::Write as _;

use serde::Serialize;

use crate::playbook::{Defaults, MetadataSettings, Rules, toml_key};

/// Writes the tables unchanged: they have no defaults.
pub(super) fn write_rules(text: &mut String, rules: &Rules) {
    let mut write = |header: String, of: toml::Table| {
        let _ = writeln!(text, "\n{header}");
        for (key, value) in of {
            let _ = writeln!(text, "{} = {value}", toml_key(&key));
        }
    };
    if rules.metadata != MetadataSettings::default() {
        write("[metadata]".to_owned(), table(&rules.metadata));
    }
    if rules.defaults != Defaults::default() {
        write("[defaults]".to_owned(), table(&rules.defaults));
    }
    for rule in &rules.criteria {
        write("[[criteria]]".to_owned(), table(rule));
    }
    for change in &rules.overrides {
        write("[[overrides]]".to_owned(), table(change));
    }
    for variant in &rules.variants {
        write("[[variants]]".to_owned(), table(variant));
    }
    for (name, mode) in &rules.modes {
        write(format!("[modes.{}]", toml_key(name)), table(mode));
    }
    for scenario in &rules.scenarios {
        write("[[scenarios]]".to_owned(), table(scenario));
    }
}

fn table(of: &impl Serialize) -> toml::Table {
    toml::Table::try_from(of).unwrap_or_default()
}
