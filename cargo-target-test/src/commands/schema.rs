//! `schema`: prints the JSON Schema of playbooks, for editors.

use crate::{error::Result, playbook, provision::platform::Platforms, ui};

/// Runs the verb.
///
/// # Errors
/// None.
pub fn verb(platforms: &Platforms) -> Result<u8> {
    let schema = playbook::schema(&platforms.syntax());
    ui::out(format_args!("{schema:#}"));
    Ok(0)
}
