//! Resolves the options of `run` and `list`: adds the options of a mode and the defaults that need the workspace.
//!
//! Must not act on any option.

use std::path::{Path, PathBuf};

use super::{
    mode,
    workspace::{self, Workspace},
};
use crate::{
    aggregate::summary::SummaryLevel,
    cli::{ChoosingArgs, Global, OrderArg, RunArgs},
    error::{Error, Result},
    playbook,
    provision::platform::Platforms,
    ui,
};

/// Nextest options that change the output of `cargo metadata`.
const OF_METADATA: [&str; 6] = [
    "manifest-path",
    "target",
    "config",
    "locked",
    "offline",
    "frozen",
];

/// Resolved options: typed options precede a mode's options, and paths are absolute.
pub struct RunOptions {
    /// The options of every verb.
    pub global: Global,
    /// The options of `run`, which include the options of `list`.
    pub run: RunArgs,
    /// The workspace with its playbook.
    pub workspace: Workspace,
    /// The pool's folder, absolute.
    pub pool: PathBuf,
}

impl RunOptions {
    /// Finds the workspace, reads its playbook, and adds the options of the mode that the command line or the chosen
    /// scenarios name. `None` if the mode was only printed (`--explain`).
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for conflicting options or an unknown mode,
    /// [`ErrorKind::Playbook`](crate::ErrorKind::Playbook) for an invalid playbook.
    pub fn resolve(platforms: &Platforms, global: &Global, typed: RunArgs) -> Result<Option<Self>> {
        typed.tests.nextest.refuse_unsupported()?;
        let mut workspace = Workspace::with_dependencies(platforms, global, &typed.tests.nextest)?;
        let (mut global, mut run) = (global.clone(), typed);
        if let Some(name) = mode::name(&run.tests, &workspace.playbook)? {
            let words = mode::words(
                &name,
                &workspace.playbook,
                &target_directory(&workspace, &run),
            )?;
            let (mode_global, mut mode_run) = mode::parse(&name, &words)?;
            if run.tests.choosing.explain {
                let shown: Vec<_> = words.iter().map(|word| mode::typed(word)).collect();
                ui::out(shown.join(" "));
                return Ok(None);
            }
            start_paths_at(&mut mode_run, &workspace.root);
            let reads_anew = !mode_global.set.is_empty()
                || OF_METADATA
                    .iter()
                    .any(|option| mode_run.tests.nextest.has(option));
            mode::add_mode(&mut global, &mut run, mode_global, mode_run);
            run.tests.nextest.refuse_unsupported()?;
            if reads_anew {
                workspace = Workspace::with_dependencies(platforms, &global, &run.tests.nextest)?;
            }
        }
        let color = run.tests.nextest.value("color");
        ui::set_color(color.and_then(|color| color.to_str()));
        if run.summary == Some(SummaryLevel::Table) {
            ui::quiet();
        }
        run.tests.choosing.seed = seed(&run.tests.choosing);
        if run.shell_on_failure {
            run.tests.nextest.fail_fast()?;
        }
        refuse_partitions_of_one_run(&run)?;
        run.junit = run.junit.map(std::path::absolute).transpose()?;
        let here = std::env::current_dir()?;
        run.feed = run.feed.map(|feed| feed.from(&here));
        Ok(Some(Self {
            pool: workspace::pool_directory(&global)?,
            global,
            run,
            workspace,
        }))
    }

    /// Prints the playbook of the run, unless the command line names it.
    pub fn say_playbook(&self) {
        if self.global.typed_playbook().is_none() && tells_all(&self.run) {
            ui::note(match &self.workspace.playbook.path {
                Some(path) => format!("playbook: {}", playbook::shown_path(path).display()),
                None => "no playbook, so that the only target is `local`, this machine".to_owned(),
            });
        }
    }
}

/// True if a run prints its playbook and its targets.
pub(super) fn tells_all(run: &RunArgs) -> bool {
    let level = run.summary.unwrap_or_default();
    level == SummaryLevel::Full && !run.tests.nextest.has("cargo-quiet")
}

/// Returns Cargo's target directory, relative to the workspace if it is inside.
fn target_directory(workspace: &Workspace, run: &RunArgs) -> PathBuf {
    let given = run.tests.nextest.value("target-dir");
    let given = given.and_then(|given| std::path::absolute(given).ok());
    let target = given.unwrap_or_else(|| workspace.target_directory.clone());
    let inside = target.strip_prefix(&workspace.root).map(Path::to_owned);
    inside.unwrap_or(target)
}

/// Rejects options that do not apply to several nextest runs side by side.
fn refuse_partitions_of_one_run(run: &RunArgs) -> Result<()> {
    let several = run.partitions.is_some_and(|parts| parts > 1);
    let alone = ["partition", "debugger", "tracer"]
        .into_iter()
        .find(|option| run.tests.nextest.has(option))
        .or(run.shell_on_failure.then_some("shell-on-failure"));
    match alone.filter(|_| several) {
        Some(option) => {
            let message = format!("`--partitions` cannot be combined with `--{option}`");
            Err(Error::usage(message))
        }
        None => Ok(()),
    }
}

/// Returns the given seed; or a random one if the order is random.
fn seed(choosing: &ChoosingArgs) -> Option<u64> {
    if choosing.seed.is_some() || choosing.order != Some(OrderArg::Random) {
        return choosing.seed;
    }
    // Short enough to type.
    let seed = fastrand::u64(..1_000_000);
    ui::note(format!(
        "random order; repeat it with `--order random --seed {seed}`"
    ));
    Some(seed)
}

/// Makes the relative paths of a mode start at the workspace's root.
fn start_paths_at(run: &mut RunArgs, folder: &Path) {
    run.junit = run.junit.take().map(|path| folder.join(path));
    run.feed = run.feed.take().map(|feed| feed.from(folder));
    run.tests.nextest.start_paths_at(folder);
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{Cli, Verb};

    fn run(line: &[&str]) -> RunArgs {
        let line = [&["x", "run"], line].concat();
        match Cli::parse(line.into_iter().map(OsString::from))
            .expect("a line")
            .verb
        {
            Verb::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn paths_start_at_the_workspace() {
        let mut mode = run(&[
            "--junit=a.xml",
            "--config-file=b.toml",
            "--tool-config-file=c:d.toml",
            "--user-config-file=none",
            "--target-dir=/e",
            "--retries=2",
        ]);
        start_paths_at(&mut mode, Path::new("/w"));
        assert_eq!(mode.junit.as_deref(), Some(Path::new("/w/a.xml")));
        for (option, expected) in [
            ("config-file", "/w/b.toml"),
            ("tool-config-file", "c:/w/d.toml"),
            ("user-config-file", "none"),
            ("target-dir", "/e"),
            ("retries", "2"),
        ] {
            let value = mode.tests.nextest.value(option);
            assert_eq!(value.and_then(|value| value.to_str()), Some(expected));
        }
    }
}
