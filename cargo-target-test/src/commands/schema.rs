//! `cargo target-test schema`: the JSON Schema of playbooks, for editors.

use crate::{
    playbook::{self, PlatformSyntax},
    ui,
};

/// Prints the schema.
pub fn run(platforms: &[PlatformSyntax<'_>]) {
    ui::out(format_args!("{:#}", playbook::schema(platforms)));
}
