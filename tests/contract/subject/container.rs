//! Platform `container`: real containers.

use std::path::Path;

use super::{Subject, label, names};
use crate::support::container::Engine;

pub(crate) struct ContainerSubject {
    engine: Engine,
}

/// The subject; an error if no engine can run containers here.
pub(crate) fn new() -> Result<ContainerSubject, String> {
    Ok(ContainerSubject {
        engine: Engine::start()?,
    })
}

impl Subject for ContainerSubject {
    fn playbook(&self, _: &Path) -> String {
        let recipe = "[recipes.two]\nsteps = [{ run = \"true\" }, { run = \"true\" }]\n";
        let target = self.engine.target("it");
        format!(
            "{recipe}{target}count = 2\nrecipe = \"two\"\ninherit-env = [\"CONTRACT_SECRET\"]\n"
        )
    }

    fn wrong_playbook(&self, folder: &Path) -> (String, String) {
        let line = "pull = \"often\"";
        (
            format!("{}{line}\n", self.playbook(folder)),
            line.to_owned(),
        )
    }

    fn exists(&self, pool: &Path) -> Vec<String> {
        let label = label(pool);
        let mut all = label
            .map(|label| self.engine.labelled(&label))
            .unwrap_or_default();
        all.extend(names(&pool.join("instances")));
        all
    }

    fn remove_behind_our_back(&self, pool: &Path) -> bool {
        let label = label(pool).expect("a label");
        for name in self.engine.labelled(&label) {
            self.engine.run(&["rm", "--force", &name]);
        }
        true
    }

    fn identity(&self) -> &'static str {
        "hostname"
    }

    fn boot_id(&self) -> Option<&'static str> {
        // Containers share their host's kernel: of the first process in it.
        Some("cut -d ' ' -f 22 /proc/1/stat")
    }

    fn passes_secret(&self) -> Option<bool> {
        Some(true)
    }
}
