//! `schema`: prints the JSON Schema of playbooks, for editors; `help playbook`: prints it for people.

use crate::{
    error::Result,
    playbook::{self, KeyReference},
    provision::platform::Platforms,
    ui,
};

/// Runs the verb.
///
/// # Errors
/// None.
pub fn verb(platforms: &Platforms) -> Result<u8> {
    let schema = playbook::schema(&platforms.syntax());
    ui::out(format_args!("{schema:#}"));
    Ok(0)
}

/// Prints the reference of playbooks: all of it, or a key.
///
/// # Errors
/// Fails if the key is unknown.
pub fn help(platforms: &Platforms, key: Option<&str>) -> Result<u8> {
    let reference = KeyReference::of(&playbook::schema(&platforms.syntax()));
    let text = reference.text(key, ui::columns())?;
    ui::out(text.trim_end());
    Ok(0)
}
