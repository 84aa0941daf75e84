//! Platform `local`: folders and processes of this machine.

use std::path::Path;

use super::{Subject, label, marked, names};

pub(crate) struct LocalSubject;

#[expect(
    clippy::unnecessary_wraps,
    reason = "it runs everywhere, others do not"
)]
pub(crate) fn new() -> Result<LocalSubject, String> {
    Ok(LocalSubject)
}

impl Subject for LocalSubject {
    fn playbook(&self, _: &Path) -> String {
        "[recipes.two]\nsteps = [{ run = \"true\" }, { run = \"true\" }]\n\
         [[targets]]\nname = \"it\"\nplatform = \"local\"\ncount = 2\nrecipe = \"two\"\n\
         inherit-env = [\"CONTRACT_SECRET\"]\n"
            .to_owned()
    }

    fn wrong_playbook(&self, folder: &Path) -> (String, String) {
        let line = "inherit-env = [\"A=B\"]";
        (
            self.playbook(folder)
                .replace("inherit-env = [\"CONTRACT_SECRET\"]", line),
            line.to_owned(),
        )
    }

    fn exists(&self, pool: &Path) -> Vec<String> {
        let processes = label(pool).map(|label| marked("TARGET_TEST_LOCAL", &label));
        let mut all = processes.unwrap_or_default();
        all.extend(names(&pool.join("instances")));
        all
    }

    fn remove_behind_our_back(&self, pool: &Path) -> bool {
        for name in names(&pool.join("instances")) {
            let _ = std::fs::remove_dir_all(pool.join("instances").join(name));
        }
        true
    }

    fn identity(&self) -> &'static str {
        "pwd; echo $TMPDIR"
    }

    fn passes_secret(&self) -> Option<bool> {
        Some(true)
    }
}
