//! What a setting's targets ask of the pool.
//!
//! Owns the way from a resolved target to the instances it stands for. Must not make any.

use std::sync::Arc;

use super::Workspace;
use crate::{
    error::{Error, ErrorKind, Result},
    playbook::{self, OnDirty, Recipe, Step},
    provision::{
        self, Wanted,
        platform::{DynPlatform, InstanceSpec},
    },
};

impl Workspace {
    /// This run, for the pool.
    pub fn run_info(&self) -> provision::Run {
        let playbook = self.playbook.path.as_deref();
        provision::Run::new(&self.root, playbook, &self.platforms)
    }

    /// Asks every platform what it can tell of its targets without a machine: missing files, say.
    ///
    /// # Errors
    /// [`ErrorKind::Playbook`], the target named.
    pub fn check_on_disk(&self) -> Result<()> {
        for number in 0..self.playbook.targets.len() {
            for wanted in self.wanted(number, 1)? {
                wanted.platform.check(&wanted.order(""))?;
                self.check_recipe(&wanted)?;
            }
        }
        Ok(())
    }

    /// What each target asks of its platform, for an instance that nobody asked for.
    ///
    /// # Errors
    /// When a platform is unknown.
    pub fn orders(&self) -> Result<Vec<(Arc<dyn DynPlatform>, InstanceSpec)>> {
        let mut orders = Vec::new();
        for number in 0..self.playbook.targets.len() {
            for wanted in self.wanted(number, 1)? {
                let order = wanted.order("");
                orders.push((wanted.platform, order));
            }
        }
        Ok(orders)
    }

    /// Whether the files are there that scenarios' recipes take along: no target needs them before one is run.
    ///
    /// # Errors
    /// [`ErrorKind::Playbook`], the scenario named.
    pub fn check_scenarios(&self) -> Result<()> {
        for scenario in &self.playbook.rules.scenarios {
            let recipe = scenario.recipe.as_ref();
            let recipe = recipe.and_then(|name| self.playbook.recipes.get(name));
            if let Some(why) = recipe.and_then(missing) {
                let message = format!("scenario `{}`: {why}", scenario.name);
                return Err(Error::new(ErrorKind::Playbook, message));
            }
        }
        Ok(())
    }

    /// Whether the files are there that its recipes take along.
    fn check_recipe(&self, wanted: &Wanted) -> Result<()> {
        let clean = match &wanted.care.on_dirty {
            Some(OnDirty::Clean(recipe)) => Some(recipe),
            _ => None,
        };
        let mut recipes = wanted.care.recipe.iter().chain(clean);
        let missing = recipes.find_map(|recipe| missing(recipe));
        missing.map_or(Ok(()), |why| Err(Error::new(ErrorKind::Playbook, why)))
    }

    /// What the pool is asked for, for `need` instances of a target at once and for spares beyond its count.
    ///
    /// # Errors
    /// When the platform is unknown.
    pub fn wanted(&self, target: usize, need: u32) -> Result<Vec<Wanted>> {
        let playbook = &self.playbook;
        let origin = (self.root.clone(), playbook.path.clone());
        let target = &playbook.targets[target];
        let wanted = Wanted::of_target(playbook, target, &self.platforms, origin)?;
        Ok((0..need).map(|index| wanted.at(index)).collect())
    }
}

/// What a recipe takes along that is not there.
fn missing(recipe: &Recipe) -> Option<String> {
    let sources = recipe.steps.iter().filter_map(Step::source);
    let mut paths = sources.map(|source| playbook::resolve_path(&recipe.directory, source));
    let path = paths.find(|path| !path.exists())?;
    let (recipe, path) = (&recipe.name, path.display());
    Some(format!(
        "recipe `{recipe}`: there is no file or folder `{path}`"
    ))
}
