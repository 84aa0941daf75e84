//! The provisioner of a playbook, for programs without a command line.

use std::path::{Path, PathBuf};

use target_fixtures::env;

use super::PoolProvisioner;
use crate::{
    error::Result,
    playbook,
    provision::{
        InstanceSet, PoolRun, RunInfo, Wanted,
        platform::Platforms,
        pool::{self, Pool},
    },
    ui,
};

impl PoolProvisioner {
    /// Opens all targets of a playbook, of built-in platforms, in the user's pool: the folder that `TARGET_TEST_POOL`
    /// names, or the default one. What takes long is printed to standard error.
    ///
    /// ```no_run
    /// use cargo_target_test::provision::{PoolProvisioner, Provisioner, Request};
    ///
    /// # async fn example() -> cargo_target_test::Result<()> {
    /// let machines = PoolProvisioner::open("target-test.toml")?;
    /// let lease = machines.acquire(Request::one("debian")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Playbook`](crate::ErrorKind::Playbook) if the playbook is invalid,
    /// [`ErrorKind::Pool`](crate::ErrorKind::Pool) if the pool cannot be used.
    pub fn open(playbook: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(playbook.as_ref(), &Platforms::default())
    }

    /// Opens all targets of a playbook, of these platforms.
    ///
    /// # Errors
    /// As [`PoolProvisioner::open`].
    pub fn open_with(playbook: &Path, platforms: &Platforms) -> Result<Self> {
        let playbook = playbook::load(Some(playbook), &[], &platforms.syntax())?;
        let run = RunInfo::new(&playbook.directory, playbook.path.as_deref(), platforms);
        let run = PoolRun::new(Pool::open(&pool_directory()?)?, run)?;
        let provisioner = Self::new(run, Path::new(""), ui::live);
        for target in &playbook.targets {
            let origin = (playbook.directory.clone(), playbook.path.clone());
            let wanted = Wanted::of_target(&playbook, target, platforms, origin)?;
            let wanted: Vec<_> = (0..target.count).map(|index| wanted.at(index)).collect();
            for one in wanted.iter().take(1) {
                one.platform.check(&one.spec(""))?;
            }
            let label = target.label.clone();
            provisioner.add(InstanceSet::new(wanted, 0, label, target.cost));
        }
        Ok(provisioner)
    }
}

fn pool_directory() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    match variable(env::POOL) {
        Some(pool) => Ok(std::path::absolute(pool)?),
        None => pool::default_directory(variable("XDG_STATE_HOME"), variable("HOME")),
    }
}
