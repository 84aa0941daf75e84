//! Images for virtual machines, built once by the example's own script.

use std::{path::PathBuf, process::Command, time::Duration};

use super::repository;

/// The limit for a run that boots several machines at once, on a host that does other things too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(450);

/// A kernel and an initial file system.
pub(crate) struct Images {
    folder: PathBuf,
}

impl Images {
    /// Builds them, where they are not there.
    ///
    /// # Errors
    /// Why virtual machines cannot run here.
    pub(crate) fn build() -> Result<Self, String> {
        Self::build_by("vm", "vm", &[])
    }

    /// Builds those of a guest that mounts folders by 9p, which the other kernel cannot.
    ///
    /// # Errors
    /// As [`Images::build`].
    pub(crate) fn with_9p() -> Result<Self, String> {
        let kernel = ("KERNEL", "linux-image-amd64");
        Self::build_by("vm", "vm-9p", &[kernel, ("MODULES", "9p 9pnet_virtio")])
    }

    /// Builds those of the gateway's example.
    ///
    /// # Errors
    /// As [`Images::build`].
    pub(crate) fn of_gateway() -> Result<Self, String> {
        Self::build_by("gateway", "gateway", &[])
    }

    fn build_by(example: &str, folder: &str, variables: &[(&str, &str)]) -> Result<Self, String> {
        let program = "qemu-system-x86_64";
        let found = Command::new(program).arg("--version").output();
        found.map_err(|error| format!("`{program}`: {error}"))?;
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(folder);
        let built = Command::new(repository().join(format!("examples/{example}/build")))
            .arg(&folder)
            .envs(variables.iter().copied())
            .output();
        let built = built.map_err(|error| error.to_string())?;
        match built.status.success() {
            true => Ok(Self { folder }),
            false => Err(String::from_utf8_lossy(&built.stderr).into_owned()),
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A target's table; more keys can follow.
    pub(crate) fn target(&self, name: &str) -> String {
        let append = "console=ttyS0 quiet mitigations=off random.trust_cpu=on no_timer_check cryptomgr.notests tsc=reliable";
        format!(
            "[[targets]]\nname = {name:?}\nplatform = \"qemu\"\nmemory = \"256 MiB\"\nkernel = {:?}\ninitrd = {:?}\n\
             append = {append:?}\n",
            self.file("vmlinuz"),
            self.file("initrd.img")
        )
    }
}
