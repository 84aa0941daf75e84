//! Runs the steps of a recipe, one after the other.
//!
//! Must not know how commands are transported.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{
    Preparation,
    run::{SHORT, Shell},
};
use crate::{
    connect::{shell, upload},
    error::{Error, Result},
    playbook::{self, Recipe, Step},
    run_event::RunEventKind,
    secret::redacted,
};

impl Preparation<'_> {
    /// Runs a recipe's steps.
    pub(super) async fn follow(&self, shell: &mut Shell, recipe: &Recipe) -> Result<()> {
        let count = recipe.steps.len();
        for (number, step) in (1..).zip(&recipe.steps) {
            self.between()?;
            let name = &recipe.name;
            (self.progress)(&format!(
                "recipe `{name}`, step {number} of {count}: {step}"
            ));
            let started = Instant::now();
            let done = self.step(shell, step, &recipe.directory).await;
            (self.emit)(RunEventKind::RecipeStep {
                instance: self.record.name().to_owned(),
                step: redacted(&step.to_string()).into_owned(),
                took: started.elapsed(),
                error: (done.as_ref().err()).map(|error| redacted(&error.chain()).into_owned()),
            });
            done.map_err(|error| {
                let text = format!("step {number} of recipe `{name}` ({step}) failed");
                Error::infra(text).with_source(error)
            })?;
        }
        Ok(())
    }

    /// Runs a step. Relative paths start in `directory`.
    async fn step(&self, shell: &mut Shell, step: &Step, directory: &Path) -> Result<()> {
        let path = |written: &Path| playbook::resolve_path(directory, written);
        match step {
            Step::Run {
                command,
                as_root,
                timeout,
            } => {
                let ended = shell.run_as(*as_root, command, *timeout).await?;
                ended.success().map(drop)
            }
            Step::Script {
                file,
                args,
                as_root,
                timeout,
            } => script(shell, &path(file), args, *as_root, *timeout).await,
            Step::Put { from, to, mode } => put(shell, &path(from), to, *mode).await,
            Step::Reboot => self.reboot(shell).await,
            Step::Wait(wait) => self.wait(shell, wait).await,
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
    upload::put_file(&*shell.transport, &shell.mark, file, &path, Some(0o700)).await?;
    let line = shell::invocation(&path, args);
    let ended = shell.run_as(as_root, &line, timeout).await;
    let removed = shell.run(&shell::remove(&path), SHORT).await;
    ended?.success()?;
    removed?.success().map(drop)
}

async fn put(shell: &Shell, from: &Path, to: &str, mode: Option<u32>) -> Result<()> {
    match from.is_dir() {
        true => {
            let moved = upload::Moved::default();
            let put = upload::put_folder(&*shell.transport, &shell.mark, from, to, &moved);
            put.await.map(drop)
        }
        false => upload::put_file(&*shell.transport, &shell.mark, from, to, mode).await,
    }
}
