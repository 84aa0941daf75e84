//! `completions`: prints the completion script of a shell.

use clap_complete::Shell;

use crate::{cli, error::Result, ui};

/// Runs the verb.
///
/// # Errors
/// None.
pub fn verb(shell: Shell) -> Result<u8> {
    let program = format!("cargo-{}", cli::subcommand());
    let script = |name: &str| {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut cli::unbuilt_command(), name, &mut script);
        script
    };
    if shell != Shell::Bash {
        ui::bytes_out(&script(&program));
        return Ok(0);
    }
    // clap_complete 4.6.11 finds no options for bash if the name has a `-`: only the last lines, which register the
    // completions, get the right one.
    let name = program.replace('-', "_");
    let script = String::from_utf8_lossy(&script(&name)).replace(
        &format!("-o default {name}\n"),
        &format!("-o default {program}\n"),
    );
    ui::bytes_out(script.as_bytes());
    Ok(0)
}
