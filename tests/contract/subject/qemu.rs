//! Platform `qemu`: real virtual machines.

use std::{path::Path, process::Command};

use super::{RECIPE, Subject, marked};
use crate::support::vm::Images;

pub(crate) struct Qemu {
    images: Images,
}

/// Whether there is a QEMU, and an image for it.
pub(crate) fn new() -> Result<Qemu, String> {
    Ok(Qemu {
        images: Images::build()?,
    })
}

impl Subject for Qemu {
    fn playbook(&self, _: &Path) -> String {
        format!(
            "{RECIPE}{}count = 2\nrecipe = \"two\"\n",
            self.images.target("it")
        )
    }

    fn wrong_line(&self) -> &'static str {
        "accel = \"warp\""
    }

    fn machines(&self, pool: &Path) -> Vec<String> {
        marked("TARGET_TEST_LABEL", pool)
    }

    fn remove_behind_our_back(&self, pool: &Path) -> bool {
        for process in marked("TARGET_TEST_LABEL", pool) {
            let pid = process.trim_start_matches("/proc/");
            let _ = Command::new("kill").args(["-s", "KILL", pid]).output();
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
