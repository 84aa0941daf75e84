//! The instances of a run: their targets, facts and consoles, for the properties of entries.

use std::{collections::HashMap, fmt::Write as _, sync::Arc};

use crate::run_event::{InstanceTarget, RunEventKind, RunTarget};

/// The maximum size of a console's end in the report, in bytes.
pub(super) const CONSOLE: usize = 8 << 10;

/// The facts of an instance, by name.
pub(super) type FactList = Vec<(String, String)>;

/// The instances, by name.
#[derive(Debug, Default)]
pub(super) struct Instances {
    known: HashMap<String, Known>,
    /// The targets of the run.
    targets: Vec<InstanceTarget>,
}

#[derive(Debug, Default)]
struct Known {
    target: Option<InstanceTarget>,
    facts: Arc<FactList>,
    /// The end of the console at the last failure, as text of the report.
    console: Option<String>,
    /// True if the last deploy failed.
    failed: bool,
}

impl Instances {
    /// Notes the data of an event.
    pub(super) fn note(&mut self, kind: &RunEventKind) {
        match kind {
            RunEventKind::RunStarted { origin, .. } => {
                let target = |target: &RunTarget| InstanceTarget {
                    name: target.name.clone(),
                    label: target.label.clone(),
                    platform: target.platform.clone(),
                };
                self.targets = origin.targets.iter().map(target).collect();
            }
            RunEventKind::DeployStarted { instance, target } => {
                let known = self.known(instance);
                known.target = target.clone().or(known.target.take());
                known.console = None;
            }
            RunEventKind::DeployEnded {
                instance, error, ..
            } => self.known(instance).failed = error.is_some(),
            RunEventKind::Facts { instance, facts } => {
                let facts = facts
                    .iter()
                    .map(|(name, fact)| (name.clone(), fact.clone()));
                self.known(instance).facts = Arc::new(facts.collect());
            }
            RunEventKind::Console {
                instance,
                text,
                file,
            } => {
                let file = file.as_ref().map(|file| file.display().to_string());
                let shown = console_text(instance, file.as_deref(), text);
                self.known(instance).console = Some(shown);
            }
            _ => {}
        }
    }

    /// Returns the target of an instance.
    pub(super) fn target(&self, instance: &str) -> Option<&InstanceTarget> {
        self.known.get(instance)?.target.as_ref()
    }

    /// Returns the target with a label.
    pub(super) fn target_of_label(&self, label: &str) -> Option<&InstanceTarget> {
        self.targets.iter().find(|target| target.label == label)
    }

    /// Returns the facts of an instance now.
    pub(super) fn facts(&self, instance: &str) -> Arc<FactList> {
        let known = self.known.get(instance);
        known.map_or_else(Arc::default, |known| Arc::clone(&known.facts))
    }

    /// Returns the console of an instance at its last failure.
    pub(super) fn console(&self, instance: &str) -> Option<&str> {
        self.known.get(instance)?.console.as_deref()
    }

    /// Returns the consoles of the failed deploys of a label, sorted by instance.
    pub(super) fn failed_consoles(&self, label: &str) -> Vec<&str> {
        let has_label = |known: &&Known| {
            let target = known.target.as_ref();
            known.failed && target.is_some_and(|target| target.label == label)
        };
        let failed = self.known.values().filter(has_label);
        let mut consoles: Vec<_> = failed.filter_map(|one| one.console.as_deref()).collect();
        consoles.sort_unstable();
        consoles
    }

    fn known(&mut self, instance: &str) -> &mut Known {
        self.known.entry(instance.to_owned()).or_default()
    }
}

/// Formats the end of a console, below a line that names the instance and the file.
pub(super) fn console_text(instance: &str, file: Option<&str>, text: &str) -> String {
    let start = text.len().saturating_sub(CONSOLE);
    let start = (start..=text.len()).find(|at| text.is_char_boundary(*at));
    let mut shown = format!("console of {instance}");
    if let Some(file) = file {
        let _ = write!(shown, " ({file})");
    }
    shown.push_str(":\n");
    shown.push_str(text[start.unwrap_or_default()..].trim_end());
    shown.push('\n');
    shown
}
