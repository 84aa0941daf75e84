//! The subject made of a platform and a playbook.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Subject, place};
use crate::{
    playbook,
    provision::platform::{DynPlatform, Found, InstanceSpec, Ownership, Platform, Platforms},
};

/// A platform with the playbook of its contract.
pub struct PlaybookSubject {
    platforms: Platforms,
    platform: Arc<dyn DynPlatform>,
    playbook: PathBuf,
    /// The target `it`, for [`Platform::find`].
    like: InstanceSpec,
}

impl PlaybookSubject {
    /// Creates the subject; `playbook` is an absolute path.
    ///
    /// # Errors
    /// Fails if the playbook is invalid or has no target `it` of this platform.
    pub fn new(platform: impl Platform, playbook: &str) -> Result<Self, String> {
        let name = platform.name();
        let platforms = Platforms::default().with(platform);
        let path = PathBuf::from(playbook);
        let playbook = playbook::load(Some(&path), &[], &platforms.syntax());
        let playbook = playbook.map_err(|error| error.chain())?;
        let mut targets = playbook.targets.into_iter();
        let target = targets.find(|target| target.name == "it" && target.platform == name);
        let target =
            target.ok_or_else(|| format!("`{}` has no target `it` of `{name}`", path.display()))?;
        let platform = platforms.get(name).ok_or("no platform")?;
        Ok(Self {
            platform: Arc::clone(platform),
            platforms,
            playbook: path,
            like: InstanceSpec {
                instance: "it-0".to_owned(),
                target: target.name,
                parameters: target.parameters,
                directory: target.directory,
                ..InstanceSpec::default()
            },
        })
    }

    fn found(&self, pool: &Path) -> Vec<Found> {
        let Some(label) = place::label(pool) else {
            return Vec::new();
        };
        let found = self.platform.find(&label, Some(&self.like));
        found.unwrap_or_else(|error| panic!("`find` failed: {}", error.chain()))
    }
}

impl Subject for PlaybookSubject {
    fn platforms(&self) -> Platforms {
        self.platforms.clone()
    }

    fn playbook(&self, _: &Path) -> String {
        format!("include = {:?}\n", self.playbook)
    }

    fn wrong_playbook(&self, _: &Path) -> (String, String) {
        let line = "contract-has-no-such-key = true";
        let text = fs::read_to_string(&self.playbook).expect("the playbook");
        let target = "[[targets]]\n";
        assert!(text.contains(target), "`[[targets]]` has a line of its own");
        (
            text.replacen(target, &format!("{target}{line}\n"), 1),
            line.to_owned(),
        )
    }

    fn exists(&self, pool: &Path) -> Vec<String> {
        let mut all: Vec<_> = self.found(pool).into_iter().map(|one| one.what).collect();
        all.extend(place::names(&pool.join("instances")));
        all
    }

    fn remove_behind_our_back(&self, pool: &Path) -> bool {
        let found = self.found(pool);
        for one in &found {
            let mut spec = self.like.clone();
            spec.label = place::label(pool).unwrap_or_default();
            spec.unique.clone_from(&one.unique);
            spec.scratch = pool.join("instances").join(&one.unique);
            if !one.parameters.is_null() {
                spec.parameters.clone_from(&one.parameters);
            }
            let deleted = self.platform.delete(&spec, one.deployed.as_ref());
            deleted.expect("a delete of what was found");
        }
        !found.is_empty()
    }

    fn machines_stay(&self) -> bool {
        self.platform.ownership() == Ownership::Existing
    }

    fn makes_machines(&self) -> bool {
        self.platform.ownership().is_created()
    }

    fn is_slow(&self) -> bool {
        self.platform
            .footprint(&self.like)
            .is_ok_and(|footprint| footprint.memory > 0)
    }

    fn identity(&self) -> &'static str {
        "hostname; pwd; cat /proc/sys/kernel/random/boot_id"
    }

    fn may_restart(&self) -> bool {
        true
    }

    fn passes_secret(&self) -> Option<bool> {
        None
    }
}
