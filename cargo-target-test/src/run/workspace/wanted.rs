//! Converts resolved targets to the instances that are requested from the pool.
//!
//! Must not deploy instances.

use std::{ops::Range, sync::Arc};

use super::Workspace;
use crate::{
    error::Result,
    playbook::{self, Lifecycle, OnDirty, Recipe},
    provision::{
        self, Wanted,
        platform::{DynPlatform, InstanceSpec},
    },
};

impl Workspace {
    /// Returns the description of this run for the pool.
    pub fn run_info(&self) -> provision::RunInfo {
        let playbook = self.playbook.path.as_deref();
        provision::RunInfo {
            typed_playbook: self.typed_playbook.clone(),
            ..provision::RunInfo::new(&self.root, playbook, &self.platforms)
        }
    }

    /// Checks what the platforms can check without a machine, for example missing files.
    ///
    /// # Errors
    /// [`ErrorKind::Playbook`], naming the target.
    pub fn check_on_disk(&self) -> Result<()> {
        self.check_sync()?;
        (0..self.playbook.targets.len()).try_for_each(|number| self.check_target(number))
    }

    /// Checks that what `[on-target] sync` names exists, unless the build may make it.
    fn check_sync(&self) -> Result<()> {
        for written in &self.playbook.on_target.sync {
            let path = playbook::resolve_path(&self.playbook.directory, written.get_ref());
            let path = playbook::without_parents(&path);
            if !path.starts_with(&self.target_directory) && !path.exists() {
                let shown = path.display();
                let message = format!("`[on-target] sync`: file or folder not found: `{shown}`");
                return Err(self.playbook.at(&message, None, written.span()));
            }
        }
        Ok(())
    }

    /// Checks one target as [`Workspace::check_on_disk`] does all.
    ///
    /// # Errors
    /// As [`Workspace::check_on_disk`].
    pub fn check_target(&self, number: usize) -> Result<()> {
        for wanted in self.wanted(number, 1)? {
            let checked = wanted.platform.check(&wanted.spec(""));
            let target = &self.playbook.targets[number];
            checked.map_err(|error| self.playbook.in_target(target, error))?;
            self.check_recipe(&wanted.lifecycle)?;
            let mut roles = wanted.roles.iter().map(|role| &role.target.lifecycle);
            roles.try_for_each(|lifecycle| self.check_recipe(lifecycle))?;
        }
        Ok(())
    }

    /// Returns the platform and instance specification of every target and every machine of an environment, without requesting an instance.
    ///
    /// # Errors
    /// Fails if a platform is unknown.
    pub fn specs(&self) -> Result<Vec<(Arc<dyn DynPlatform>, InstanceSpec)>> {
        let mut specs = Vec::new();
        for number in 0..self.playbook.targets.len() {
            for wanted in self.wanted(number, 1)? {
                specs.extend(wanted.specs(&self.platforms)?);
            }
        }
        Ok(specs)
    }

    /// Checks that the files of the scenarios' recipes exist. No target uses these recipes before a scenario runs.
    ///
    /// # Errors
    /// [`ErrorKind::Playbook`], naming the scenario.
    pub fn check_scenarios(&self) -> Result<()> {
        for scenario in &self.playbook.rules.scenarios {
            let recipe = scenario.recipe.as_ref();
            let recipe = recipe.and_then(|name| self.playbook.recipes.get(name));
            if let Some((why, place)) = recipe.and_then(missing) {
                let message = format!("scenario `{}`: {why}", scenario.name);
                return Err(self.playbook.at(&message, None, place));
            }
        }
        Ok(())
    }

    /// Checks that the files of an instance's recipes exist.
    fn check_recipe(&self, lifecycle: &Lifecycle) -> Result<()> {
        let clean = match &lifecycle.on_dirty {
            Some(OnDirty::Clean(recipe)) => Some(recipe),
            _ => None,
        };
        let mut recipes = lifecycle.recipe.iter().chain(clean);
        let missing = recipes.find_map(|recipe| missing(recipe));
        missing.map_or(Ok(()), |(why, place)| {
            Err(self.playbook.at(&why, None, place))
        })
    }

    /// Returns the requests for `need` instances of a target, including spares beyond the target's count.
    ///
    /// # Errors
    /// Fails if the platform is unknown.
    pub fn wanted(&self, target: usize, need: u32) -> Result<Vec<Wanted>> {
        let playbook = &self.playbook;
        let origin = (self.root.clone(), playbook.path.clone());
        let target = &playbook.targets[target];
        let wanted = Wanted::of_target(playbook, target, &self.platforms, origin)?;
        Ok((0..need).map(|index| wanted.at(index)).collect())
    }
}

/// Describes the first source of a recipe that is missing or cannot be copied, if any, with the position of its step.
fn missing(recipe: &Recipe) -> Option<(String, Range<usize>)> {
    let mut steps = recipe.steps.iter().zip(&recipe.places);
    steps.find_map(|(step, place)| {
        let path = playbook::resolve_path(&recipe.directory, step.source()?.path);
        let (name, shown) = (&recipe.name, path.display());
        let problem = match path.metadata() {
            Ok(found) if found.is_file() || found.is_dir() => return None,
            Ok(_) => format!("`{shown}` is not a file or folder"),
            Err(_) => format!("file or folder not found: `{shown}`"),
        };
        Some((format!("recipe `{name}`: {problem}"), place.clone()))
    })
}
