//! Platform `ssh`: real sshd, which were there before and stay.

use std::path::Path;

use super::{Subject, names};
use crate::support::Sshd;

pub(crate) struct SshSubject {
    sshd: Sshd,
    /// Lines for the target.
    lines: &'static str,
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "where there is no sshd its script says so"
)]
pub(crate) fn new(lines: &'static str) -> Result<SshSubject, String> {
    let sshd = Sshd::start(&["it-0", "it-1"]);
    Ok(SshSubject { sshd, lines })
}

impl Subject for SshSubject {
    fn playbook(&self, _: &Path) -> String {
        let recipe = "[recipes.two]\nsteps = [{ run = \"true\" }, { run = \"true\" }]\n";
        let playbook = self.sshd.playbook(&[("it", &["it-0", "it-1"])]);
        format!("{recipe}{playbook}recipe = \"two\"\n{}", self.lines)
    }

    fn wrong_playbook(&self, folder: &Path) -> (String, String) {
        let line = "port = 0";
        (
            format!("{}{line}\n", self.playbook(folder)),
            line.to_owned(),
        )
    }

    fn exists(&self, pool: &Path) -> Vec<String> {
        names(&pool.join("instances"))
    }

    fn remove_behind_our_back(&self, _: &Path) -> bool {
        false
    }

    fn machines_stay(&self) -> bool {
        true
    }

    fn makes_machines(&self) -> bool {
        false
    }

    fn identity(&self) -> &'static str {
        "echo $TARGET_IDENTITY"
    }
}
