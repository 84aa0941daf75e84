//! Platform `command`: scripts that keep a ledger of what they made, which commands reach as processes of this machine.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::{Subject, names};

const SCRIPT: &str = r#"#!/bin/sh
read -r line
field() { printf '%s' "$line" | sed 's/.*"'$1'":"\([^"]*\)".*/\1/'; }
mkdir -p ledger
case $(field action) in
    deploy) field instance >"ledger/$(field unique)"; echo '{"host": "localhost", "transport": "local"}' ;;
    delete) rm -f "ledger/$(field unique)" ;;
    restart) echo restarted >>"ledger/$(field unique)" ;;
esac
"#;

pub(crate) struct CommandSubject;

#[expect(
    clippy::unnecessary_wraps,
    reason = "it runs everywhere, others do not"
)]
pub(crate) fn new() -> Result<CommandSubject, String> {
    Ok(CommandSubject)
}

/// Writes a script beside a playbook.
pub(super) fn script(folder: &Path, name: &str, text: &str) {
    let file = folder.join(name);
    fs::write(&file, text).expect("a script");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).expect("a script");
}

/// The ledger beside the pool.
pub(super) fn ledger(pool: &Path) -> Vec<String> {
    names(&pool.with_file_name("ledger"))
}

impl Subject for CommandSubject {
    fn playbook(&self, folder: &Path) -> String {
        script(folder, "lab", SCRIPT);
        "[recipes.two]\nsteps = [{ run = \"true\" }, { run = \"true\" }]\n\
         [[targets]]\nname = \"it\"\nplatform = \"command\"\ncount = 2\nrecipe = \"two\"\n\
         deploy = \"./lab\"\ndelete = \"./lab\"\n"
            .to_owned()
    }

    fn wrong_playbook(&self, folder: &Path) -> (String, String) {
        let line = "timeout = \"soon\"";
        (
            format!("{}{line}\n", self.playbook(folder)),
            line.to_owned(),
        )
    }

    fn exists(&self, pool: &Path) -> Vec<String> {
        let mut all = ledger(pool);
        all.extend(names(&pool.join("instances")));
        all
    }

    fn remove_behind_our_back(&self, pool: &Path) -> bool {
        for name in ledger(pool) {
            let _ = fs::remove_file(pool.with_file_name("ledger").join(name));
        }
        // It is on this machine, which still answers.
        false
    }

    fn identity(&self) -> &'static str {
        "pwd"
    }

    fn passes_secret(&self) -> Option<bool> {
        // A user's script is started in the user's environment, and so are its machine's commands here.
        Some(true)
    }
}
