//! The default playbook.

/// The playbook used if there is no file: every test runs on this machine.
pub(super) const PLAYBOOK: &str = "[[targets]]\nname = \"local\"\nplatform = \"local\"\n";
