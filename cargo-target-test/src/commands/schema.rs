//! `schema`: prints the JSON Schema of playbooks, for editors, that of the feed or of a description; `help playbook`: prints it for people.

use crate::{
    cli::SchemaArgs,
    error::Result,
    playbook::{self, KeyReference},
    provision::platform::Platforms,
    run_event, ui,
};

/// Runs the verb.
///
/// # Errors
/// None.
pub fn verb(platforms: &Platforms, args: SchemaArgs) -> Result<u8> {
    let schema = match args {
        SchemaArgs { feed: true, .. } => run_event::schema(),
        SchemaArgs {
            orchestration: true,
            ..
        } => playbook::description_schema(),
        _ => playbook::schema(&platforms.syntax()),
    };
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
