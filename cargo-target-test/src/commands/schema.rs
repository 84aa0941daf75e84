//! `cargo target-test schema`: the JSON Schema of playbooks, for editors.

use crate::{
    error::Result,
    playbook::{self, PlatformSyntax},
    provision::platform,
    run::workspace,
    ui,
};

/// The verb.
///
/// # Errors
/// None.
pub fn verb() -> Result<u8> {
    let platforms = platform::all();
    let syntax: Vec<_> = platforms
        .iter()
        .map(|platform| workspace::syntax(platform.as_ref()))
        .collect();
    run(&syntax);
    Ok(0)
}

/// Prints the schema.
pub fn run(platforms: &[PlatformSyntax<'_>]) {
    ui::out(format_args!("{:#}", playbook::schema(platforms)));
}
