//! Runs the steps of a recipe, one after the other.
//!
//! Must not know how commands are transported.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use super::{
    Preparation,
    run::{SHORT, Shell},
};
use crate::{
    connect::shell,
    error::{Error, Result},
    playbook::{self, Env, EnvName, Recipe, Step},
    run_event::RunEventKind,
    secret::{self, Text, redacted, redacted_chain},
    sync,
};

impl Preparation<'_> {
    /// Runs a recipe's steps.
    pub(super) async fn follow(&self, shell: &mut Shell, recipe: &Recipe) -> Result<()> {
        let env = self.variables(recipe).await?;
        let count = recipe.steps.len();
        for (number, step) in (1..).zip(&recipe.steps) {
            self.between()?;
            let name = &recipe.name;
            (self.progress)(&format!(
                "recipe `{name}`, step {number} of {count}: {step}"
            ));
            let started = Instant::now();
            // A reboot makes a shell of its own.
            shell.env.clone_from(&env);
            let done = self.step(shell, step, &recipe.directory).await;
            (self.emit)(RunEventKind::RecipeStep {
                instance: self.record.name().to_owned(),
                step: redacted(&step.to_string()).into_owned(),
                took: started.elapsed(),
                error: done.as_ref().err().map(redacted_chain),
            });
            done.map_err(|error| {
                let text = format!("step {number} of recipe `{name}` ({step}) failed");
                Error::infra(text).with_source(error)
            })?;
        }
        shell.env.clear();
        Ok(())
    }

    /// Looks up the variables of a recipe and of the target.
    async fn variables(&self, recipe: &Recipe) -> Result<BTreeMap<String, String>> {
        let (name, spec) = (&recipe.name, &self.record.spec);
        let bound = |(env, of, directory): (&Env, String, &Path)| {
            let one =
                |(name, text): (&EnvName, &Text)| (name.0.clone(), text.bound(&of, directory));
            env.iter().map(one).collect::<Vec<_>>()
        };
        let own = (
            &recipe.env,
            format!("`env` of recipe `{name}`"),
            &*recipe.directory,
        );
        let of = format!("`recipe-env` of target `{}`", spec.target);
        let of_target = (&self.lifecycle.recipe_env, of, &*spec.directory);
        let env = [own, of_target].into_iter().flat_map(bound).collect();
        sync::blocking(move || secret::values(&env)).await
    }

    /// Runs a step. Relative paths start in `directory`.
    async fn step(&self, shell: &mut Shell, step: &Step, directory: &Path) -> Result<()> {
        let path = |written: &Path| playbook::resolve_path(directory, written);
        match step {
            Step::Run { command, timeout } => {
                let ended = shell.run_as(false, command, timeout.0).await?;
                ended.success().map(drop)
            }
            Step::Sudo { command, timeout } => {
                let ended = shell.run_as(true, command, timeout.0).await?;
                ended.success().map(drop)
            }
            Step::Script {
                file,
                args,
                as_root,
                timeout,
            } => script(shell, &path(file), args, *as_root, timeout.0).await,
            Step::Put {
                from,
                to,
                mode,
                exclude,
            } => {
                let from = path(from);
                let transfer = shell.transfer();
                match from.is_dir() {
                    true => transfer.put_folder(&from, exclude, to).await.map(drop),
                    false => transfer.put_file(&from, to, *mode).await,
                }
            }
            Step::Reboot => self.reboot(shell).await,
            Step::Wait { wait } => self.wait(shell, wait).await,
        }
    }
}

/// Uploads a script, runs it and removes it.
async fn script(
    shell: &Shell,
    file: &Path,
    args: &[String],
    as_root: bool,
    timeout: Duration,
) -> Result<()> {
    let path = shell::temporary(&shell.mark);
    let transfer = shell.transfer();
    transfer.put_file(file, &path, Some(0o700)).await?;
    let line = shell::invocation(&path, args);
    let ended = shell.run_as(as_root, &line, timeout).await;
    let removed = shell.run(&shell::remove(&path), SHORT).await;
    ended?.success()?;
    removed?.success().map(drop)
}
