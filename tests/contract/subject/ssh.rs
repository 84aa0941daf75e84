//! Platform `ssh`: real sshd, which were there before and stay.

use std::path::Path;

use super::{RECIPE, Subject};
use crate::support::Sshd;

pub(crate) struct Ssh {
    sshd: Sshd,
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "where there is no sshd its script says so"
)]
pub(crate) fn new() -> Result<Ssh, String> {
    let sshd = Sshd::start(&["it-0", "it-1"]);
    Ok(Ssh { sshd })
}

impl Subject for Ssh {
    fn playbook(&self, _: &Path) -> String {
        let playbook = self.sshd.playbook(&[("it", &["it-0", "it-1"])]);
        format!("{RECIPE}{playbook}recipe = \"two\"\n")
    }

    fn wrong_line(&self) -> &'static str {
        "port = 0"
    }

    fn machines(&self, _: &Path) -> Vec<String> {
        Vec::new()
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
