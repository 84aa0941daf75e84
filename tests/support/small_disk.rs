//! A small file system of a test's own, for full disks. Only root can mount one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A file system in memory; unmounted when dropped.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one on a folder. The size is as `mount` takes it: `96k`.
    pub(crate) fn mount(folder: &Path, size: &str) -> Option<Self> {
        let options = format!("size={size}");
        let mount = ["-t", "tmpfs", "-o", &options, "small"];
        let mounted = Command::new("mount").args(mount).arg(folder).output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then(|| Self(folder.to_owned()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Takes all room that is left, until [`Self::empty`].
    pub(crate) fn fill(&self) {
        let _ = fs::write(self.filler(), vec![0; 64 << 20]);
    }

    /// Lets nothing be written any more.
    pub(crate) fn make_read_only(&self) {
        let remount = ["-o", "remount,ro"];
        let _ = Command::new("mount").args(remount).arg(&self.0).output();
    }

    /// Gives back the room.
    pub(crate) fn empty(&self) {
        let _ = fs::remove_file(self.filler());
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}
