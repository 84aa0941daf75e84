//! Platform `qemu`: real virtual machines.

use std::{path::Path, process::Command};

use super::{Subject, label, marked, names};
use crate::support::vm::Images;

pub(crate) struct QemuSubject {
    images: Images,
}

/// The subject; an error without QEMU or an image for it.
pub(crate) fn new() -> Result<QemuSubject, String> {
    Ok(QemuSubject {
        images: Images::build()?,
    })
}

impl Subject for QemuSubject {
    fn playbook(&self, _: &Path) -> String {
        let recipe = "[recipes.two]\nsteps = [{ run = \"true\" }, { run = \"true\" }]\n";
        format!(
            "{recipe}{}count = 2\nrecipe = \"two\"\n",
            self.images.target("it")
        )
    }

    fn wrong_playbook(&self, folder: &Path) -> (String, String) {
        let line = "accel = \"warp\"";
        (
            format!("{}{line}\n", self.playbook(folder)),
            line.to_owned(),
        )
    }

    fn exists(&self, pool: &Path) -> Vec<String> {
        let processes = label(pool).map(|label| marked("TARGET_TEST_LABEL", &label));
        let mut all = processes.unwrap_or_default();
        all.extend(names(&pool.join("instances")));
        all
    }

    fn remove_behind_our_back(&self, pool: &Path) -> bool {
        let label = label(pool).expect("a label");
        for process in marked("TARGET_TEST_LABEL", &label) {
            let _ = Command::new("kill").args(["-s", "KILL", &process]).output();
        }
        true
    }

    fn is_slow(&self) -> bool {
        true
    }

    fn identity(&self) -> &'static str {
        "hostname; cat /proc/sys/kernel/random/boot_id"
    }

    fn boot_id(&self) -> Option<&'static str> {
        Some("cat /proc/sys/kernel/random/boot_id")
    }
}
