//! The default playbook.

/// The playbook used if there is no file: every test runs on this machine.
pub(super) const PLAYBOOK: &str = "[[targets]]\nname = \"local\"\nplatform = \"local\"\n";
/// The table of its target, for a playbook without targets.
pub(super) const TARGET: &str = "name = \"local\"\nplatform = \"local\"\n";
/// The platform of its target.
pub(super) const PLATFORM: &str = "local";
