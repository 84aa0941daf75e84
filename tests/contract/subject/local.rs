//! Platform `local`: folders and processes of this machine.

use std::path::Path;

use super::{RECIPE, Subject, marked, names};

pub(crate) struct Local;

#[expect(
    clippy::unnecessary_wraps,
    reason = "it runs everywhere, others do not"
)]
pub(crate) fn new() -> Result<Local, String> {
    Ok(Local)
}

impl Subject for Local {
    fn playbook(&self, _: &Path) -> String {
        RECIPE.to_owned()
            + "[[targets]]\nname = \"it\"\nplatform = \"local\"\ncount = 2\nrecipe = \"two\"\n\
         inherit-env = [\"CONTRACT_SECRET\"]\n"
    }

    fn wrong_line(&self) -> &'static str {
        "inherit-env = [\"A=B\"]"
    }

    fn machines(&self, pool: &Path) -> Vec<String> {
        marked("TARGET_TEST_LOCAL", pool)
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

    fn passes_secret(&self) -> bool {
        true
    }
}
